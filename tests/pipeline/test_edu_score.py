"""Stage edu_score: the rubric's points add up, the best are kept, and nobody's orders but ours are followed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.runs.config import ConfigError
from pipeline.runs.plan import run_unit
from pipeline.stages.edu_score import CRITERIA, Rubric, foretell
from tests.pipeline.asking.given import ANALYSIS, plan_of, row_of, run_stage
from tests.stand_ins.endpoint import StandIn
from tests.stand_ins.teacher_rules import seen


def reply(points: str = "11110", total: int | None = None, disqualified: str = "none") -> str:
    given: dict[str, Any] = {
        name: {"why": "so", "points": int(point)} for name, point in zip(CRITERIA, points, strict=True)
    }
    added = sum(map(int, points)) if total is None else total
    return json.dumps({"disqualified": disqualified, **given, "total": added, "why": "because"})


def test_four_points_are_kept_with_what_they_are_for(tmp_path: Path) -> None:
    (row,), dropped = run_stage(tmp_path, "edu_score", [row_of()], lambda _: reply())
    assert not dropped
    assert row.edu_score is not None
    assert (row.edu_score.total, row.edu_score.insight, row.edu_score.why) == (4, 0, "because")
    assert row.markdown == row_of().markdown


def test_less_is_dropped_with_the_reason(tmp_path: Path) -> None:
    answers = {"a": reply("11100"), "b": reply("00000", disqualified="not English"), "c": reply("11111")}
    rows = [row_of([*ANALYSIS, ("text", f"I am {name}.")], name) for name in answers]

    def rule(payload: dict[str, Any]) -> str:
        return next(answer for name, answer in answers.items() if f"I am {name}." in seen(payload).notebook)

    kept, dropped = run_stage(tmp_path, "edu_score", rows, rule)
    assert [row.id for row in kept] == ["c"]
    assert {one.id: one.reason for one in dropped} == {"a": "score below 4", "b": "disqualified: not English"}


def test_the_least_is_a_setting(tmp_path: Path) -> None:
    kept, _ = run_stage(tmp_path, "edu_score", [row_of()], lambda _: reply("11100"), least=3)
    assert len(kept) == 1


@pytest.mark.parametrize("wrong", [reply("11110", total=5), reply("11111", disqualified="broken"), '{"total": 4}', "4"])
def test_a_reply_that_does_not_add_up_is_asked_for_again_and_then_dropped(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ValidationError):
        Rubric.model_validate_json(wrong)
    asked = []

    def rule(payload: dict[str, Any]) -> str:
        asked.append(payload)
        return wrong

    kept, dropped = run_stage(tmp_path, "edu_score", [row_of()], rule)
    assert not kept
    assert dropped[0].reason in ("no usable reply: wrong schema", "no usable reply: no JSON")
    assert len(asked) == 3


def test_a_second_reply_that_adds_up_is_taken(tmp_path: Path) -> None:
    replies = [reply("11110", total=5), reply("11110")]
    kept, _ = run_stage(tmp_path, "edu_score", [row_of()], lambda _: replies.pop(0))
    assert len(kept) == 1


def test_of_a_long_notebook_it_is_counted_what_was_not_shown(tmp_path: Path) -> None:
    long = [*ANALYSIS, *[("code", f"step({number})", "figure " * 99) for number in range(90)]]
    sizes = []

    def rule(payload: dict[str, Any]) -> str:
        sizes.append(len(seen(payload).notebook))
        return reply()

    (row,), _ = run_stage(tmp_path, "edu_score", [row_of(long)], rule, notebook_characters=8_000)
    assert sizes[0] <= 8_000
    assert row.edu_score is not None
    assert row.edu_score.characters_cut > 50_000


def test_an_endpoint_that_is_not_there_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    with StandIn() as there:
        plan = plan_of(tmp_path, "edu_score", [row_of()], there.base_url, endpoint="jugde")
        run_unit(plan, "render", 0)
        with pytest.raises(
            ConfigError, match=r"stages.edu_score: asks the endpoint 'jugde', and `endpoints` names judge"
        ):
            run_unit(plan, "edu_score", 0)


def test_what_was_paid_is_not_paid_again_when_the_rank_runs_again(tmp_path: Path) -> None:
    rows = [row_of([*ANALYSIS, ("text", f"Number {number}")], f"{number}") for number in range(5)]
    with StandIn(lambda _: reply()) as there:
        plan = plan_of(tmp_path, "edu_score", rows, there.base_url)
        run_unit(plan, "render", 0)
        run_unit(plan, "edu_score", 0)
        marker = plan.folder("edu_score") / "00000.json"
        first = json.loads(marker.read_text())["counts"]
        marker.unlink()
        run_unit(plan, "edu_score", 0)
        assert there.counts.requests == 5
    again = json.loads(marker.read_text())["counts"]
    assert again["input_tokens"] == first["input_tokens"] > 0


def test_a_dry_run_tells_what_calls_will_cost_and_makes_none(tmp_path: Path) -> None:
    rows = [row_of([*ANALYSIS, ("text", f"Number {number}")], f"{number}") for number in range(5)]
    with StandIn(lambda _: reply()) as there:
        plan = plan_of(tmp_path, "edu_score", rows, there.base_url)
        (before,) = foretell(plan.context("edu_score"))
        run_unit(plan, "render", 0)
        (after,) = foretell(plan.context("edu_score"))
        assert there.counts.requests == 0
    assert "the stage before has no rows yet" in before
    assert after.startswith("stand-in, a call a notebook: 5 rows, from 5 sampled")
