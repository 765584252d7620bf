"""The report: one self-contained HTML page of a run, to open, keep and send.

    write_report(Path("report.html"), Report(title="Parcels, seed 1", results=rows, curve=curve, traces=traces))

It shows the table with its intervals, what a comparison of runs allows to say, what the runs cost, published figures
beside ours, the learning curve, one run by question family, and its questions as notebooks, to be filtered by level,
family, verdict and why they failed. Style, script and pictures are inside the file; a content policy lets no request
leave the page and no script run but its own, whatever a model or a cell has written (see `results/notebook_html.py`).
A page keeps a size that a telephone can open: which questions are left out is decided by a rule that the page states.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.records import Result, Trace
from results.comparison import Comparisons
from results.comparison_table import LEGEND, Grid, grids
from results.curve import Curve, Theme, draw
from results.failures import count_failures
from results.failures_table import by_reason
from results.families import by_family
from results.intervals import Share
from results.notebook_html import prose
from results.question_list import list_questions
from results.table import NOT_GIVEN, columns, dollars, duration, name_of, share_of
from results.verdict import verdict

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Report:
    """What a report shows.

    Attributes:
        title: The page's heading.
        results: Rows of the table, in its order.
        headline: Rows whose figures stand at the top; the first and the last of the table unless given.
        summary: What was run, in a few sentences of Markdown.
        curve: The learning curve.
        baselines: Shares to hold the results against, such as a guesser's.
        traces: The traces of one run, all of them: broken down by family, and shown as notebooks.
        traces_of: What that run is called; the last headline's name unless given.
        comparisons: Runs compared with each other, with verdicts in words; one for each set of questions.
        reported: Published figures to stand beside ours, marked as not run here.
        notes: What a reader must know besides, each a sentence or two of Markdown.
        examples: How many questions of each verdict are shown, at most; as many as PAGE_CHARS allows unless given.
    """

    title: str
    results: Sequence[Result]
    headline: Sequence[Result] = ()
    summary: str = ""
    curve: Curve | None = None
    baselines: Mapping[str, Share] = field(default_factory=dict)
    traces: Sequence[Trace] = ()
    traces_of: str | None = None
    comparisons: Sequence[Comparisons] = ()
    reported: Sequence[Result] = ()
    notes: Sequence[str] = ()
    examples: int | None = None


@dataclass(frozen=True)
class Compared:
    """A comparison as the page shows it."""

    left_out: str
    grids: Sequence[Grid]
    verdicts: Sequence[tuple[str, bool]]
    notes: Sequence[str]


@dataclass(frozen=True)
class Cost:
    """What one run took, as the page says it: tokens, dollars and time, in all and for each question."""

    name: str
    tokens: str
    tokens_each: str
    dollars: str
    dollars_right: str
    time: str


def cost_of(row: Result) -> Cost:
    """The cost of a run; dollars only where every price was known."""
    asked, right = row.n or 0, row.k or 0
    cost = row.cost_usd
    return Cost(
        name=name_of(row),
        tokens=NOT_GIVEN if row.tokens is None else f"{row.tokens:,}",
        tokens_each=NOT_GIVEN if row.tokens is None or not asked else f"{row.tokens / asked:,.0f}",
        dollars=dollars(row),
        dollars_right=NOT_GIVEN if cost is None or not right else f"${cost / right:,.4f}",
        time=duration(row.wall_s),
    )


def write_report(path: Path, report: Report) -> None:
    """Write the page; the file appears under its name only when whole. Raises ValueError as `render` does."""
    page = render(report)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    # A lone surrogate in a model's output cannot be encoded and must not cost the report.
    partial.write_bytes(page.encode("utf-8", errors="replace"))
    partial.replace(path)


def render(report: Report) -> str:
    """The page as text. Raises ValueError when there are neither results nor traces."""
    if not report.results and not report.traces:
        raise ValueError("there is nothing to report: neither results nor traces. Score at least one run first.")
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    return environment.get_template("report.html").render(
        report=report,
        summary=prose(report.summary),
        notes=[prose(note) for note in report.notes],
        script=Markup(script),
        script_hash=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        tiles=_tiles(report),
        columns=columns(report.results),
        name_of=name_of,
        legend=LEGEND,
        incomplete=sorted({name for row in report.results for name in row.incomplete_data}),
        pictures=_pictures(report.curve),
        compared=[_compared(comparison) for comparison in report.comparisons],
        published=_published(report.reported),
        share_of=share_of,
        families=by_family(report.traces),
        failures=by_reason(count_failures(report.traces)),
        traces_of=report.traces_of or "".join(map(name_of, _headline(report)[-1:])),
        costs=[cost_of(row) for row in report.results if row.kind == "run"],
        listed=list_questions(report.traces, report.examples),
    )


def _headline(report: Report) -> Sequence[Result]:
    """The rows that matter most: those chosen, else the ends of the table (untrained and trained, say)."""
    return report.headline or [*report.results[:1], *report.results[1:][-1:]]


def _tiles(report: Report) -> list[tuple[str, Share]]:
    """The figures at the top, each with its name: the headline's, then what to hold them against."""
    splits = len({row.split for row in report.results}) > 1
    rows = [(name_of(row) + (f", {row.split}" if splits else ""), share_of(row)) for row in _headline(report)]
    return [(name, share) for name, share in rows if share is not None] + list(report.baselines.items())


def _pictures(curve: Curve | None) -> dict[Theme, str]:
    """The curve for both themes, as data URIs."""
    if curve is None:
        return {}
    themes: tuple[Theme, ...] = ("light", "dark")
    return {theme: f"data:image/png;base64,{b64encode(draw(curve, theme)).decode()}" for theme in themes}


def _compared(comparison: Comparisons) -> Compared:
    pairs = comparison.comparisons
    return Compared(
        left_out=comparison.left_out,
        grids=[grid for grid in grids(comparison) if grid.title],  # the first repeats the table of results
        verdicts=[(verdict(pair), pair.differs) for pair in pairs],
        notes=list(dict.fromkeys([*comparison.notes, *(note for pair in pairs for note in pair.notes)])),
    )


def _published(rows: Sequence[Result]) -> dict[str, list[Result]]:
    """The published rows by their source, in order."""
    by_source: dict[str, list[Result]] = {}
    for row in rows:
        by_source.setdefault(row.source or "", []).append(row)
    return by_source
