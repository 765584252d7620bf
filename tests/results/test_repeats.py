"""Repeated questions: pass@k is what drawing attempts gives, and no interval takes attempts for questions."""

from __future__ import annotations

from itertools import combinations
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.intervals import interval
from results.outcomes import outcomes_from_verdicts
from results.repeats import BOOTSTRAP, WILSON, interval_over_questions, pass_at, pass_at_k, told_of


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.data())
def test_pass_at_k_is_the_share_of_all_draws_that_hold_a_right_attempt(
    attempts: list[bool], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(attempts)))
    draws = list(combinations(attempts, k))
    assert pass_at_k(k, sum(attempts), len(attempts)) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_of_the_papers_order_of_size() -> None:
    """Against the product form that Chen et al. print, 1 - prod(1 - k / i) for i from n - c + 1 to n."""
    n, c, k = 200, 13, 10
    product = 1.0
    for i in range(n - c + 1, n + 1):
        product *= 1 - k / i
    assert pass_at_k(k, c, n) == pytest.approx(1 - product)


@pytest.mark.parametrize(("k", "right", "attempts"), [(3, 1, 2), (0, 1, 2), (1, 3, 2), (1, -1, 2)])
def test_what_the_attempts_cannot_tell_is_refused(k: int, right: int, attempts: int) -> None:
    with pytest.raises(ValueError, match=f"pass@{k} cannot be told from {right} right of {attempts} attempts"):
        pass_at_k(k, right, attempts)


def test_pass_at_k_of_a_run_is_the_mean_over_its_questions() -> None:
    told = pass_at([[True, False, False, False], [True, True, False, False], [False] * 4], k=2)
    assert told.value == pytest.approx(fmean([1 / 2, 5 / 6, 0]))
    assert told.interval.method == BOOTSTRAP
    assert told.interval.low < told.value < told.interval.high


def test_powers_of_two_and_the_whole_number_of_attempts_are_told() -> None:
    assert [told_of(attempts) for attempts in (2, 3, 4, 10)] == [(2,), (2, 3), (2, 4), (2, 4, 8, 10)]


def test_asking_again_for_the_same_answers_does_not_narrow_the_interval() -> None:
    verdicts = [[number < 54] for number in range(72)]
    once = interval_over_questions([fmean(each) for each in verdicts])
    often = interval_over_questions([fmean(each * 10) for each in verdicts])
    assert once == often
    assert once == interval(54, 72).model_copy(update={"method": WILSON})


def test_questions_that_all_went_the_same_way_are_no_proof_of_certainty() -> None:
    half = interval_over_questions([0.5] * 20)
    assert half.method == WILSON
    assert half.high - half.low > 0.4
    assert interval_over_questions([1.0] * 20).low < 0.9
    assert interval_over_questions([0.5]).method == WILSON, "of a single question nothing can be drawn"


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=40), st.randoms())
def test_the_interval_holds_the_mean_and_does_not_depend_on_the_order(values: list[float], shuffled) -> None:
    bounds = interval_over_questions(values)
    assert 0 <= bounds.low <= fmean(values) + 1e-9
    assert fmean(values) - 1e-9 <= bounds.high <= 1
    again = list(values)
    shuffled.shuffle(again)
    assert interval_over_questions(again) == bounds


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """80 questions of mixed difficulty, four attempts at each: about 95 of 100 intervals hold the true mean."""
    from random import Random

    random = Random(5)
    held = 0
    for _ in range(200):
        chances = [random.betavariate(0.8, 0.8) for _ in range(80)]
        shares = [fmean(random.random() < chance for _ in range(4)) for chance in chances]
        bounds = interval_over_questions(shares)
        held += bounds.low <= 0.5 <= bounds.high
    assert 182 <= held <= 199


def test_the_table_and_a_comparison_say_the_same_interval() -> None:
    often = {f"q{number}": [number < 46, number < 46, number < 54] for number in range(72)}
    shares = [fmean(attempts) for attempts in often.values()]
    assert outcomes_from_verdicts("often", often).interval == interval_over_questions(shares)
    once = {id: attempts[0] for id, attempts in often.items()}
    assert outcomes_from_verdicts("once", once).interval == interval(46, 72)
