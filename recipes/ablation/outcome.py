"""What an ablation ends with: one table, one plot, paired comparisons in words, and the same as JSON.

    outcome = outcome_of(plan, state, settings)       # of what is scored by now
    write_outcome(outcome, folder)                    # table.md, plot.png, result.json

A run is an arm at an epoch over all its seeds: k and n count every seed's answers, the interval is over the questions
(one question's answers are not independent), and the comparisons pair the runs question by question. What may be said
of a pair is said by `results/verdict.py`, for these very models; what the seeds add by `results/seeds.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.files import write_whole
from recipes.ablation.plan import Plan, Run
from recipes.ablation.scores import row_of
from recipes.ablation.settings import Settings
from recipes.ablation.state import State
from results.comparison import Comparisons, compare
from results.comparison_table import LEGEND, Grid, as_json, grid_markdown, grids
from results.curve import Curve, Point, Series, draw
from results.forest import Row, draw_forest
from results.intervals import Share
from results.outcomes import Outcomes, outcomes_from_log
from results.seeds import SeedSpread, pooled, seed_spread, seed_words
from results.verdict import verdict

LOOKED = (
    "Which of many runs is best was found by looking at these very questions, so the best one's share flatters it; "
    "score it on fresh questions before it is quoted."
)


@dataclass(frozen=True)
class Scored:
    """A run that was scored: each seed's outcomes, and all together."""

    run: Run
    seeds: tuple[Outcomes, ...]
    together: Outcomes

    @property
    def share(self) -> Share:
        """All seeds' answers, the interval over the questions."""
        return Share(self.together.k, self.together.n, self.together.interval)


@dataclass(frozen=True)
class Outcome:
    """The runs that were scored, in the plan's order, their comparison, and what is missing with the reason."""

    study: str
    scored: tuple[Scored, ...]
    compared: Comparisons | None
    spreads: tuple[SeedSpread | None, ...]
    missing: dict[str, str] = field(default_factory=dict)


def outcome_of(plan: Plan, state: State, settings: Settings) -> Outcome:
    """Gather what is scored by now. Raises ComparisonError where runs were asked other questions."""
    scored, missing = [], dict[str, str]()
    for run in plan.runs:
        seeds = []
        for scoring in run.scorings:
            row, why = row_of(state, scoring.name)
            if row is None:
                missing[scoring.label] = why
            else:
                log = state.folder / str((state.noted(scoring.name, "scored") or {})["log"])
                seeds.append(outcomes_from_log(log, scoring.label))
        if len(seeds) == len(run.scorings):
            scored.append(Scored(run, tuple(seeds), pooled(run.label, seeds)))
    compared = _compared(scored, plan, settings)
    by_label = {each.run.label: each.seeds for each in scored}
    spreads = [
        seed_spread(by_label[pair.first.label], by_label[pair.second.label])
        for pair in (compared.comparisons if compared else ())
    ]
    return Outcome(settings.study, tuple(scored), compared, tuple(spreads), missing)


def _compared(scored: Sequence[Scored], plan: Plan, settings: Settings) -> Comparisons | None:
    """The pairs that were asked for, as far as both are scored."""
    labels = {each.run.label for each in scored}
    pairs = [pair for pair in plan.pairs if set(pair) <= labels] if plan.pairs is not None else None
    if len(scored) < 2 or pairs == []:
        return None
    return compare([each.together for each in scored], every_pair=settings.compare == "every pair", pairs=pairs)


def table(outcome: Outcome) -> str:
    """The runs as a Markdown table: all seeds together, and seed by seed."""
    rows = []
    for each in outcome.scored:
        bounds = each.share.interval
        cells = [each.run.label, f"{each.share.k:,}/{each.share.n:,}", f"{100 * each.share.value:.1f}"]
        cells += [f"{100 * bounds.low:.1f} to {100 * bounds.high:.1f}", str(each.together.errors)]
        cells += [" ".join(f"{seed.k}/{seed.n}" for seed in each.seeds)]
        rows.append(tuple(cells))
    headings = ("Run", "Right", "%", "95% interval", "Errors", "Seed by seed")
    return grid_markdown(Grid("", headings, tuple(rows), (False, True, True, True, True, False)))


def comparison_text(outcome: Outcome) -> str:
    """The pairs as a Markdown table, and each verdict in words."""
    if outcome.compared is None:
        return ""
    lines = [grid_markdown(grids(outcome.compared)[1]), LEGEND, ""]
    lines += [f"- {note}" for note in dict.fromkeys(outcome.compared.notes)]
    for pair, spread in zip(outcome.compared.comparisons, outcome.spreads, strict=True):
        lines.append(f"- {verdict(pair)}" + (f" {seed_words(spread)}" if spread else ""))
    notes = dict.fromkeys(note for pair in outcome.compared.comparisons for note in pair.notes)
    return "\n".join([*lines, *(f"- {note}" for note in notes)]) + "\n"


def markdown(outcome: Outcome) -> str:
    """Everything in words, for a file."""
    parts = [f"# {outcome.study}\n"]
    if outcome.scored:
        parts += [
            table(outcome),
            "Right: of all seeds together; the interval is over the questions, of which each was asked once a seed.\n",
        ]
    if outcome.compared:
        parts += ["## Compared, question by question\n", comparison_text(outcome)]
    if len(outcome.scored) > 2:
        parts += [f"{LOOKED}\n"]
    if outcome.missing:
        parts += ["## Not scored\n", "\n".join(f"- {label}: {why}" for label, why in outcome.missing.items()) + "\n"]
    return "\n".join(parts)


def picture(outcome: Outcome) -> bytes:
    """The learning curves where a line has several epochs, else a row a run. Raises ValueError without a run."""
    lines: dict[str, list[Scored]] = {}
    for each in outcome.scored:
        if each.run.epoch is not None:
            lines.setdefault(each.run.line, []).append(each)
    if not any(len(line) > 1 for line in lines.values()):
        return draw_forest([Row(each.run.label, each.share, _seed_shares(each)) for each in outcome.scored])
    series = [
        Series(name, [Point(_epoch(each), each.share) for each in line], faint=False) for name, line in lines.items()
    ]
    for name, line in lines.items():
        for number in range(max(len(each.seeds) for each in line)):
            points = [Point(_epoch(each), _seed_shares(each)[number]) for each in line if 1 < len(each.seeds) > number]
            series += [Series(name, points, faint=True)] if len(points) > 1 else []
    return draw(Curve(tuple(series), title="Accuracy against epochs (thin: seed by seed)"))


def _epoch(scored: Scored) -> float:
    return scored.run.epoch or 0.0


def _seed_shares(scored: Scored) -> list[Share]:
    return [Share(seed.k, seed.n) for seed in scored.seeds]


def write_outcome(outcome: Outcome, folder: Path, extra: dict[str, Any] | None = None) -> None:
    """Write `table.md`, `plot.png` (where there is a run) and `result.json` into the folder."""
    write_whole(folder / "table.md", markdown(outcome))
    if outcome.scored:
        write_whole(folder / "plot.png", picture(outcome))
    result: dict[str, Any] = {
        "schema_version": 1,
        "study": outcome.study,
        "runs": [
            {
                "label": each.run.label,
                "line": each.run.line,
                "epoch": each.run.epoch,
                "k": each.together.k,
                "n": each.together.n,
                "errors": each.together.errors,
                "interval": each.share.interval.model_dump(),
                "seeds": [{"k": seed.k, "n": seed.n, "log": seed.source} for seed in each.seeds],
            }
            for each in outcome.scored
        ],
        "compared": as_json(outcome.compared) if outcome.compared else None,
        "over_seeds": [seed_words(spread) if spread else None for spread in outcome.spreads],
        "missing": outcome.missing,
        **(extra or {}),
    }
    write_whole(folder / "result.json", json.dumps(result, indent=2) + "\n")
