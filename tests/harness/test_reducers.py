"""Inspect's own reducers over our scorers' values: right, wrong, without an answer key, never run to the end."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Epochs, Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.solver import Generate, Solver, TaskState, solver

from harness.scoring import ANSWER_KNOWN, grade, unscored
from harness.tools import NotebookState
from results.from_log import result_from_log

METADATA = {"data_hash": "sha256:" + "a" * 64, "split": "held-out", "scaffold": "notebook", "exposure": "general"}


@solver
def says_by_epoch() -> Solver:
    """Stands for an agent: what it answers in each epoch is in the sample's metadata; "crash" fails, None is none."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        said = state.metadata["says"][state.epoch - 1]
        if said == "crash":
            raise RuntimeError("the sandbox is gone")
        state.store_as(NotebookState).answer = said
        return state

    return solve


def sample(id: str, *says: str | None, known: bool = True) -> Sample:
    return Sample(id=id, input="How many?", target="7", metadata={"says": says, ANSWER_KNOWN: known})


def run(folder: Path, samples: list[Sample], reducer: str | None, scorer: Any = None) -> EvalLog:
    task = Task(dataset=samples, solver=says_by_epoch(), scorer=scorer or grade(), metadata=METADATA)
    epochs = Epochs(4, reducer) if reducer else Epochs(4)
    [log] = eval(task, model="none/none", epochs=epochs, log_dir=str(folder), display="none", fail_on_error=False)
    return log


def accuracy(log: EvalLog) -> float:
    assert log.results is not None
    [score] = log.results.scores
    return float(score.metrics["accuracy"].value)


MIXED = (("7", "7", "7", "8"), ("7", "8", "8", None), ("8", "8", "8", "8"))


@pytest.mark.parametrize(
    ("reducer", "expected"),
    [
        ("mean", (3 / 4 + 1 / 4 + 0) / 3),
        ("median", (1 + 0 + 0) / 3),
        ("mode", 1 / 3),
        ("max", 2 / 3),
        ("at_least_2", 1 / 3),
        ("pass_at_1", (3 / 4 + 1 / 4 + 0) / 3),
        ("pass_at_2", (1 + 1 / 2 + 0) / 3),
        ("pass_at_4", 2 / 3),
        ("pass_k_2", (1 / 2 + 0 + 0) / 3),
    ],
)
def test_a_reducer_means_what_it_says_and_pass_at_k_is_that_of_the_row(
    reducer: str, expected: float, tmp_path: Path
) -> None:
    log = run(tmp_path, [sample(f"q{number}", *says) for number, says in enumerate(MIXED)], reducer)
    assert accuracy(log) == pytest.approx(expected)
    row = result_from_log(log.location)
    assert (row.k, row.n, row.questions, row.epochs) == (4, 12, 3, 4), "the row does not depend on the reducer"
    told = {told.k: told.value for told in row.pass_at}
    if reducer.startswith("pass_at") and reducer != "pass_at_1":
        assert told[int(reducer[-1])] == pytest.approx(expected)


def test_a_failed_attempt_leaves_inspects_figure_but_not_ours(tmp_path: Path) -> None:
    log = run(tmp_path, [sample("q1", "7", "crash", "crash", "crash")], "mean")
    assert accuracy(log) == 1.0, "Inspect's mean is over the attempt that ended"
    row = result_from_log(log.location)
    assert (row.k, row.n, row.errors) == (1, 4, 3)
    assert {told.k: told.value for told in row.pass_at} == {2: pytest.approx(1 / 2), 4: 1.0}


@pytest.mark.parametrize("reducer", ["mean", "mode", "max", "pass_at_2"])
def test_a_question_without_a_key_stays_out_of_every_reduction(reducer: str, tmp_path: Path) -> None:
    log = run(tmp_path, [sample("q1", *"7777"), sample("q2", *"7777", known=False)], reducer)
    assert accuracy(log) == 1.0
    reductions = {each.sample_id: each.value for each in log.reductions[0].samples} if log.reductions else {}
    assert math.isnan(float(str(reductions["q2"])))


@pytest.mark.parametrize("reducer", [None, "mode", "max"])
def test_a_task_without_any_key_counts_attempts_under_a_reducer(reducer: str | None, tmp_path: Path) -> None:
    log = run(tmp_path, [sample("q1", "7", None, "7", "7", known=False)], reducer, unscored())
    assert log.status == "success", log.error
    assert log.results is not None
    values = {name: metric.value for score in log.results.scores for name, metric in score.metrics.items()}
    assert values == {"questions": 4, "answered": 3}
