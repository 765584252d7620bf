"""Stage verify: only what all who were asked agree on is verified, and every verdict is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.asking.questions import files_at_hand, files_of, in_input, question_of
from pipeline.row import Files, LinkedFile, NotebookRow
from pipeline.runs.store import read_rows
from tests.pipeline.asking.given import extracted, plan_of, question, row_of, run_stage
from tests.stand_ins.endpoint import StandIn
from tests.stand_ins.teacher_rules import seen, teacher


def asked(**changes: Any) -> NotebookRow:
    return row_of(
        row_id="0001/002/3.ipynb#1", question=question(**changes), extracted=extracted("../input/ferries/trips.csv")
    )


def reply(**changes: Any) -> str:
    plain = {
        "evidence": [{"cell": 3, "quote": "7.125"}],
        "reasoning": "It is the maximum.",
        "answerable": True,
        "unambiguous": True,
        "answer": "7.125",
    }
    return json.dumps(plain | changes)


def test_the_checker_is_not_told_the_answer(tmp_path: Path) -> None:
    prompts: list[dict[str, Any]] = []

    def rule(payload: dict[str, Any]) -> str:
        prompts.append(payload)
        return reply()

    row = asked(answer="7.1251", decimals=4, reasoning="a telling reason")
    run_stage(tmp_path, "verify", [row], rule)
    told = json.dumps(prompts[0]["messages"])
    assert seen(prompts[0]).question.startswith(question().question)
    assert "7.1251" not in told
    assert "telling reason" not in told


def test_agreement_is_verified_and_both_answers_are_kept(tmp_path: Path) -> None:
    (row,), dropped = run_stage(tmp_path, "verify", [asked()], lambda _: reply(answer="7.1250"))
    assert not dropped
    assert row.verification is not None
    (verdict,) = row.verification.verdicts
    assert (row.verification.verified, verdict.agrees, verdict.answer) == (True, True, "7.1250")
    assert row.question is not None
    assert row.question.answer == "7.125"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"answer": "9.25"}, "checker answers otherwise"),
        ({"answerable": False, "answer": ""}, "not answerable from the notebook"),
        ({"unambiguous": False}, "ambiguous"),
        ({"evidence": []}, "checked without evidence"),
        ({"evidence": [{"cell": 3, "quote": "invented"}]}, "checked without evidence"),
        ({"evidence": [{"cell": 3, "quote": " "}]}, "checked without evidence"),
    ],
)
def test_the_rest_is_dropped_with_the_reason_and_kept_beside(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    kept, dropped = run_stage(tmp_path, "verify", [asked()], lambda _: reply(**changes))
    assert not kept
    assert [one.reason for one in dropped] == [reason]
    (file,) = (tmp_path / "run").rglob("00000.unverified.jsonl.zst")
    (row,) = read_rows(file)
    assert row.verification is not None
    assert not row.verification.verified
    assert row.verification.verdicts[0].reasoning == "It is the maximum."


def test_unverified_rows_go_on_when_that_is_asked_for(tmp_path: Path) -> None:
    (row,), dropped = run_stage(tmp_path, "verify", [asked()], lambda _: reply(answer="9"), unverified="keep")
    assert not dropped
    assert row.verification is not None
    assert not row.verification.verified


def test_files_are_found_as_in_kaggles_input_folder_and_never_outside(tmp_path: Path) -> None:
    data = tmp_path / "input"
    (data / "ferries").mkdir(parents=True)
    (data / "ferries" / "trips.csv").write_text("fare\n1\n")
    (tmp_path / "secret.csv").write_text("x")
    (data / "link.csv").symlink_to(tmp_path / "secret.csv")
    found = data / "ferries" / "trips.csv"
    for name in (
        "../input/ferries/trips.csv",
        "/kaggle/input/ferries/trips.csv",
        "ferries/trips.csv",
        "..\\input\\ferries\\trips.csv",
    ):
        assert in_input(data, name) == found
    for name in ("../../secret.csv", "link.csv", "trips.csv", "", "../input/ferries"):
        assert in_input(data, name) is None
    assert files_of(asked(), data) == {"trips.csv": found}
    assert (
        files_of(asked().model_copy(update={"extracted": extracted("../input/ferries/trips.csv", "b.csv")}), data)
        is None
    )


def test_a_row_as_a_question_for_tasks() -> None:
    made = question_of(asked())
    assert (made.id, made.source_id, made.level, made.answer) == (
        "0001/002/3.ipynb#1",
        "0001/002/3.ipynb",
        "hard",
        "7.125",
    )
    assert made.checked == "asked by m; agreed: nobody"


def test_where_no_files_are_at_hand_the_row_says_that_nobody_solved_it(tmp_path: Path) -> None:
    (row,), _ = run_stage(tmp_path, "verify", [asked()], lambda _: reply(), solvers=[{"model": "none/none"}])
    assert row.verification is not None
    assert (row.verification.verified, row.verification.unsolved) == (True, "files are not at hand")


def test_files_that_the_run_fetched_come_first(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "trips.csv").write_text("fare\n1\n")
    file = LinkedFile(path="files/trips.csv", name="trips.csv", data_set="a/b/versions/1", bytes=7)
    fetched = asked().model_copy(update={"files": Files(files=(file,))})
    assert files_at_hand(fetched, tmp_path, None) == {"trips.csv": tmp_path / "files" / "trips.csv"}
    lacking = fetched.model_copy(update={"files": Files(files=(file,), unmatched=("b.csv",))})
    assert files_at_hand(lacking, tmp_path, None) is None
    assert files_at_hand(asked(), tmp_path, None) is None


TRIPS = "route,season,fare\nEmber,spring,8.00\nEmber,spring,6.25\nDune,autumn,1.50\n"
RANKED = {
    "kind": "rank",
    "question": "In trips.csv, which route has the highest total of fare?",
    "guidelines": "Answer with the name alone.",
    "answer_kind": "text",
    "decimals": None,
}


@pytest.mark.slow
def test_solvers_run_code_on_the_data_and_are_not_asked_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "input" / "ferries").mkdir(parents=True)
    (tmp_path / "input" / "ferries" / "trips.csv").write_text(TRIPS)
    right = asked(**RANKED, answer="Ember")
    wrong = asked(**RANKED, answer="Dune").model_copy(update={"id": "0001/002/4.ipynb#1"})

    def rule(payload: dict[str, Any]) -> Any:
        if payload.get("tools"):
            return teacher(payload)
        # A checker that is taken in by both.
        evidence = [{"cell": 4, "quote": "Ember"}]
        return reply(answer="Dune" if "Dune?" in seen(payload).notebook else "Ember", evidence=evidence)

    wrong = wrong.model_copy(update={"markdown": wrong.markdown + "\n<markdown_cell>\nDune?\n</markdown_cell>"})
    settings = {
        "data": str(tmp_path / "input"),
        "solvers": [{"model": "openai-api/standin/a"}, {"model": "openai-api/standin/b"}],
    }
    with StandIn(rule) as there:
        monkeypatch.setenv("STANDIN_BASE_URL", there.base_url)
        monkeypatch.setenv("STANDIN_API_KEY", "none")
        (row,), dropped = run_stage(tmp_path, "verify", [right, wrong], rule, **settings)
        assert [one.reason for one in dropped] == ["solvers agree on another answer"]
        assert row.verification is not None
        assert [(verdict.by, verdict.answer) for verdict in row.verification.verdicts] == [
            ("checker", "Ember"),
            ("solver", "Ember"),
            ("solver", "Ember"),
        ]
        plan = plan_of(tmp_path, "verify", [right, wrong], there.base_url, **settings)
        questions = (tmp_path / "run").rglob("questions.jsonl")
        assert all("Ember" not in path.read_text() for path in questions)
        solved = there.counts.requests
        (plan.folder("verify") / "00000.json").unlink()
        from pipeline.runs.plan import run_unit

        run_unit(plan, "verify", 0)
        # The checker's endpoint has another address now and is asked again; the solvers' logs are whole.
        assert there.counts.requests - solved == 2
