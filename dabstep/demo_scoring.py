"""The demo's last step: one process trains, and each epoch's checkpoint is scored as soon as it is whole.

While the training runs one scoring runs beside it; when it has ended, two at a time: one for each core.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from dabstep.children import POLL_S, Child, Progress
from dabstep.demo_parts import (
    ENVIRONMENT,
    DemoError,
    DemoSettings,
    Places,
    Scored,
    evaluation,
    finished_log,
    require_log,
    script,
)

CORES = 2


def train_and_score(places: Places, settings: DemoSettings, progress: Progress) -> list[Scored]:
    """Train in one process; score each epoch's checkpoint in another as soon as it is whole."""
    output = places.model / "trained"
    trained = places.model / "trained.json"
    if not trained.exists():
        shutil.rmtree(output, ignore_errors=True)
        for folder in places.root.glob("logs/*-epoch-[1-9]*"):
            shutil.rmtree(folder)
    trainer = Child(
        "training",
        [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(script("launch/cpu.yaml"))]
        + ["--num_cpu_threads_per_process", "1"]
        + [str(script("sft.py")), "--config", str(script("configs/tiny.yaml"))]
        + ["--training_set", str(places.training_set), "--model_name_or_path", str(places.model / "epoch-0")]
        + ["--output_dir", str(output), "--num_train_epochs", str(settings.epochs), "--seed", str(settings.seed)]
        + ["--disable_tqdm", "true"],
        places.root / "logs" / "train.out",
        ENVIRONMENT,
    )
    if not trained.exists():
        trainer.start(progress)
    try:
        scored = score_as_they_appear(places, settings, trainer, progress)
        trainer.wait()
    finally:
        if trainer.succeeded():  # kept even when a scoring failed: the training need not be done again
            trained.write_text(json.dumps({"epochs": settings.epochs}))
        trainer.kill()
    return scored


@dataclass
class Scoring:
    """What is scored: (question set, epoch) pairs that wait, and the evaluations that run."""

    places: Places
    waiting: list[tuple[str, int]]
    running: dict[str, Child] = field(default_factory=dict)

    def start_next(self, trainer: Child, progress: Progress) -> None:
        """Start as many as there are cores for, in their order, as far as their checkpoints are there."""
        while self.waiting and len(self.running) < (CORES if trainer.ended() else CORES - 1):
            question_set, epoch = self.waiting[0]
            checkpoint = checkpoint_of(self.places, epoch, trainer)
            if checkpoint is None:
                return
            self.waiting.pop(0)
            name = f"{question_set}-epoch-{epoch}"
            if finished_log(self.places.logs(name)) is None:
                self.running[name] = evaluation(self.places, name, question_set, _scoring_options(checkpoint))
                self.running[name].start(progress)

    def collect(self) -> None:
        """Let go of those that have ended. Raises ChildFailed."""
        for name in [name for name, child in self.running.items() if child.ended()]:
            self.running.pop(name).wait()

    def done(self) -> float:
        """How many answers the running ones have given."""
        return sum(child.done() for child in self.running.values())

    def kill(self) -> None:
        """End what runs."""
        for child in self.running.values():
            child.kill()


def score_as_they_appear(places: Places, settings: DemoSettings, trainer: Child, progress: Progress) -> list[Scored]:
    """Score the wanted epochs, and the last one on the other wordings, too. Raises ChildFailed and DemoError."""
    epochs = range(settings.epochs + 1) if settings.score == "each" else (0, settings.epochs)
    wanted = [("held-out", epoch) for epoch in epochs] + [("rephrased", settings.epochs)]
    scoring = Scoring(places, list(wanted))
    with (
        progress.step("training, epochs", settings.epochs) as epochs_done,
        progress.step("scored answers", len(wanted) * settings.held_out) as answers,
    ):
        try:
            while scoring.waiting or scoring.running:
                scoring.start_next(trainer, progress)
                scoring.collect()
                finished = len(wanted) - len(scoring.waiting) - len(scoring.running)
                answers(finished * settings.held_out + scoring.done())
                epochs_done(_epochs(trainer))
                time.sleep(POLL_S)
        finally:
            scoring.kill()
    return [
        Scored(
            question_set,
            epoch,
            _require_checkpoint(places, epoch, trainer),
            require_log(places, f"{question_set}-epoch-{epoch}"),
        )
        for question_set, epoch in wanted
    ]


def checkpoint_of(places: Places, epoch: int, trainer: Child) -> Path | None:
    """The checkpoint of an epoch; None while it is still to come. Raises DemoError where it never will."""
    if epoch == 0:
        return places.model / "epoch-0"
    ended = trainer.ended()  # asked first: a checkpoint may appear just before the end
    for state in (places.model / "trained").glob("checkpoint-*/trainer_state.json"):
        if round(json.loads(state.read_text())["epoch"]) == epoch:
            return state.parent
    if ended:
        trainer.wait()
        raise DemoError(f"training ended without a checkpoint of epoch {epoch}; see {trainer.output}.")
    return None


def _require_checkpoint(places: Places, epoch: int, trainer: Child) -> Path:
    found = checkpoint_of(places, epoch, trainer)
    assert found is not None, "it was scored"
    return found


def _scoring_options(checkpoint: Path) -> list[str]:
    """Greedy; a turn of this model is short, and one that rambles is ended soon."""
    limits = ["--max-tokens", "48", "--turn-limit", "4", "--max-connections", "64", "--max-samples", "64"]
    return ["--model", f"checkpoint/{checkpoint}", "--temperature", "0", *limits]


def _epochs(trainer: Child) -> float:
    """How far the training is, read from the figures that TRL prints."""
    lines = trainer.output.read_text().splitlines() if trainer.output.exists() else []
    epochs = [line.split("'epoch': '")[1].split("'")[0] for line in lines if "'epoch': '" in line]
    return float(epochs[-1]) if epochs else 0.0
