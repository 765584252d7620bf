"""A training as a run of a study (`harness/study.py`): TRL logs its curve to it, the checkpoints become its models.

    run = attach(trainer, asdict(recipe), base_model)     # None where the environment names no study
    trainer.train()
    if run is not None: run.finish()

The training sets are the run's input, every saved checkpoint one of its outputs, by the hashes that evaluations state.
The run's id is kept in the output folder: `--resume_from_checkpoint` goes on in the run that was broken off.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import study
from harness.study import Content, StudyRun
from recipes.mixture import sources_of
from results.provenance import folder_hash

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback

RUN_ID = "study-run.txt"
ROWS = ("rows.jsonl", "pairs.jsonl", "prompts.jsonl")
"""What a recipe reads: of `dabstep training-set`, `preference-pairs`, `rl-prompts`."""


def attach(trainer: Trainer, recipe: Mapping[str, Any], base_model: str) -> StudyRun | None:
    """Start the training's run, in the main process only, and have `trainer` report to it.

    Args:
        trainer: Ready to train; its `run_name`, or its output folder's name, is what the run is called.
        recipe: The recipe's own arguments, `training_set` among them.
        base_model: The model that training starts from, a folder or a name on the Hub.
    """
    args = trainer.args
    if not study.asked_for() or not trainer.is_world_process_zero():
        return None
    output = Path(args.output_dir or ".")
    kept = output / RUN_ID
    before = kept.read_text().strip() if args.resume_from_checkpoint and kept.is_file() else None
    run = study.start_run("train", args.run_name or output.name, {"recipe": dict(recipe)}, run_id=before, only=True)
    if run is None:
        return None
    print(f"W&B: {run.place}")
    with study.harmless("keep the run's id"):
        output.mkdir(parents=True, exist_ok=True)
        partial = kept.with_name(kept.name + ".partial")
        partial.write_text(run.id + "\n")
        partial.replace(kept)
    with study.harmless("log what the training starts from"):
        for source in sources_of(recipe["training_set"]):
            run.used(training_set_content(source.place))
        folder = Path(base_model).expanduser()
        run.used(Content("model", folder_hash(folder) if folder.is_dir() else base_model, {"model": base_model}))
    with study.harmless("log the training's curve"):
        from transformers.integrations import WandbCallback

        if not any(isinstance(each, WandbCallback) for each in trainer.callback_handler.callbacks):
            trainer.add_callback(WandbCallback)
    trainer.add_callback(_checkpoints_of(run))
    return run


def training_set_content(folder: Path) -> Content:
    """A training set as an artifact: the hash of its rows, and what its card says; a published one as a whole."""
    if (folder / "data").is_dir():
        return Content("training-set", folder_hash(folder), {})
    name = next((name for name in ROWS if (folder / name).is_file()), ROWS[0])
    with (folder if folder.is_file() else folder / name).open("rb") as rows:
        digest = hashlib.file_digest(rows, "sha256").hexdigest()
    card = folder / "card.json"
    return Content("training-set", digest, json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {})


def _checkpoints_of(run: StudyRun) -> TrainerCallback:
    """The callback that makes every checkpoint a model of the run, as it is saved."""
    from transformers import TrainerCallback

    class Checkpoints(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            with study.harmless("log a checkpoint"):
                folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
                about = {"model": str(folder), "step": state.global_step, "epoch": state.epoch}
                run.made(Content("model", folder_hash(folder), about), aliases=[f"step-{state.global_step}"])

    return Checkpoints()
