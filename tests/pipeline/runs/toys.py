"""Toy stages for the tests of runs: numbers in, some of them out, one stage that pays for its answers.

    python -m tests.pipeline.runs.toys CONFIG.yaml        what `dabstep pipeline run` does, with these stages

Order: numbers (source) -> cluster (gather) -> paid -> copies (fan-out) -> sorted (one task). Each misbehaves on order.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.quarantine import Dropped
from pipeline.row import Family, NotebookRow, Source
from pipeline.runs.fingerprint import file_identity
from pipeline.runs.stages import Stage, StageContext
from pipeline.runs.steps import RowStep, SourceStep

HERE = "tests.pipeline.runs.toys"
ORDER = tuple(f"{HERE}:{name}" for name in ("NUMBERS", "CLUSTER", "PAID", "COPIES", "SORTED"))


@dataclass(frozen=True)
class NumbersSettings:
    rows: int = 40
    file: str | None = None
    same_id_for: tuple[int, ...] = ()
    print_something: bool = False


class Numbers(SourceStep):
    """Row i is a notebook whose text is i; every seventh cannot be read."""

    def __init__(self, context: StageContext[NumbersSettings]) -> None:
        super().__init__()
        self.rows = min(context.settings.rows, context.limit or context.settings.rows)
        self.settings = context.settings

    def entries(self, rank: int, tasks: int) -> Iterator[NotebookRow | Dropped]:
        for number in range(rank, self.rows, tasks):
            if self.settings.print_something:
                print("a stage may print")
            name = "n0.ipynb" if number in self.settings.same_id_for else f"n{number}.ipynb"
            if number % 7 == 3:
                yield self.drop(name, "not JSON", f"{number}\x1b[31m is\nbroken")
            else:
                yield NotebookRow(id=name, source=Source(address="toys"), markdown=str(number))


def _file_input(context: StageContext[NumbersSettings]) -> dict[str, str]:
    path = context.settings.file
    return {path: file_identity(Path(path))} if path else {}


NUMBERS = Stage(
    "numbers", NumbersSettings, lambda context: [Numbers(context)], inputs=_file_input, code=("pipeline.row",)
)


@dataclass(frozen=True)
class ClusterSettings:
    by: int = 5
    fail_gather: bool = False


class Cluster(RowStep):
    """Keeps the representative of each cluster."""

    def __init__(self, context: StageContext[ClusterSettings]) -> None:
        super().__init__()
        self.file = context.gathered / "clusters.json"

    def rows(self, rows: Iterator[NotebookRow]) -> Iterator[NotebookRow | Dropped]:
        clusters = json.loads(self.file.read_text())
        for row in rows:
            members = clusters[row.id]
            if members[0] == row.id:
                yield row.model_copy(update={"family": Family(representative=row.id, size=len(members))})
            else:
                yield self.drop(row, "near duplicate", f"of {members[0]}")


def gather_clusters(context: StageContext[ClusterSettings], folder: Path) -> None:
    if context.settings.fail_gather:
        raise ValueError("the clusters do not fit")
    groups: dict[int, list[str]] = {}
    for row in context.rows_before():
        number = int(row.markdown)
        groups.setdefault(number if number % context.settings.by else -1, []).append(row.id)
    by_id = {row_id: sorted(members) for members in groups.values() for row_id in members}
    (folder / "clusters.json").write_text(json.dumps(by_id))


CLUSTER = Stage("cluster", ClusterSettings, lambda context: [Cluster(context)], gather=gather_clusters)


@dataclass(frozen=True)
class PaidSettings:
    """`provider` is a file that gets a line a call, as the provider counts them; `ledger` holds what came back.

    `raise_for`, `lose`, `double`: rows for which the step misbehaves. `die_at`: a row at which the worker kills itself,
    once where `die_once` names a file that is not there yet. `hold_mb`, `sleep_s` at that row, too.
    """

    provider: str | None = None
    ledger: str | None = None
    milliseconds: float = 0.0
    raise_for: str | None = None
    lose: str | None = None
    double: str | None = None
    die_at: str | None = None
    die_once: str | None = None
    hold_mb: int = 0
    sleep_s: float = 0.0
    word: str = "paid"


class Paid(RowStep):
    """Asks a pretended provider about each row, by way of a ledger."""

    def __init__(self, settings: PaidSettings) -> None:
        super().__init__()
        self.settings = settings

    def rows(self, rows: Iterator[NotebookRow]) -> Iterator[NotebookRow | Dropped]:
        ledger = self._ledger()
        for row in rows:
            self._misbehave(row)
            if row.id == self.settings.lose:
                continue
            if row.id == self.settings.double:
                yield row
            answer = self._ask(ledger, row)
            self.spent(input_tokens=10, output_tokens=2, dollars=0.01)
            if answer.endswith("8"):
                yield self.drop(row, "score below 4", answer)
            else:
                yield row.model_copy(update={"markdown": answer})
        if ledger is not None:
            ledger.close()

    def _ask(self, ledger: sqlite3.Connection | None, row: NotebookRow) -> str:
        answer = f"{self.settings.word} {row.markdown}"
        if ledger is None or self.settings.provider is None:
            time.sleep(self.settings.milliseconds / 1000)
            return answer
        if found := ledger.execute("select reply from replies where id = ?", (row.id,)).fetchone():
            return str(found[0])
        with open(self.settings.provider, "a") as provider:
            provider.write(row.id + "\n")
        time.sleep(self.settings.milliseconds / 1000)
        with ledger:
            ledger.execute("insert or ignore into replies values (?, ?)", (row.id, answer))
        return answer

    def _ledger(self) -> sqlite3.Connection | None:
        if self.settings.ledger is None:
            return None
        ledger = sqlite3.connect(self.settings.ledger, timeout=60)
        ledger.execute("pragma journal_mode = wal")
        ledger.execute("pragma synchronous = normal")
        ledger.execute("create table if not exists replies (id text primary key, reply text)")
        ledger.commit()
        return ledger

    def _misbehave(self, row: NotebookRow) -> None:
        settings = self.settings
        if row.id == settings.raise_for:
            raise ValueError(f"cannot digest {row.id}")
        if row.id == settings.die_at and not (settings.die_once and Path(settings.die_once).exists()):
            if settings.die_once:
                Path(settings.die_once).touch()
            held = bytearray(settings.hold_mb << 20)
            time.sleep(settings.sleep_s)
            if not held and not settings.sleep_s:
                os.kill(os.getpid(), signal.SIGKILL)


PAID = Stage(
    "paid",
    PaidSettings,
    lambda context: [Paid(context.settings)],
    models=lambda context: {name: str(endpoint) for name, endpoint in context.endpoints.items()},
    foretell=lambda context: ["about $0.40"],
)


@dataclass(frozen=True)
class CopiesSettings:
    copies: int = 2


class Copies(RowStep):
    """Several rows of one."""

    def __init__(self, copies: int) -> None:
        super().__init__()
        self.copies = copies

    def rows(self, rows: Iterator[NotebookRow]) -> Iterator[NotebookRow | Dropped]:
        for row in rows:
            for number in range(1, self.copies + 1):
                yield row.model_copy(update={"id": f"{row.id}#{number}"})


COPIES = Stage("copies", CopiesSettings, lambda context: [Copies(context.settings.copies)], fan_out=True)


@dataclass(frozen=True)
class SortedSettings:
    pass


class Sorted(RowStep):
    """All rows of the run in one shard, in order."""

    def rows(self, rows: Iterator[NotebookRow]) -> Iterator[NotebookRow | Dropped]:
        yield from sorted(rows, key=lambda row: row.id)


SORTED = Stage("sorted", SortedSettings, lambda context: [Sorted()], needs=("numbers",), one_task=True)


def main(config: str) -> int:
    from rich.console import Console

    from pipeline.runs.config import read_config
    from pipeline.runs.plan import Plan
    from pipeline.runs.run import run_pipeline
    from pipeline.runs.stages import load_stages

    plan = Plan(read_config(Path(config), load_stages(ORDER)), ORDER)
    return 0 if run_pipeline(plan, Console()).complete else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
