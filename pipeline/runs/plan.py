"""A run's plan: which stages, in which folders, each with its context; small enough to hand to any worker as text.

plan = Plan(config)                       # the stages of pipeline/runs/stages.py
run_unit(plan, "render", 17)              # one rank, from its input to its marker; what every executor calls
run_unit(plan, "dedup", GATHER)           # the stage's gather step
"""

from __future__ import annotations

import json
import shutil
import time
import traceback
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pipeline.runs.config import ConfigError, RunConfig, make_config, resolved
from pipeline.runs.layout import ERROR, GATHERED, GATHERED_MARKER, MARKER, of_rank, stage_folder
from pipeline.runs.stages import ORDER, Stage, StageContext, load_stages
from pipeline.runs.store import whole_file

GATHER = -1
ERROR_CHARACTERS = 8000


@dataclass(frozen=True)
class Plan:
    """The stages of one run. `order` names all stages there are; those that `config` names are run."""

    config: RunConfig
    order: tuple[str, ...] = ORDER

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The plan that `to_json` told."""
        raw = json.loads(text)
        order = tuple(raw["order"])
        return cls(make_config(raw["config"], load_stages(order)), order)

    def to_json(self) -> str:
        """The plan as text, with the run's folder in full, so that it means the same in another process."""
        config = replace(self.config, run=self.config.run.absolute())
        return json.dumps({"config": resolved(config), "order": self.order})

    @cached_property
    def stages(self) -> tuple[Stage[Any], ...]:
        """The stages that are run, in their order."""
        return tuple(stage for stage in load_stages(self.order) if stage.name in self.config.stages)

    def stage(self, name: str) -> Stage[Any]:
        """A stage by its name. Raises ConfigError where the run has none of that name."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise ConfigError(f"{name}: not a stage of this run. It has {', '.join(stage.name for stage in self.stages)}.")

    def folder(self, name: str) -> Path:
        """A stage's folder. Its number is its place among all stages there are, also those that this run leaves out."""
        names = [stage.name for stage in load_stages(self.order)]
        return stage_folder(self.config.run, names.index(name) + 1, name)

    def before(self, name: str) -> Stage[Any] | None:
        """The stage whose rows a stage reads."""
        names = [stage.name for stage in self.stages]
        place = names.index(name)
        return self.stages[place - 1] if place else None

    def context(self, name: str) -> StageContext[Any]:
        """What a stage is told."""
        stage, before = self.stage(name), self.before(name)
        return StageContext(
            name=name,
            settings=self.config.stages[name],
            run=self.config.run,
            folder=self.folder(name),
            before=self.folder(before.name) if before else None,
            tasks=1 if stage.one_task else self.config.tasks,
            limit=self.config.limit,
            endpoints=self.config.endpoints,
            calls=self.config.calls,
        )


def run_unit(plan: Plan, name: str, rank: int) -> None:
    """Run one rank of a stage (or, for GATHER, its gather step) to its marker; one that has it is left alone.

    Whatever it raises is raised on, and its traceback is left in the rank's error file.
    """
    context = plan.context(name)
    error = error_file(context.folder, rank)
    if finished(context.folder, rank):
        return
    error.unlink(missing_ok=True)
    try:
        if rank == GATHER:
            _gather(plan.stage(name), context)
        else:
            _run_rank(plan.stage(name), context, rank)
    except Exception:
        with whole_file(error, durable=False) as file:
            file.write(traceback.format_exc()[-ERROR_CHARACTERS:].encode(errors="replace"))
        raise


def finished(folder: Path, rank: int) -> bool:
    """Whether a rank, or the gather step, has its marker."""
    return (folder / GATHERED_MARKER if rank == GATHER else of_rank(folder, rank, MARKER)).exists()


def error_file(folder: Path, rank: int) -> Path:
    """Where it is said why a rank, or the gather step, failed."""
    return folder / f"gather{ERROR}" if rank == GATHER else of_rank(folder, rank, ERROR)


def gathered(folder: Path) -> Mapping[str, Any] | None:
    """What a stage's gather step said when it was done (rows, seconds), or None while it is not."""
    path = folder / GATHERED_MARKER
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _run_rank(stage: Stage[Any], context: StageContext[Any], rank: int) -> None:
    from pipeline.runs.steps import steps_of_rank

    documents = None
    for step in steps_of_rank(stage, context):
        documents = step(documents, rank, context.tasks)
    deque(documents or (), maxlen=0)


def _gather(stage: Stage[Any], context: StageContext[Any]) -> None:
    assert stage.gather is not None
    for left in [*context.folder.glob(f"{GATHERED}.partial"), *context.folder.glob(GATHERED)]:
        shutil.rmtree(left)
    partial = context.folder / f"{GATHERED}.partial"
    partial.mkdir(parents=True)
    began = time.monotonic()
    rows = stage.gather(context, partial)
    partial.rename(context.gathered)
    with whole_file(context.folder / GATHERED_MARKER) as file:
        file.write(json.dumps({"rows": rows, "seconds": round(time.monotonic() - began, 3)}).encode() + b"\n")
