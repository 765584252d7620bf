"""One training of the tiny model, timed and judged, in every way that `bench_train.py` compares: TRL's and ours.

A run's speed is non-padding tokens a second of CPU time, from the first step to the last; its loss is that of rows not
trained on, by TRL's own evaluation in fp32.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import track

HELD_BACK = 120

LEARNING: dict[str, Any] = {
    "learning_rate": 0.005,
    "lr_scheduler_type": "linear",
    "warmup_steps": 20,
    "adam_beta2": 0.95,
    "assistant_only_loss": True,
}
"""What is learned, the same for both: TRL's own rate of 2e-5 is for a model that knows something already."""

QUIET: dict[str, Any] = {
    **{"max_length": 512, "use_cpu": True, "report_to": "none"},
    **{"save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True},
}
PLAIN: dict[str, Any] = {"bf16": False, "gradient_checkpointing": False}
GROUPED = PLAIN | {"train_sampling_strategy": "group_by_length"}
OURS = PLAIN | {"padding_free": True, "max_length": None}
GAINS: dict[str, tuple[bool, dict[str, Any], str]] = {
    "TRL's defaults": (False, {}, ""),
    "without checkpointing": (False, {"gradient_checkpointing": False}, ""),
    "and in fp32": (False, PLAIN, ""),
    "and the head over supervised positions": (True, PLAIN, ""),
    "and no padding, last layer where it is read: ours": (True, OURS, "documents"),
    "padded, grouped by length instead": (True, GROUPED, ""),
    "packed instead, SDPA's mask": (True, PLAIN | {"packing": True, "max_length": 640, "batch": 1}, ""),
    "packed instead, documents": (True, PLAIN | {"packing": True, "max_length": 640, "batch": 1}, "documents"),
    "ours, Muon": (True, OURS, "muon"),
}


@dataclass(frozen=True)
class Run:
    """One training: non-padding tokens, CPU seconds, and the loss of rows that were not trained on."""

    who: str
    seed: int
    tokens: int
    cpu_s: float
    loss: float

    @property
    def speed(self) -> float:
        """Tokens a CPU second."""
        return self.tokens / self.cpu_s


class Kept:
    """The runs of a benchmark that was broken off: what is measured already is not measured again."""

    def __init__(self, file: Path) -> None:
        self.file = file
        lines = file.read_text().splitlines() if file.exists() else []
        self.runs = {line.rpartition("\t")[0]: Run(**json.loads(line.rpartition("\t")[2])) for line in lines}

    def run(self, key: str, measure: Callable[[], Run]) -> Run:
        """The run of that key, measured now where it is not kept."""
        if key not in self.runs:
            self.runs[key] = measure()
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a") as file:
                file.write(f"{key}\t{json.dumps(asdict(self.runs[key]))}\n")
        return self.runs[key]


class Bench:
    """Rows, and models made of a seed, ready to be trained in any way."""

    def __init__(self, training_set: Path, rows: int, epochs: float, kept: Kept) -> None:
        from datasets import disable_progress_bars
        from transformers.utils import logging

        from recipes.rows import read_rows

        disable_progress_bars()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        found = read_rows(training_set)
        if len(found) < rows + HELD_BACK:
            raise SystemExit(
                f"{training_set} has {len(found)} rows; {rows} + {HELD_BACK} are wanted. Give fewer --rows."
            )
        self.rows, self.held_back, self.epochs = found[:rows], found[rows : rows + HELD_BACK], epochs
        self._scratch = tempfile.TemporaryDirectory(prefix="bench-train-")  # gone with this object
        self.folder = Path(self._scratch.name)
        self.kept, self.of = kept, f"{training_set.resolve()} {rows} rows {epochs} epochs"

    def model(self, seed: int) -> Path:
        """An untrained model of this seed."""
        from recipes.tiny import make_tiny_model

        folder = self.folder / f"model-{seed}"
        if not folder.exists():
            make_tiny_model(self.rows, folder, vocab_size=1024, seed=seed)
        return folder

    def by_turns(self, who: str, seed: int) -> Run:
        """One training of TRL's or ours."""
        ours = who == "ours"
        settings, how = (OURS, "documents") if ours else ({}, "")
        return self.kept.run(
            f"{self.of}, {who}, {settings}, seed {seed}",
            lambda: self.train(who, seed, ours, settings, how, self.epochs),
        )

    def gains(self) -> dict[str, float]:
        """Tokens a CPU second of every row of GAINS, the best of two epochs by turns."""
        speeds: dict[str, float] = {}
        turns = [(turn, name) for turn in range(2) for name in GAINS]
        for turn, name in track(turns, "one gain after the other"):
            run = self.kept.run(f"{self.of}, {name}, {GAINS[name]}, turn {turn}", partial(self.gain, name))
            speeds[name] = max(speeds.get(name, 0.0), run.speed)
        return speeds

    def gain(self, name: str) -> Run:
        """One epoch of a row of GAINS."""
        quick, settings, how = GAINS[name]
        return self.train(name, 0, quick, settings, how, 1, judged=False)

    def train(
        self,
        who: str,
        seed: int,
        quick: bool,
        settings: dict[str, Any],
        how: str,
        epochs: float,
        judged: bool = True,
    ) -> Run:
        """Train and evaluate once.

        Args:
            who: The run's name.
            seed: Of the model and of the order.
            quick: RecipeTrainer instead of SFTTrainer.
            settings: TRL's, where they differ from its defaults; `batch` is rows a step (8).
            how: "", or "documents" for that attention, or "muon" for that optimizer too.
            epochs: How often each row is seen.
            judged: Whether the rows held back are evaluated, too; else the loss is not a number.
        """
        from datasets import Dataset
        from transformers import AutoTokenizer
        from trl import SFTConfig, SFTTrainer

        from recipes.attention import register
        from recipes.sft import use_muon
        from recipes.trainer import RecipeTrainer

        register()
        given = dict(settings)
        batch = given.pop("batch", 8)
        args = SFTConfig(
            output_dir=str(self.folder / "out"),
            per_device_train_batch_size=batch,
            num_train_epochs=epochs,
            seed=seed,
            **QUIET | LEARNING | given,
            model_init_kwargs={"dtype": "float32", "attn_implementation": "documents" if how else None},
        )
        clock = _clock()
        trainer = (RecipeTrainer if quick else SFTTrainer)(
            model=str(self.model(seed)),
            args=args,
            train_dataset=Dataset.from_list(
                [{"messages": row["messages"], "tools": row["tools"]} for row in self.rows]
            ),
            processing_class=AutoTokenizer.from_pretrained(self.model(seed)),
            callbacks=[clock],
        )
        if how == "muon":
            use_muon(trainer, 0.02)
        tokens = sum(len(ids) for ids in trainer.train_dataset["input_ids"])
        trainer.train()
        return Run(who, seed, round(tokens * epochs), clock.spent_s, self.loss(trainer) if judged else math.nan)

    def loss(self, trainer: Any) -> float:
        """Mean loss a supervised token of the rows held back, by TRL's own evaluation in fp32."""
        from datasets import Dataset
        from trl import SFTConfig, SFTTrainer

        held_back = Dataset.from_list([{"messages": row["messages"], "tools": row["tools"]} for row in self.held_back])
        del trainer.model.forward  # as it was before any trainer
        judge = SFTTrainer(
            model=trainer.model,
            args=SFTConfig(
                output_dir=str(self.folder / "judge"),
                assistant_only_loss=True,
                per_device_eval_batch_size=HELD_BACK,
                **PLAIN,
                **QUIET,
            ),
            train_dataset=held_back,
            processing_class=trainer.processing_class,
        )
        return float(judge.evaluate(held_back)["eval_loss"])


def _clock() -> Any:
    """A callback that takes this process's CPU time from the first step to the last, in seconds."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        spent_s = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.spent_s = -time.process_time()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.spent_s += time.process_time()

    return Clock()
