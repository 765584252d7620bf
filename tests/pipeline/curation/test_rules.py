"""Rules for one trace: each reason, what counts as computing, and which of several tries is the best."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.kernel.protocol import CellResult
from harness.records import Message, Trace, Verdict
from pipeline.curation.collect import Gates
from pipeline.curation.rules import Rules, characters, computes, fault, rank

SUM = CellResult(code="df.price.sum()", status="ok", result="55")
RAISED = CellResult(code="df.prize.sum()", status="error")


def trace(**given: Any) -> Trace:
    about: dict[str, Any] = {
        "question_id": "q1", "question": "How much?", "level": "easy", "source": "kaggle", "source_id": "ann/shop",
        "licence": "MIT", "model": "teacher", "scaffold": "notebook", "cells": (SUM,), "stop_reason": "answered",
        "messages": (Message(role="user", content="How much?"), Message(role="assistant", content="55")),
        "verdict": Verdict(correct=True, answer="55", target="55"), "executor": "dabstep-bwrap", "log": "x.eval",
    }  # fmt: skip
    return Trace(**{**about, **given})


def test_a_right_trace_that_computes_has_no_fault() -> None:
    assert fault(trace(), Rules()) is None
    assert Gates().finding(trace()) is None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"verdict": Verdict(correct=None, answer="1", target=None)}, "unscored"),
        ({"verdict": Verdict(correct=False, answer="1", target="2")}, "graded wrong"),
        ({"stop_reason": "turn"}, "ended by turn"),
        ({"executor": "simulated"}, "simulated executor"),
        ({"cells": (SUM, CellResult(code="x", status="died"))}, "a cell timed out or killed its kernel"),
        ({"cells": ()}, "trivial: no cell computes"),
        ({"cells": (RAISED,)}, "trivial: no cell computes"),
        ({"cells": (CellResult(code="print(df.head())", status="ok"),)}, "trivial: no cell computes"),
        ({"messages": (Message(role="user", content="x" * 200_001),)}, "longer than 200,000 characters"),
    ],
)
def test_each_fault_has_its_reason(given: dict[str, Any], reason: str) -> None:
    assert fault(trace(**given), Rules()) == reason


def test_what_rules_allow_passes() -> None:
    assert fault(trace(executor="simulated"), Rules(simulated=True)) is None
    assert fault(trace(cells=()), Rules(trivial=True)) is None
    assert fault(trace(messages=(Message(role="user", content="x" * 200_001),)), Rules(longest_characters=None)) is None


@pytest.mark.parametrize(
    "code", ["1 + 1", "df[df.a > 2]", "df.a.sum()", "for x in y: z += x", "pd.merge(a, b)", "x[0]"]
)
def test_a_cell_that_works_something_out_computes(code: str) -> None:
    assert computes(code)


@pytest.mark.parametrize(
    "code", ["", "import pandas as pd", "df = pd.read_csv('a.csv')", "print(42)", "df.head(3)", "'NL'", "!ls", "x = 3"]
)
def test_a_cell_that_only_shows_does_not(code: str) -> None:
    assert not computes(code)


@given(st.text())
def test_any_text_is_judged(code: str) -> None:
    assert computes(code) in (True, False)


def test_fewest_errors_then_shortest_then_first_is_best() -> None:
    long = (Message(role="assistant", content="x" * 99),)
    tries = {
        "erred": trace(cells=(RAISED, SUM)),
        "long": trace(messages=long),
        "second": trace(epoch=2),
        "first": trace(epoch=1),
    }
    assert sorted(tries, key=lambda name: rank(tries[name])) == ["first", "second", "long", "erred"]


def test_length_counts_thoughts_and_arguments() -> None:
    message = Message.model_validate(
        {
            "role": "assistant",
            "content": "abc",
            "reasoning": "de",
            "tool_calls": [{"id": "1", "name": "fg", "arguments": "hij"}],
        }
    )
    assert characters(trace(messages=(message,))) == 10


def test_a_bound_in_tokens_needs_a_tokenizer() -> None:
    with pytest.raises(ValueError, match="tokenizer"):
        Rules(longest_tokens=100)


def test_a_licence_that_is_not_allowed_is_a_finding() -> None:
    finding = Gates().finding(trace(licence="unknown"))
    assert finding is not None
    assert finding.reason == "licence not allowed: unknown"
    assert Gates(blind=frozenset({"q1"})).finding(trace()) is not None
