"""Seeds: pooled they are attempts at the same questions; apart they say whether another seed would agree."""

from __future__ import annotations

import pytest

from results.comparison import ComparisonError, compare
from results.outcomes import Outcomes, outcomes_from_verdicts
from results.seeds import pooled, seed_spread, seed_words
from results.verdict import verdict


def run(label: str, right: int, n: int = 40) -> Outcomes:
    return outcomes_from_verdicts(label, {f"q{number}": number < right for number in range(n)})


def test_pooled_seeds_are_attempts_and_their_interval_is_over_the_questions() -> None:
    together = pooled("5 epochs", [run("0", 20), run("1", 20), run("2", 20)])
    assert (together.k, together.n, together.questions) == (60, 120, 40)
    alone = run("0", 20)
    assert together.interval.low == pytest.approx(alone.interval.low)
    assert "questions" in together.interval.method


def test_seeds_that_were_asked_other_questions_are_not_pooled() -> None:
    with pytest.raises(ComparisonError, match="not asked the same questions"):
        pooled("5 epochs", [run("0", 20), run("1", 20, n=41)])


def test_a_difference_that_one_seed_makes_is_seen_but_not_promised_of_others() -> None:
    before = [run("0", 20), run("1", 20), run("2", 20)]
    after = [run("0", 40), run("1", 20), run("2", 19)]
    pair = compare([pooled("2 epochs", before), pooled("3 epochs", after)]).comparisons[0]
    assert pair.differs
    assert "3 epochs is better" in verdict(pair)
    spread = seed_spread(before, after)
    assert spread is not None
    assert spread.bounds is not None
    assert spread.bounds.covers_0
    assert seed_words(spread).startswith("Seed by seed +50.0, +0.0, -2.5 points, not all one way; over seeds +15.8")
    assert seed_words(spread).endswith("other seeds may say otherwise.")


def test_seeds_that_agree_say_so_by_students_interval() -> None:
    spread = seed_spread([run("0", 20), run("1", 20)], [run("0", 30), run("1", 31)])
    assert spread is not None
    assert spread.bounds is not None
    # t of one degree of freedom at 97.5% is 12.706; the half width is that times 0.025 / 2.
    assert spread.bounds.low == pytest.approx(0.2625 - 12.7062 * 0.0125, abs=1e-4)
    assert "all one way" in seed_words(spread)


def test_one_seed_tells_nothing_of_others_and_unlike_numbers_of_seeds_are_not_paired() -> None:
    spread = seed_spread([run("0", 20)], [run("0", 30)])
    assert spread is not None
    assert seed_words(spread) == "One seed: nothing here tells what another would say."
    assert seed_spread([run("0", 20)], []) is None
    assert seed_spread([run("0", 20), run("1", 20)], [run("0", 20)] * 3) is None


def test_a_base_model_that_no_seed_changes_is_held_against_every_seed() -> None:
    spread = seed_spread([run("base", 20)], [run("0", 30), run("1", 40)])
    assert spread is not None
    assert spread.differences == pytest.approx((0.25, 0.5))
