"""What `make bench-train` says of its runs: the ratio, whether losses are the same, and what it need not run again."""

from pathlib import Path

import pytest

from scripts.bench_train import summary
from scripts.timed_training import Kept, Run


def runs(ours_cpu_s: float, ours_loss: float) -> list[Run]:
    trl = [Run("TRL", seed, 1000, 10.0, loss) for seed, loss in enumerate((1.0, 1.1, 1.2))]
    return trl + [Run("ours", seed, 1000, ours_cpu_s, ours_loss) for seed in range(3)]


def test_both_promises_are_kept_by_a_quick_run_of_the_same_loss() -> None:
    result = summary(runs(ours_cpu_s=4.0, ours_loss=1.2), {})
    assert result["ratio"] == pytest.approx(2.5)
    assert result["as fast as wanted"]
    assert result["same loss"]


def test_a_slower_run_and_a_worse_loss_are_said_to_be_so() -> None:
    result = summary(runs(ours_cpu_s=5.0, ours_loss=1.31), {})
    assert not result["as fast as wanted"]
    assert not result["same loss"]
    assert result["ours minus TRL's"] == pytest.approx(0.21)


def test_what_was_measured_before_it_was_broken_off_is_not_measured_again(tmp_path: Path) -> None:
    file, run = tmp_path / "begun.jsonl", Run("TRL", 0, 1000, 10.0, 1.0)
    Kept(file).run("rows, TRL, seed 0", lambda: run)
    assert Kept(file).run("rows, TRL, seed 0", lambda: pytest.fail("measured again")) == run
    assert Kept(file).run("rows, ours, seed 0", lambda: Run("ours", 0, 1000, 4.0, 1.0)).who == "ours"
