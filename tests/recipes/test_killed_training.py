"""`recipes/sft.py` killed with SIGKILL at random steps and started again: the same weights, byte by byte."""

from pathlib import Path

import pytest

from scripts.bench_train_kills import compare


@pytest.mark.slow
def test_a_training_killed_three_times_ends_with_the_weights_and_the_curve_of_one_that_never_was(
    tmp_path: Path,
) -> None:
    result = compare(tmp_path, rows=32, kills=3, seed=1)
    assert [kill["had ended"] for kill in result["kills"]] == [False] * 3
    assert result["same curve"], result["first difference"]
    assert result["same weights"]
    assert result["lines of the curve"] == result["steps"] // 3
    assert any(kill["newest"] for kill in result["kills"])
