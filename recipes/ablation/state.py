"""What an ablation's folder holds, and that nothing in it is mixed: each product with what it was made with.

    state.claim("3-epochs-seed-0", "training", made_with)    # refuses where it was begun with something else
    state.note("3-epochs-seed-0", "trained", {"seconds": 93.1})

`RUN/state/NAME.WHAT.json` are the notes; a note is there when what it says is done, and is written whole. A claim holds
flags, the contents of the recipe's YAML, hashes of the data and of the model, versions of the libraries and the
hash of the code; it is made when a thing is begun. To go on with other code, and nothing else changed, may be allowed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.files import write_whole
from recipes.ablation.plan import ROOT, Plan, Scoring, Training, from_here
from recipes.ablation.settings import AblationError, Settings
from results.provenance import folder_hash

LIBRARIES = ("torch", "transformers", "trl", "accelerate")
TRAINING_CODE = ("recipes/*.py", "recipes/templates/*")
EVALUATION_CODE = ("harness/**/*.py", "harness/**/*.md", "harness/**/*.yaml", "tasks/*.py")
WATCHERS = ("children.py", "evaluations.py", "files.py", "jobs.py", "progress.py", "trainings.py")
OURS = ("recipes/ablate.py", *(f"harness/{name}" for name in WATCHERS))
"""What starts and watches; it has no part in what a training or an evaluation gives."""


@dataclass(frozen=True)
class State:
    """The notes of a run's folder."""

    folder: Path
    other_code: bool = False

    def path(self, name: str, what: str) -> Path:
        """Where a note lies."""
        return self.folder / "state" / f"{name}.{what}.json"

    def noted(self, name: str, what: str) -> dict[str, Any] | None:
        """A note, or None where it was never made."""
        path = self.path(name, what)
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def note(self, name: str, what: str, content: Mapping[str, Any]) -> None:
        """Make a note."""
        write_whole(self.path(name, what), json.dumps(content, indent=2, sort_keys=True) + "\n")

    def forget(self, name: str, what: str) -> None:
        """Take a note back."""
        self.path(name, what).unlink(missing_ok=True)

    def check(self, name: str, kind: str, made_with: Mapping[str, Any]) -> None:
        """Raise AblationError, saying what changed, where `name` was begun with something else."""
        before = self.noted(name, "made-with")
        if before is None:
            return
        now = json.loads(json.dumps(made_with))
        changed = _changes(before, now)
        if self.other_code:
            changed = [each for each in changed if not each.startswith("code:")]
        if changed:
            only_code = all(each.startswith("code:") for each in changed)
            mend = " Go on all the same with --other-code," if only_code else " Undo the change,"
            raise AblationError(
                f"{kind} {name} was begun with something else, and runs are not mixed: {'; '.join(changed)}.{mend} "
                f"or give another folder with --run, or remove {self.folder}."
            )

    def claim(self, name: str, kind: str, made_with: Mapping[str, Any]) -> None:
        """The same, and note what it is made with where it was not yet begun."""
        self.check(name, kind, made_with)
        if self.noted(name, "made-with") is None:
            self.note(name, "made-with", made_with)

    @contextmanager
    def alone(self, work: str) -> Iterator[None]:
        """Hold the run's lock for a kind of work. Raises AblationError where another process has it."""
        path = self.folder / "state" / f"{work}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise AblationError(
                    f"{self.folder}: another process does its {work}. Wait for it, or end it."
                ) from None
            yield


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    said = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            said += _changes(old, new)
        else:
            said.append(f"{key}: {old} -> {new}")
    return said


def training_made_with(training: Training, settings: Settings) -> dict[str, Any]:
    """What decides a training's weights."""
    config = from_here(training.config).read_text(encoding="utf-8") if training.config else ""
    return {
        "recipe": settings.recipe,
        "recipe's YAML": _digest(config),
        "flags": dict(training.flags),
        "launch": settings.launch,
        "training set": [content_hash(part) for part in _sets(training.flags.get("training_set"))],
        "model": content_hash(training.base),
        "libraries": {name: version(name) for name in LIBRARIES},
        "code": code_hash(TRAINING_CODE),
    }


def _sets(given: object) -> list[str]:
    """The folders and files of a training set: one, or several with their weights (`agent=1,chat.jsonl=2`)."""
    parts = [part.strip() for part in str(given or "").split(",") if part.strip()]
    return [part if Path(part).exists() else part.rpartition("=")[0] or part for part in parts]


def scoring_made_with(scoring: Scoring) -> dict[str, Any]:
    """What decides a score, besides the checkpoint."""
    data = {}
    for word in scoring.words:
        key, equals, value = word.partition("=")
        if equals and key in ("questions", "answers", "data_dir"):
            data[key] = content_hash(value)
    return {"words": list(scoring.words), "data": data, "code": code_hash(EVALUATION_CODE)}


def content_hash(name: object) -> str | None:
    """The hash of what lies there: a model's weights, a set's rows or questions, a file; of no path the name itself."""
    if name is None or not str(name):
        return None
    path = Path(str(name)).expanduser()
    if path.is_file():
        return _file_hash(path)
    for held in ("rows.jsonl", "questions.jsonl"):
        if (path / held).is_file():
            return _file_hash(path / held)
    if (path / "config.json").is_file():
        return folder_hash(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return _digest("".join(f"{file.relative_to(path)} {file.stat().st_size}\n" for file in files))
    return str(name)


@cache
def code_hash(patterns: tuple[str, ...]) -> str:
    """The hash of the files that the patterns name; what only starts and watches is left out."""
    files = sorted({file for pattern in patterns for file in ROOT.glob(pattern)} - {ROOT / name for name in OURS})
    return _digest("".join(f"{file.relative_to(ROOT)} {_file_hash(file)}\n" for file in files if file.is_file()))


def check_all(plan: Plan, settings: Settings, state: State) -> None:
    """Refuse at once what would mix runs. Raises AblationError."""
    for training in plan.trainings.values():
        if training.ours and state.noted(training.name, "made-with") is not None:
            state.check(training.name, "training", training_made_with(training, settings))
    for scoring in plan.scorings.values():
        if state.noted(scoring.name, "made-with") is not None:
            state.check(scoring.name, "scoring", scoring_made_with(scoring))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
