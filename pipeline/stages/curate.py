"""Stage curate: of each question's tries the best is kept, gates block, and every question gets its split.

    stages:
      curate:
        benchmark: data/dabstep             # its tasks/ and context/: nothing of it may get through
        held_out: [data/held-out]           # question sets
        longest_characters: 60000
        shares: {validation: 0.02, test: 0.02}

The rules for one trace and the choice among tries are those of `pipeline/curation`, the gates those of
`pipeline/gates`; `dabstep training-set` goes by the same. A question without a trace that passes is dropped, with the
reason that most of its tries share. Splits are given by data set and notebook family: no two splits share one.

Notebooks on one data set lead to the same questions. Of those that ask the same (`pipeline/curation/repeats.py`) one
stays: the one answered right most often, of the better notebook. That is settled before any trace is read, so a
question that then falls to a rule or a gate is not made up for by one of its repeats.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.curation.collect import Gates, judge
from pipeline.curation.repeats import Asked, repeats
from pipeline.curation.rules import SIMULATED, Rules, rank
from pipeline.curation.splits import Shares, assign
from pipeline.gates.contamination import Contamination, Finding
from pipeline.gates.licence import LICENCES
from pipeline.gates.shortcut import answered_blind
from pipeline.quarantine import Dropped
from pipeline.row import Curated, NotebookRow, Split, parent_id
from pipeline.runs.fingerprint import file_identity
from pipeline.runs.stages import Stage, StageContext
from pipeline.runs.steps import RowStep
from pipeline.runs.store import whole_file

if TYPE_CHECKING:
    from datatrove.pipeline.base import PipelineStep

SPLITS = "splits.json"
REPEATS = "repeats.json"
REPEATED = "repeats a question of another notebook"
NOT_COMPARED = "not-compared"


@dataclass(frozen=True)
class CurateSettings:
    """`benchmark` is a folder, or the word `not-compared`: then the contamination gate knows held-out questions only,
    which the data card says.

    `simulated`, `trivial`: whether such traces may stay. `verified_only`: questions that nobody checked are dropped.
    `blind_logs`: logs of the questions asked without their files (`pipeline/gates/shortcut.py`).
    """

    benchmark: str = ""
    held_out: tuple[str, ...] = ()
    blind_logs: tuple[str, ...] = ()
    licences: tuple[str, ...] = LICENCES
    longest_characters: int | None = 200_000
    longest_tokens: int | None = None
    tokenizer: str | None = None
    simulated: bool = False
    trivial: bool = False
    verified_only: bool = True
    shares: Shares = field(default_factory=Shares)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.benchmark:
            raise ValueError(
                "benchmark: no folder of DABStep's files is named, so nothing would keep its questions out. Give the "
                f"folder with its tasks/ and context/, or `benchmark: {NOT_COMPARED}` for a data set whose card shall "
                "say that it was not compared"
            )
        _ = self.rules

    @property
    def benchmark_folder(self) -> Path | None:
        """`benchmark` as a path; None where nothing is compared."""
        return None if self.benchmark == NOT_COMPARED else Path(self.benchmark)

    @property
    def rules(self) -> Rules:
        """The rules for one trace. Raises ValueError for a bound in tokens without a tokenizer."""
        return Rules(self.longest_characters, self.longest_tokens, self.tokenizer, self.simulated, self.trivial)


class Curate(RowStep):
    """Fills in `curated`."""

    def __init__(self, context: StageContext[CurateSettings]) -> None:
        super().__init__()
        self._context = context

    def rows(self, rows: Iterator[NotebookRow]) -> Iterator[NotebookRow | Dropped]:
        """The rank's rows, log by log."""
        settings = self._context.settings
        rules, gates = settings.rules, gates_of(settings)
        splits: Mapping[str, Split] = self._gathered(SPLITS)
        repeated = self._gathered(REPEATS)
        by_log: dict[str, list[NotebookRow]] = {}
        for row in rows:
            if settings.verified_only and not (row.verification and row.verification.verified):
                yield self.drop(row, "not verified", row.id)
            elif row.traced is None:
                yield self.drop(row, "no trace", row.id)
            elif row.id in repeated:
                yield self.drop(row, REPEATED, f"{repeated[row.id]}: {row.question.question if row.question else ''}")
            elif (finding := self._file_finding(row, gates)) is not None:
                yield self.drop(row, finding.reason, finding.detail)
            else:
                by_log.setdefault(row.traced.log, []).append(row)
        for log, own in by_log.items():
            best, faults = best_traces(self._context.run / log, {row.id for row in own}, rules, gates)
            for row in own:
                if (epoch := best.get(row.id)) is not None:
                    yield row.model_copy(update={"curated": Curated(epoch=epoch, split=splits[row.id])})
                else:
                    finding = faults[row.id]
                    yield self.drop(row, finding.reason, finding.detail)

    def _gathered(self, name: str) -> Any:
        return json.loads((self._context.gathered / name).read_text(encoding="utf-8"))

    def _file_finding(self, row: NotebookRow, gates: Gates) -> Finding | None:
        paths = (self._context.run / file.path for file in (row.files.files if row.files else ()))
        found = (gates.contamination.file_finding(path) for path in paths if path.is_file())
        return next((finding for finding in found if finding), None)


def best_traces(
    log: Path, questions: set[str], rules: Rules, gates: Gates
) -> tuple[dict[str, int], dict[str, Finding]]:
    """The epoch of each question's best try; where there is none, what most of the tries were left out for."""
    from harness.trace import read_traces

    best: dict[str, tuple[int, int, int]] = {}
    faults: dict[str, list[Finding]] = {question: [] for question in questions}
    for trace in read_traces(log):
        if trace.question_id not in questions:
            continue
        if (finding := judge(trace, rules, gates)) is not None:
            faults[trace.question_id].append(finding)
        else:
            place = rank(trace)
            best[trace.question_id] = min(best.get(trace.question_id, place), place)
    none = Finding("no trace", "the log holds none of its tries")
    return (
        {question: place[2] for question, place in best.items()},
        {question: _usual(found) or none for question, found in faults.items() if question not in best},
    )


def _usual(findings: Sequence[Finding]) -> Finding | None:
    """The most frequent finding, the earlier of two as frequent."""
    if not findings:
        return None
    reason = Counter(finding.reason for finding in findings).most_common(1)[0][0]
    return next(finding for finding in findings if finding.reason == reason)


@cache
def gates_of(settings: CurateSettings) -> Gates:
    """The gates of these settings, built once a process. Raises GateError, QuestionSetError."""
    return Gates(
        Contamination.of(settings.benchmark_folder, [Path(folder) for folder in settings.held_out]),
        settings.licences,
        answered_blind([Path(log) for log in settings.blind_logs]),
    )


def sources_of(row: NotebookRow) -> list[str]:
    """What a row must not share with another split: its data sets in any version, and its notebook's family."""
    sets = [data_set.handle.partition("/versions/")[0] for data_set in row.links.data_sets] if row.links else []
    family = row.family.representative if row.family else parent_id(row.id)
    return [*(f"data set {name}" for name in sets), f"notebook {family}"]


def asked_of(row: NotebookRow, settings: CurateSettings) -> Asked | None:
    """A row's question as it is compared with others; None where none of its traces can stay."""
    checked = row.verification is not None and row.verification.verified
    if (
        row.question is None
        or row.traced is None
        or not row.traced.right
        or not (checked or not settings.verified_only)
    ):
        return None
    if row.traced.executor == SIMULATED and not settings.simulated:
        return None
    score = row.edu_score.total if row.edu_score else 0
    votes = row.popularity.votes if row.popularity else 0
    place = (float(row.traced.executor == SIMULATED), -row.traced.right / row.traced.tries, -score, -votes)
    return Asked(row.id, row.question.question, row.question.answer, tuple(sources_of(row)), place)


def gather(context: StageContext[CurateSettings], folder: Path) -> None:
    """Write the split of every row, and which questions repeat which.

    Builds the gates too, so that what is wrong with them is known before any rank.
    """
    gates_of(context.settings)
    sources: dict[str, list[str]] = {}
    asked: list[Asked] = []
    for row in context.rows_before():
        sources[row.id] = sources_of(row)
        if (one := asked_of(row, context.settings)) is not None:
            asked.append(one)
    with whole_file(folder / SPLITS) as file:
        file.write(json.dumps(assign(sources, context.settings.shares, context.settings.seed)).encode())
    with whole_file(folder / REPEATS) as file:
        file.write(json.dumps(repeats(asked)).encode())


def steps(context: StageContext[CurateSettings]) -> Sequence[PipelineStep]:
    """One step: judge and choose."""
    return [Curate(context)]


def inputs(context: StageContext[CurateSettings]) -> Mapping[str, str]:
    """The benchmark's questions, held-out questions and logs that the gates compare with."""
    settings = context.settings
    return {str(path): file_identity(path) for path in _outside(settings) if path.is_file()}


def _outside(settings: CurateSettings) -> Iterable[Path]:
    if (benchmark := settings.benchmark_folder) is not None:
        for root in (benchmark, benchmark / "data"):
            yield from sorted(path for folder in ("tasks", "context") for path in (root / folder).glob("*"))
    yield from (Path(folder) / "questions.jsonl" for folder in settings.held_out)
    yield from map(Path, settings.blind_logs)


STAGE = Stage(
    "curate",
    CurateSettings,
    steps,
    gather=gather,
    code=(
        *(f"pipeline.curation.{name}" for name in ("collect", "repeats", "rules", "splits")),
        *(f"pipeline.gates.{name}" for name in ("contamination", "licence", "shortcut", "wording")),
    ),
    inputs=inputs,
    needs=("trace",),
)
