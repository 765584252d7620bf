"""A training of TRL's seen from outside: which checkpoints its folder holds, and how far it is.

    checkpoints(Path("data/trained"))               # whole ones only, in the order of their steps
    checkpoint_of(Path("data/trained"), epoch=3)    # None while it is still to come
    epochs_done(Path("logs/train.out"))             # read from the figures that TRL prints

A checkpoint counts as whole once its `trainer_state.json` can be read, which the Trainer writes last. Nothing is
started, changed or removed here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

STATE = "trainer_state.json"
OPTIMIZER = ("optimizer.pt", "optimizer.bin", "optimizer_*", "global_step*")
"""What the state of an optimizer is kept in: by the Trainer, by accelerate, by FSDP, by DeepSpeed."""


@dataclass(frozen=True)
class SavedCheckpoint:
    """A whole checkpoint: its folder, its step, and the epoch at which it was saved (1.0 after the first)."""

    folder: Path
    step: int
    epoch: float

    @property
    def resumable(self) -> bool:
        """Whether the optimizer's state was saved with it, so that a training can go on from here."""
        return any(any(self.folder.glob(pattern)) for pattern in OPTIMIZER)

    def is_of(self, epoch: float) -> bool:
        """Whether it is the one of that epoch: no other step is nearer."""
        return abs(self.epoch - epoch) <= 0.5 * self.epoch / max(self.step, 1)


def checkpoints(training: Path) -> list[SavedCheckpoint]:
    """The whole checkpoints of a training's output folder, in the order of their steps."""
    found = []
    for state in training.glob(f"checkpoint-*/{STATE}"):
        step = state.parent.name.rpartition("-")[2]
        if not step.isdigit():
            continue
        try:
            epoch = json.loads(state.read_text(encoding="utf-8"))["epoch"]
        except (OSError, ValueError, KeyError):  # being written, or being removed
            continue
        found.append(SavedCheckpoint(state.parent, int(step), float(epoch)))
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def checkpoint_of(training: Path, epoch: float) -> Path | None:
    """The folder of an epoch's checkpoint; None while there is no whole one."""
    return next((saved.folder for saved in checkpoints(training) if saved.is_of(epoch)), None)


def epochs_done(output: Path) -> float:
    """How far a training is, in epochs, by the last figures that TRL printed into `output`."""
    if not output.exists():
        return 0.0
    printed = re.findall(r"'epoch': '?([0-9.e+-]+)", output.read_text(encoding="utf-8", errors="replace"))
    return float(printed[-1]) if printed else 0.0
