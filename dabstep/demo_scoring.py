"""The demo's last step: one process trains, and each epoch's checkpoint is scored as soon as it is whole.

While the training runs one scoring runs beside it; when it has ended, two at a time: one for each core.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dabstep.demo_parts import (
    ENVIRONMENT,
    DemoError,
    DemoSettings,
    Places,
    Scored,
    require_log,
    scoring,
    script,
)
from harness.children import Child, Progress
from harness.evaluations import finished_log
from harness.files import write_whole
from harness.jobs import Job, Slot, run_jobs
from harness.trainings import checkpoint_of, epochs_done

CORES = 2


def train_and_score(places: Places, settings: DemoSettings, progress: Progress) -> list[Scored]:
    """Train in one process; score each epoch's checkpoint in another as soon as it is whole.

    The last one on the other wordings, too. A training that was broken off goes on from its newest checkpoint, to the
    weights that it would have had anyway, so what was scored stays scored. Raises ChildFailed and DemoError.
    """
    trained = places.model / "trained.json"
    trainer = _trainer(places, settings)
    epochs = range(settings.epochs + 1) if settings.score == "each" else (0, settings.epochs)
    wanted = [("held-out", epoch) for epoch in epochs] + [("rephrased", settings.epochs)]
    to_score = [each for each in wanted if finished_log(places.logs(_name(*each))) is None]
    scored = [each for each in wanted if each not in to_score]

    jobs = [
        Job(_name(*each), partial(_scoring, places, *each, trainer), partial(scored.append, each)) for each in to_score
    ]
    if not trained.exists():
        # Written as soon as it has ended: should a scoring fail later, the training need not be done again.
        jobs.append(
            Job("training", lambda: trainer, lambda: write_whole(trained, json.dumps({"epochs": settings.epochs})))
        )
    with (
        progress.step("training, epochs", settings.epochs) as trained_epochs,
        progress.step("scored answers", len(wanted) * settings.held_out) as answers,
    ):

        def tick(running: Sequence[Child]) -> None:
            answers(len(scored) * settings.held_out + sum(child.done() for child in running if child is not trainer))
            trained_epochs(epochs_done(trainer.output))

        run_jobs(jobs, [Slot()] * CORES, tick, progress)
    return [
        Scored(question_set, epoch, _checkpoint(places, epoch), require_log(places, _name(question_set, epoch)))
        for question_set, epoch in wanted
    ]


def _name(question_set: str, epoch: int) -> str:
    return f"{question_set}-epoch-{epoch}"


def _trainer(places: Places, settings: DemoSettings) -> Child:
    return Child(
        "training",
        [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(script("launch/cpu.yaml"))]
        + ["--num_cpu_threads_per_process", "1"]
        + [str(script("sft.py")), "--config", str(script("configs/tiny.yaml"))]
        + ["--training_set", str(places.training_set), "--model_name_or_path", str(places.model / "epoch-0")]
        + ["--output_dir", str(places.model / "trained"), "--num_train_epochs", str(settings.epochs)]
        + ["--seed", str(settings.seed), "--disable_tqdm", "true"],
        places.root / "logs" / "train.out",
        ENVIRONMENT,
    )


def _scoring(places: Places, question_set: str, epoch: int, trainer: Child) -> Child | None:
    """The evaluation of an epoch; None while its checkpoint is to come. Raises DemoError where it never will."""
    # Asked first, for a checkpoint may appear just before the end; a trainer that was not started has ended, or waits.
    over = trainer.succeeded() or (places.model / "trained.json").exists()
    if epoch > 0 and checkpoint_of(places.model / "trained", epoch) is None:
        if over:
            raise DemoError(f"training ended without a checkpoint of epoch {epoch}; see {trainer.output}.")
        return None
    # Greedy; a turn of this model is short, and one that rambles is ended soon.
    limits = ["--max-tokens", "48", "--turn-limit", "4", "--max-connections", "64", "--max-samples", "64"]
    model = ["--model", f"checkpoint/{_checkpoint(places, epoch)}", "--temperature", "0"]
    return scoring(places, _name(question_set, epoch), question_set, [*model, *limits])


def _checkpoint(places: Places, epoch: int) -> Path:
    found = places.model / "epoch-0" if epoch == 0 else checkpoint_of(places.model / "trained", epoch)
    assert found is not None, "it is there, or was scored"
    return found
