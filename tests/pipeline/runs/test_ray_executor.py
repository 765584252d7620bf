"""The same YAML on a local Ray of two workers gives the same rows, also when a worker is killed. Slow: Ray starts."""

from pathlib import Path

import pytest

from pipeline.runs.run import missing_ranks
from pipeline.runs.stages import shards
from pipeline.runs.store import read_rows

pytest.importorskip("ray")
pytestmark = pytest.mark.slow
RAY = {"workers": 2, "memory_gb": 0.5, "stall_minutes": 2.5}


def rows_of(plan, stage: str) -> list:
    return [row for shard in shards(plan.folder(stage)) for row in read_rows(shard)]


def test_the_same_yaml_gives_the_same_rows(toy_plan, run_toys, tmp_path: Path) -> None:
    stages = {"numbers": {}, "cluster": {}, "sorted": {}}
    here = toy_plan(stages)
    there = toy_plan(stages, run=str(tmp_path / "there"), executor="ray", ray=RAY)
    run_toys(here)

    funnel, _ = run_toys(there)

    assert funnel.complete
    for stage in stages:
        assert rows_of(there, stage) == rows_of(here, stage)


def test_a_rank_whose_worker_was_killed_is_run_again(toy_plan, run_toys, tmp_path: Path) -> None:
    once = {"die_at": "n5.ipynb", "die_once": str(tmp_path / "died")}
    plan = toy_plan({"numbers": {}, "paid": once}, executor="ray", ray=RAY)
    funnel, _ = run_toys(plan)
    assert (tmp_path / "died").exists()
    assert funnel.complete


def test_an_exception_in_one_rank_leaves_the_others_their_results(toy_plan, run_toys) -> None:
    plan = toy_plan({"numbers": {}, "paid": {"raise_for": "n5.ipynb"}}, executor="ray", ray=RAY)
    _, said = run_toys(plan)
    assert missing_ranks(plan, "paid") == [1]
    assert "cannot digest n5.ipynb" in said
