"""For the tests of stages that ask: notebooks given cell by cell, and one stage run over them against a rule.

    rows, dropped = run_stage(tmp_path, "edu_score", [row_of(notebook)], rule, least=3)

The stage's rank runs in this process, over real HTTP, with a ledger of its own; before it stands a stage that gives the
rows, under the name of the one that it needs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from datatrove.pipeline.base import PipelineStep

from pipeline.quarantine import Dropped, read_quarantine
from pipeline.reading.decode import decode
from pipeline.reading.markdown import markdown
from pipeline.row import AskedQuestion, Extracted, NotebookRow, Quote, Source
from pipeline.runs.config import make_config
from pipeline.runs.plan import Plan, run_unit
from pipeline.runs.stages import Stage, StageContext, load_stages, shards
from pipeline.runs.steps import SourceStep
from pipeline.runs.store import read_rows
from tests.stand_ins.endpoint import Rule, StandIn

QUICK = {"try_s": 10.0, "total_s": 20.0, "first_wait_s": 0.01, "longest_wait_s": 0.05, "at_once": 8}
NEEDED = {"edu_score": "RENDER", "extract": "RENDER", "ask": "EXTRACT", "verify": "ASK"}
ANALYSIS = (
    ("text", "# Trips\n\nWhat do passengers pay?"),
    (
        "code",
        "import pandas as pd\ntrips = pd.read_csv('../input/ferries/trips.csv')\ntrips.head(2)",
        "  fare\n0 1.5\n1 9.25",
    ),
    ("code", "by_route = trips.groupby('route').fare.mean()\nprint(by_route.max())", "7.125"),
    ("code", "best = by_route.idxmax()\nprint('best route:', best)", "best route: Ember"),
)


@dataclass(frozen=True)
class GivenSettings:
    file: str


class Give(SourceStep):
    def __init__(self, file: str) -> None:
        super().__init__()
        self._file = file

    def entries(self, rank: int, tasks: int) -> Iterator[NotebookRow | Dropped]:
        for line in Path(self._file).read_text(encoding="utf-8").splitlines():
            yield NotebookRow.model_validate_json(line)


def steps(context: StageContext[GivenSettings]) -> Sequence[PipelineStep]:
    return [Give(context.settings.file)]


RENDER = Stage("render", GivenSettings, steps)
EXTRACT = Stage("extract", GivenSettings, steps)
ASK = Stage("ask", GivenSettings, steps)


def rendered(cells: Sequence[tuple[str, ...]]) -> str:
    """The notebook's text, by the pipeline's own way; a code cell may have one output, as text."""
    made = []
    for kind, source, *outputs in cells:
        if kind == "text":
            made.append({"cell_type": "markdown", "source": source})
        else:
            shown = [{"output_type": "stream", "name": "stdout", "text": output} for output in outputs]
            made.append({"cell_type": "code", "source": source, "outputs": shown})
    return markdown(decode(json.dumps({"cells": made, "metadata": {}, "nbformat": 4}).encode()))


def row_of(
    cells: Sequence[tuple[str, ...]] = ANALYSIS, row_id: str = "0001/002/3.ipynb", **sections: Any
) -> NotebookRow:
    return NotebookRow(id=row_id, source=Source(address="a.zip"), markdown=rendered(cells), **sections)


def extracted(*files: str) -> Extracted:
    return Extracted(files=files, packages=("pandas",), subject="data analysis", why="", model="m")


def question(**changes: Any) -> AskedQuestion:
    """A good question about ANALYSIS, but for the changes."""
    plain: dict[str, Any] = {
        "question": "In trips.csv, what is the largest of the routes' mean fares?",
        "guidelines": "Answer with a number rounded to 3 decimals.",
        "kind": "multi-step",
        "answer": "7.125",
        "answer_kind": "number",
        "decimals": 3,
        "evidence": (Quote(cell=3, quote="7.125"),),
        "model": "m",
    }
    return AskedQuestion(**(plain | changes))


def plan_of(
    folder: Path,
    stage: str,
    rows: Sequence[NotebookRow],
    base_url: str,
    limits: Mapping[str, Any] = MappingProxyType({}),
    **settings: Any,
) -> Plan:
    """A run of one stage behind given rows, with every endpoint at `base_url`; `limits` over the quick ones."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(row.model_dump_json(exclude_none=True) + "\n" for row in rows))
    order = (f"tests.pipeline.asking.given:{NEEDED[stage]}", f"pipeline.stages.{stage}")
    endpoint = {"base_url": base_url, "model": "stand-in", "limits": QUICK | dict(limits)}
    raw = {
        "run": str(folder / "run"),
        "tasks": 1,
        "endpoints": dict.fromkeys(("judge", "writer", "checker"), endpoint),
        "stages": {NEEDED[stage].lower(): {"file": str(folder / "rows.jsonl")}, stage: settings},
    }
    return Plan(make_config(raw, load_stages(order)), order)


def run_stage(
    folder: Path, stage: str, rows: Sequence[NotebookRow], rule: Rule, **settings: Any
) -> tuple[list[NotebookRow], list[Dropped]]:
    """(kept, dropped) of the stage's one rank."""
    with StandIn(rule) as there:
        plan = plan_of(folder, stage, rows, there.base_url, **settings)
        for name in (NEEDED[stage].lower(), stage):
            run_unit(plan, name, 0)
    kept = [row for shard in shards(plan.folder(stage)) for row in read_rows(shard)]
    return kept, list(read_quarantine(plan.config.run, stage))
