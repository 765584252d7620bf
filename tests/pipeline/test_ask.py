"""Stage ask: a row for every question that keeps to the rules, a reason for every other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.pipeline.asking.given import extracted, question, row_of, run_stage


def proposal(**changes: Any) -> dict[str, Any]:
    return question(**changes).model_dump(mode="json", exclude={"model"})


def replying(*proposals: dict[str, Any], why_none: str = "") -> str:
    return json.dumps({"questions": list(proposals), "why_none": why_none})


ROW = row_of(extracted=extracted("../input/ferries/trips.csv"))
RANK = {
    "kind": "rank",
    "question": "Which route of trips.csv has the highest mean fare?",
    "answer": "Ember",
    "answer_kind": "text",
    "decimals": None,
    "evidence": [{"cell": 4, "quote": "best route: Ember"}],
}


def test_each_question_becomes_a_row_of_its_own(tmp_path: Path) -> None:
    said = replying(proposal(), proposal(**RANK))
    kept, dropped = run_stage(tmp_path, "ask", [ROW], lambda _: said)
    assert not dropped
    assert [row.id for row in kept] == [f"{ROW.id}#1", f"{ROW.id}#2"]
    first, second = (row.question for row in kept)
    assert first is not None
    assert second is not None
    assert (first.answer, first.answer_kind, first.decimals, first.model) == ("7.125", "number", 3, "stand-in")
    assert second.evidence[0].quote == "best route: Ember"
    assert all(row.extracted == ROW.extracted for row in kept)


def test_each_dropped_question_has_its_reason(tmp_path: Path) -> None:
    said = replying(
        proposal(question="What F1 score does the model reach?"),
        proposal(),
        proposal(question="What is the largest mean of the routes' fares in trips.csv?"),
        proposal(kind="riddle"),
        proposal(evidence=[{"cell": 3, "quote": "8.0"}]),
        proposal(**RANK),
    )
    kept, dropped = run_stage(tmp_path, "ask", [ROW], lambda _: said, most=5)
    assert [row.id for row in kept] == [f"{ROW.id}#2"]
    assert {one.id.rpartition("#")[2]: one.reason for one in dropped} == {
        "1": "asks for a model's metric",
        "3": "repeats another question",
        "4": "of a kind not asked for",
        "5": "quote is not in that output",
        "6": "more than asked for",
    }
    assert "F1 score" in dropped[0].sample


def test_a_notebook_without_questions_is_dropped_with_the_models_reason(tmp_path: Path) -> None:
    kept, dropped = run_stage(tmp_path, "ask", [ROW], lambda _: replying(why_none="only pictures"))
    assert not kept
    assert (dropped[0].id, dropped[0].reason, dropped[0].sample) == (ROW.id, "nothing worth asking", "only pictures")


def test_the_writer_is_told_the_kinds_the_number_and_the_files(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    def rule(payload: dict[str, Any]) -> str:
        asked.append(payload)
        return replying(proposal(kind="spread"))

    kinds = {"spread": "how far figures lie apart."}
    kept, _ = run_stage(tmp_path, "ask", [ROW], rule, most=2, kinds=kinds)
    assert len(kept) == 1
    system, user = (message["content"] for message in asked[0]["messages"])
    assert "at most 2 questions" in system
    assert '- "spread": how far figures lie apart.' in system
    assert "multi-step" not in system
    assert "../input/ferries/trips.csv" in user
