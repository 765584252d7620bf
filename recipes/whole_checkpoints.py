"""What makes a TRL trainer's run go on exactly where it was killed; a class to put before the trainer's own.

    class RecipeTrainer(WholeCheckpoints, SFTTrainer): ...

Beside what the Trainer saves already (weights, optimizer, scheduler, random states) a checkpoint holds what its printed
curve is made of: the loss and the metrics gathered since the last line, and the count of tokens. A checkpoint gets its
name only when it is whole (`recipes/checkpoints.py`), and an epoch's order of rows depends on seed and epoch alone
(`recipes/order.py`). That two runs are the same to the last bit holds on one machine with the same number of threads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from recipes.checkpoints import PARTIAL, publish, seal
from recipes.order import EpochOrder, row_lengths

if TYPE_CHECKING:
    from transformers import Trainer

    Base = Trainer
else:
    Base = object

CURVE = "curve.json"


class WholeCheckpoints(Base):
    """Checkpoints that appear when they are whole, and from which the curve goes on as if nothing had happened."""

    _writing = False
    _order: Any = None  # a sampler with `set_epoch`

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_callback(_GoesOn(self))

    def _get_output_dir(self, trial: Any) -> str:
        folder: str = super()._get_output_dir(trial)
        return str(Path(folder) / PARTIAL) if self._writing else folder

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        output = Path(self._get_output_dir(trial))
        partial, final = (folder / f"checkpoint-{self.state.global_step}" for folder in (output / PARTIAL, output))
        self._writing = True
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._writing = False
        curve = self._curve()
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            (partial / CURVE).write_text(json.dumps(curve), encoding="utf-8")
            if self.state.best_model_checkpoint == str(partial):
                self.state.best_model_checkpoint = str(final)
                self.state.save_to_json(str(partial / "trainer_state.json"))
            seal(partial, resumable=not self.args.save_only_model)
            publish(partial, final)
            self._forget_old_ones(output)
        self.accelerator.wait_for_everyone()
        if self.args.push_to_hub:
            super()._push_from_checkpoint(str(final))

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if not self._writing:  # else it is uploaded when it has its name: an upload in the background takes a while
            super()._push_from_checkpoint(checkpoint_folder)

    def _forget_old_ones(self, output: Path) -> None:
        """Keep `save_total_limit` checkpoints and the best one: only now is the new one among them."""
        from transformers.trainer_utils import rotate_checkpoints

        best = self.state.best_model_checkpoint
        rotate_checkpoints(str(output), self.args.save_total_limit, best_model_checkpoint=best, use_mtime=True)

    def _curve(self) -> dict[str, Any]:
        """What has been gathered for the next printed line, in all processes."""
        loss = self.accelerator.gather(self._tr_loss.detach().reshape(1)).mean().item()
        metrics = getattr(self, "_metrics", {}).get("train", {})
        return {
            "loss": loss,
            "last_printed_step": self._globalstep_last_logged,
            "metrics": {name: [float(value) for value in values] for name, values in metrics.items()},
            "tokens": getattr(self, "_total_train_tokens", 0),
        }

    def goes_on(self, checkpoint: Path) -> None:
        """Take up what the checkpoint's run had gathered."""
        if not (checkpoint / CURVE).is_file():
            return
        curve = json.loads((checkpoint / CURVE).read_text(encoding="utf-8"))
        self._tr_loss = torch.tensor(curve["loss"], device=self.args.device)
        self._total_loss_scalar = -curve["loss"]  # its mean is over this try's steps only
        self._globalstep_last_logged = curve["last_printed_step"]
        if hasattr(self, "_metrics"):
            for name, values in curve["metrics"].items():
                self._metrics["train"][name] = values
            self._total_train_tokens = curve["tokens"]

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train, from a checkpoint's folder where one is given."""
        self._from = Path(resume_from_checkpoint) if resume_from_checkpoint else None
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """An order of the rows that depends on seed and epoch only, grouped by length where that is asked for."""
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        strategy = str(getattr(self.args.train_sampling_strategy, "value", self.args.train_sampling_strategy))
        if not hasattr(rows, "__len__") or strategy not in ("random", "group_by_length"):
            return super()._get_train_sampler(train_dataset)
        together = self.args.train_batch_size * self.args.gradient_accumulation_steps * max(1, self.args.world_size)
        lengths = row_lengths(rows) if strategy == "group_by_length" else None
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        self._order = EpochOrder(len(rows), seed, lengths, together)
        return self._order


class _GoesOn(TrainerCallback):
    """Tells the trainer where a training begins and which epoch it is in."""

    def __init__(self, trainer: WholeCheckpoints) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.trainer._from is not None:
            self.trainer.goes_on(self.trainer._from)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.trainer._order is not None:
            self.trainer._order.set_epoch(int(state.epoch or 0))
