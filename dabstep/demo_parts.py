"""What the demo's steps share: its settings, the places of its products, and an evaluation as a child process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.children import Child
from harness.evaluations import evaluation, finished_log
from harness.records import Question, read_questions

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
}


class DemoError(RuntimeError):
    """The demo cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class DemoSettings:
    """Every dial of the demo. `score` says whether each epoch is scored, or the untrained model and the last epoch.

    `seed` moves the training worlds, the model and the order of its data; `questions_seed` the held-out questions.
    """

    seed: int = 0
    questions_seed: int = 2
    traces: int = 2400
    worlds: int = 120
    held_out: int = 288
    held_out_worlds: int = 48
    vocabulary: int = 1024
    epochs: int = 7
    teachers: int = 2
    score: Literal["each", "last"] = "each"


@dataclass(frozen=True)
class Places:
    """Where the demo's products lie."""

    root: Path

    def questions(self, name: str) -> Path:
        """A question set: training, held-out or rephrased."""
        return self.root / "questions" / name

    def logs(self, name: str) -> Path:
        """The folder of one evaluation's log."""
        return self.root / "logs" / name

    @property
    def training_set(self) -> Path:
        """rows.jsonl and its card."""
        return self.root / "training-set"

    @property
    def model(self) -> Path:
        """The untrained model in `epoch-0`, and TRL's output beside it in `trained`."""
        return self.root / "model"


@dataclass(frozen=True)
class Scored:
    """One checkpoint's evaluation: which question set, which epoch, and its log."""

    question_set: str
    epoch: int
    checkpoint: Path
    log: Path


def scoring(places: Places, name: str, question_set: str, options: list[str]) -> Child:
    """An evaluation of a question set, to be started, or gone on with where it was broken off."""
    words = ["dabstep/generated_qa", "-T", f"questions={places.questions(question_set)}", "-T", "comments=never"]
    return evaluation(name, [*words, "--retry-on-error", "2", *options], places.logs(name), ENVIRONMENT)


def require_log(places: Places, name: str) -> Path:
    """That log. Raises DemoError where the evaluation did not end well."""
    log = finished_log(places.logs(name))
    if log is None:
        raise DemoError(f"{name}: its evaluation did not finish well; see {places.logs(name)}/inspect.out.")
    return log


def script(name: str) -> Path:
    """A recipe's file."""
    import recipes

    return Path(recipes.__file__).parent / name


def questions_of(places: Places, name: str) -> list[Question]:
    """A question set's questions."""
    return read_questions(places.questions(name))
