"""A small run from notebooks to a data set: real archives' rows, real kernels, a real evaluation; a teacher by rules.

    python -m tests.pipeline.publishing.school CONFIG.json        what `dabstep pipeline run` does, with these stages

The teacher and the interpreter are rules behind a stand-in endpoint. Each notebook is made for one thing that can
happen to a question on its way.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.quarantine import Dropped
from pipeline.row import (
    AnswerVerdict,
    AskedQuestion,
    DataSet,
    EduScore,
    Extracted,
    Family,
    Links,
    NotebookRow,
    Verification,
)
from pipeline.runs.config import make_config
from pipeline.runs.funnel import Funnel
from pipeline.runs.plan import Plan
from pipeline.runs.run import run_pipeline
from pipeline.runs.stages import Stage, load_stages
from pipeline.runs.steps import RowStep

ORDER = (
    "pipeline.stages.load",
    "tests.pipeline.publishing.school:ASKED",
    "pipeline.stages.trace",
    "pipeline.stages.curate",
    "pipeline.stages.publish",
)
SALES = "city,price\n" + "".join(f"{city},{price}\n" for city in ("Ulm", "Graz") for price in range(1, 11))


@dataclass(frozen=True)
class Pupil:
    """A notebook's question, its answer, and what the teacher does about it: a cell (None: none) and what it says."""

    question: str
    answer: str
    cell: str | None
    says: str
    verified: bool = True
    folder: str = "shop"
    data_set: str = ""


PUPILS = {
    "sum": Pupil("What do all sales in Ulm add up to?", "55.00", "sales[sales.city == 'Ulm'].price.sum()", "55"),
    "mean": Pupil("What is the mean price in Graz?", "5.5", "sales[sales.city == 'Graz'].price.mean()", "5.50"),
    "wrong": Pupil("How many sales are there?", "20", "len(sales) + 1", "21"),
    "trivial": Pupil("Which city comes first in the table?", "Ulm", None, "Ulm"),
    "barred": Pupil("What does Crossfit_Hannes owe?", "3", "1 + 2", "3"),
    "unchecked": Pupil("How many cities are there?", "2", "sales.city.nunique()", "2", verified=False),
    "twice": Pupil(
        "What do all the sales in Ulm add up to?", "55", "sales[sales.city == 'Ulm'].price.sum()", "55", data_set="sum"
    ),
    "absent": Pupil("How many rivers are there?", "7", "len(rivers) + 0", "7", folder="gone"),
}


@dataclass(frozen=True)
class AskedSettings:
    """Nothing is set."""


class Ask(RowStep):
    """Gives each notebook its question, and all that the stages between would have found out."""

    def row(self, row: NotebookRow) -> NotebookRow | Dropped:
        name = Path(row.id).stem
        pupil = PUPILS[name]
        verdict = AnswerVerdict(by="checker", model="checker", answer=pupil.answer, agrees=pupil.verified)
        points = dict.fromkeys(("valid_python", "data_loading", "analysis", "narrative"), 1)
        return row.model_copy(
            update={
                "id": f"{row.id}#1",
                "markdown": f"A notebook about {name}.",
                "question": AskedQuestion(
                    question=pupil.question,
                    guidelines="",
                    kind="rate",
                    answer=pupil.answer,
                    answer_kind="number",
                    model="writer",
                ),
                "verification": Verification(verified=pupil.verified, verdicts=(verdict,)),
                "family": Family(representative=row.id, size=1),
                "edu_score": EduScore(**points, insight=0, total=4, why="", model="judge"),
                "extracted": Extracted(
                    files=(f"../input/{pupil.folder}/sales.csv",),
                    packages=("pandas",),
                    subject="data analysis",
                    why="",
                    model="judge",
                ),
                "links": Links(
                    data_sets=(
                        DataSet(
                            handle=f"ann/{pupil.data_set or name}/versions/3",
                            licence="CC0: Public Domain",
                            said_by="both",
                        ),
                    )
                ),
            }
        )


ASKED = Stage("asked", AskedSettings, lambda context: [Ask()], fan_out=True)


def teach(payload: dict[str, Any]) -> Mapping[str, Any]:
    """The teacher's rule: one cell where there is one, then the answer; and the interpreter's."""
    if payload["model"] == "interpreter":
        return {"content": json.dumps({"stdout": "", "result": "7", "error_name": None, "error_message": None})}
    text = json.dumps(payload["messages"])
    pupil = next(pupil for pupil in PUPILS.values() if pupil.question in text)
    ran = any(message["role"] == "tool" for message in payload["messages"])
    opened = "import pandas as pd\nsales = rivers = pd.read_csv('input/sales.csv')\n"
    if pupil.cell and not ran:
        name, arguments = "python", {"code": opened + pupil.cell}
    else:
        name, arguments = "final_answer", {"answer": pupil.says}
    call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    return {"content": "", "reasoning_content": f"I think of {name}.", "tool_calls": [call]}


def write_school(folder: Path, names: tuple[str, ...] = tuple(PUPILS)) -> None:
    """Notebooks, data and a made-up benchmark."""
    for name in names:
        cell = {"cell_type": "code", "source": f"print('{name}')", "outputs": [], "metadata": {}}
        document = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        (folder / "notebooks").mkdir(parents=True, exist_ok=True)
        (folder / "notebooks" / f"{name}.ipynb").write_text(json.dumps(document))
    (folder / "input" / "shop").mkdir(parents=True)
    (folder / "input" / "shop" / "sales.csv").write_text(SALES)
    write_benchmark(folder / "benchmark")


def write_benchmark(folder: Path) -> Path:
    """A benchmark with DABStep's layout and nothing of its own."""
    tasks = {
        "all.jsonl": [("1", "For the third week of spring, how much did the baker of Oberdorf pay for rye flour?", "")],
        "dev.jsonl": [("2", "Which village has the most ovens?", "Oberdorf an der Laaber")],
    }
    for name, rows in tasks.items():
        (folder / "tasks").mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({"task_id": task, "question": asked, "answer": answer}) for task, asked, answer in rows]
        (folder / "tasks" / name).write_text("\n".join(lines) + "\n")
    (folder / "context").mkdir(exist_ok=True)
    (folder / "context" / "merchant_data.json").write_text(
        json.dumps([{"merchant": "Crossfit_Hannes", "acquirer": ["moneybags"]}])
    )
    (folder / "context" / "fees.json").write_text(json.dumps([{"card_scheme": "OvenCard"}]))
    (folder / "context" / "acquirer_countries.csv").write_text(",acquirer,country_code\n0,bank_of_ovens,DE\n")
    return folder


def config_of(folder: Path, base_url: str, **stages: dict[str, Any]) -> dict[str, Any]:
    """The run's configuration; `stages` are settings over those of the school."""
    settings: dict[str, dict[str, Any]] = {
        "load": {"inputs": [str(folder / "notebooks")]},
        "asked": {},
        "trace": {
            "model": "openai-api/school/teacher",
            "tries": 2,
            "batch": 4,
            "data": str(folder / "input"),
            "simulate": "played",
        },
        "curate": {"benchmark": str(folder / "benchmark"), "shares": {"validation": 0, "test": 0}},
        "publish": {"name": "School"},
    }
    return {
        "run": str(folder / "run"),
        "tasks": 1,
        "local": {"workers": 1, "attempts": 1},
        "endpoints": {"played": {"base_url": base_url, "model": "interpreter", "limits": {"tries": 2}}},
        "stages": {name: {**own, **stages.get(name, {})} for name, own in settings.items()},
    }


def run_school(config: dict[str, Any], base_url: str) -> tuple[Funnel, str]:
    """(funnel, what was said)."""
    os.environ["SCHOOL_BASE_URL"], os.environ["SCHOOL_API_KEY"] = base_url, "none"
    said = io.StringIO()
    plan = Plan(make_config(config, load_stages(ORDER)), ORDER)
    return run_pipeline(plan, Console(file=said, width=200)), re.sub(r"\x1b\[[0-9;]*m", "", said.getvalue())


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    done, told = run_school(given["config"], given["base_url"])
    print(told)
    raise SystemExit(0 if done.complete else 1)
