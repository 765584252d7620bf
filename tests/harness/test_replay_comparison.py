"""A recording beside its replay: every recorded cell is counted once, and what differs is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.kernel.protocol import CellResult
from harness.noise import Span
from harness.records import Message, Trace, Verdict
from harness.replay import Replayed, add_sample

SPAN = Span(datetime(2026, 1, 10, 12, tzinfo=UTC), datetime(2026, 1, 10, 13, tzinfo=UTC))


def cell(text: str, **changes: Any) -> CellResult:
    return CellResult.model_validate({"code": "x", "status": "ok", "result": text, "duration_s": 0.1} | changes)


def trace(*cells: CellResult, **changes: Any) -> Trace:
    fields: dict[str, Any] = {
        "question_id": "q",
        "question": "?",
        "level": "primer",
        "source": "s",
        "source_id": "s-1",
        "licence": "CC0-1.0",
        "model": "m",
        "scaffold": "notebook",
        "verdict": Verdict(correct=True, answer="3", target="3"),
        "stop_reason": "answered",
        "executor": "bwrap",
        "log": "one.eval",
        "messages": (Message(role="user", content="?"),),
        "cells": cells,
    }
    return Trace.model_validate(fields | changes)


@pytest.fixture
def compare() -> Callable[..., Replayed]:
    def run(recorded: Trace, replayed: Trace | None) -> Replayed:
        compared = Replayed()
        add_sample(compared, recorded, replayed, (SPAN, SPAN))
        return compared

    return run


def test_equal_cells_are_the_same_whatever_time_they_took(compare: Callable[..., Replayed]) -> None:
    compared = compare(trace(cell("1"), cell("2")), trace(cell("1", duration_s=9.0), cell("2")))
    assert (compared.samples, compared.cells, compared.same, compared.differs) == (1, 2, 2, False)


def test_noise_is_counted_by_its_rule(compare: Callable[..., Replayed]) -> None:
    compared = compare(trace(cell("at 0x7f3a10c2b5e0")), trace(cell("at 0x7f3a10c2b5e8")))
    assert (compared.same, dict(compared.set_aside), compared.differs) == (0, {"memory addresses": 1}, False)


@pytest.mark.parametrize("now", [cell("2"), cell("1", status="error"), cell("1", code="y")])
def test_another_text_status_or_code_differs(compare: Callable[..., Replayed], now: CellResult) -> None:
    compared = compare(trace(cell("1")), trace(now))
    [found] = compared.differences
    assert (found.question_id, found.cell, found.replayed) == ("q", 1, now)
    assert compared.differs


def test_cells_without_a_counterpart_are_counted_with_the_reason(compare: Callable[..., Replayed]) -> None:
    short = compare(trace(cell("1"), cell("2"), cell("3")), trace(cell("1"), stop_reason="error"))
    assert (dict(short.not_played), short.differs) == ({"the replay ended before them (error)": 2}, True)
    long = compare(trace(stop_reason="time"), trace(cell("1"), stop_reason="time"))
    assert (dict(long.not_recorded), long.differs) == ({"the recording ended during them (time)": 1}, False)
    absent = compare(trace(cell("1")), None)
    assert (dict(absent.not_played), absent.differs) == ({"the sample is not in the replay": 1}, True)


def test_another_end_and_another_prompt_are_told(compare: Callable[..., Replayed]) -> None:
    other = Verdict(correct=False, answer="4", target="3")
    compared = compare(trace(), trace(verdict=other, messages=(Message(role="user", content="??"),)))
    [end] = compared.ends
    assert (end.score_changed, end.replayed, compared.other_prompts) == (True, other, 1)
    [same_score] = compare(trace(), trace(verdict=Verdict(correct=True, answer="3.0", target="3"))).ends
    assert not same_score.score_changed


TEXTS = st.lists(st.sampled_from(["1", "2", "at 0x7f3a10c2b5e0", "at 0x7f3a10c2b5e8"]), max_size=5)


@given(TEXTS, TEXTS)
def test_every_recorded_cell_is_counted_once(then: list[str], now: list[str]) -> None:
    compared = Replayed()
    add_sample(compared, trace(*map(cell, then)), trace(*map(cell, now)), (SPAN, SPAN))
    told = compared.same + compared.set_aside.total() + len(compared.differences) + compared.not_played.total()
    assert told == compared.cells == len(then)
    assert compared.not_recorded.total() == max(len(now) - len(then), 0)
