"""Does a host leak when it runs kernels for long? 2,000 cells over 200 kernels, 1 in 20 of them hostile.

    python scripts/soak_kernels.py                       # make bench-soak: about two minutes
    python scripts/soak_kernels.py --kernels 20 --seed 3

Memory, descriptors, processes, mounts and control groups of this process are counted when 20 kernels have come and
gone, and again at the end; both go to results/runs/bench/soak.json. Hostile cells are drawn from the battery
(harness/kernel/battery), the others are a notebook's. Ends with status 1 where something was left or a plain cell
failed in a kernel that no hostile cell had been in before it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from harness.kernel.battery import LIMITS, BatteryCell, Stage, battery_cells, prelude, staged
from harness.kernel.battery.remains import Remains
from harness.kernel.bwrap import BwrapKernel

CELLS_EACH, ONE_HOSTILE_IN, WARM_UP = 10, 20, 20
GROWTH_MB = 20.0
"""More than this much more memory in the host counts as a leak; the allocator keeps a little."""
PLAIN = (
    ("6 * 7", "42"),
    ("import pandas as pd\nframe = pd.read_csv('input/parcels.csv')\nfloat(frame['weight'].sum())", "2.5"),
    ("print('x' * 20_000)", None),
    ("open('a.txt', 'w').write('kept')", "4"),
    ("!ls input", None),
)


class Soak:
    """One soak: what was drawn, and what went wrong."""

    def __init__(self, kernels: int, at_once: int, seed: int, console: Console) -> None:
        self.kernels, self.at_once, self.console = kernels, at_once, console
        self.random = random.Random(seed)
        self.hostile = [cell for cell in battery_cells() if cell.kind != "known good" and (cell.timeout or 0) < 60]
        self.statuses: Counter[str] = Counter()
        self.drawn: Counter[str] = Counter()
        self.failures: list[str] = []

    async def run(self) -> dict[str, Any]:
        """The whole soak; its figures."""
        with staged() as stage:
            await self._kernels(WARM_UP, stage)
            before = await Remains.settled()
            self.statuses.clear()
            self.drawn.clear()
            started = time.monotonic()
            await self._kernels(self.kernels, stage)
            seconds = time.monotonic() - started
            after = await Remains.settled(before)
        return {
            "kernels": self.kernels,
            "cells": self.statuses.total(),
            "hostile": self.drawn.total(),
            "statuses": dict(self.statuses),
            "seconds": round(seconds, 1),
            "before": shown(before),
            "after": shown(after),
            "grown_mb": round(after.memory_mb - before.memory_mb, 1),
            "left": after.beyond(before),
            "failures": self.failures,
            "drawn": dict(self.drawn),
            "machine": platform.platform(),
        }

    async def _kernels(self, count: int, stage: Stage) -> None:
        turns = asyncio.Semaphore(self.at_once)
        with Progress(console=self.console, transient=True) as progress:
            bar = progress.add_task("kernels", total=count)

            async def one(number: int, hostile: dict[int, BatteryCell]) -> None:
                async with turns, await BwrapKernel.create(stage.files, LIMITS) as kernel:
                    await self._cells(kernel, hostile, stage)
                progress.advance(bar)

            await asyncio.gather(*(one(number, self._draw()) for number in range(count)))

    def _draw(self) -> dict[int, BatteryCell]:
        """Which of a kernel's cells are hostile."""
        places = range(CELLS_EACH)
        return {at: self.random.choice(self.hostile) for at in places if self.random.randrange(ONE_HOSTILE_IN) == 0}

    async def _cells(self, kernel: BwrapKernel, hostile: dict[int, BatteryCell], stage: Stage) -> None:
        touched = False
        for at in range(CELLS_EACH):
            if (cell := hostile.get(at)) is not None:
                touched = True
                self.drawn[cell.id] += 1
                code, expected = f"{prelude()}\n{stage.written(cell.code)}", None
            else:
                code, expected = PLAIN[at % len(PLAIN)]
            result = await kernel.run(code, cell.timeout if cell else None)
            self.statuses[f"{'hostile' if cell else 'plain'} {result.status}"] += 1
            if not touched and (result.status != "ok" or expected not in (None, result.result)):
                self.failures.append(f"{code!r}: {result.text()[:200]}")


def shown(remains: Remains) -> dict[str, Any]:
    """Counts, for the record."""
    return {name: len(value) if isinstance(value, frozenset) else value for name, value in asdict(remains).items()}


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", type=int, default=200, help=f"kernels, of {CELLS_EACH} cells each (default 200)")
    parser.add_argument("--at-once", type=int, default=4, help="kernels side by side (default 4)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("results/runs/bench/soak.json"))
    given = parser.parse_args()
    console = Console()
    figures = asyncio.run(Soak(given.kernels, given.at_once, given.seed, console).run())
    given.output.parent.mkdir(parents=True, exist_ok=True)
    partial = given.output.with_suffix(".partial")
    partial.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    partial.rename(given.output)
    console.print_json(json.dumps({name: value for name, value in figures.items() if name != "drawn"}))
    return int(bool(figures["left"] or figures["failures"]) or figures["grown_mb"] > GROWTH_MB)


if __name__ == "__main__":
    sys.exit(main())
