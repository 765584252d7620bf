"""The work of an ablation as jobs (`harness/jobs.py`): what is prepared, trained and scored, each a child process.

A training whose process was killed is started again, and the recipe goes on from its last checkpoint that holds the
optimizer's state; where there is none it starts anew, and what was scored of it is scored anew. A scoring goes on
from its log. What is noted as done is not done again.
"""

from __future__ import annotations

import glob
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from harness import study
from harness.children import Child, ChildFailed
from harness.evaluations import INSPECT, evaluation, finished_log
from harness.jobs import Job
from harness.trainings import checkpoint_of, checkpoints, epochs_done
from recipes.ablation.plan import Plan, Scoring, Training, command_words, filled, flag_words, from_here, slug
from recipes.ablation.pruning import prune
from recipes.ablation.scores import row_of, score
from recipes.ablation.settings import AblationError, Settings, Step
from recipes.ablation.state import State, scoring_made_with, training_made_with
from results.outcomes import outcomes_from_log

LAUNCH = (sys.executable, "-m", "accelerate.commands.launch")
PROGRAMS = {
    "python": (sys.executable,),
    "inspect": INSPECT,
    "dabstep": (sys.executable, "-P", "-m", "dabstep"),
    "accelerate": (sys.executable, "-P", "-m", "accelerate.commands.accelerate_cli"),
}


@dataclass
class Work:
    """An ablation being done. `failures` holds what went wrong, by the job's name; it does not stop the rest."""

    settings: Settings
    plan: Plan
    state: State
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.state.folder

    def environment(self) -> Mapping[str, str]:
        """What every child's environment gets."""
        named = {study.VARIABLE: self.settings.study} if self.settings.wandb and not study.asked_for() else {}
        return {"TOKENIZERS_PARALLELISM": "false", **named, **self.settings.environment}

    # What must be there first

    def preparations(self) -> list[list[Job]]:
        """The steps that are not done, in groups: those of a group may run side by side."""
        groups = [
            [
                Job(name, partial(self._step, name, step, seed), partial(self._step_done, name, step, seed))
                for name, step, seed in steps_of(group, self.settings)
                if not self._prepared(name, step, seed)
            ]
            for group in self.settings.prepare
        ]
        return [group for group in groups if group]

    def _prepared(self, name: str, step: Step, seed: int | None) -> bool:
        command = filled(step.run, self.settings, seed)
        self.state.check(f"prepare-{name}", "step", {"command": command})
        return self.state.noted(f"prepare-{name}", "prepared") is not None

    def prepared(self) -> bool:
        """Whether every step is done, here or by another process."""
        steps = (step for group in self.settings.prepare for step in steps_of(group, self.settings))
        return all(self.state.noted(f"prepare-{name}", "prepared") is not None for name, _, _ in steps)

    def _step(self, name: str, step: Step, seed: int | None) -> Child:
        makes = Path(filled(step.makes, self.settings, seed))
        if not makes.resolve().is_relative_to(self.folder.resolve()) or makes.resolve() == self.folder.resolve():
            raise AblationError(f"step {name!r} makes {makes}, which does not lie in {self.folder}.")
        self.state.claim(f"prepare-{name}", "step", {"command": filled(step.run, self.settings, seed)})
        shutil.rmtree(makes, ignore_errors=True)  # what a killed try left
        return Child(
            name,
            step_command(filled(step.run, self.settings, seed)),
            self.folder / "state" / f"prepare-{name}.out",
            {"INSPECT_DISPLAY": "plain", **self.environment()},
        )

    def _step_done(self, name: str, step: Step, seed: int | None) -> None:
        makes = Path(filled(step.makes, self.settings, seed))
        if not makes.exists():
            raise AblationError(f"step {name!r} ended well, but there is no {makes}, which it was to make.")
        if step.all_right:
            log = finished_log(makes)
            outcomes = outcomes_from_log(log) if log is not None else None
            if outcomes is None or outcomes.k < outcomes.n:
                said = f"{outcomes.k} of {outcomes.n} are right" if outcomes else "it left no whole log"
                raise AblationError(f"step {name!r} must be right on every question, but {said}; see {makes}.")
        self.state.note(f"prepare-{name}", "prepared", {"makes": str(makes)})

    # Trainings

    def trainings(self) -> list[Job]:
        """The trainings that are not done."""
        return [
            Job(each.name, partial(self._training, each), partial(self._trained, each), "training")
            for each in self.plan.trainings.values()
            if each.ours and self.state.noted(each.name, "trained") is None
        ]

    def _training(self, training: Training) -> Child:
        self.state.claim(training.name, "training", training_made_with(training, self.settings))
        resumable = [saved for saved in checkpoints(training.folder) if saved.resumable]
        if not resumable:
            self._start_anew(training)
        begun = resumable[-1].epoch if resumable else 0.0
        self.state.note(training.name, "begun", {"at": time.time(), "epoch": begun})
        return Child(
            training.name,
            training_command(training, self.settings),
            self.output_of(training),
            self.environment(),
            done=partial(epochs_done, self.output_of(training)),
        )

    def output_of(self, training: Training) -> Path:
        """Where a training's words go."""
        return self.folder / "state" / f"{training.name}.out"

    def _start_anew(self, training: Training) -> None:
        shutil.rmtree(training.folder, ignore_errors=True)
        for scoring in self.plan.scorings.values():
            if scoring.training == training.name:
                self.state.forget(scoring.name, "scored")
                shutil.rmtree(self.folder / "scorings" / scoring.name, ignore_errors=True)

    def _trained(self, training: Training) -> None:
        begun = self.state.noted(training.name, "begun") or {"at": time.time(), "epoch": 0.0}
        last = checkpoints(training.folder)
        epochs = last[-1].epoch if last else training.epochs
        self.state.note(
            training.name,
            "trained",
            {"epochs": epochs, "seconds": round(time.time() - begun["at"], 1), "from_epoch": begun["epoch"]},
        )
        prune(training, self.plan, self.state, self.settings)

    # Scorings

    def scorings(self) -> list[Job]:
        """The scorings that are not done."""
        return [
            Job(each.name, partial(self._scoring, each), partial(self._scored, each), "scoring")
            for each in self.plan.scorings.values()
            if self.state.noted(each.name, "scored") is None
        ]

    def _scoring(self, scoring: Scoring) -> Child | None:
        if scoring.training in self.failures:
            raise ChildFailed(f"{scoring.name} cannot be: its training failed.")
        checkpoint = self.checkpoint(scoring) if self.prepared() else None
        if checkpoint is None:
            return None
        self.state.claim(scoring.name, "scoring", scoring_made_with(scoring))
        words = [*scoring.words, "--model", f"checkpoint/{checkpoint}"]
        return evaluation(scoring.name, words, self.folder / "scorings" / scoring.name, self.environment())

    def checkpoint(self, scoring: Scoring) -> str | Path | None:
        """What a scoring asks; None while it is to come. Raises ChildFailed where it never will."""
        if not scoring.training:
            return scoring.base
        training = self.plan.trainings[scoring.training]
        over = self.state.noted(training.name, "trained") is not None  # asked first: one may appear just before the end
        found = checkpoint_of(training.folder, scoring.epoch) if scoring.epoch is not None else None
        if found is None and over and scoring.epoch in (None, training.epochs):
            found = training.folder  # the model that is saved at the end
        if found is None and over:
            saved = ", ".join(f"{each.epoch:g}" for each in checkpoints(training.folder)) or "none"
            raise ChildFailed(
                f"{scoring.name}: {training.name} has ended and left no checkpoint of epoch {scoring.epoch:g} "
                f"(it has: {saved}). Set save_strategy and save_steps so that it saves one."
            )
        return found

    def _scored(self, scoring: Scoring) -> None:
        score(scoring, self.state)
        if scoring.training:
            prune(self.plan.trainings[scoring.training], self.plan, self.state, self.settings)

    def catch_up(self) -> None:
        """Note what ended well before a kill could be noted, and finish what it broke off."""
        for scoring in self.plan.scorings.values():
            if self.state.noted(scoring.name, "scored") is None and self._log(scoring) is not None:
                score(scoring, self.state)
        for training in self.plan.trainings.values():
            prune(training, self.plan, self.state, self.settings)

    def _log(self, scoring: Scoring) -> Path | None:
        return finished_log(self.folder / "scorings" / scoring.name)

    def said_of(self, scoring: Scoring) -> str:
        """A scoring's outcome in a line."""
        row, unscored = row_of(self.state, scoring.name)
        return f"{row.k}/{row.n}" if row is not None else unscored


def steps_of(group: Mapping[str, Step], settings: Settings) -> list[tuple[str, Step, int | None]]:
    """A group's steps by their names, one a seed where the seed is part of the command."""
    return [
        (slug(name if seed is None else f"{name}-{seed}"), step, seed)
        for name, step in group.items()
        for seed in (settings.seeds if "{seed}" in step.run + step.makes else [None])
    ]


def training_command(training: Training, settings: Settings) -> list[str]:
    """The `accelerate launch` of a training."""
    launch = {
        key: str(from_here(str(value))) if key == "config_file" else value for key, value in settings.launch.items()
    }
    config = ["--config", str(from_here(training.config))] if training.config else []
    flags = flag_words(training.flags)
    command = [*LAUNCH, *flag_words(launch), str(from_here(settings.recipe)), *config, *flags]
    return [*command, "--output_dir", str(training.folder), "--disable_tqdm", "true"]


def step_command(text: str) -> list[str]:
    """A step's command; the programs are those of this environment, patterns stand for the files they match."""
    words = command_words(text)
    command = [*PROGRAMS.get(words[0], (words[0],))]
    for word in words[1:]:
        command += sorted(glob.glob(word)) or [word] if any(c in word for c in "*?") else [str(_file(word))]
    return command


def _file(word: str) -> str:
    return str(from_here(word)) if word.startswith("recipes/") else word
