"""From an ablation's YAML to what there is to do: trainings, scorings, and the runs that a table shows.

    plan = make_plan(settings)
    plan.trainings, plan.scorings, plan.runs

Arms that would train the same share one training; checkpoints that would be asked the same are asked once. A *run* is
an arm at an epoch, over all its seeds. Nothing is started here and nothing looked for on disk but the recipe's YAML.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recipes.ablation.settings import AblationError, Arm, Evaluation, Settings, Value

ROOT = Path(__file__).resolve().parents[2]
TRL_EPOCHS = 3.0


@dataclass(frozen=True)
class Training:
    """A training: its flags but for the output folder, what it starts from, how many epochs; whether it is ours.

    `epochs` is None where steps are counted instead.
    """

    name: str
    folder: Path
    config: Path | None
    flags: Mapping[str, Value]
    base: str
    epochs: float | None
    ours: bool = True


@dataclass(frozen=True)
class Scoring:
    """A checkpoint's evaluation: `training` and `epoch` say which (None: the last), or `base` alone where that is "".

    `words` are those of `inspect eval`, without the model and the log's folder.
    """

    name: str
    training: str
    base: str
    epoch: float | None
    seed: int
    label: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """A row of the table: an arm at an epoch, with the scoring of each seed."""

    label: str
    line: str
    epoch: float | None
    scorings: tuple[Scoring, ...]


@dataclass(frozen=True)
class Plan:
    """All there is to do."""

    trainings: dict[str, Training]
    scorings: dict[str, Scoring]
    runs: tuple[Run, ...]
    pairs: tuple[tuple[str, str], ...] | None


def make_plan(settings: Settings) -> Plan:
    """Work the plan out. Raises AblationError for arms that cannot be, and comparisons of runs that are not there."""
    making = _Making(settings)
    for name, arm in settings.arms.items():
        making.add(name, arm)
    labels = [run.label for run in making.runs]
    pairs = settings.compare if isinstance(settings.compare, list) else None
    if unknown := [label for pair in pairs or () for label in pair if label not in labels]:
        raise AblationError(f"compare: there is no run {unknown[0]!r}; the runs are {', '.join(labels)}.")
    return Plan(making.trainings, making.scorings, tuple(making.runs), tuple(pairs) if pairs is not None else None)


def filled(text: Any, settings: Settings, seed: int | None = None) -> Any:
    """A value with `{run}` and `{seed}` in it replaced."""
    if not isinstance(text, str):
        return text
    text = text.replace("{run}", settings.run)
    return text if seed is None else text.replace("{seed}", str(seed))


def slug(text: str) -> str:
    """A text as a file's name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-").lower() or "x"


class _Making:
    """The plan while it is made."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.trainings: dict[str, Training] = {}
        self.scorings: dict[str, Scoring] = {}
        self.runs: list[Run] = []
        self._known: dict[str, str] = {}

    def add(self, name: str, arm: Arm) -> None:
        """An arm's trainings, scorings and runs."""
        by_epoch: dict[float | None, list[Scoring]] = {}
        for seed in self.settings.seeds:
            training = self._training(name, arm, seed)
            for epoch in _epochs(name, arm, training):
                scoring = self._scoring(name, arm, training, epoch, seed)
                if scoring not in by_epoch.setdefault(epoch, []):
                    by_epoch[epoch].append(scoring)
            if any(epoch != 0 for epoch in by_epoch):
                self.trainings.setdefault(training.name, training)
        for epoch, scorings in by_epoch.items():
            label = name if len(by_epoch) == 1 else f"{name}, {_epoch_name(epoch)}"
            self.runs.append(Run(label, arm.line or name, epoch, tuple(scorings)))

    def _training(self, name: str, arm: Arm, seed: int) -> Training:
        settings = self.settings
        config = Path(filled(arm.config or settings.config, settings, seed)) if arm.config or settings.config else None
        written = _recipe_settings(config)
        given = {**settings.train, **arm.train}
        flags = {key: filled(value, settings, seed) for key, value in given.items()}
        flags.setdefault("seed", seed)
        base = flags.get("model_name_or_path", written.get("model_name_or_path"))
        if not base:
            raise AblationError(f"arm {name!r}: no model to start from. Give model_name_or_path under train.")
        steps = flags.get("max_steps", written.get("max_steps", -1))
        epochs = flags.get("num_train_epochs", written.get("num_train_epochs", TRL_EPOCHS))
        told = None if int(str(steps)) > 0 else float(str(epochs))
        if arm.checkpoints is not None:
            folder = Path(filled(arm.checkpoints, settings, seed))
            return Training(slug(f"{name}-seed-{seed}"), folder, config, flags, str(base), told, ours=False)
        key = json.dumps([str(config), flags], sort_keys=True)
        shared = self._known.setdefault(key, slug(f"{name}-seed-{seed}"))
        return Training(shared, Path(settings.run) / "trainings" / shared, config, flags, str(base), told)

    def _scoring(self, name: str, arm: Arm, training: Training, epoch: float | None, seed: int) -> Scoring:
        words = evaluation_words(_merged(self.settings.evaluate, arm.evaluate), self.settings, seed)
        of = "" if epoch == 0 else training.name
        key = json.dumps([of or training.base, epoch, words])
        made = slug(f"{name}-seed-{seed}-{_epoch_name(epoch)}")
        known = self._known.setdefault(key, made)
        if known not in self.scorings:
            label = f"{name}, seed {seed}" if epoch == training.epochs else f"{name}, {_epoch_name(epoch)}, seed {seed}"
            self.scorings[known] = Scoring(known, of, training.base, epoch, seed, label, words)
        return self.scorings[known]


def evaluation_words(evaluation: Evaluation, settings: Settings, seed: int) -> tuple[str, ...]:
    """The words of `inspect eval` for an evaluation, in the order of the YAML."""
    words = [evaluation.task]
    for flag, given in (("-T", evaluation.task_args), ("-M", evaluation.model_args)):
        for key, value in given.items():
            words += [flag, f"{key}={_as_word(filled(value, settings, seed))}"]
    for key, value in evaluation.options.items():
        if value is not False and value is not None:
            words += [f"--{key.replace('_', '-')}"]
            words += [] if value is True else [_as_word(filled(value, settings, seed))]
    return tuple(words)


def flag_words(flags: Mapping[str, Value]) -> list[str]:
    """Flags of a recipe as words; one without a value is left out."""
    return [word for key, value in flags.items() if value is not None for word in (f"--{key}", _as_word(value))]


def from_here(path: str | Path) -> Path:
    """A path from the current folder, or, where there is nothing, one of the recipes' own (`recipes/sft.py`)."""
    given = Path(path)
    return given if given.exists() or not (ROOT / given).exists() else ROOT / given


def command_words(command: str) -> list[str]:
    """A command as words. Raises AblationError where its quotes do not close."""
    try:
        return shlex.split(command)
    except ValueError as error:
        raise AblationError(f"{command}: {error}.") from None


def _epochs(name: str, arm: Arm, training: Training) -> list[float | None]:
    if arm.score == "last":
        return [training.epochs]
    if arm.score == "each":
        if training.epochs is None:
            raise AblationError(f"arm {name!r}: with max_steps its epochs are not known; name those to be scored.")
        return [float(epoch) for epoch in range(1, int(training.epochs) + 1)]
    if training.epochs is not None and (late := [epoch for epoch in arm.score if epoch > training.epochs]):
        raise AblationError(f"arm {name!r}: epoch {late[0]:g} is to be scored, but it trains for {training.epochs:g}.")
    return list(arm.score)


def _recipe_settings(config: Path | None) -> dict[str, Any]:
    """What the recipe's YAML says, to be looked at."""
    if config is None:
        return {}
    try:
        content = yaml.safe_load(from_here(config).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise AblationError(f"{config}: cannot be read as a recipe's YAML ({error}).") from None
    return content if isinstance(content, dict) else {}


def _merged(common: Evaluation, own: Evaluation) -> Evaluation:
    """`own` over `common`; the task is the arm's where it names one."""
    task = own.task if "task" in own.model_fields_set else common.task
    parts = ("task_args", "model_args", "options")
    return Evaluation(task=task, **{part: {**getattr(common, part), **getattr(own, part)} for part in parts})


def _epoch_name(epoch: float | None) -> str:
    return "last" if epoch is None else f"epoch {epoch:g}"


def _as_word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
