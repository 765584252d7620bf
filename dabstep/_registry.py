"""What Inspect's entry point finds: every task under `dabstep/`, the agent, the kernel sandbox, the model providers.

    inspect eval dabstep/dabstep_dev --model ...
    inspect eval dabstep/generated_qa -T questions=FOLDER --solver dabstep/play_solution --model none/none

Inspect names what it registers after the package that defines it, so tasks and solvers have their face here; what they
are is in `tasks/` and `harness/`. Inspect only warns when this module cannot be imported: a test imports it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import unwrap
from typing import Any, ParamSpec, TypeVar, get_type_hints

from inspect_ai import Task, task
from inspect_ai.agent import Agent, agent
from inspect_ai.solver import Solver, solver

import dabstep.study_runs  # noqa: F401  # its hook
import harness.agent
import harness.kernel.bwrap_sandbox
import harness.kernel.docker_sandbox
import harness.kernel.e2b_sandbox
import harness.models.checkpoint
import harness.models.replay
import harness.prices
import harness.progress
import harness.scoring
import pipeline.simulated.sandbox  # noqa: F401  # its sandbox
import tasks.dabstep
import tasks.generated_qa
import tasks.sandbox_check

Parameters = ParamSpec("Parameters")
Made = TypeVar("Made")


def face_of(registered: Callable[Parameters, Made]) -> Callable[[Callable[..., Made]], Callable[Parameters, Made]]:
    """Give a function of this module the parameters and documentation of `registered`, and nothing of its place."""
    function = plain(registered)

    def take_over(face: Callable[..., Made]) -> Callable[Parameters, Made]:
        face = wraps(function, assigned=("__name__", "__qualname__", "__doc__"))(face)
        face.__annotations__ = get_type_hints(function)  # as types: their names mean nothing here
        return face

    return take_over


def plain(registered: Callable[..., Made]) -> Callable[..., Made]:
    """The function below Inspect's decorator, which would mark what it makes with the name it has elsewhere."""
    function: Callable[..., Made] = unwrap(registered)
    return function


@task
@face_of(tasks.dabstep.dabstep_dev)
def dabstep_dev(**arguments: Any) -> Task:
    return plain(tasks.dabstep.dabstep_dev)(**arguments)


@task
@face_of(tasks.dabstep.dabstep_easy)
def dabstep_easy(**arguments: Any) -> Task:
    return plain(tasks.dabstep.dabstep_easy)(**arguments)


@task
@face_of(tasks.dabstep.dabstep_hard)
def dabstep_hard(**arguments: Any) -> Task:
    return plain(tasks.dabstep.dabstep_hard)(**arguments)


@task
@face_of(tasks.generated_qa.generated_qa)
def generated_qa(**arguments: Any) -> Task:
    return plain(tasks.generated_qa.generated_qa)(**arguments)


@task
@face_of(tasks.sandbox_check.sandbox_check)
def sandbox_check(**arguments: Any) -> Task:
    return plain(tasks.sandbox_check.sandbox_check)(**arguments)


@agent
@face_of(harness.agent.notebook)
def notebook(**arguments: Any) -> Agent:
    return plain(harness.agent.notebook)(**arguments)


@solver
@face_of(harness.agent.play_solution)
def play_solution(**arguments: Any) -> Solver:
    return plain(harness.agent.play_solution)(**arguments)
