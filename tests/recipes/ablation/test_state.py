"""What was begun with something else is not gone on with, and the reason names what changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.ablation.settings import AblationError
from recipes.ablation.state import State, content_hash

MADE_WITH = {"flags": {"seed": 0, "num_train_epochs": 3}, "training set": ["aa"], "code": "c1"}


def test_the_same_is_gone_on_with_and_another_is_refused_with_what_changed(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.claim("3-epochs-seed-0", "training", MADE_WITH)
    state.claim("3-epochs-seed-0", "training", MADE_WITH)
    other = {**MADE_WITH, "flags": {"seed": 0, "num_train_epochs": 5}, "training set": ["bb"]}
    with pytest.raises(AblationError) as raised:
        state.check("3-epochs-seed-0", "training", other)
    said = str(raised.value)
    assert "num_train_epochs: 3 -> 5" in said
    assert "training set: ['aa'] -> ['bb']" in said
    assert "--run" in said


def test_other_code_alone_may_be_let_through_and_nothing_else(tmp_path: Path) -> None:
    State(tmp_path).claim("a", "training", MADE_WITH)
    newer = {**MADE_WITH, "code": "c2"}
    with pytest.raises(AblationError, match=r"code: c1 -> c2\. Go on all the same with --other-code"):
        State(tmp_path).check("a", "training", newer)
    State(tmp_path, other_code=True).check("a", "training", newer)
    with pytest.raises(AblationError, match="training set"):
        State(tmp_path, other_code=True).check("a", "training", {**newer, "training set": []})


def test_one_process_at_a_time_does_a_kind_of_work(tmp_path: Path) -> None:
    refused = pytest.raises(AblationError, match="another process does its training")
    with (
        State(tmp_path).alone("training"),
        State(tmp_path).alone("scoring"),
        refused,
        State(tmp_path).alone("training"),
    ):
        pass
    with State(tmp_path).alone("training"):
        pass


def test_contents_are_hashed_where_there_are_any_and_names_stand_for_themselves(tmp_path: Path) -> None:
    assert content_hash("Qwen/Qwen3-4B") == "Qwen/Qwen3-4B"
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}\n")
    before = content_hash(tmp_path)
    rows.write_text("{}\n{}\n")
    assert content_hash(tmp_path) != before
    assert content_hash(None) is None
