"""Which data sets may be used, by what the tables say of them; handles; the plan of bytes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kaggle.budget import Wanted, plan_bytes
from pipeline.kaggle.filters import Rules, refusal
from pipeline.kaggle.handles import Handle, HandleError
from pipeline.kaggle.join import Version

GOOD = Version(7, 10_007, "ada", "tides", 3, "CC0: Public Domain", "Tides of the North Sea", "", (), 1000, 4000)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"licence": "cc by-sa 4.0"}, None),
        ({"licence": "CC BY-NC-SA 4.0"}, "licence not allowed"),
        ({"licence": "Unknown"}, "licence unknown"),
        ({"licence": None}, "licence unknown"),
        ({"licence": "Other (specified in description)"}, "licence unknown"),
        ({"slug": "bert-base-uncased"}, "model weights"),
        ({"title": "Model weights of my network"}, "model weights"),
        ({"title": "Heights and weights of people"}, None),
        ({"title": "Albert's beers"}, None),
        ({"slug": "vicuna-7b-v1"}, "about language models"),
        ({"tags": ("llm",)}, "about language models"),
        ({"title": "Apartment 5B rents"}, None),
        ({"title": "Chest X-ray images"}, None),  # small
        ({"title": "Chest X-ray images", "compressed": 3_000_000_000}, "large pictures, sound or film"),
        ({"tags": ("audio",), "compressed": None}, "large pictures, sound or film"),
        ({"compressed": 10_000_000_001}, "too large"),
        ({"uncompressed": 10_000_000_001}, "too large"),
        ({"compressed": None, "uncompressed": None}, "size unknown"),
        ({"compressed": None}, None),
    ],
)
def test_each_ground_has_its_reason(change: dict[str, object], reason: str | None) -> None:
    assert refusal(replace(GOOD, **change), Rules()) == reason  # type: ignore[arg-type]


def test_the_yaml_may_be_laxer() -> None:
    unknown = replace(GOOD, licence=None, compressed=None, uncompressed=None)
    assert refusal(unknown, Rules(unknown_licence=True, unknown_size=True)) is None
    assert refusal(GOOD, Rules(licences=("MIT",))) == "licence not allowed"


@pytest.mark.parametrize(
    "text", ["ada/tides", "../x/versions/1", "a/../versions/1", "ada/tides/versions/0", "a/b/versions/x"]
)
def test_a_handle_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(HandleError):
        Handle.parse(text)


def test_a_handle_is_read_as_it_was_written() -> None:
    assert Handle.parse(str(Handle("ada", "tides", 3))) == Handle("ada", "tides", 3)


WANTED = st.lists(
    st.builds(Wanted, st.text("abc", min_size=1), st.integers(0, 100), st.integers(1, 9)), unique_by=lambda w: w.handle
)


@given(WANTED, st.integers(0, 300), st.randoms())
def test_a_plan_keeps_to_its_budget_whatever_the_order(wanted: list[Wanted], budget: int, chance) -> None:  # type: ignore[no-untyped-def]
    plan = plan_bytes(wanted, budget)
    assert plan.bytes <= budget
    assert {*plan.admitted, *plan.left_out} == set(wanted)
    assert all(one.bytes > budget - plan.bytes for one in plan.left_out)
    shuffled = sorted(wanted, key=lambda _: chance.random())
    assert plan_bytes(shuffled, budget) == plan


def test_what_most_notebooks_read_for_its_size_comes_first() -> None:
    plan = plan_bytes([Wanted("big", 90, 3), Wanted("small", 10, 1), Wanted("popular", 50, 40)], 100)
    assert [one.handle for one in plan.admitted] == ["popular", "small"]
