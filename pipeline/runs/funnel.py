"""The funnel of a run: for each stage, what came in, what went on, what was dropped and why, and what it cost.

    funnel = read_funnel(plan)          # out of the markers; also while the run goes on
    Console().print(to_rich(funnel))
    write_funnel(plan, funnel)          # -> RUN/funnel.json

Time is that of the ranks added up, not what a clock on the wall showed; tokens and money include failed tries.
`check_stage` is what every stage has to pass at its end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.runs.account import Counts, id_hash, read_marker, read_whole_shard
from pipeline.runs.layout import IDS, of_rank
from pipeline.runs.plan import GATHER, Plan, error_file, finished, gathered
from pipeline.runs.store import whole_file

if TYPE_CHECKING:
    from rich.table import Table

SHOWN_REASONS = 4
SHOWN_IDS = 3


class StageCheckError(RuntimeError):
    """A stage's files contradict each other: rows were lost or doubled; the message says which and the mend."""


@dataclass(frozen=True)
class StageLine:
    """One stage of the funnel. `failed` maps ranks ("gather" for that step) to why they have no result."""

    name: str
    tasks: int
    done: int
    counts: Counts
    failed: dict[str, str]
    gather_seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every rank has its marker."""
        return self.done == self.tasks


@dataclass(frozen=True)
class Funnel:
    """All stages of a run, in their order."""

    run: Path
    stages: tuple[StageLine, ...]

    @property
    def complete(self) -> bool:
        """Whether every stage is."""
        return all(stage.complete for stage in self.stages)


def read_funnel(plan: Plan) -> Funnel:
    """The funnel of a run as its markers tell it."""
    return Funnel(plan.config.run, tuple(read_line(plan, stage.name) for stage in plan.stages))


def read_line(plan: Plan, name: str) -> StageLine:
    """One stage of it."""
    context = plan.context(name)
    markers = [marker for rank in range(context.tasks) if (marker := read_marker(context.folder, rank))]
    failed = {}
    for rank in [GATHER, *range(context.tasks)]:
        if (error := error_file(context.folder, rank)).exists() and not finished(context.folder, rank):
            failed["gather" if rank == GATHER else str(rank)] = error.read_text(errors="replace")
    return StageLine(
        name=name,
        tasks=context.tasks,
        done=len(markers),
        counts=sum((marker.counts for marker in markers), Counts()),
        failed=failed,
        gather_seconds=(gathered(context.folder) or {}).get("seconds", 0.0),
    )


def check_stage(plan: Plan, name: str) -> None:
    """What must hold of a finished stage: read + made = kept + dropped, all rows of the stage before were read, no id
    twice. Raises StageCheckError.
    """
    line, before = read_line(plan, name), plan.before(name)
    counts = line.counts
    where = f"stage {name}"
    if counts.read + counts.made != counts.kept + counts.dropped_rows:
        raise StageCheckError(
            f"{where}: {counts.read} read + {counts.made} made is not {counts.kept} kept + {counts.dropped_rows} "
            f"dropped. Remove {plan.folder(name)} and run it again."
        )
    if before is not None and (kept := read_line(plan, before.name).counts.kept) != counts.read:
        raise StageCheckError(
            f"{where}: read {counts.read} rows, but {before.name} kept {kept}. Remove {plan.folder(name)} and run it "
            "again."
        )
    if twice := list(_ids_twice(plan.folder(name), line.tasks)):
        raise StageCheckError(
            f"{where}: ids must be unique, and these are not: {', '.join(twice[:SHOWN_IDS])}. The first stage, or the "
            "one that made them, names two rows alike."
        )


def _ids_twice(folder: Path, tasks: int) -> Iterator[str]:
    """Ids that several rows of a stage have. Compared by hashes; rows are read only where two are equal."""
    import numpy as np

    per_rank = [np.fromfile(of_rank(folder, rank, IDS), dtype=np.uint64) for rank in range(tasks)]
    hashes, counts = np.unique(np.concatenate(per_rank), return_counts=True)
    suspects = hashes[counts > 1]
    if not len(suspects):
        return
    wanted, seen = {value.tobytes() for value in suspects}, set()
    for rank, own in enumerate(per_rank):
        if not np.isin(own, suspects).any():
            continue
        for row in read_whole_shard(folder, rank):
            if id_hash(row.id) in wanted:
                if row.id in seen:
                    yield row.id
                seen.add(row.id)


def as_json(funnel: Funnel) -> dict[str, Any]:
    """The funnel as plain data."""
    return {
        "run": funnel.run.name,
        "complete": funnel.complete,
        "stages": [
            {
                "stage": line.name,
                "tasks": line.tasks,
                "done": line.done,
                **line.counts.model_dump(),
                "gather_seconds": line.gather_seconds,
                "failed": line.failed,
            }
            for line in funnel.stages
        ],
    }


def write_funnel(funnel: Funnel) -> Path:
    """Write RUN/funnel.json and return its path."""
    path = funnel.run / "funnel.json"
    with whole_file(path) as file:
        file.write(json.dumps(as_json(funnel), indent=1, ensure_ascii=False).encode() + b"\n")
    return path


def to_rich(funnel: Funnel) -> Table:
    """The funnel as a table for the terminal."""
    from rich.markup import escape
    from rich.table import Table

    counted = [f"{line.name}: {', '.join(figures(line.counts))}" for line in funnel.stages if line.counts.figures]
    table = Table(
        title=f"{escape(funnel.run.name)}: what became of the rows",
        title_justify="left",
        caption=escape("\n".join(counted)) or None,
        caption_justify="left",
    )
    table.add_column("stage")
    for heading in ("ranks", "read", "made", "kept"):
        table.add_column(heading, justify="right")
    table.add_column("dropped, by reason")
    for heading in ("time", "tokens", "money"):
        table.add_column(heading, justify="right")
    for line in funnel.stages:
        counts = line.counts
        ranks = f"{line.done}" if line.complete else f"[red]{line.done} of {line.tasks}[/]"
        table.add_row(
            line.name,
            ranks,
            f"{counts.read:,}",
            f"{counts.made:,}" if counts.made else "",
            f"{counts.kept:,}",
            escape(_reasons(counts)),
            duration(counts.seconds + line.gather_seconds),
            f"{counts.input_tokens + counts.output_tokens:,}" if counts.input_tokens else "",
            f"${counts.dollars:,.2f}" if counts.dollars else "",
        )
    return table


def figures(counts: Counts) -> list[str]:
    """A stage's own figures as one reads them: "data sets fetched 12", "downloaded 3.4 GB"."""
    return [
        f"{name.removeprefix('bytes ')} {byte_size(number) if name.startswith('bytes ') else f'{number:,}'}"
        for name, number in counts.figures.items()
    ]


def byte_size(number: float) -> str:
    """Bytes as one reads them: 812 bytes, 3.4 GB."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            return f"{number:,.0f} {unit}" if unit == "bytes" or number >= 100 else f"{number:,.1f} {unit}"
        number /= 1000
    raise AssertionError("not reached")


def duration(seconds: float) -> str:
    """Seconds as one reads them: 0.4 s, 12 s, 3:05, 2:10:00."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _reasons(counts: Counts) -> str:
    """The most frequent reasons, and how many others there are."""
    reasons = sorted(counts.dropped.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{number:,} {reason}" for reason, number in reasons[:SHOWN_REASONS]]
    if rest := reasons[SHOWN_REASONS:]:
        shown.append(f"{sum(number for _, number in rest):,} for {len(rest)} other reasons")
    return "\n".join(shown)
