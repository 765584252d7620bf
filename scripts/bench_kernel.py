"""How fast kernels start and answer, beside what others use for the same: `make bench-kernel`.

    PYTHONPATH=. python scripts/bench_kernel.py                       # about four minutes; the machine must be quiet
    PYTHONPATH=. python scripts/bench_kernel.py --rounds 2 --many 4   # whether it runs

In one run on one machine, in rounds that take the contenders of `bench_contenders.py` in changing order, each with a
new session: the start until pandas is imported, `1 + 1`, then a table of 138,236 rows by 21 columns (made by seed, of
the shape of DABStep's payments.csv) read and grouped. Then 32 sessions at once: wall time until all are ready, and the
memory of all their processes with what they share counted once. Tells medians, 95th percentiles, ratios and which
of the wanted figures are met; writes results/runs/bench/kernel.json. Ends with status 1 where one is not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from bench_contenders import CONTENDERS, Opening, ipykernel_bare, peak_mb, proportional_mb
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from harness.kernel.zygote import warm_zygote

ROWS, COLUMNS, SEED = 138_236, 21, 0
CELL = "1 + 1"
READ = "import pandas as pd\ntable = pd.read_csv('input/table.csv')\nlen(table)"
GROUP = "round(float(table.groupby(['text_1', 'whole_0'])['real_0'].mean().sum()), 6)"
STARTS = {"bwrap": 5, "smolagents": 5}
CELLS = {"bwrap": 100, "ipykernel": 100, "smolagents": 100, "inspect": 3}
GROUPS = {"inspect": 1}
WANTED = {
    "start, times faster than ipykernel with pandas": (25.0, "at least"),
    "1 + 1, times faster than ipykernel": (5.0, "at least"),
    "all at once ready, s": (1.0, "under"),
    "all at once, MB": (600.0, "under"),
}
Samples = dict[str, dict[str, list[float]]]


def make_table(path: Path) -> None:
    """Texts of few and of many values, whole and real numbers, truths: 21 columns, by seed."""
    draw = np.random.default_rng(SEED)
    columns: dict[str, Any] = {"key": draw.integers(10**9, 10**10, ROWS)}
    for number, values in enumerate((30, 4, 9, 9, 5, 9)):
        columns[f"text_{number}"] = np.array([f"value {value}" for value in range(values)])[
            draw.integers(0, values, ROWS)
        ]
    for number in range(3):
        columns[f"code_{number}"] = [f"{value:016x}" for value in draw.integers(0, 1 << 60, ROWS)]
    for number, values in enumerate((2, 24, 60, 366, 10_000)):
        columns[f"whole_{number}"] = draw.integers(0, values, ROWS)
    for number in range(3):
        columns[f"real_{number}"] = draw.gamma(1.5, 60.0, ROWS).round(2)
    for number in range(3):
        columns[f"truth_{number}"] = draw.random(ROWS) < 0.1
    table = pd.DataFrame(columns)
    assert table.shape == (ROWS, COLUMNS)
    table.to_csv(path, index=False)


async def one_session(name: str, opening: Opening, data: Path, taken: dict[str, list[float]], full: bool) -> None:
    """A session from its start to its end; milliseconds are added to `taken`."""

    async def timed(what: str, code: str) -> str:
        begun = time.perf_counter()
        shown = await session.run(code)
        taken.setdefault(what, []).append(1000 * (time.perf_counter() - begun))
        return shown

    begun = time.perf_counter()
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(opening(data))
        taken.setdefault("start with pandas", []).append(1000 * (time.perf_counter() - begun))
        await session.run(CELL)
        if not full:
            return
        for _ in range(CELLS[name]):
            if await timed(CELL, CELL) != "2":
                raise RuntimeError(f"{name} cannot add")
        if name == "inspect":  # it keeps no table: every cell reads it again
            shown = await timed("group", f"{READ.rpartition(chr(10))[0]}\n{GROUP}")
        else:
            await timed("read", READ)
            for _ in range(GROUPS.get(name, 5)):
                shown = await timed("group", GROUP)
        taken.setdefault("grouped", []).append(float(shown))


async def rounds(count: int, data: Path, progress: Progress) -> Samples:
    """Contender -> figure -> milliseconds; the order changes from round to round, the first round does not count."""
    names = list(CONTENDERS)
    found: Samples = {name: {} for name in names}
    bar = progress.add_task("sessions, one at a time", total=(count + 1) * len(names))
    for number in range(count + 1):
        if number == 1:
            found = {name: {} for name in names}
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            taken = found[name]
            for _ in range(STARTS.get(name, 1) - 1):
                await one_session(name, CONTENDERS[name], data, taken, full=False)
            await one_session(name, CONTENDERS[name], data, taken, full=True)
            progress.advance(bar)
        begun = time.perf_counter()
        async with ipykernel_bare(data):
            bare = 1000 * (time.perf_counter() - begun)
        found["ipykernel"].setdefault("start", []).append(bare)
    grouped = {value for taken in found.values() for value in taken.pop("grouped")}
    if len(grouped) != 1:
        raise RuntimeError(f"the contenders came to different results: {grouped}")
    return found


async def at_once(opening: Opening, many: int, data: Path) -> dict[str, float]:
    """`many` sessions started together: seconds until the last is ready, and memory in MB.

    Of processes that end again (inspect's) the peak counts, of those that stay what they hold when all are ready and
    have run a cell; of an interpreter in this process its growth.
    """
    ready = asyncio.Event()
    own = psutil.Process().memory_info().rss
    watching = asyncio.create_task(peak_mb(0.5, ready)) if opening is CONTENDERS["inspect"] else None
    async with AsyncExitStack() as stack:
        begun = time.perf_counter()
        sessions = await asyncio.gather(*(stack.enter_async_context(opening(data)) for _ in range(many)))
        seconds = time.perf_counter() - begun
        ready.set()
        held = await watching if watching is not None else proportional_mb()
        figures = {"ready_s": seconds, "ready_mb": held}
        if watching is None:
            await asyncio.gather(*(session.run(f"import pandas\n{CELL}") for session in sessions))
            figures["used_mb"] = proportional_mb()
        if opening is CONTENDERS["smolagents"]:
            figures["ready_mb"] = figures["used_mb"] = (psutil.Process().memory_info().rss - own) / 1e6
    return {name: round(value, 3) for name, value in figures.items()}


async def measure(count: int, many: int, console: Console) -> dict[str, Any]:
    """Everything; see the module."""
    load = os.getloadavg()[0]
    begun = time.perf_counter()
    await warm_zygote(60)
    zygote_s = time.perf_counter() - begun
    with tempfile.TemporaryDirectory() as folder, Progress(console=console, transient=True) as progress:
        Path(folder).chmod(0o755)
        data = Path(folder, "table.csv")
        make_table(data)
        samples = await rounds(count, data, progress)
        together: dict[str, list[dict[str, float]]] = {}
        times = {"bwrap": 5, "smolagents": 2}
        bar = progress.add_task(f"{many} at once", total=sum(times.get(name, 1) for name in CONTENDERS))
        for name, opening in CONTENDERS.items():
            for _ in range(times.get(name, 1)):
                together.setdefault(name, []).append(await at_once(opening, many, data))
                progress.advance(bar)
    return {
        "rounds": count,
        "table": [ROWS, COLUMNS, SEED],
        "zygote_s": round(zygote_s, 2),
        "ms": {name: {what: summary(values) for what, values in taken.items()} for name, taken in samples.items()},
        "many": many,
        "at_once": {name: {what: median(runs, what) for what in runs[0]} for name, runs in together.items()},
        "at_once_runs": together,
        "versions": {
            name: version(name) for name in ("ipykernel", "jupyter-client", "inspect-ai", "smolagents", "pandas")
        },
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "user": os.getuid(),
        "load_before": load,
    }


def summary(values: list[float]) -> dict[str, float]:
    """Median and 95th percentile (nearest rank) in milliseconds, and how many they are of."""
    ordered = sorted(values)
    return {
        "p50": round(statistics.median(ordered), 3),
        "p95": round(ordered[max(0, -(-95 * len(ordered) // 100) - 1)], 3),
        "n": len(ordered),
    }


def median(runs: list[dict[str, float]], what: str) -> float:
    """Of one figure over all runs."""
    return round(statistics.median(run[what] for run in runs), 3)


def ratios(found: dict[str, Any]) -> dict[str, float]:
    """The figures that are wanted."""
    ours, theirs = found["ms"]["bwrap"], found["ms"]["ipykernel"]
    together = found["at_once"]["bwrap"]
    values = (
        theirs["start with pandas"]["p50"] / ours["start with pandas"]["p50"],
        theirs[CELL]["p50"] / ours[CELL]["p50"],
        together["ready_s"],
        max(together["ready_mb"], together["used_mb"]),
    )
    return {name: round(value, 2) for name, value in zip(WANTED, values, strict=True)}


def is_met(name: str, value: float) -> bool:
    """Whether a wanted figure is reached."""
    bound, kind = WANTED[name]
    return value >= bound if kind == "at least" else value < bound


def report(found: dict[str, Any], console: Console) -> None:
    """The tables: milliseconds one at a time, all at once, what was wanted."""
    one = Table("p50 / p95, ms", *found["ms"], title="One session at a time; in brackets: times bwrap's")
    for what in ("start", "start with pandas", CELL, "read", "group"):
        cells = []
        for taken in found["ms"].values():
            ours = found["ms"]["bwrap"].get(what, found["ms"]["bwrap"]["start with pandas"])
            figure = taken.get(what)
            cells.append(
                ""
                if figure is None
                else f"{figure['p50']:.4g} / {figure['p95']:.4g} ({figure['p50'] / ours['p50']:.3g})"
            )
        one.add_row(what, *cells)
    console.print(one)
    console.print("inspect: keeps nothing, so each of its groupings imports pandas and reads the table first.")
    together = Table(f"{found['many']} at once", *found["at_once"])
    for what, title in (
        ("ready_s", "all ready, s"),
        ("ready_mb", "MB when ready"),
        ("used_mb", "MB after a cell each"),
    ):
        together.add_row(title, *(f"{runs[what]:.4g}" if what in runs else "" for runs in found["at_once"].values()))
    console.print(together)
    verdict = Table("wanted", "bound", "found", "")
    for name, value in found["ratios"].items():
        bound, kind = WANTED[name]
        verdict.add_row(name, f"{kind} {bound:g}", f"{value:g}", "met" if is_met(name, value) else "[red]missed")
    console.print(verdict)
    console.print(f"The zygote warmed up once in {found['zygote_s']} s. Load before: {found['load_before']:.1f}.")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="sessions of each contender, at least (default 10)")
    parser.add_argument("--many", type=int, default=32, help="sessions at once (default 32)")
    parser.add_argument("--output", type=Path, default=Path("results/runs/bench/kernel.json"))
    given = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as home:  # nobody's settings; a login shell of Inspect's finds this Python
        Path(home, ".bash_profile").write_text(f"PATH={Path(sys.executable).parent}:$PATH\n", encoding="utf-8")
        os.environ["HOME"] = home
        found = asyncio.run(measure(given.rounds, given.many, console))
    found["ratios"] = ratios(found)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    partial = given.output.with_suffix(".partial")
    partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    partial.replace(given.output)
    report(found, console)
    console.print(f"written to {given.output}")
    return int(not all(is_met(name, value) for name, value in found["ratios"].items()))


if __name__ == "__main__":
    raise SystemExit(main())
