"""Splits share no source: whatever chains of shared sources there are, two splits have none in common."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.curation.splits import Shares, assign

SOURCES = st.dictionaries(
    st.text(min_size=1, max_size=4), st.lists(st.sampled_from([f"s{n}" for n in range(12)]), max_size=3), max_size=30
)
HALVES = Shares(validation=0.3, test=0.3)


@given(SOURCES, st.integers(0, 5))
def test_no_source_is_in_two_splits(sources: dict[str, list[str]], seed: int) -> None:
    splits = assign(sources, HALVES, seed)
    assert splits.keys() == sources.keys()
    of_source: dict[str, set[str]] = {}
    for question, named in sources.items():
        for source in named:
            of_source.setdefault(source, set()).add(splits[question])
    assert all(len(found) == 1 for found in of_source.values())


@given(SOURCES)
def test_the_order_of_questions_does_not_matter(sources: dict[str, list[str]]) -> None:
    assert assign(dict(reversed(sources.items())), HALVES) == assign(sources, HALVES)


def test_a_group_stays_where_it_is_when_others_are_added() -> None:
    first = {f"q{n}": [f"s{n}"] for n in range(200)}
    before, after = assign(first, HALVES), assign(first | {f"r{n}": [f"t{n}"] for n in range(200)}, HALVES)
    assert before == {question: after[question] for question in before}


def test_shares_are_met_roughly_where_sources_are_many() -> None:
    splits = list(assign({f"q{n}": [f"s{n}"] for n in range(4000)}, Shares(0.1, 0.2)).values())
    assert splits.count("validation") == pytest.approx(400, abs=80)
    assert splits.count("test") == pytest.approx(800, abs=110)


def test_questions_without_a_source_do_not_form_a_group() -> None:
    assert len(set(assign({f"q{n}": [] for n in range(100)}, HALVES).values())) == 3


@pytest.mark.parametrize(("validation", "test"), [(-0.1, 0), (0.5, 0.5), (0, 1)])
def test_shares_that_leave_no_training_are_refused(validation: float, test: float) -> None:
    with pytest.raises(ValueError, match="shares"):
        Shares(validation, test)
