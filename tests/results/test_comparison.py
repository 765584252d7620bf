"""A comparison says what an honest statistician would, and refuses runs that cannot be held against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.comparison import ALPHA, Comparison, ComparisonError, compare
from results.comparison_table import as_json, grids
from results.outcomes import Outcomes, outcomes_from_count, outcomes_from_verdicts
from results.verdict import p_text, verdict


def pair(only_first: int, only_second: int, k: int = 54, n: int = 72) -> list[Outcomes]:
    """Two runs of n questions, the first right on k, so many of them alone; so many right in the second alone."""
    both = k - only_first
    first = [True] * (both + only_first) + [False] * (n - k)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * (n - k - only_second)
    return [run("five", first), run("three", second)]


def run(label: str, verdicts: list[bool], families: Mapping[str, str] | None = None) -> Outcomes:
    return outcomes_from_verdicts(label, {f"q{i:03}": right for i, right in enumerate(verdicts)}, families)


def only(runs: list[Outcomes]) -> Comparison:
    (comparison,) = compare(runs).comparisons
    return comparison


@pytest.mark.parametrize(
    ("only_first", "only_second", "words"),
    [
        (1, 0, "1 question went one way, none the other; mid-p 0.50). About 560 questions would be needed"),
        (3, 2, "3 questions went one way, 2 the other; mid-p 0.69). About 2,800 questions would be needed"),
        (12, 11, "12 questions went one way, 11 the other; mid-p 0.84). About 13,000 questions would be needed"),
        (18, 17, "18 questions went one way, 17 the other; mid-p 0.87). About 20,000 questions would be needed"),
    ],
)
def test_54_against_53_of_72_is_no_difference_however_the_questions_fell(
    only_first: int, only_second: int, words: str
) -> None:
    comparison = only(pair(only_first, only_second))
    assert not comparison.differs
    said = verdict(comparison)
    assert said.startswith("five against three: 54 against 53 of 72: no difference can be seen (")
    assert words in said


@pytest.mark.parametrize(
    ("only_first", "only_second", "words"),
    [
        (8, 0, "five is better (8 questions went one way, none the other; mid-p 0.0039), by 11.1 percentage points"),
        (10, 2, "five is better (10 questions went one way, 2 the other; mid-p 0.022), by 11.1 percentage points"),
        (13, 5, "no difference can be seen (13 questions went one way, 5 the other; mid-p 0.064). About 160 questions"),
        (
            18,
            10,
            "no difference can be seen (18 questions went one way, 10 the other; mid-p 0.14). About 240 questions",
        ),
    ],
)
def test_54_against_46_of_72_depends_on_how_the_questions_fell(only_first: int, only_second: int, words: str) -> None:
    said = verdict(only(pair(only_first, only_second)))
    assert said.startswith(f"five against three: 54 against 46 of 72: {words}")


def test_where_test_and_interval_disagree_nothing_is_claimed_and_it_says_so() -> None:
    comparison = only(pair(12, 4))
    assert comparison.p < ALPHA
    assert comparison.bounds.covers_0
    assert "no difference can be seen" in verdict(comparison)
    assert "The test alone would see one, but the interval covers 0." in verdict(comparison)


def test_questions_of_one_family_do_not_count_as_so_many_proofs() -> None:
    """12 questions gained, all of one family: the test is sure, whoever thinks of families is not."""
    first, second = [False] * 72, [True] * 12 + [False] * 60
    families = {f"q{i:03}": f"family {i // 12}" for i in range(72)}
    alone = only([run("a", first), run("b", second)])
    together = only([run("a", first, families), run("b", second, families)])
    assert alone.differs
    assert together.p == alone.p < 0.001
    assert not together.differs
    assert "the interval, which takes questions of one family together, covers 0" in verdict(together)
    assert "The questions are of 6 families only" in " ".join(together.notes)
    assert together.families == 6


def test_runs_with_the_same_answers_do_not_differ_but_are_not_proved_equal() -> None:
    comparison = only(pair(0, 0))
    assert (comparison.p, comparison.needed) == (1.0, None)
    assert comparison.bounds.low < -0.04 < 0.04 < comparison.bounds.high
    assert verdict(comparison) == (
        "five against three: 54 against 54 of 72: no difference can be seen (no question went either way; mid-p 1)."
    )


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 5)), min_size=1, max_size=60))
@settings(max_examples=40, deadline=None)
def test_changing_places_changes_only_the_signs_and_no_claim_goes_beyond_the_interval(
    questions: list[tuple[bool, bool, int]],
) -> None:
    families = {f"q{i:03}": f"f{family}" for i, (_, _, family) in enumerate(questions) if family}
    a, b = (run(name, [q[i] for q in questions], families) for i, name in enumerate("ab"))
    there, back = (compare(runs, resamples=400).comparisons[0] for runs in ([a, b], [b, a]))
    assert there.difference == pytest.approx(-back.difference)
    assert (there.gained, there.lost) == (back.lost, back.gained)
    assert 0 <= there.p <= 1
    assert there.p == pytest.approx(back.p)
    assert there.bounds.low == pytest.approx(-back.bounds.high, abs=1e-6)
    assert -1 <= there.bounds.low <= there.difference <= there.bounds.high <= 1
    assert there.needed == back.needed
    assert there.differs == back.differs
    if there.bounds.covers_0 or there.p >= ALPHA:
        assert "no difference can be seen" in verdict(there)
    else:
        assert f"{'b' if there.difference > 0 else 'a'} is better" in verdict(there)


def test_of_many_pairs_each_is_corrected_by_holm() -> None:
    first, weak = pair(10, 2)
    others = [replace(pair(12, 11)[1], label=f"other {i}") for i in range(3)]
    among = compare([first, weak, *others]).comparisons
    alone = only([first, weak])
    assert alone.differs
    assert among[0].p == alone.p
    assert among[0].corrected_p == pytest.approx(4 * alone.p), "the smallest of four"
    assert not among[0].differs
    assert "corrected for 4 comparisons 0.09" in verdict(among[0])
    assert "Alone the pair would pass the test; among so many it does not." in verdict(among[0])
    assert len(compare([first, weak, *others], every_pair=True).comparisons) == 10


def test_several_attempts_are_averaged_by_question() -> None:
    once = {f"q{i}": i < 54 for i in range(72)}
    often = {f"q{i}": [i < 46, i < 46, i < 54] for i in range(72)}
    comparison = only([outcomes_from_verdicts("once", once), outcomes_from_verdicts("often", often)])
    assert comparison.difference == pytest.approx(-8 * 2 / 3 / 72)
    assert (comparison.gained, comparison.lost) == (0, 8)
    assert comparison.p == pytest.approx(2**-8), "8 of 8 one way: mid-p is half of 2 / 256"
    assert verdict(comparison).startswith("once against often: 54 of 72 against 146 of 216 attempts at 72 questions: ")
    more = outcomes_from_verdicts("often", {id: list(each) * 10 for id, each in often.items()})
    assert more.interval == outcomes_from_verdicts("often", often).interval, "asking again adds no question"


def test_runs_over_other_questions_are_refused_with_how_many_and_which() -> None:
    first = outcomes_from_verdicts("a", {f"q{i}": True for i in range(8)})
    second = outcomes_from_verdicts("b", {f"q{i}": True for i in range(6, 9)})
    with pytest.raises(
        ComparisonError,
        match=r"6 of a's are missing in b \(q0, q1, q2, \.\.\.\), and 1 of b's are missing in a \(q8\)",
    ):
        compare([first, second])
    shared = compare([first, second], only_shared=True)
    assert [run.n for run in shared.runs] == [2, 2]
    assert shared.left_out.startswith(
        "ONLY the 2 questions that all were asked are compared; left out: 6 of a, 1 of b."
    )
    with pytest.raises(ComparisonError, match="no question in common"):
        compare([first, outcomes_from_verdicts("c", {"x": True})], only_shared=True)


def test_runs_on_other_data_or_by_another_key_are_refused() -> None:
    first, second = pair(1, 0)
    hashes = [replace(first, data_hash="sha256:aaa"), replace(second, data_hash="sha256:bbb")]
    with pytest.raises(ComparisonError, match=r"five and three were measured on different data"):
        compare(hashes, only_shared=True)
    assert compare([hashes[0], replace(hashes[1], data_hash="sha256:aaa")]).notes == ()
    assert compare([hashes[0], second]).notes == (
        "No hash of the data is known for three, so that they were the same was not checked.",
    )
    with pytest.raises(ComparisonError, match=r"different keys: the right answers of 1 questions differ \(q001\)"):
        compare([replace(first, targets={"q001": "7"}), replace(second, targets={"q001": "8"})])


def test_fewer_than_two_runs_or_equal_names_are_refused() -> None:
    first, second = pair(1, 0)
    for runs in ([], [first], [first, replace(second, label="five")]):
        with pytest.raises(ComparisonError, match="two or more, under different labels"):
            compare(runs)


def test_attempts_that_failed_count_as_wrong_and_are_said() -> None:
    first, second = pair(1, 0)
    compared = compare([first, replace(second, failed={"q070": 1, "q071": 1}, unkeyed={"q069": 1})])
    assert compared.notes == (
        "2 of the 72 attempts of three failed and count as wrong.",
        "1 of the 72 attempts of three have no answer key and count as wrong.",
        "No hash of the data is known for five, three, so that they were the same was not checked.",
    )
    assert grids(compared)[0].rows[1] == ("three", "53/72", "73.6", "62.4 to 82.4", "3")


def test_published_figures_are_compared_as_independent_shares_and_it_says_what_is_missing() -> None:
    comparison = only([outcomes_from_count("5 epochs", 54, 72), outcomes_from_count("3 epochs", 53, 72)])
    assert (comparison.paired, comparison.gained, comparison.lost) == (False, None, None)
    assert verdict(comparison) == (
        "5 epochs against 3 epochs: 54 against 53 of 72: no difference can be seen (as two independent shares; "
        "p 0.85). About 16,000 questions each would be needed to see a difference as small as this one."
    )
    assert "would need the outcome of every question" in comparison.notes[0]
    mixed = only([outcomes_from_count("published", 54, 72), pair(1, 0)[1]])
    assert not mixed.paired, "one side's outcomes are not known"


def test_a_label_brings_no_control_characters_along() -> None:
    assert run("a\x1b[31mb\n", [True]).label == "a [31mb "


def test_the_table_and_the_json_hold_the_same_figures() -> None:
    compared = compare([*pair(10, 2), replace(pair(12, 11)[1], label="two")])
    runs, pairs = grids(compared)
    assert runs.headings == ("Run", "Right", "%", "95% interval", "Errors")
    assert pairs.title == "Against five"
    assert pairs.headings == ("Run", "Difference (95%)", "Won / lost", "p", "Holm p")
    assert pairs.rows[0][0] == "three"
    assert pairs.rows[0][1].startswith("-11.1 (-2")
    assert pairs.rows[0][2:4] == ("2 / 10", "0.022")
    written = as_json(compared)
    assert [one["k"] for one in written["runs"]] == [54, 46, 53]
    assert written["comparisons"][0]["verdict"] == verdict(compared.comparisons[0])
    assert written["comparisons"][0]["p"] == compared.comparisons[0].p
    every = grids(compare([*pair(10, 2), replace(pair(12, 11)[1], label="two")], every_pair=True))[1]
    assert [row[:2] for row in every.rows] == [("three", "five"), ("two", "five"), ("two", "three")]


def test_p_values_are_said_in_two_figures() -> None:
    assert [p_text(p) for p in (0.84, 0.0951, 0.0391, 0.00012, 1.0)] == ["0.84", "0.10", "0.039", "below 0.001", "1"]


def test_pairs_that_were_chosen_beforehand_are_compared_alone_and_corrected_together() -> None:
    runs = [run(name, [number < right for number in range(72)]) for name, right in (("a", 10), ("b", 40), ("c", 41))]
    compared = compare(runs, pairs=[("a", "b"), ("b", "c")])
    assert [(each.first.label, each.second.label, each.pairs) for each in compared.comparisons] == [
        ("a", "b", 2),
        ("b", "c", 2),
    ]
    assert [each.differs for each in compared.comparisons] == [True, False]
    assert grids(compared)[1].title == "Pairs"
    assert grids(compare(runs, every_pair=True))[1].title == "Every pair"
    with pytest.raises(ComparisonError, match=r"pairs: there is no run 'd'; the runs are a, b, c"):
        compare(runs, pairs=[("a", "d")])
