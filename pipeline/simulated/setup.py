"""What a simulated interpreter is told: which endpoint plays it, and the notebook that knows the missing files.

    setup = write_simulation(context, "interpreter", rows, folder)       # in the stage trace
    simulation = read_simulation()                                       # in the child process that evaluates

The file's path goes to the child by the environment (`DABSTEP_SIMULATED`), so that a retried evaluation finds it too.
It holds no key: an endpoint names the environment variable that does.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.asking.models import model_of
from pipeline.row import NotebookRow, parent_id
from pipeline.runs.config import CallSettings, ConfigError, plain
from pipeline.runs.stages import StageContext
from pipeline.runs.store import whole_file

SANDBOX = "simulated"
VARIABLE = "DABSTEP_SIMULATED"


@dataclass(frozen=True)
class Simulation:
    """An endpoint of a run (`context`, `endpoint`), and the notebooks by the questions asked of them."""

    context: StageContext[None]
    endpoint: str
    folder: Path
    notebooks: Mapping[str, str]

    def notebook(self, question: str) -> str:
        """The markdown of the notebook that a question was asked of. Raises ConfigError for an unknown question."""
        name = self.notebooks.get(_hash(question))
        if name is None:
            raise ConfigError(
                f"{self.folder}: no notebook is known for the question {question[:80]!r}. The sandbox `{SANDBOX}` is "
                "for the question sets that the stage trace writes."
            )
        return (self.folder / name).read_text(encoding="utf-8")


def write_simulation(
    context: StageContext[Any], endpoint: str, rows: Sequence[NotebookRow], folder: Path, stage: str | None = None
) -> Path:
    """Write what the child needs into `folder` and return the file to name in its environment.

    `stage` is what the calls are booked under in the run's ledger. Raises ConfigError for an endpoint that the run
    does not have, or whose settings are wrong.
    """
    model_of(context, endpoint)
    notebooks = {}
    for row in rows:
        name = f"notebooks/{_hash(parent_id(row.id))}.md"
        if not (folder / name).exists():
            with whole_file(folder / name) as file:
                file.write(row.markdown.encode("utf-8", "replace"))
        notebooks[_hash(row.question.question if row.question else "")] = name
    about = {
        "run": str(context.run.resolve()),
        "stage": stage or context.name,
        "endpoint": endpoint,
        "endpoints": {endpoint: plain(context.endpoints[endpoint])},
        "calls": plain(context.calls or CallSettings()),
        "notebooks": notebooks,
    }
    path = folder / "simulation.json"
    with whole_file(path) as file:
        file.write(json.dumps(about, indent=1).encode())
    return path.resolve()


def read_simulation(path: str | None = None) -> Simulation:
    """The simulation named by the environment. Raises ConfigError where none is, or its file cannot be read."""
    place = path or os.environ.get(VARIABLE)
    if not place:
        raise ConfigError(
            f"the sandbox `{SANDBOX}` needs {VARIABLE}, which the stage trace sets. Give it `simulate: ENDPOINT`."
        )
    try:
        about = json.loads(Path(place).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{place}: cannot be read ({error}). Run the stage trace again.") from None
    run = Path(about["run"])
    context = StageContext[None](
        name=about["stage"],
        settings=None,
        run=run,
        folder=Path(place).parent,
        before=None,
        tasks=1,
        endpoints=about["endpoints"],
        calls=CallSettings(**about["calls"]),
    )
    return Simulation(context, about["endpoint"], Path(place).parent, about["notebooks"])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:24]
