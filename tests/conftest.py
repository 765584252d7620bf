"""For all tests: hypothesis looks at results, not at how busy the machine is; W&B's offline files can be read back."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("dabstep", deadline=None)
settings.load_profile("dabstep")

BLOCK = 32 * 1024


@dataclass
class Artifact:
    """An artifact of a run: what it is, and whether the run used it or made it."""

    name: str
    type: str
    used: bool
    metadata: dict[str, Any]
    aliases: list[str]
    digest: str


@dataclass
class OfflineRun:
    """What W&B's own client wrote of a run into its folder."""

    folder: Path
    id: str = ""
    name: str = ""
    project: str = ""
    group: str = ""
    job: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)
    exit_code: int | None = None

    def table(self, name: str) -> list[dict[str, Any]]:
        """The rows of a logged table."""
        [path] = [point[f"{name}/path"] for point in self.history if f"{name}/path" in point]
        table = json.loads((self.folder / "files" / path).read_text())
        return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]

    def used(self) -> dict[str, Artifact]:
        return {artifact.type: artifact for artifact in self.artifacts if artifact.used}

    def made(self) -> dict[str, Artifact]:
        return {artifact.type: artifact for artifact in self.artifacts if not artifact.used}


@pytest.fixture(autouse=True)
def asyncio_stays_as_it_is() -> Iterator[None]:
    """Inspect patches asyncio for the whole process where a log is read by a blocking call within a running loop.

    Loops are never closed from then on, which fails whatever test is running when they are collected; and in a real
    run it is done behind the user's back.
    """
    yield
    from inspect_ai._util import _async

    patched, _async._initialised_nest_asyncio = _async._initialised_nest_asyncio, False
    assert not patched, "a blocking call of Inspect within a running loop; read in a thread, or by the async function"


@pytest.fixture
def offline_runs() -> Callable[[Path], list[OfflineRun]]:
    """Reads the runs under a folder, in the order in which they were begun."""

    def read(folder: Path) -> list[OfflineRun]:
        return [_read_run(file) for file in sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))]

    return read


@pytest.fixture
def study_environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a study whose runs are kept offline, with every file of W&B's under the test's folder."""
    folders = {name: str(tmp_path / "of-wandb") for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR")}
    return {"DABSTEP_STUDY": "muon-or-adamw", "WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), **folders}


def _read_run(file: Path) -> OfflineRun:
    from wandb.proto.wandb_internal_pb2 import Record

    run = OfflineRun(file.parent)
    for data in _records(file.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        _take(run, record)
    return run


def _records(data: bytes) -> Iterator[bytes]:
    """The records of a .wandb file: LevelDB's log format after seven bytes. A torn end (a kill) is left."""
    assert data[:4] == b":W&B"
    begun, place = b"", 7
    while True:
        if BLOCK - place % BLOCK < 7:
            place += BLOCK - place % BLOCK
        if len(data) < place + 7:
            return
        _, length, part = struct.unpack("<IHB", data[place : place + 7])
        if len(data) < place + 7 + length:
            return
        begun += data[place + 7 : place + 7 + length]
        place += 7 + length
        if part in (1, 4):  # whole, or the last of several parts
            yield begun
            begun = b""


def _take(run: OfflineRun, record: Any) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "run":
        run.id, run.name, run.project = record.run.run_id, record.run.display_name, record.run.project
        run.group, run.job = record.run.run_group, record.run.job_type
        _update(run.config, record.run.config.update)
    elif kind == "config":
        _update(run.config, record.config.update)
    elif kind == "summary":
        _update(run.summary, record.summary.update)
    elif kind == "history":
        point: dict[str, Any] = {}
        _update(point, record.history.item)
        run.history.append(point)
    elif kind == "artifact":
        made = record.artifact
        metadata = json.loads(made.metadata) if made.metadata else {}
        run.artifacts.append(
            Artifact(made.name, made.type, made.use_after_commit, metadata, list(made.aliases), made.digest)
        )
    elif kind == "exit":
        run.exit_code = record.exit.exit_code


def _update(target: dict[str, Any], items: Any) -> None:
    for item in items:
        target["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
