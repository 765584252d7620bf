"""The making of data as runs of a study (`harness/study.py`): question sets and training sets.

    log_question_set(folder, figures, thrown_away)
    log_training_set(folder, logs, card)

The command calls them after the files are whole, where the environment names a study; they raise nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from inspect_ai.log import read_eval_log

from dabstep.study_runs import log_content
from harness import study
from harness.study import Content
from tasks.generated_qa import question_set_hash

if TYPE_CHECKING:
    from pipeline.view import Card


def log_question_set(folder: Path, figures: Mapping[str, Any], thrown_away: Mapping[str, int]) -> None:
    """Log a question set by the hash that its evaluations state, and the draws without a certain answer, by reason."""
    with study.harmless("log the question set"):
        run = study.start_run("data", f"worlds {folder.name}", figures)
        if run is not None:
            run.table("thrown_away", ("reason", "draws"), sorted(thrown_away.items()))
            run.made(Content("dataset", question_set_hash(folder), {"name": folder.name, **figures}))
            run.finish()
            typer.echo(f"W&B: {run.place}")


def log_training_set(folder: Path, logs: Sequence[Path], card: Card) -> None:
    """Log a training set: its card's figures, the traces dropped by reason, and the logs that it comes from."""
    with study.harmless("log the training set"):
        run = study.start_run("data", f"training-set {folder.name}", {"logs": list(card.logs)})
        if run is not None:
            run.summarise({"rows": card.rows, "traces": card.traces, "dropped": sum(card.dropped.values())})
            run.table("dropped", ("reason", "traces"), sorted(card.dropped.items()))
            for log in logs:
                run.used(log_content(read_eval_log(log, header_only=True)))
            run.made(Content("training-set", card.sha256, asdict(card)))
            run.finish()
            typer.echo(f"W&B: {run.place}")
