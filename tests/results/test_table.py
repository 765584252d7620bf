"""The table: no score without its k and n, incomplete data marked, the same cells in Markdown and in the terminal."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from harness.records import BrokenOff, Interval, Result
from results.table import duration, remarks, to_markdown, to_rich

Row = Callable[..., Result]


def test_a_row_shows_k_of_n_percent_interval_errors_tokens_and_time(row: Row) -> None:
    assert to_markdown([row(errors=2)]) == (
        "| Model | Right | % | 95% interval | Errors | Tokens | Time |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| epoch 3 | 54/72 | 75.0 | 63.9 to 83.6 | 2 | 1,234,567 | 4 min 05 s |\n"
    )


def test_incomplete_data_is_marked_in_its_row(row: Row) -> None:
    marked, whole = to_markdown([row(incomplete_data=("payments.csv",)), row()]).splitlines()[2:]
    assert "epoch 3 (incomplete data)" in marked
    assert "without payments.csv" in marked
    assert "incomplete" not in whole


def test_a_published_figure_says_so_and_that_its_k_is_not_given() -> None:
    published = Result(
        kind="reported",
        task="dabstep_easy",
        split="easy",
        model="Qwen3-4B",
        scaffold="theirs",
        exposure="general",
        percent=75.0,
        source="the authors' blog",
        recorded_at="2026-01-31T12:00:00+00:00",
    )
    line = to_markdown([published]).splitlines()[2]
    assert "| k not given | 75.0 | – |" in line
    assert "reported, not run here: the authors' blog" in line


def test_what_differs_between_rows_gets_a_column(row: Row) -> None:
    heading = to_markdown([row(), row(split="hard", scaffold="baseline")]).splitlines()[0]
    assert heading.startswith("| Model | Split | Scaffold | Right |")


def test_a_cell_cannot_break_out_of_its_row(row: Row) -> None:
    lines = to_markdown([row(checkpoint=None, model="a|b\nc", note="[bold]x[/bold]")]).splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("| a\\|b c |")


def test_the_terminal_shows_the_same_cells(row: Row) -> None:
    rows = [
        row(0, 240, checkpoint="untrained"),
        row(214, 240, checkpoint="[red]epoch 5", cost_usd=1.5, cost_basis="prices"),
    ]
    console = Console(width=200, file=io.StringIO())
    with console.capture() as capture:
        console.print(to_rich(rows, "Held-out questions"))
    shown = capture.get()
    assert "Held-out questions" in shown
    for line in to_markdown(rows).splitlines():
        for cell in line.strip("| ").split(" | "):
            assert cell.strip("-:") in shown


def test_no_rows_make_no_table() -> None:
    with pytest.raises(ValueError, match="no results"):
        to_markdown([])
    with pytest.raises(ValueError, match="no results"):
        to_rich([])


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"),
        (8.26, "8.3 s"),
        (59.97, "1 min 00 s"),
        (245.4, "4 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7620, "2 h 07 min"),
    ],
)
def test_times_are_said_as_a_person_says_them(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said


def test_attempts_are_not_called_questions(row: Row) -> None:
    over = Interval(low=0.55, high=0.9, method="bootstrap over questions")
    told = [{"k": k, "value": value, "interval": over} for k, value in ((2, 0.8), (4, 0.85))]
    heading, _, repeated, once = to_markdown([row(epochs=4, interval=over, pass_at=told), row()]).splitlines()
    assert heading.startswith("| Model | Right | % | 95% interval | Asked | pass@2 | pass@4 |")
    assert "| 54/72 | 75.0 | 55.0 to 90.0 | 18 x 4 | 80.0 (55.0 to 90.0) | 85.0 (55.0 to 90.0) |" in repeated
    assert "| 54/72 | 75.0 | 63.9 to 83.6 | 72 x 1 | – | – |" in once


def test_a_cost_or_why_there_is_none(row: Row) -> None:
    rows = [row(cost_usd=1.5, cost_basis="prices"), row(), row(cost_basis="unpriced")]
    assert [line.split(" | ")[-1] for line in to_markdown(rows).splitlines()[2:]] == [
        "$1.50 |",
        "local |",
        "unpriced |",
    ]


def test_a_run_that_was_broken_off_says_what_that_cost(row: Row) -> None:
    lost = BrokenOff(times=2, tokens=4210, cost_usd=None, unanswered_calls=3, unread=1)
    assert remarks(row(broken_off=lost)) == (
        "broken off 2 times: 4,210 tokens of questions asked again are counted, 3 calls under way then are not known, "
        "what 1 of these attempts lost is not known"
    )
