"""What may differ between two runs of a cell, and what may not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.noise import RULES, Span, hint, set_aside

THEN = Span(datetime(2026, 1, 10, 12, tzinfo=UTC), datetime(2026, 1, 10, 13, tzinfo=UTC))
NOW = Span(datetime(2026, 3, 2, 9, tzinfo=UTC), datetime(2026, 3, 2, 10, tzinfo=UTC))
TIMED = "import time\nt = time.perf_counter()"


@pytest.mark.parametrize(
    ("code", "recorded", "replayed", "rule"),
    [
        ("", "<Fee at 0x7f3a10c2b5e0>", "<Fee at 0x7f99d1be2a90>", "memory addresses"),
        ("", "/tmp/tmpab12cd34/x", "/tmp/tmpzz12cd9_/x", "temporary names"),
        (
            "",
            "File /usr/lib/python3.11/json/decoder.py:355, in decode",
            "File /opt/py/lib/python3.11/json/decoder.py:357, in decode",
            "places of libraries",
        ),
        (
            "%time f()",
            "CPU times: user 1 ms, total: 1 ms\nWall time: 2 ms\n3",
            "CPU times: user 2 ms\nWall time: 1 s\n3",
            "IPython's timings",
        ),
        ("", "made 2026-01-10 12:30:01.123", "made 2026-03-02 09:00:00", "the clock"),
        ("", f"{THEN.start.timestamp()}", f"{NOW.end.timestamp()}", "the clock"),
        (TIMED, "took 0.123 s", "took 1.5 s", "measured durations"),
        (TIMED, "0.0123", "1.2e-05", "measured durations"),
        ("", "{'b', 'a'}", "{'a', 'b'}", "order of a set"),
    ],
)
def test_noise_is_set_aside_and_named(code: str, recorded: str, replayed: str, rule: str) -> None:
    assert set_aside(code, recorded, replayed, (THEN, NOW)) == (rule,)


@pytest.mark.parametrize(
    ("code", "recorded", "replayed"),
    [
        ("", "12", "13"),
        ("", "2023-05-01", "2023-05-02"),  # of the data, not of the clock
        ("", "2026-01-10", "2026-05-02"),  # not the replay's own day
        ("", "1672531200", "1672531201"),
        ("", "took 0.123 s", "took 1.5 s"),  # the cell reads no clock
        (TIMED, "fee 0.123", "fee 1.5"),
        (TIMED, "3 seconds", "4 seconds"),
        ("", "{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}"),
        ("", "{'a', 'b'}", "{'a', 'c'}"),
        ("", "0x10", "0x11"),
        ("", "a\nb", "a"),
    ],
)
def test_what_means_something_is_not(code: str, recorded: str, replayed: str) -> None:
    assert set_aside(code, recorded, replayed, (THEN, NOW)) is None


def test_only_the_rules_that_it_took_are_named() -> None:
    then, now = "<A at 0x7f3a10c2b5e0> {1, 2} 2026-01-10", "<A at 0x7f3a10c2b5e1> {2, 1} 2026-03-02"
    assert set_aside("", then, now, (THEN, NOW)) == ("memory addresses", "the clock", "order of a set")


@given(st.text(), st.text())
def test_a_text_is_like_itself_and_likeness_has_no_direction(one: str, other: str) -> None:
    assert set_aside(TIMED, one, one, (THEN, NOW)) == ()
    there, back = set_aside("", one, other, (THEN, THEN)), set_aside("", other, one, (THEN, THEN))
    assert (there is None) == (back is None)


@given(st.text(alphabet="0123456789-:. {},ax\n", max_size=60), st.sampled_from(sorted(RULES)))
def test_every_rule_takes_any_text_and_has_nothing_left_to_do_after_it(text: str, rule: str) -> None:
    once = RULES[rule](text, TIMED, THEN)
    assert RULES[rule](once, TIMED, THEN) == once


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("datetime.now()", "clock"),
        ("df.sample(3)", "at random"),
        ("os.listdir('.')", "no fixed value"),
        ("df.kg.sum()", ""),
    ],
)
def test_a_cell_that_may_differ_says_why(code: str, said: str) -> None:
    assert said in hint(code)
    assert bool(hint(code)) == bool(said)
