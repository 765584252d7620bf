"""Run the battery in bwrap kernels and tell whether every cell came out as expected: `make battery`.

    python -m harness.kernel.battery                     # everything, one fresh kernel a cell
    python -m harness.kernel.battery --kind disk --id net-vsock
    python -m harness.kernel.battery --json out.json     # for programs

Ends with status 1 where a cell came out otherwise or something was left on the host. Run it as root and as an ordinary
user: `scripts/as-ordinary-user python -m harness.kernel.battery`. Other sandboxes: `tasks/sandbox_check.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from harness.kernel.battery import LIMITS, BatteryCell, Files, Outcome, Stage, attempt, battery_cells, staged
from harness.kernel.battery.remains import Remains
from harness.kernel.bwrap import BwrapKernel
from harness.kernel.protocol import KernelUnavailable


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", action="append", help="only cells of this kind; may be given more than once")
    parser.add_argument("--id", action="append", help="only this cell; may be given more than once")
    parser.add_argument("--at-once", type=int, default=2, help="kernels side by side (default 2)")
    parser.add_argument("--json", type=Path, help="write every outcome to this file")
    given = parser.parse_args()
    cells = chosen(given.kind or [], given.id or [])
    if not cells:
        kinds = ", ".join(sorted({cell.kind for cell in battery_cells()}))
        print(f"No cell is of that kind or has that id. Kinds: {kinds}.", file=sys.stderr)
        return 2
    console = Console()
    try:
        outcomes, left = asyncio.run(run(cells, given.at_once, console))
    except KernelUnavailable as error:
        print(error, file=sys.stderr)
        return 2
    report(outcomes, left, console)
    if given.json is not None:
        rows = [{"id": o.cell.id, "seconds": o.seconds, "complaints": o.complaints, "shown": o.shown} for o in outcomes]
        given.json.write_text(json.dumps({"uid": os.getuid(), "left": left, "cells": rows}, indent=1), encoding="utf-8")
    return int(bool(left) or any(outcome.complaints for outcome in outcomes))


def chosen(kinds: Sequence[str], ids: Sequence[str]) -> list[BatteryCell]:
    """The cells of these kinds and those with these ids; all where nothing is given."""
    everything = not kinds and not ids
    return [cell for cell in battery_cells() if everything or cell.kind in kinds or cell.id in ids]


async def run(cells: Sequence[BatteryCell], at_once: int, console: Console) -> tuple[list[Outcome], list[str]]:
    """The outcomes in the cells' order, and what was left on the host when all kernels were closed."""
    turns = asyncio.Semaphore(at_once)
    async with await BwrapKernel.create(limits=LIMITS):  # so that the zygote counts as what was there before
        pass
    before = await Remains.settled()
    with staged() as stage, Progress(console=console, transient=True) as progress:
        bar = progress.add_task("hostile cells", total=len(cells))

        async def one(cell: BatteryCell) -> Outcome:
            async with turns:
                outcome = await in_fresh_kernel(cell, stage)
            progress.advance(bar)
            return outcome

        outcomes = list(await asyncio.gather(*(one(cell) for cell in cells)))
    return outcomes, (await Remains.settled(before)).beyond(before)


async def in_fresh_kernel(cell: BatteryCell, stage: Stage) -> Outcome:
    """One cell in a bwrap kernel of its own, with the stage's files."""
    async with await BwrapKernel.create(stage.files, LIMITS) as kernel:
        return await attempt(cell, kernel, Files(kernel.read_file, kernel.write_file), stage)


def report(outcomes: Sequence[Outcome], left: Sequence[str], console: Console) -> None:
    """A line a kind, then every complaint."""
    who = "root" if os.getuid() == 0 else f"user {os.getuid()}"
    table = Table("kind", "cells", "as expected", title=f"Hostile cells in bwrap kernels, as {who}")
    for kind in dict.fromkeys(outcome.cell.kind for outcome in outcomes):
        of_kind = [outcome for outcome in outcomes if outcome.cell.kind == kind]
        table.add_row(kind, str(len(of_kind)), str(sum(not outcome.complaints for outcome in of_kind)))
    good = sum(not outcome.complaints for outcome in outcomes)
    table.add_section()
    table.add_row("all", str(len(outcomes)), str(good))
    console.print(table)
    for outcome in outcomes:
        for complaint in outcome.complaints:
            console.print(f"{outcome.cell.id}: {complaint}", style="red", markup=False)
    for thing in left:
        console.print(f"left on the host: {thing}", style="red", markup=False)
    if not left:
        console.print("Nothing was left on the host: no process, mount, control group or descriptor.")


if __name__ == "__main__":
    sys.exit(main())
