"""The learning curve: accuracy against epoch as a PNG, with its uncertainty and the guesser's line.

    curve = Curve((Series("held-out", [Point(0, Share(0, 240)), Point(1, Share(96, 240))]),),
                  baselines={"guesser by family": Share(21, 240)})
    Path("curve.png").write_bytes(draw(curve))

Every point carries its k/n and a bar for its 95% Wilson interval; the axis runs from 0 to 100% whatever the data.
It draws what it is given: which checkpoint is best, or whether two differ, is not decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from math import ceil
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal

from results.intervals import Share

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.container import Container
    from matplotlib.figure import Figure

Theme = Literal["light", "dark"]

# Line colours tell apart under the common kinds of colour blindness (Okabe and Ito's blue, vermilion, green, purple).
COLOURS: dict[Theme, tuple[str, ...]] = {
    "light": ("#0072b2", "#d55e00", "#009e73", "#9a4f7f"),
    "dark": ("#56b4e9", "#f0884a", "#3cc79c", "#d894bd"),
}
INK: dict[Theme, dict[str, str]] = {
    "light": {"text": "#1f2328", "muted": "#656d76", "grid": "#e6e9ed", "ground": "#ffffff"},
    "dark": {"text": "#e6edf3", "muted": "#9aa4af", "grid": "#2c333c", "ground": "#161b22"},
}


MOST_FIGURES = 10
"""How many points of a line have their k/n written beside them; of more, evenly chosen ones and always the last."""

LEGEND_WIDTH = 60  # characters a line


@dataclass(frozen=True)
class Point:
    """A checkpoint's score; epoch 0 is the untrained model."""

    epoch: float
    share: Share


@dataclass(frozen=True)
class Series:
    """One line of the plot: a question set (or a seed) over the epochs. A faint one is thin, without bars or a name."""

    label: str
    points: Sequence[Point]
    faint: bool = False


@dataclass(frozen=True)
class Curve:
    """A plot: its lines, and shares to compare with, drawn level (such as a guesser's)."""

    series: tuple[Series, ...]
    baselines: Mapping[str, Share] = field(default_factory=dict)
    title: str = "Accuracy after each epoch"


def draw(curve: Curve, theme: Theme = "light") -> bytes:
    """The curve as a PNG of 1440 x 1200 pixels, its letters legible at a phone's width.

    Raises ValueError when there is no point to draw.
    """
    picture = BytesIO()
    figure_of(curve, theme).savefig(picture, format="png")
    return picture.getvalue()


def figure_of(curve: Curve, theme: Theme = "light") -> Figure:
    """The curve as a matplotlib figure, for other formats. Raises ValueError when there is no point to draw."""
    if not any(series.points for series in curve.series):
        raise ValueError("there is no point to draw. Score at least one checkpoint first.")
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    margins = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08)  # inches
    figure = Figure(figsize=(6.0, 5.0), dpi=240, facecolor=INK[theme]["ground"], layout=margins)
    axes = figure.add_subplot()
    plain = tuple(series for series in curve.series if not series.faint)
    handles: list[Artist | Container] = [
        _draw_series(axes, replace(curve, series=plain), number, theme) for number in range(len(plain))
    ]
    for series in curve.series:
        if series.faint:
            _draw_faint(axes, series, [each.label for each in plain], theme)
    handles += [_draw_baseline(axes, curve, number, theme) for number in range(len(curve.baselines))]
    _dress(axes, curve.title, handles, INK[theme])
    return figure


def _draw_series(axes: Axes, curve: Curve, number: int, theme: Theme) -> Container:
    points = sorted(curve.series[number].points, key=lambda point: point.epoch)
    colour = COLOURS[theme][number % len(COLOURS[theme])]
    # Several lines stand a little apart, so that their bars can be told from each other.
    apart = 0.06 * (number - (len(curve.series) - 1) / 2)
    line = axes.errorbar(
        [point.epoch + apart for point in points],
        [100 * point.share.value for point in points],
        yerr=[
            [100 * (point.share.value - point.share.interval.low) for point in points],
            [100 * (point.share.interval.high - point.share.value) for point in points],
        ],
        color=colour,
        label=fill(curve.series[number].label, LEGEND_WIDTH),
        linewidth=2.2,
        linestyle="-" if number == 0 else (0, (5, 2)),
        marker="os^D"[number % 4],
        markersize=6.5,
        markeredgecolor=INK[theme]["ground"],
        elinewidth=1.4,
        capsize=4,
        zorder=3,
    )
    if len(curve.series) <= 2:  # the figures of more lines would hide each other; the table has them
        others = curve.series[:number] + curve.series[number + 1 :]
        other = {point.epoch: point.share.value for series in others for point in series.points}
        for point in points[:: -max(1, ceil(len(points) / MOST_FIGURES))]:
            lead = point.share.value - other.get(point.epoch, -1.0)
            _write_figures(axes, point, apart, lead > 0 or (lead == 0 and number == 0), colour, INK[theme]["ground"])
    return line


def _draw_faint(axes: Axes, series: Series, labels: Sequence[str], theme: Theme) -> None:
    """A thin line in the colour of the line that has its label, such as one seed of several."""
    points = sorted(series.points, key=lambda point: point.epoch)
    colours = COLOURS[theme]
    axes.plot(
        [point.epoch for point in points],
        [100 * point.share.value for point in points],
        color=colours[labels.index(series.label) % len(colours)] if series.label in labels else INK[theme]["muted"],
        linewidth=1.0,
        marker=".",
        markersize=4,
        alpha=0.45,
        zorder=2,
    )


def _write_figures(axes: Axes, point: Point, apart: float, above: bool, colour: str, ground: str) -> None:
    """Write k/n just past the end of the point's bar."""
    from matplotlib.patheffects import withStroke

    bounds = point.share.interval
    axes.annotate(
        f"{point.share.k}/{point.share.n}",
        (point.epoch + apart, 100 * (bounds.high if above else bounds.low)),
        xytext=(0, 5 if above else -7),
        textcoords="offset points",
        ha="center",
        va="bottom" if above else "top",
        fontsize=9.5,
        color=colour,
        path_effects=[withStroke(linewidth=3, foreground=ground)],
        zorder=4,
    )


def _draw_baseline(axes: Axes, curve: Curve, number: int, theme: Theme) -> Artist:
    label, share = list(curve.baselines.items())[number]
    return axes.axhline(
        100 * share.value,
        color=INK[theme]["muted"],
        linewidth=1.6,
        linestyle=[":", "-.", "--"][number % 3],
        label=fill(f"{label}, {share.k}/{share.n}", LEGEND_WIDTH),
        zorder=2,
    )


def _dress(axes: Axes, title: str, handles: Sequence[Artist | Container], ink: dict[str, str]) -> None:
    """Title, axes, grid and legend."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    text: dict[str, Any] = {"color": ink["text"], "fontsize": 12}
    axes.set_title(title, loc="left", fontweight="bold", pad=12, color=ink["text"], fontsize=14)
    axes.set_xlabel("Epoch (0 is the untrained model)", labelpad=8, **text)
    axes.set_ylabel("Answered right, 95% interval", labelpad=8, **text)
    axes.set_ylim(-9, 106)  # room for figures under 0% and over 100%
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(decimals=0))
    axes.set_yticks(range(0, 101, 20))
    axes.tick_params(colors=ink["muted"], labelsize=11, length=0)
    axes.set_facecolor(ink["ground"])
    axes.grid(axis="y", color=ink["grid"], linewidth=1)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=1,
        frameon=False,
        fontsize=10.5,
        labelcolor=ink["text"],
    )
