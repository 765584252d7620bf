"""What `dabstep replay` prints and writes: the counts, the changed verdicts, the cells that differ.

show(compared, Console())
write_json(Path("replay.json"), compared, log, made)
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from harness.replay import Difference, End, Replayed

SHOWN, DIFF_LINES = 10, 12


def show(compared: Replayed, console: Console) -> None:
    """Print the counts, the changed ends and the first differences."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    rows = [
        (compared.samples, "samples"),
        (compared.cells, "cells recorded"),
        (compared.same, "same"),
        *((count, f"same apart from {rules}") for rules, count in compared.set_aside.most_common()),
        (len(compared.differences), "differ"),
        *((count, f"not played: {reason}") for reason, count in compared.not_played.most_common()),
        *((count, f"without a recording: {reason}") for reason, count in compared.not_recorded.most_common()),
        (sum(end.score_changed for end in compared.ends), "verdicts changed"),
    ]
    for count, what in rows:
        table.add_row(f"{count:,}", Text(what))
    console.print(table)
    if compared.other_prompts:
        console.print(f"{compared.other_prompts} samples were prompted otherwise when they were recorded.", style="dim")
    for end in compared.ends[:SHOWN]:
        console.print(Text(_told_end(end)), soft_wrap=True)
    for difference in compared.differences[:SHOWN]:
        console.print(Text(_told(difference)), soft_wrap=True)
    rest = max(len(compared.differences) - SHOWN, 0) + max(len(compared.ends) - SHOWN, 0)
    if rest:
        console.print(f"... and {rest} more; --json FILE writes all of them.")


def _told(difference: Difference) -> str:
    then, now = difference.recorded, difference.replayed
    head = f"\n{difference.question_id}, epoch {difference.epoch}, cell {difference.cell}"
    head += f" ({difference.hint})" if difference.hint else ""
    head += f": {then.status} then, {now.status} now" if then.status != now.status else ""
    lines = list(difflib.unified_diff(then.text().splitlines(), now.text().splitlines(), "recorded", "now", "", "", 1))
    more = [f"  ... {len(lines) - DIFF_LINES} more lines"] if len(lines) > DIFF_LINES else []
    return "\n".join([head, *(f"  {line[:200]}" for line in lines[:DIFF_LINES]), *more])


def _told_end(end: End) -> str:
    said = {True: "right", False: "wrong", None: "no verdict"}
    then, now = end.recorded, end.replayed
    return (
        f"{end.question_id}, epoch {end.epoch}: {said[then.correct]} then ({then.answer!r}, {end.stopped[0]}), "
        f"{said[now.correct]} now ({now.answer!r}, {end.stopped[1]})"
    )


def write_json(path: Path, compared: Replayed, log: Path, made: Path) -> None:
    """Write counts and all differences as JSON; the file appears under its name only when whole."""
    content = {
        "log": str(log),
        "replay": str(made),
        "samples": compared.samples,
        "cells": compared.cells,
        "same": compared.same,
        "set_aside": dict(compared.set_aside),
        "not_played": dict(compared.not_played),
        "not_recorded": dict(compared.not_recorded),
        "other_prompts": compared.other_prompts,
        "ends": [
            {
                "id": end.question_id,
                "epoch": end.epoch,
                "recorded": end.recorded.model_dump() | {"stop_reason": end.stopped[0]},
                "replayed": end.replayed.model_dump() | {"stop_reason": end.stopped[1]},
            }
            for end in compared.ends
        ],
        "differences": [
            {
                "id": each.question_id,
                "epoch": each.epoch,
                "cell": each.cell,
                "code": each.code,
                "hint": each.hint,
                "recorded": {"status": each.recorded.status, "text": each.recorded.text()},
                "replayed": {"status": each.replayed.status, "text": each.replayed.text()},
            }
            for each in compared.differences
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", errors="replace")
    partial.replace(path)
