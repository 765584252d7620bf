"""`inspect eval` as a child process, and the logs that it leaves.

    child = evaluation("easy", ["dabstep/dabstep_easy", "--model", "checkpoint/FOLDER"], Path("logs/easy"))
    finished_log(Path("logs/easy"))                 # the log, where an evaluation there ended well

A process can run one evaluation only, and a child's memory (a GPU's, too) is freed for certain. The log is the only
record of what happened; nothing here reads a score.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.children import Child
from harness.progress import VARIABLE, finished

INSPECT = (sys.executable, "-P", "-m", "inspect_ai")
"""Inspect by this interpreter; what lies in the current folder cannot stand in for a library."""


def evaluation(name: str, words: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> Child:
    """An evaluation to be started, its log in `folder`. One that was broken off there is gone on with.

    Args:
        name: What it is called when it fails.
        words: The task and the options of `inspect eval`, without `--log-dir`.
        folder: For the log alone; holds `inspect.out` and the lines of progress, too.
        environment: Added to the child's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ticks = folder / "progress"
    begun = resumable_log(folder)
    if begun is None:
        ticks.unlink(missing_ok=True)
    action = ["eval", *words] if begun is None else ["eval-retry", str(begun)]
    return Child(
        name,
        [*INSPECT, *action, "--log-dir", str(folder)],
        folder / "inspect.out",
        {"INSPECT_DISPLAY": "plain", **(environment or {}), VARIABLE: str(ticks)},
        done=lambda: finished(ticks),
    )


def finished_log(folder: Path) -> Path | None:
    """The newest log of the folder whose evaluation ended well; None where there is none."""
    return _newest(folder, {"success"})


def resumable_log(folder: Path) -> Path | None:
    """The newest log of the folder that was broken off or ended by an error, and holds samples already."""
    if finished_log(folder) is not None:
        return None
    log = _newest(folder, {"started", "cancelled", "error"})
    return log if log is not None and _samples(log) else None


def _samples(log: Path) -> int:
    from inspect_ai.log import read_eval_log_sample_summaries

    try:
        return len(read_eval_log_sample_summaries(str(log)))
    except Exception:  # as below
        return 0


def _newest(folder: Path, statuses: set[str]) -> Path | None:
    from inspect_ai.log import read_eval_log

    for log in sorted(folder.glob("*.eval"), reverse=True):  # their names begin with the time
        if log.stem.endswith("-recovered"):
            continue
        try:
            header = read_eval_log(str(log), header_only=True)
        except Exception:  # torn by a kill: a zip without its end surfaces as one of many types
            continue
        if header.status in statuses:
            return log
    return None
