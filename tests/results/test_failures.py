"""Every failed trace gets one reason, by the first rule that applies; a right one gets none."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inspect_ai.log import EvalSampleLimit

from harness.kernel.protocol import CellError, CellResult
from harness.records import Message, Trace, Verdict
from results.failures import LIMITS, MEANING, Failure, count_failures, failure_of
from results.failures_table import by_family, by_reason, to_markdown

Make = Callable[..., Trace]


def wrong(answer: str | None = "3", target: str = "7") -> Verdict:
    return Verdict(correct=False, answer=answer, target=target)


def crashed(name: str = "ValueError", message: str = "no", status: Any = "error") -> CellResult:
    error = CellError(name=name, message=message, traceback=f"{name}: {message}") if status == "error" else None
    return CellResult(code="f()", status=status, error=error)


def displayed(text: str) -> CellResult:
    return CellResult(code="x", status="ok", result=text)


def spoke(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content="?"), Message(role="assistant", content=text))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"verdict": Verdict(correct=None, answer=None, target="7"), "stop_reason": "error"}, Failure.BROKEN),
        ({"verdict": Verdict(correct=None, answer="3", target="7")}, Failure.BROKEN),
        ({"verdict": wrong(None), "stop_reason": "operator"}, Failure.BROKEN),
        ({"verdict": wrong(None), "stop_reason": "turn"}, Failure.TURNS),
        ({"verdict": wrong(None), "stop_reason": "turn", "cells": (crashed(),)}, Failure.TURNS),
        ({"verdict": wrong(None), "stop_reason": "token"}, Failure.TOKENS),
        ({"verdict": wrong(None), "stop_reason": "working"}, Failure.TIME),
        ({"verdict": wrong(None), "stop_reason": "model_length"}, Failure.CONTEXT),
        ({"verdict": wrong(None), "stop_reason": "cost"}, Failure.BUDGET),
        ({"verdict": wrong("It is six"), "scaffold": "baseline", "messages": spoke("It is six\n")}, Failure.TURNS),
        ({"verdict": wrong(None), "scaffold": "baseline", "stop_reason": "no answer"}, Failure.TURNS),
        ({"verdict": wrong("3"), "scaffold": "baseline", "messages": spoke("final_answer(3)")}, Failure.VALUE),
        ({"verdict": wrong("12.5 %", "0.125"), "cells": (crashed(),)}, Failure.FORM),
        ({"verdict": wrong("Not Applicable")}, Failure.GAVE_UP),
        ({"verdict": wrong("")}, Failure.GAVE_UP),
        ({"verdict": wrong("This can't be determined from the files.")}, Failure.GAVE_UP),
        (
            {"verdict": wrong(None), "stop_reason": "no answer", "messages": spoke("I cannot do that.")},
            Failure.GAVE_UP,
        ),
        ({"verdict": wrong(), "cells": (crashed("KeyError", "'fee'"),)}, Failure.COLUMN),
        (
            {"verdict": wrong(), "cells": (crashed("AttributeError", "'DataFrame' object has no attribute 'fee'"),)},
            Failure.COLUMN,
        ),
        (
            {"verdict": wrong(), "cells": (crashed("AttributeError", "'str' object has no 'x'"),)},
            Failure.CRASHED,
        ),
        ({"verdict": wrong(), "cells": (displayed("7"), crashed())}, Failure.CRASHED),
        ({"verdict": wrong(), "cells": (crashed(status="timeout"),)}, Failure.CRASHED),
        ({"verdict": wrong(), "cells": (crashed(status="died"),)}, Failure.CRASHED),
        ({"verdict": wrong(), "cells": (crashed("KeyError", "'fee'"), displayed("5"))}, Failure.VALUE),
        ({"verdict": wrong(None), "stop_reason": "no answer"}, Failure.NO_ANSWER),
        ({"verdict": wrong(), "cells": (displayed("7"), displayed("3"))}, Failure.SHOWN),
        ({"verdict": wrong(), "cells": (CellResult(code="x", status="ok", stdout="the fee\n7\n"),)}, Failure.SHOWN),
        ({"verdict": wrong(), "cells": (displayed("7 rows"),)}, Failure.VALUE),
        ({"verdict": wrong(), "cells": ()}, Failure.GUESSED),
        ({"verdict": wrong()}, Failure.VALUE),
    ],
)
def test_the_first_rule_that_applies_is_the_reason(trace: Make, changes: dict[str, Any], reason: Failure) -> None:
    assert failure_of(trace(**changes)) is reason


@pytest.mark.parametrize(
    "verdict",
    [Verdict(correct=True, answer="7", target="7"), Verdict(correct=None, answer="7", target=None)],
)
def test_what_is_right_or_has_no_key_has_not_failed(trace: Make, verdict: Verdict) -> None:
    assert failure_of(trace(verdict=verdict, cells=(crashed(),))) is None


def test_every_limit_of_inspects_has_a_reason() -> None:
    kinds = set(get_args(EvalSampleLimit.model_fields["type"].annotation))
    assert kinds <= set(LIMITS)
    assert set(MEANING) == set(Failure)


CELLS = [crashed(), crashed("KeyError", "'a'"), displayed("7"), displayed("x")]
STOPS = [*LIMITS, "answered", "no answer", "error"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    correct=st.sampled_from([True, False, None]),
    answer=st.none() | st.text(max_size=12),
    target=st.text(max_size=8),
    stop=st.sampled_from(STOPS),
    scaffold=st.sampled_from(["notebook", "baseline", "notebook, comments required"]),
    cells=st.lists(
        st.sampled_from([crashed(), crashed("KeyError", "'a'"), displayed("7"), displayed("x")]), max_size=3
    ),
    words=st.text(max_size=20),
)
def test_every_failed_trace_gets_one_reason_and_a_right_one_none(
    trace: Make,
    correct: bool | None,
    answer: str | None,
    target: str,
    stop: str,
    scaffold: str,
    cells: list[CellResult],
    words: str,
) -> None:
    made = trace(
        verdict=Verdict(correct=correct, answer=answer, target=target),
        stop_reason=stop,
        scaffold=scaffold,
        cells=tuple(cells),
        messages=spoke(words),
    )
    reason = failure_of(made)
    assert (reason is None) == (correct is True)
    assert failure_of(made) is reason


def test_counts_are_of_all_attempts_by_reason_and_by_family(trace: Make) -> None:
    traces = [
        trace("a", family="fees"),
        trace("b", family="fees", verdict=wrong("")),
        trace("c", family="fees", verdict=wrong("")),
        trace("d", family="rows", verdict=wrong(), cells=(crashed(),)),
        trace("e", family=None, verdict=Verdict(correct=None, answer="1", target=None)),
    ]
    counts = count_failures(traces)
    assert (counts.total, counts.all_failed(), counts.unscored) == (5, 3, 1)
    assert counts.reasons == [Failure.GAVE_UP, Failure.CRASHED]
    assert (counts.of(Failure.GAVE_UP), counts.of(Failure.GAVE_UP, "rows"), counts.all_failed("fees")) == (2, 0, 2)
    rows = [row[:3] for row in by_reason(counts)[1:]]
    assert rows == [
        ["gave up", "2/5", "40.0"],
        ["last cell crashed", "1/5", "20.0"],
    ]
    assert by_family(counts) == [
        ["Family", "Failed", "Reasons"],
        ["fees", "2/3", "2 gave up"],
        ["rows", "1/1", "1 last cell crashed"],
    ]
    assert to_markdown([["a|b"], ["c"]]) == "| a\\|b |\n| --- |\n| c |"


def test_no_traces_no_failures() -> None:
    counts = count_failures([])
    assert (counts.total, counts.reasons, by_reason(counts)[1:], by_family(counts)[1:]) == (0, [], [], [])


def test_counts_do_not_depend_on_the_order_of_traces(trace: Make) -> None:
    traces = [
        trace("a", family="z"),
        trace("b", family="y", verdict=wrong("")),
        trace("c", family="z", verdict=wrong()),
    ]
    assert len({str(count_failures(order)) for order in itertools.permutations(traces)}) == 1
