"""The report is one file that holds everything, harms nobody whatever a cell printed, and says what it left out."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest

from harness.kernel.protocol import CellResult
from harness.records import Result, Trace, Verdict
from results.comparison import compare
from results.curve import Curve, Point, Series
from results.intervals import Share
from results.outcomes import outcomes_from_verdicts
from results.question_list import list_questions
from results.report import Report, render, write_report
from results.reported import reported_rows

Row = Callable[..., Result]
MakeTrace = Callable[..., Trace]

HOSTILE = (
    "</pre></details><script>document.title = 'owned'; fetch('https://example.org/x')</script>"
    "<img src='https://example.org/p.png' onerror='alert(1)'>\x1b[31mred\x1b[0m\n"
)


@pytest.fixture
def report(row: Row, trace: MakeTrace) -> Report:
    """A small run: two rows, a curve, eight questions of two families, one of them hostile."""
    traces = [trace(f"q{i}", correct=i % 3 != 0, family=("fees", "totals")[i % 2]) for i in range(6)]
    hostile = CellResult(code=f"print({HOSTILE!r})", status="ok", stdout=HOSTILE * 40_000, execution_count=1)
    traces.append(
        trace(
            "hostile", cell=hostile, family="<b>f</b>", correct=False, question=HOSTILE, guidelines=HOSTILE
        ).model_copy(update={"verdict": Verdict(correct=False, answer=HOSTILE, target="7")})
    )
    traces.append(trace("failed", verdict=Verdict(correct=None, answer=None, target="2")))
    points = [Point(0, Share(0, 240)), Point(1, Share(202, 240))]
    return Report(
        title="Parcels <and> tariffs",
        results=[row(0, 240, checkpoint="untrained"), row(202, 240, checkpoint="epoch 1", errors=3)],
        summary="A **tiny** model. <script>alert(2)</script>",
        curve=Curve((Series("held-out", points),), {"guesser": Share(21, 240)}),
        baselines={"guesser by family": Share(21, 240)},
        traces=traces,
        comparisons=[
            compare([outcomes_from_verdicts(label, {"q1": label == "a", "q2": True}) for label in ("a", "b", HOSTILE)])
        ],
        reported=reported_rows(),
        notes=["Seeds differ."],
    )


def test_it_shows_every_score_with_its_k_n_and_interval(report: Report) -> None:
    page = words(render(report))
    for text in ("202/240", "84.2", "79.0 to 88.2", "0 of 240 right", "202 of 240 right", "21 of 240 right"):
        assert text in page
    assert "fees 2/3 66.7" in page
    assert "totals 2/3 66.7" in page
    assert "sums 0/1 0.0 0.0 to 79.3 1" in page, "a failed sample counts against its family, as an error"


def test_questions_are_shown_with_answer_target_and_verdict(report: Report) -> None:
    page = words(render(report))
    assert "epoch 1: 3 of 3 failed, 1 of 1 ungraded, 4 of 4 solved." in page
    assert "primer · fees · answered 3 , right is 2" in page.replace("3,", "3 ,")
    assert "Final answer 2 Right answer 2 Verdict solved" in page
    assert "1 + 1" in page


def test_of_many_questions_verdicts_and_families_take_turns(row: Row, trace: MakeTrace) -> None:
    traces = [trace(f"{family}{number}", family=family) for family in ("a", "b", "c") for number in range(9)]
    page = render(Report("Parcels", [row()], traces=traces, examples=4))
    assert re.findall(r"Question ([abc]\d), level", page) == ["a0", "b0", "c0", "a1"]
    assert "4 of 27 solved. Not all fit on this page" in words(page)
    assert "Not all fit" not in words(render(Report("Parcels", [row()], traces=traces)))


def test_a_page_has_a_size_whatever_the_run(trace: MakeTrace) -> None:
    long = CellResult(code="1", status="ok", stdout="x" * 9_000, execution_count=1)
    traces = [trace(f"q{i}", cell=long, correct=i % 2 == 0) for i in range(40)]
    listed = list_questions(traces, page_chars=50_000)
    assert 4 <= len(listed.questions) < 20
    assert [(verdict, of) for verdict, _, of in listed.counts] == [("failed", 20), ("solved", 20)]
    shown = [count for _, count, _ in listed.counts]
    assert max(shown) - min(shown) <= 1, "neither verdict crowds out the other"
    assert len(list_questions(traces[:1], page_chars=10).questions) == 1, "one is shown whatever its size"


def test_the_list_can_be_filtered_by_what_differs(row: Row, trace: MakeTrace) -> None:
    page = render(Report("Parcels", [row()], traces=[trace("a", family="fees"), trace("b", family="sums")]))
    assert '<select data-filter="family">' in page
    assert 'data-filter="verdict"' not in page, "all are solved: there is nothing to choose"


def test_why_questions_failed_is_counted_said_and_a_filter(row: Row, trace: MakeTrace) -> None:
    crashed = CellResult(code="1/0", status="error", execution_count=1)
    traces = [trace("a"), trace("b", correct=False), trace("c", correct=False, cell=crashed)]
    page = render(Report("Parcels", [row()], traces=traces))
    assert "Why questions failed" in page
    assert '<select data-filter="failure"><option value="">all</option><option>last cell crashed</option>' in page
    assert page.count('data-failure="last cell crashed"') == 1
    assert "Why questions failed" not in render(Report("Parcels", [row()], traces=traces[:1]))


def test_cost_is_told_for_each_run(row: Row) -> None:
    rows = [row(60, 240, checkpoint="a", tokens=48_000, cost_usd=1.5, wall_s=90.0), row(checkpoint="b")]
    page = words(render(Report("Parcels", rows)))
    assert "a 48,000 200 $1.50 $0.0250 1 min 30 s" in page
    assert re.search(r"What it cost.* b [\d,]+ [\d,]+ local – ", page), (
        "a local model has no price, and is not said to be free"
    )


def test_runs_without_a_score_can_be_looked_at(trace: MakeTrace) -> None:
    page = words(render(Report("Easy", [], traces=[trace("q", correct=None)], traces_of="model")))
    assert "model: 1 of 1 ungraded" in page
    assert "Results" not in page


def test_the_figures_at_the_top_are_the_ends_of_the_table_or_those_chosen(row: Row) -> None:
    rows = [
        row(k, 240, checkpoint=f"epoch {k // 24}", split=split)
        for split in ("held-out", "reworded")
        for k in (0, 24, 216)
    ]
    tiles = re.compile(r'<span class="label">(.*?)</span>')
    assert tiles.findall(render(Report("Parcels", rows[:3]))) == ["epoch 0", "epoch 9"]
    chosen = Report("Parcels", rows, headline=[rows[2], rows[5]], baselines={"guesser": Share(1, 9)})
    assert tiles.findall(render(chosen)) == ["epoch 9, held-out", "epoch 9, reworded", "guesser"]


def test_the_file_needs_nothing_from_elsewhere(report: Report) -> None:
    page = render(report)
    assert not re.findall(r"<(?:script|img|link|iframe|source)[^>]*(?:src|href|srcset)=[\"'](?!data:)", page)
    assert "@import" not in page
    assert "url(" not in page
    assert page.count("data:image/png;base64,") == 2, "the curve for light and for dark"
    assert "default-src 'none'" in page


def test_hostile_text_stays_text_and_is_cut(report: Report) -> None:
    page = render(report)
    assert len(page) < 1_000_000, "of 8 MB"
    assert page.count("<script>") == 1, "its own"
    assert "<img src='https://" not in page
    assert "\x1b" not in page
    assert "characters are not shown here" in page
    assert "Parcels &lt;and&gt; tariffs" in page


def test_incomplete_data_is_said_at_the_top_and_in_the_row(row: Row) -> None:
    marked = words(render(Report("Parcels", [row(incomplete_data=("payments.csv",))])))
    assert "Incomplete data. Some of these runs did without payments.csv" in marked
    assert "epoch 3 (incomplete data)" in marked
    assert "Incomplete data." not in words(render(Report("Parcels", [row()])))


def test_a_comparison_says_what_can_be_seen_and_is_safe(row: Row) -> None:
    runs = [
        outcomes_from_verdicts(label, {f"q{i}": i < right for i in range(72)})
        for label, right in (("untrained", 0), ("epoch 5", 54), (HOSTILE, 53))
    ]
    page = render(Report("Parcels", [row()], comparisons=[compare(runs, every_pair=True)]))
    shown = words(page)
    assert "Can a difference be seen?" in shown
    assert "untrained against epoch 5: 0 against 54 of 72: epoch 5 is better (54 questions went one way" in shown
    assert "54 against 53 of 72: no difference can be seen" in shown
    assert page.count('class="seen"') == 2, "only where one can be seen"
    assert "<img src='https://" not in page
    assert page.count("<script>") == 1


def test_published_figures_stand_apart_and_are_marked(row: Row) -> None:
    page = words(render(Report("DABStep", [row()], reported=reported_rows())))
    assert "Published figures Reported, not run here." in page
    assert "Jupyter Agent Qwen3-4B, 5 epochs" in page
    assert "5 epochs easy two tools 54/72 75.0 63.9 to 83.6 reported" in page
    assert "baseline not given 38.67 – reported; the card says 44.0" in page
    assert "Published figures" not in words(render(Report("DABStep", [row()])))


def test_a_report_can_do_without_curve_traces_and_notes(row: Row) -> None:
    page = render(Report("Parcels", [row()]))
    for heading in ("Learning curve", "By question family", "Questions as notebooks", "Notes"):
        assert heading not in page
    with pytest.raises(ValueError, match="nothing to report"):
        render(Report("Parcels", []))


def test_the_file_appears_only_when_whole(row: Row, tmp_path: Path) -> None:
    write_report(tmp_path / "runs" / "report.html", Report("Half a pair: \ud800", [row()]))
    assert [file.name for file in (tmp_path / "runs").iterdir()] == ["report.html"]
    assert (tmp_path / "runs" / "report.html").read_text(encoding="utf-8").endswith("</html>")


def words(page: str) -> str:
    """What a reader sees of a page: its text, without style and tags."""
    text = re.sub(r"<(style|script|head)>.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())
