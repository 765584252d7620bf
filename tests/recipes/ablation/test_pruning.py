"""Checkpoints by rule: the best and the last stay, what waits or was never asked stays, the rest of the scored goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.trainings import checkpoints
from recipes.ablation.plan import Plan, Training, make_plan
from recipes.ablation.pruning import prune
from recipes.ablation.settings import Settings, read_settings
from recipes.ablation.state import State

TOLD = ("task", "split", "model", "scaffold", "commit", "data_hash", "model_hash", "log", "recorded_at")
ROW: dict[str, Any] = {
    **dict.fromkeys(TOLD, "x"),
    "kind": "run",
    "exposure": "general",
    "n": 72,
    "errors": 0,
    "interval": {"low": 0.0, "high": 1.0},
    "tokens": 1,
    "cost_basis": "local",
    "wall_s": 1.0,
}


@pytest.fixture
def ablation(tmp_path: Path) -> tuple[Settings, Plan, State, Training]:
    """One training of five epochs with a checkpoint each, of which epoch 4 is not asked for."""
    run = tmp_path / "run"
    content = {"study": "s", "run": str(run), "train": {"model_name_or_path": "m", "num_train_epochs": 5}}
    content["arms"] = {"a": {"score": [1, 2, 3, 5]}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(content))
    settings = read_settings(tmp_path / "a.yaml")
    plan = make_plan(settings)
    training = plan.trainings["a-seed-0"]
    for epoch in range(1, 6):
        save(training, epoch)
    return settings, plan, State(run), training


def save(training: Training, epoch: int) -> None:
    folder = training.folder / f"checkpoint-{10 * epoch}"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(json.dumps({"epoch": epoch}))


@pytest.fixture
def scored(ablation: tuple[Any, ...]) -> Callable[[int, int], None]:
    def note(epoch: int, k: int) -> None:
        ablation[2].note(f"a-seed-0-epoch-{epoch}", "scored", {"log": "x", "row": ROW | {"k": k}})

    return note


def left(training: Training) -> list[float]:
    return [saved.epoch for saved in checkpoints(training.folder)]


def test_the_best_and_the_last_stay_of_what_was_scored(ablation: Any, scored: Callable[[int, int], None]) -> None:
    settings, plan, state, training = ablation
    for epoch, k in ((1, 10), (2, 54), (3, 53), (5, 50)):
        scored(epoch, k)
    assert prune(training, plan, state, settings) == ["checkpoint-10", "checkpoint-30"]
    assert left(training) == [2, 4, 5], "4 was never asked for"
    assert not list(training.folder.glob(".pruned*"))


def test_what_waits_stays_and_of_equals_the_earliest(ablation: Any, scored: Callable[[int, int], None]) -> None:
    settings, plan, state, training = ablation
    scored(1, 30)
    scored(2, 30)
    prune(training, plan, state, settings)
    assert left(training) == [1, 3, 4, 5]


def test_the_newest_stays_while_it_trains_for_a_killed_training_goes_on_from_it(
    ablation: Any, scored: Callable[[int, int], None]
) -> None:
    settings, plan, state, training = ablation
    for epoch in (4, 5):
        (training.folder / f"checkpoint-{10 * epoch}" / "trainer_state.json").unlink()
    for epoch, k in ((1, 50), (2, 20), (3, 10)):
        scored(epoch, k)
    prune(training, plan, state, settings)
    assert left(training) == [1, 3]


def test_all_stay_where_that_is_asked_for_and_in_a_folder_that_is_not_ours(
    ablation: Any, scored: Callable[[int, int], None]
) -> None:
    settings, plan, state, training = ablation
    scored(1, 1)
    scored(2, 2)
    assert prune(training, plan, state, settings.model_copy(update={"keep": "all"})) == []
    theirs = Training(training.name, training.folder, None, {}, "m", 5.0, ours=False)
    assert prune(theirs, plan, state, settings) == []


def test_what_a_kill_left_half_removed_is_cleared_away(ablation: Any) -> None:
    settings, plan, state, training = ablation
    (training.folder / ".pruned-checkpoint-10").mkdir()
    prune(training, plan, state, settings)
    assert not list(training.folder.glob(".pruned*"))
