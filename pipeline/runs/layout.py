"""Where the files of a run lie. Nothing else makes a path inside a run's folder.

RUN/run.json                             what the run was begun with (task count, resolved configuration)
RUN/funnel.json                          the table at the end of the last run
RUN/stages/03-render/fingerprint.json    what the stage's rows depend on
                    /gathered/, gathered.json     what its gather step left; the latter says it is whole
                    /00017.jsonl.zst     rows kept by rank 17
                    /00017.dropped.jsonl.zst, 00017.ids, 00017.json (the marker, written last)
                    /00017.progress, 00017.error   how far a rank is; why it failed
RUN/logs/                                what executors and workers said
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROWS = ".jsonl.zst"
DROPPED = ".dropped.jsonl.zst"
IDS = ".ids"
MARKER = ".json"
PROGRESS = ".progress"
ERROR = ".error"
FINGERPRINT = "fingerprint.json"
GATHERED = "gathered"
GATHERED_MARKER = "gathered.json"


def stage_folder(run: Path, position: int, name: str) -> Path:
    """The folder of a stage; `position` counts from 1."""
    return run / "stages" / f"{position:02}-{name}"


def stage_folders(run: Path) -> Iterator[tuple[str, Path]]:
    """(name, folder) of every stage that was begun, in their order."""
    for folder in sorted((run / "stages").glob("[0-9][0-9]-*")):
        if folder.is_dir():
            yield folder.name[3:], folder


def of_rank(folder: Path, rank: int, ending: str) -> Path:
    """A rank's file with that ending."""
    return folder / f"{rank:05}{ending}"


def logs(run: Path) -> Path:
    """The folder for what executors and workers say."""
    return run / "logs"
