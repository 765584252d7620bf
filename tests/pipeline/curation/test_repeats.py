"""Of questions that ask the same of the same data set one stays, whatever their order; other questions all stay."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.grader import is_correct
from pipeline.curation.repeats import Asked, _answer_keys, repeats

MEAN = "In trips.csv, what is the mean fare over the rows where city is Ulm and class is second?"


def asked(number: int, question: str, answer: str, source: str = "trips", place: float = 0) -> Asked:
    return Asked(f"{number}.ipynb#1", question, answer, (f"data set {source}", f"notebook {number}"), (place,))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (MEAN.upper().replace(",", " - "), "12.5"),  # the same words
        (MEAN, "99"),  # the same words, whatever the answer
        (MEAN.replace("what is the", "give the"), "12.50"),  # reworded a little, the same answer
        (MEAN.replace("over the rows", "over all rows"), "12.4999"),
    ],
)
def test_a_repeat_is_found_and_says_what_it_repeats(question: str, answer: str) -> None:
    assert repeats([asked(1, MEAN, "12.5"), asked(2, question, answer)]) == {"2.ipynb#1": "1.ipynb#1"}


@pytest.mark.parametrize(
    ("question", "answer", "source"),
    [
        (MEAN.replace("Ulm", "Graz"), "13.1", "trips"),  # out of one template
        (MEAN.replace("what is the", "give the"), "12.5", "journeys"),  # of other data
        (MEAN.replace("Ulm", "Ulm 7"), "12.5", "trips"),  # another number in it
        ("Which city has the most trips?", "12.5", "trips"),
    ],
)
def test_other_questions_stay(question: str, answer: str, source: str) -> None:
    assert repeats([asked(1, MEAN, "12.5"), asked(2, question, answer, source)]) == {}


def test_the_best_place_stays_whatever_the_order_of_the_questions() -> None:
    ways = [MEAN, MEAN.upper(), MEAN.replace("what is the", "give the"), MEAN.replace("over the", "over all the")]
    questions = [asked(number, way, "12.5", place=-(number % 3)) for number, way in enumerate(ways)]
    for seed in range(10):
        random.Random(seed).shuffle(questions)
        assert repeats(questions) == dict.fromkeys(["0.ipynb#1", "1.ipynb#1", "3.ipynb#1"], "2.ipynb#1")


@given(
    st.lists(
        st.tuples(st.sampled_from([MEAN, MEAN + " Now.", "How many?"]), st.sampled_from(["1", "1.0", "2"])), max_size=9
    )
)
def test_what_is_dropped_repeats_one_that_stays(drawn: list[tuple[str, str]]) -> None:
    questions = [asked(number, *one) for number, one in enumerate(drawn)]
    found = repeats(questions)
    assert not found.keys() & set(found.values())
    assert found.keys() | set(found.values()) <= {one.id for one in questions}


@given(st.floats(0.01, 1e9), st.integers(0, 6))
def test_answers_that_agree_share_a_key(value: float, decimals: int) -> None:
    one, other = f"{value:.7f}", f"{value:.{decimals}f}"
    if value > 1 and is_correct(one, other):
        assert set(_answer_keys(one)) & set(_answer_keys(other))
    assert _answer_keys("Ulm ") == _answer_keys("ulm")
