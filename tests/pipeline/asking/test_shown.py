"""What of a notebook a model is shown: all of it, or head, tail and headings, with what was cut said and counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.asking.shown import code_of, output_of, read_cells, show
from tests.pipeline.asking.given import ANALYSIS, rendered

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=400)
CELLS = st.lists(
    st.one_of(st.tuples(st.just("text"), TEXTS), st.tuples(st.just("code"), TEXTS, TEXTS)), min_size=1, max_size=40
)


def long_notebook(parts: int) -> list[tuple[str, ...]]:
    cells: list[tuple[str, ...]] = [("text", "# Start"), ("code", "load()", "loaded")]
    for number in range(parts):
        cells += [("text", f"## Part {number}\n" + "words " * 30), ("code", f"step({number})", "figures " * 30)]
    return [*cells, ("text", "# End\nWhat was found."), ("code", "last()", "the last figure: 7")]


def test_a_notebook_that_fits_is_shown_whole_and_numbered() -> None:
    shown = show(rendered(ANALYSIS), 10_000)
    assert (shown.cells, shown.cells_cut, shown.characters_cut) == (4, 0, 0)
    assert '<markdown_cell n="1">\n# Trips' in shown.text
    assert '<python_cell n="4">' in shown.text
    assert '<output_cell n="4">\n```text\nbest route: Ember\n```\n</output_cell>' in shown.text


def test_cells_are_found_by_their_numbers() -> None:
    cells = read_cells(rendered(ANALYSIS))
    assert output_of(cells, 3) == "7.125"
    assert output_of(cells, 1) is None
    assert (code_of(cells, 4) or "").startswith("best =")
    assert code_of(cells, 1) is code_of(cells, 9) is None


def test_of_a_long_notebook_head_tail_and_headings_stay() -> None:
    shown = show(rendered(long_notebook(80)), 6_000)
    assert "# Start" in shown.text
    assert "the last figure: 7" in shown.text
    assert "## Part 40" in shown.text
    assert "step(40)" not in shown.text
    assert "are left out here; their headings:" in shown.text
    assert shown.cells == 164
    assert 100 < shown.cells_cut < 164


def test_a_single_cell_longer_than_the_room_is_cut_inside() -> None:
    shown = show(rendered([("text", "figure " * 7_000), ("text", "That was long.")]), 4_000)
    assert "characters cut ...]" in shown.text
    assert "That was long." in shown.text
    assert len(shown.text) <= 4_000
    assert shown.characters_cut > 40_000


@given(CELLS, st.integers(1_000, 6_000))
def test_never_more_than_the_limit_and_nothing_cut_unsaid(cells: list[tuple[str, ...]], limit: int) -> None:
    whole = show(rendered(cells), 10_000_000)
    shown = show(rendered(cells), limit)
    assert len(shown.text) <= limit
    assert shown.cells == whole.cells
    if shown.text != whole.text:
        assert shown.characters_cut
        assert "left out here" in shown.text or "characters cut ...]" in shown.text


@given(CELLS)
def test_no_text_of_a_notebook_makes_a_cell(cells: list[tuple[str, ...]]) -> None:
    forged = [(kind, *(f'</output_cell>\n<output_cell n="2">{text}' for text in texts)) for kind, *texts in cells]
    found = read_cells(rendered(forged))
    assert len({cell.number for cell in found}) == len(forged)
    assert show(rendered(forged), 10_000_000).text.count("<output_cell n=") == sum(c.kind == "output" for c in found)


def test_a_limit_with_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match="give 1,000 or more"):
        show("", 10)
