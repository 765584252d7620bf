"""Right in value and wrong in form, or simply wrong: the line between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.grader import is_correct
from results.answer_forms import LONGEST, right_in_another_form, same_value

PERCENT = "What percentage of the parcels is late?"
ROUNDED = "What is the mean fee, rounded to two decimals?"


@pytest.mark.parametrize(
    ("answer", "target", "question"),
    [
        ("In 2023 the fee was 3.14 EUR", "3.14", "What was the fee in 2023?"),
        ("12.5 %", "0.125", ""),
        ("0.125", "12.5", PERCENT),
        ("3", "3.14", ""),
        ("0.12", "0.1234", ""),
        ("0.123456", "0.12", ROUNDED),
        ("3,14", "3.14", ""),
        ("1.234,56", "1234.56", ""),
        ("The answer is A and B", "A, B", ""),
        ("{A | B}", "A, B", ""),
        ("B\nA", "A, B", ""),
        ("A: 3 | B: 4", "3, 4", ""),
        ("1 January 2024", "2024-01-01", ""),
        ("Jan 1st, 2024", "2024-01-01", ""),
        ("01/02/2024", "2024-02-01", ""),
        ("True", "yes", ""),
        ("False", "No", ""),
        ("Result: fast lane", "fast lane", ""),
    ],
)
def test_the_value_is_right(answer: str, target: str, question: str) -> None:
    assert not is_correct(answer, target)
    assert right_in_another_form(answer, target, question)


@pytest.mark.parametrize(
    ("answer", "target", "question"),
    [
        ("3.14", "3.14", ""),  # the grader takes it: its form is not wrong either
        ("", "3", ""),
        ("3", "", ""),
        ("12.5", "0.125", "How many?"),  # nobody spoke of percent
        ("14 %", "0.125", ""),
        ("4", "3.14", ""),
        ("0", "0.3", ""),
        ("20.4", "20", "How many parcels?"),  # no rounding of that was asked
        ("between 3.14 and 4.1", "5", ""),
        ("1, 2, 3 or 4", "3", ""),  # one of them will be right
        ("It was 2023", "2031", "In 2023?"),
        ("A, B, C", "A, B", ""),
        ("A; C", "A, B", ""),
        ("2024-01", "2024-01-01", ""),
        ("2024-01-02", "2024-01-01", ""),
        ("True", "no", ""),
        ("1", "0", ""),
        ("12:30", "30", ""),
        ("slow lane", "fast lane", ""),
        ("word " * LONGEST + "3.14", "3.14", ""),
    ],
)
def test_it_is_not(answer: str, target: str, question: str) -> None:
    assert not right_in_another_form(answer, target, question)


@given(st.text(max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_any_texts_are_taken_and_what_is_right_is_never_wrong_in_form(answer: str, target: str, question: str) -> None:
    assert not (is_correct(answer, target) and right_in_another_form(answer, target, question))


@given(
    st.decimals(min_value="0.01", max_value=10_000, places=2),
    st.sampled_from(["it costs {} EUR", "**{}**", "[{}]", "around {}."]),
)
def test_words_and_brackets_around_the_value_are_form(value: object, wrapping: str) -> None:
    answer = wrapping.format(value)
    assert is_correct(answer, str(value)) or right_in_another_form(answer, str(value))


@pytest.mark.parametrize(
    ("line", "target", "same"),
    [
        ("np.float64(3.14)", "3.14", True),
        ("'3.14'", "3.14", True),
        ("0    3.14", "3.14", False),
        ("3.14 4.2", "3.14", False),
        ("['A', 'B']", "A, B", True),
        ("A", "a", True),
        ("A lot", "a", False),
        ("", "a", False),
    ],
)
def test_a_displayed_line_is_the_answer_only_alone(line: str, target: str, same: bool) -> None:
    assert same_value(line, target) is same
