"""The local executor outlives its workers, keeps ranks within their limits, and leaves nothing running behind."""

import time
from pathlib import Path

import psutil
import pytest

from pipeline.runs.run import missing_ranks

DYING = {"die_at": "n5.ipynb"}


def test_a_rank_whose_worker_was_killed_is_run_again(toy_plan, run_toys, tmp_path: Path) -> None:
    plan = toy_plan({"numbers": {}, "paid": {**DYING, "die_once": str(tmp_path / "died")}})
    funnel, _ = run_toys(plan)
    assert (tmp_path / "died").exists()
    assert funnel.complete


def test_a_rank_that_always_kills_its_worker_is_given_up_and_the_others_are_done(toy_plan, run_toys) -> None:
    plan = toy_plan({"numbers": {}, "paid": DYING}, local={"attempts": 2})
    funnel, said = run_toys(plan)
    assert missing_ranks(plan, "paid") == [1]
    assert "its worker ended by signal SIGKILL, 2 times" in said
    assert not funnel.complete


@pytest.mark.parametrize(
    ("settings", "local", "said"),
    [
        ({"hold_mb": 600, "sleep_s": 300}, {"memory_gb": 0.5}, "more than 0.5 GB"),
        ({"sleep_s": 300}, {"minutes": 0.02}, "it took more than 0.02 minutes"),
    ],
)
def test_a_rank_stays_within_its_limits(settings, local, said, toy_plan, run_toys) -> None:
    plan = toy_plan({"numbers": {}, "paid": {**DYING, **settings}}, local={"attempts": 1, **local})
    began = time.monotonic()
    _, printed = run_toys(plan)
    assert said in printed
    assert missing_ranks(plan, "paid") == [1]
    assert time.monotonic() - began < 200


def test_no_worker_is_left_behind(toy_plan, run_toys) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    run_toys(toy_plan())
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
