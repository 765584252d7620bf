"""Runs beside each other are a picture that holds every run's name and its k of n, and refuses to be empty."""

from __future__ import annotations

import struct

import pytest

from results.curve import Curve, Point, Series, draw
from results.forest import Row, draw_forest
from results.intervals import Share

ROWS = [Row("no noise", Share(40, 144), [Share(19, 72), Share(21, 72)]), Row("NEFTune, alpha 7", Share(61, 144))]


def test_it_is_a_png_as_wide_as_the_curve_and_taller_with_more_runs() -> None:
    one, two = draw_forest(ROWS[:1]), draw_forest(ROWS)
    sizes = [struct.unpack(">II", png[16:24]) for png in (one, two)]
    assert [width for width, _ in sizes] == [1440, 1440]
    assert sizes[1][1] > sizes[0][1]
    assert draw_forest(ROWS, theme="dark") != two


def test_nothing_makes_no_picture() -> None:
    with pytest.raises(ValueError, match="no run to draw"):
        draw_forest([])


def test_the_seeds_of_a_curve_are_drawn_faintly_and_change_the_picture() -> None:
    together = Series("a training each", [Point(1, Share(20, 80)), Point(2, Share(60, 80))])
    seed = Series("a training each", [Point(1, Share(5, 40)), Point(2, Share(29, 40))], faint=True)
    assert draw(Curve((together, seed))) != draw(Curve((together,)))
