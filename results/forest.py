"""Several runs beside each other as a PNG: a row a run, its share with a 95% interval, a dot a seed.

    Path("arms.png").write_bytes(draw_forest([Row("NEFTune 5", Share(61, 72), [Share(31, 36), Share(30, 36)])]))

For runs that are no learning curve (`results/curve.py` draws those). The axis runs from 0 to 100% whatever the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from textwrap import fill

from results.curve import COLOURS, INK, Theme
from results.intervals import Share

LABEL_WIDTH = 28  # characters a line


@dataclass(frozen=True)
class Row:
    """A run: its name, its share over all seeds, and each seed's."""

    label: str
    share: Share
    seeds: Sequence[Share] = ()


def draw_forest(rows: Sequence[Row], title: str = "Answered right, 95% interval", theme: Theme = "light") -> bytes:
    """The picture, 1440 pixels wide, the first row on top. Raises ValueError when there is no row."""
    if not rows:
        raise ValueError("there is no run to draw. Score at least one first.")
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    ink = INK[theme]
    figure = Figure(figsize=(6.0, 1.4 + 0.5 * len(rows)), dpi=240, facecolor=ink["ground"], layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(reversed(rows)):
        bounds, value = row.share.interval, row.share.value
        axes.errorbar(
            100 * value,
            place,
            xerr=[[100 * (value - bounds.low)], [100 * (bounds.high - value)]],
            color=COLOURS[theme][0],
            marker="o",
            markersize=6.5,
            elinewidth=1.6,
            capsize=4,
            zorder=3,
        )
        axes.plot(
            [100 * seed.value for seed in row.seeds],
            [place - 0.22] * len(row.seeds),
            linestyle="none",
            marker=".",
            color=ink["muted"],
            zorder=2,
        )
        figures = f"{row.share.k}/{row.share.n}"
        axes.annotate(
            figures,
            (100 * value, place),
            (0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=ink["text"],
        )
    axes.set_yticks(range(len(rows)), [fill(row.label, LABEL_WIDTH) for row in reversed(rows)], color=ink["text"])
    axes.set_ylim(-0.7, len(rows) - 0.4)
    axes.set_xlim(-3, 103)
    axes.xaxis.set_major_formatter(PercentFormatter(decimals=0))
    axes.tick_params(colors=ink["muted"], labelsize=10, length=0)
    axes.set_facecolor(ink["ground"])
    axes.grid(axis="x", color=ink["grid"], linewidth=1)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title(title, loc="left", fontweight="bold", color=ink["text"], fontsize=13)
    picture = BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()
