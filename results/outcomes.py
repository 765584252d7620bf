"""What a run got right, question by question: the raw material of a comparison.

    outcomes_from_log("logs/a.eval")                    # verdicts of every question and epoch
    outcomes_from_verdicts("a", {"q1": True, "q2": [True, False]})
    outcomes_from_count("published", k=54, n=72)        # no verdicts: such a run can only be compared unpaired
    read_outcomes("logs/a.eval"), read_outcomes("verdicts.json"), read_outcomes("54/72")

An attempt that failed or has no score counts as wrong here, as in the ledger, and is counted apart so that it can be
shown. A log without a single score, or one that was broken off, is refused. Only summaries are read, no messages.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, get_args

from inspect_ai.log import EvalLog, EvalSampleSummary

from harness.records import Interval
from results.from_log import Ruling, counting_score, read_log, refuse_unless_whole, ruling
from results.intervals import interval
from results.repeats import interval_over_questions


class OutcomesError(ValueError):
    """Something that holds no outcomes to compare; the message names it, the reason and the mend."""


@dataclass(frozen=True)
class Outcomes:
    """A run's verdicts. Raises OutcomesError when k and n contradict each other or the verdicts.

    Attributes:
        label: What tables call the run.
        k: Attempts that were right.
        n: Attempts, all of them.
        verdicts: Question id -> whether it was right, one an epoch; empty where only k and n are known.
        families: Question id -> family, where questions have one.
        targets: Question id -> the answer it was graded against, where that is known.
        failed: Question id -> how many attempts failed; they count as wrong.
        unkeyed: Question id -> how many attempts had no answer key to be graded by; they count as wrong too.
        data_hash: Of the data it was measured on, where that is known.
        names: What a label can be made of, the plainest first.
        source: The file, or what was typed.
    """

    label: str
    k: int
    n: int
    verdicts: Mapping[str, tuple[bool, ...]] = field(default_factory=dict)
    families: Mapping[str, str] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    unkeyed: Mapping[str, int] = field(default_factory=dict)
    data_hash: str | None = None
    names: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        # A label may be a model's name from a log: no control character of it reaches a terminal or a page.
        object.__setattr__(self, "label", "".join(c if c.isprintable() else " " for c in self.label))
        if not 0 <= self.k <= self.n or self.n == 0:
            raise OutcomesError(f"{self.source or self.label}: {self.k} of {self.n} is no share of questions.")

    @property
    def errors(self) -> int:
        """How many attempts failed."""
        return sum(self.failed.values())

    @property
    def unscored(self) -> int:
        """How many attempts had no answer key."""
        return sum(self.unkeyed.values())

    @property
    def questions(self) -> int:
        """How many different questions were asked."""
        return len(self.verdicts) or self.n

    @property
    def share(self) -> float:
        """The mean over questions of how often each was right (k / n, where all were asked equally often)."""
        if not self.verdicts:
            return self.k / self.n
        return sum(sum(attempts) / len(attempts) for attempts in self.verdicts.values()) / len(self.verdicts)

    @property
    def interval(self) -> Interval:
        """The 95% interval of the share, that of the results table: Wilson's, over questions where they were repeated.

        Attempts at one question are not independent: the same answers asked for again do not narrow it.
        """
        if not self.verdicts or self.n == len(self.verdicts):
            return interval(self.k, self.n)
        return interval_over_questions([fmean(attempts) for attempts in self.verdicts.values()])

    def only(self, questions: set[str]) -> Outcomes:
        """The same run as if only these questions had been asked."""
        verdicts = {id: attempts for id, attempts in self.verdicts.items() if id in questions}
        return replace(
            self,
            verdicts=verdicts,
            k=sum(map(sum, verdicts.values())),
            n=sum(map(len, verdicts.values())),
            failed={id: count for id, count in self.failed.items() if id in questions},
            unkeyed={id: count for id, count in self.unkeyed.items() if id in questions},
        )


def read_outcomes(argument: str | Path, scorer: str | None = None) -> Outcomes:
    """What a user names: an Inspect log, a JSON file of verdicts (question id -> true, false or a list), or "K/N".

    Raises OutcomesError or LogError for anything else.
    """
    if counts := re.fullmatch(r"(\d+)/(\d+)", str(argument)):
        return outcomes_from_count(str(argument), int(counts[1]), int(counts[2]))
    path = Path(argument)
    if path.suffix == ".json" and path.is_file() and (verdicts := _verdicts_in(path)) is not None:
        return outcomes_from_verdicts(path.stem, verdicts, source=str(path))
    return outcomes_from_log(path, scorer=scorer)


def outcomes_from_count(label: str, k: int, n: int) -> Outcomes:
    """A published figure: nothing is known of single questions."""
    return Outcomes(label, k, n, names=(label,), source=label)


def outcomes_from_verdicts(
    label: str,
    verdicts: Mapping[str, bool | Sequence[bool]],
    families: Mapping[str, str] | None = None,
    source: str = "",
) -> Outcomes:
    """A run from a mapping: question id -> whether it was right, or a list of that, one an epoch.

    Raises OutcomesError naming the question whose verdict is neither.
    """
    attempts = {str(id): tuple(each) if isinstance(each, list | tuple) else (each,) for id, each in verdicts.items()}
    for id, each in attempts.items():
        if not each or not all(isinstance(verdict, bool) for verdict in each):
            raise OutcomesError(
                f"{source or label}: question {id!r} has {verdicts[id]!r} for a verdict. Give true or false, or a "
                "list of them, one for each time it was asked."
            )
    k, n = sum(map(sum, attempts.values())), sum(map(len, attempts.values()))
    return Outcomes(label, k, n, attempts, families or {}, names=(label,), source=source or label)


def outcomes_from_log(log: Path | str, label: str | None = None, scorer: str | None = None) -> Outcomes:
    """A run from its Inspect log.

    Args:
        log: The log file (`.eval` or `.json`).
        label: What to call it; the model's name unless given.
        scorer: Which score counts; needed only where a log has several.

    Raises LogError for a log that is missing, broken off or invalidated, and OutcomesError for one without any score.
    """
    header, samples = read_log(Path(log))
    refuse_unless_whole(header, len(samples), str(log))
    counting = counting_score(samples, scorer, str(log))
    rulings: dict[Ruling, Counter[str]] = {name: Counter() for name in get_args(Ruling)}
    verdicts: defaultdict[str, list[bool]] = defaultdict(list)
    for sample in sorted(samples, key=lambda sample: sample.epoch):
        ruled = ruling(sample, counting)
        rulings[ruled][str(sample.id)] += 1
        verdicts[str(sample.id)].append(ruled == "right")
    if rulings["unscored"].total() == len(samples):
        raise OutcomesError(
            f"{log}: unscored, so there is nothing to compare. No score is not a score of 0. Score it with a key "
            "(`-T answers=FILE`), or compare the per-question scores that the benchmark returns."
        )
    names = _names(header, Path(log))
    return Outcomes(
        label=label or names[0],
        k=rulings["right"].total(),
        n=len(samples),
        verdicts={id: tuple(attempts) for id, attempts in verdicts.items()},
        families={str(s.id): str(s.metadata["family"]) for s in samples if s.metadata.get("family")},
        targets={str(s.id): _target(s) for s in samples},
        failed=rulings["error"],
        unkeyed=rulings["unscored"],
        data_hash=(header.eval.metadata or {}).get("data_hash"),
        names=names,
        source=str(log),
    )


def labelled(runs: Sequence[Outcomes], labels: Sequence[str] = ()) -> list[Outcomes]:
    """The runs under names that differ: those given, else the plainest kind of name that tells all of them apart.

    Raises OutcomesError when the labels are not one a run, or not different.
    """
    if labels:
        if len(labels) != len(runs) or len(set(labels)) < len(labels):
            raise OutcomesError(
                f"{len(labels)} labels ({', '.join(labels)}) for {len(runs)} runs. Give each run one of its own."
            )
        return [replace(run, label=label) for run, label in zip(runs, labels, strict=True)]
    for kind in range(max(len(run.names) for run in runs)):
        names = [run.names[min(kind, len(run.names) - 1)] for run in runs]
        if len(set(names)) == len(names):
            return [replace(run, label=name) for run, name in zip(runs, names, strict=True)]
    return [replace(run, label=f"{run.label} ({number})") for number, run in enumerate(runs, start=1)]


def _names(header: EvalLog, log: Path) -> tuple[str, ...]:
    """The model, the model and the scaffold, the model and when, the file."""
    provider, _, name = header.eval.model.partition("/")
    model = Path(name).name if provider == "checkpoint" else header.eval.model
    scaffold = (header.eval.metadata or {}).get("scaffold") or header.eval.solver
    asked = header.eval.task.rpartition("/")[2]
    return (
        model,
        f"{model}, {scaffold}",
        f"{model}, {asked}",
        f"{model}, {header.eval.created[:19].replace('T', ' ')}",
        log.stem,
    )


def _target(sample: EvalSampleSummary) -> str:
    return sample.target if isinstance(sample.target, str) else json.dumps(sample.target, ensure_ascii=False)


def _verdicts_in(path: Path) -> dict[str, Any] | None:
    """The verdicts of a JSON file; None where it is an Inspect log. Raises OutcomesError for what is neither."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise OutcomesError(f"{path}: is no JSON ({error}). Give a log, or verdicts by question id.") from None
    if not isinstance(content, dict) or not content:
        raise OutcomesError(f"{path}: holds no verdicts. It must map question ids to true or false.")
    return None if "eval" in content and "status" in content else content
