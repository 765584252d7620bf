"""The reward is the grader's verdict without its leniencies: whatever is known to win by a trick gets nothing."""

import pytest

from harness.grader import is_correct
from harness.kernel.protocol import CellError, CellResult
from harness.reward import reward_of

SHOWN = (CellResult(code="print(1)", status="ok", stdout="1\n"),)


@pytest.mark.parametrize(
    ("answer", "target"),
    [
        ("42", "42"),
        ("42.00", "42"),
        ("3.14 EUR", "3.14"),
        ("1,234.5", "1234.50"),
        ("-0.5", "-0.5"),
        ("north", "North"),
        ("Not Applicable", "Not Applicable"),
        ("North, Coast, Moor", "North, Coast, Moor"),
        ("P1007", "P1007"),
        ("D: 13.57", "D: 13.57"),
    ],
)
def test_a_right_answer_in_the_right_form_is_worth_one(answer: str, target: str) -> None:
    reward = reward_of(answer, 1, SHOWN, target)
    assert (reward.value, reward.reason) == (1.0, "right")


@pytest.mark.parametrize(
    ("trick", "answer", "target", "reason"),
    [
        ("every name", "North South Coast Valley Moor", "Coast", "several answers in one"),
        ("a number and others", "42 43 44 45", "42", "several answers in one"),
        ("the word that is shared", "Applicable", "Not Applicable", "several answers in one"),
        ("the wrong sign", "-42", "42", "another sign"),
        ("another name for the number", "E: 13.57", "D: 13.57", "other words"),
        ("another letter of an identifier", "Q1007", "P1007", "other words"),
        ("a right number in a story", "it is 42, or perhaps 43", "42", "wrong"),
        ("a long answer", "Coast" + " " * 900, "Coast", "an answer that is too long"),
        ("a huge answer", "42 " + "x" * 1_000_000, "42", "an answer that is too long"),
        ("nothing", "", "Not Applicable", "empty answer"),
        ("blanks", " \n ", "", "empty answer"),
        ("too many list items", "North, Coast, Moor, Plain", "North, Coast, Moor", "wrong"),
    ],
)
def test_tricks_against_the_grader_are_worth_nothing(trick: str, answer: str, target: str, reason: str) -> None:
    reward = reward_of(answer, 1, SHOWN, target)
    assert (reward.value, reward.reason) == (0.0, reason), trick


def test_the_tricks_that_matter_do_work_against_the_grader_alone() -> None:
    tricks = [("North South Coast Valley Moor", "Coast"), ("42 43 44 45", "42"), ("Applicable", "Not Applicable")]
    assert all(is_correct(answer, target) for answer, target in [*tricks, ("-42", "42"), ("E: 13.57", "D: 13.57")])


def test_only_one_call_of_final_answer_is_worth_something() -> None:
    assert reward_of("42", 2, SHOWN, "42").reason == "several calls of final_answer"
    assert reward_of(None, 0, SHOWN, "42").reason == "no answer"


def test_an_answer_without_any_cell_that_showed_something_is_a_guess() -> None:
    error = CellError(name="KeyError", message="'a'", traceback="KeyError: 'a'")
    for cells in ((), (CellResult(code="1/0", status="error", error=error),), (CellResult(code="x = 1", status="ok"),)):
        assert reward_of("42", 1, cells, "42").reason == "no cell ran and showed something"
