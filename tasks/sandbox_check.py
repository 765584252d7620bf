"""Does a sandbox hold? Known good cells and the battery of hostile ones, run in whichever sandbox is chosen.

    inspect eval tasks/sandbox_check.py --model none/none                            # dabstep-bwrap
    inspect eval dabstep/sandbox_check --model none/none -T sandbox=dabstep-docker   # or dabstep-e2b

Accuracy 1.0 in a log that ended well certifies the sandbox: every cell came out as it must, left a kernel that
computes, showed no secret of the host and changed nothing there. The log says of each other cell what was wrong, and of
a cell whose right outcome is another in this sandbox why that is so (`differs`). No model is called.

Task parameters (`-T name=value`):

sandbox     the kernel sandbox
kinds       only these kinds of cells, e.g. network,disk
"""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from contextlib import ExitStack

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, Target, accuracy, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import SandboxEnvironmentSpec, sandbox

from harness.kernel.battery import LIMITS, BatteryCell, Files, Stage, attempt, battery_cells, staged
from harness.kernel.sandbox import KernelConfig, KernelSandbox
from tasks.arguments import ArgumentError, given_names
from tasks.notebook_task import SANDBOX

TIME_LIMIT_S = 300
COMPLAINTS = "complaints"


@task
def sandbox_check(sandbox: str = SANDBOX, kinds: str | Sequence[str] | None = None) -> Task:
    """Known good and hostile cells with known outcomes."""
    cells = _of_kinds(given_names(kinds), sandbox)
    stack = ExitStack()
    stage = stack.enter_context(staged())
    atexit.register(stack.close)
    config = KernelConfig.of(dict(stage.files), limits=LIMITS)
    samples = [
        Sample(
            id=cell.id,
            input=cell.code,
            target=" or ".join(cell.status),
            metadata={"kind": cell.kind, **({"differs": cell.differs} if cell.differs else {})},
            sandbox=SandboxEnvironmentSpec(sandbox, config),
        )
        for cell in cells
    ]
    return Task(
        dataset=MemoryDataset(samples, name="sandbox_check"),
        solver=run_cell({cell.id: cell for cell in cells}, stage),
        scorer=as_expected(),
        time_limit=TIME_LIMIT_S,
        continue_on_fail=True,  # to the end, but
        fail_on_error=True,  # a sample without a sandbox is no part of the accuracy: the log then says "error"
        metadata={"sandbox": sandbox, "cells": len(cells)},
    )


def _of_kinds(kinds: Sequence[str], sandbox: str) -> list[BatteryCell]:
    cells = battery_cells(sandbox)
    if unknown := set(kinds) - {cell.kind for cell in cells}:
        there = ", ".join(dict.fromkeys(cell.kind for cell in cells))
        raise ArgumentError(f"-T kinds={','.join(sorted(unknown))}: no such cells. There are: {there}.")
    return [cell for cell in cells if not kinds or cell.kind in kinds]


@solver
def run_cell(cells: dict[str, BatteryCell], stage: Stage) -> Solver:
    """Run a sample's cell in its kernel, and what it wants of the sandbox's file API."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        environment = sandbox()

        async def read(path: str) -> bytes:
            return await environment.read_file(path, text=False)

        kernel = environment.as_type(KernelSandbox).kernel  # type: ignore[type-abstract]
        try:
            outcome = await attempt(cells[str(state.sample_id)], kernel, Files(read, environment.write_file), stage)
        except Exception as error:  # `run` never raises for what a cell does
            state.store.set(COMPLAINTS, [f"the kernel raised {type(error).__name__}: {error}"])
            return state
        state.output = ModelOutput.from_content("none", outcome.shown)
        state.store.set(COMPLAINTS, list(outcome.complaints))
        return state

    return solve


@scorer(metrics=[accuracy()])
def as_expected() -> Scorer:
    """Right where nothing is to be complained of; a cell that was not run is wrong."""

    async def score(state: TaskState, target: Target) -> Score:
        complaints = state.store.get(COMPLAINTS)
        if complaints is None:
            complaints = ["the cell was not run"]
        return Score(
            value=INCORRECT if complaints else CORRECT,
            answer=state.output.completion[:500],
            explanation="\n".join(complaints) or "as expected",
        )

    return score
