"""From an Inspect log to a row of the ledger.

`result_from_log(log)` counts k, n and errors from *all* samples of the log. Inspect's own accuracy is never used: it is
the mean over the samples that got a number, so that a failed or NaN-scored sample silently leaves its denominator
(inspect-ai 0.3.285). What a task must say about itself, in its metadata: `data_hash`, `split`, `scaffold`, `exposure`
and, where it ran without some of its files, `incomplete_data`.
It reads sample summaries only, no messages; traces for the report come from `harness.trace`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from inspect_ai.log import EvalLog, EvalSampleSummary, read_eval_log, read_eval_log_sample_summaries
from pydantic import ValidationError

from harness.records import Result
from harness.scoring import NO_KEY, UNSCORED
from results.intervals import interval
from results.provenance import ROOT, ProvenanceError, code_commit, git, model_hash
from results.repeats import interval_over_questions, pass_at, told_of
from results.spent import Spent, spent

RIGHT = ("C", 1, True)

Ruling = Literal["right", "wrong", "error", "unscored"]


SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "frequency_penalty",
    "presence_penalty",
    "max_tokens",
    "seed",
    "reasoning_effort",
    "reasoning_tokens",
)
LIMITS = ("turn_limit", "token_limit", "message_limit", "time_limit", "working_limit", "cost_limit")


class LogError(ValueError):
    """A log that cannot become a row of the ledger; the message names the log, the reason and the mend."""


class Unscored(LogError):
    """A log whose samples were not graded, for want of an answer key: there is no score, which is not a score of 0."""


@dataclass(frozen=True)
class Tally:
    """Samples of a log, all of them: right, asked, those without a verdict because something failed, unscored."""

    k: int
    n: int
    errors: int
    unscored: int


def result_from_log(
    log: Path | str,
    *,
    checkpoint: str | None = None,
    seeds: Sequence[int] = (),
    scorer: str | None = None,
    note: str | None = None,
    model_digest: str | None = None,
) -> Result:
    """One "run" row out of one log file.

    Args:
        log: The log file (`.eval` or `.json`).
        checkpoint: What to call the checkpoint in tables, such as "epoch 3".
        seeds: The seeds of training and evaluation that lead to this run; the log's own sampling seed when not given.
        scorer: Which score counts; needed only where a log has several.
        note: A word for the table.
        model_digest: The model's hash where it is known already; else the weights are hashed here, or the model named.

    Raises LogError for a log that is missing, unfinished or invalidated, lacks samples or a metadata key, Unscored for
    one without an answer key, and ProvenanceError for weights or code that cannot be named.
    """
    header, samples = read_log(log)
    counts = tally(samples, scorer, str(log))
    refuse_unless_whole(header, counts.n, str(log))
    _refuse_unscored(counts, str(log))
    fields = fields_of(header, samples, log, checkpoint=checkpoint, seeds=seeds, model_digest=model_digest)
    try:
        return Result(
            **fields,
            **_repeats(samples, counting_score(samples, scorer, str(log)), header.eval.config.epochs or 1),
            k=counts.k,
            n=counts.n,
            errors=counts.errors,
            recorded_at=datetime.now(UTC).isoformat(timespec="seconds"),
            note=note,
        )
    except ValidationError as error:
        raise LogError(f"{log}: does not make a row of the ledger ({reasons(error)}).") from None


def fields_of(
    header: EvalLog,
    samples: Sequence[EvalSampleSummary],
    log: Path | str,
    *,
    checkpoint: str | None = None,
    seeds: Sequence[int] = (),
    model_digest: str | None = None,
) -> dict[str, Any]:
    """What a log says of its run: the fields of a "run" row but those of the score (k, n, errors, interval).

    For questions that somebody else scores. Arguments and errors are those of `result_from_log`.
    """
    return {
        "kind": "run",
        "task": header.eval.task.rpartition("/")[2],
        "model": _from_here(header.eval.model),
        "checkpoint": checkpoint,
        **_stated(header, str(log)),
        "seeds": tuple(seeds) or _sampling_seed(header),
        "settings": settings_of(header),
        **_spent(spent(header, samples, Path(log))),
        "commit": _commit(header),
        "model_hash": model_digest or model_hash(header.eval.model, date=header.eval.created[:10]),
        "log": _from_here(str(log)),
    }


def reasons(error: ValidationError) -> str:
    """Why a record was refused: each field and what is wrong with it."""
    return "; ".join(
        f"{'.'.join(map(str, e['loc']))}: {e['msg']}" if e["loc"] else e["msg"].removeprefix("Value error, ")
        for e in error.errors()
    )


def tally(samples: Sequence[EvalSampleSummary], scorer: str | None = None, log: str = "log") -> Tally:
    """Count every sample: right, failed (an error, or no number for a score), or unscored for want of an answer key.

    Raises LogError where it is not clear which score counts.
    """
    counting = counting_score(samples, scorer, log)
    said = Counter(ruling(sample, counting) for sample in samples)
    return Tally(k=said["right"], n=len(samples), errors=said["error"], unscored=said["unscored"])


def counting_score(samples: Sequence[EvalSampleSummary], scorer: str | None, log: str) -> str | None:
    """The name of the score that counts; None where no sample has a score.

    Raises LogError where there are several and none is named, or the one named is not there.
    """
    named = sorted({name for sample in samples for name in sample.scores or {}})
    if scorer is None and len(named) > 1:
        raise LogError(f"{log}: has several scores ({', '.join(named)}). Say which one counts with scorer=NAME.")
    if scorer is not None and scorer not in named:
        raise LogError(f"{log}: has no score named {scorer!r}, only: {', '.join(named) or 'none'}.")
    return scorer or (named[0] if named else None)


def ruling(sample: EvalSampleSummary, scorer: str | None) -> Ruling:
    """What the log says of one attempt; without a score's name (the log has none) it is an error or unscored."""
    score = (sample.scores or {}).get(scorer) if scorer is not None else None
    if sample.error is not None:
        return "error"
    if score is None:
        return "unscored" if scorer is None else "error"
    if score.value == UNSCORED or score.reason == NO_KEY:
        return "unscored"
    if isinstance(score.value, float) and math.isnan(score.value):
        return "error"
    return "right" if score.value in RIGHT else "wrong"


def read_log(log: Path | str) -> tuple[EvalLog, list[EvalSampleSummary]]:
    """A log's header and a summary of each of its samples. Raises LogError where there is no such log."""
    if not Path(log).is_file():
        raise LogError(f"{log}: no such log. Give the path of a .eval file.")
    try:
        return read_eval_log(log, header_only=True), read_eval_log_sample_summaries(log)
    except Exception as error:  # a damaged zip or JSON surfaces as one of many types
        raise LogError(f"{log}: cannot be read as an Inspect log ({type(error).__name__}: {error}).") from None


def refuse_unless_whole(header: EvalLog, n: int, log: str) -> None:
    """Raise LogError for a log that was broken off, marked invalid, or has no samples; n is how many it has."""
    planned = len(header.eval.dataset.sample_ids or ()) * (header.eval.config.epochs or 1)
    if header.status == "started" or n < planned:
        raise LogError(
            f"{log}: holds {n} of {planned} samples (status {header.status!r}), so its share is not that of the "
            f"questions asked. Go on with it: `inspect eval-retry {log}`."
        )
    if header.invalidated:
        raise LogError(f"{log}: was marked invalid. Run the evaluation again.")
    if n == 0:
        raise LogError(f"{log}: has no samples, so there is nothing to count.")


def _refuse_unscored(counts: Tally, log: str) -> None:
    if counts.unscored:
        raise Unscored(
            f"{log}: unscored, since {counts.unscored} of {counts.n} samples were not graded against a right answer. "
            "No score is not a score of 0. Give a whole key (`-T answers=FILE`), or leave those questions out."
        )


def _stated(header: EvalLog, log: str) -> dict[str, Any]:
    """What the task said about itself."""
    metadata = header.eval.metadata or {}
    keys = ("data_hash", "split", "scaffold", "exposure")
    missing = [key for key in keys if not metadata.get(key)]
    if missing:
        raise LogError(
            f"{log}: the task's metadata lacks {', '.join(missing)}. Give them to Task(metadata=...), "
            "or run a task of this project."
        )
    incomplete = metadata.get("incomplete_data") or ()
    names = incomplete.split(",") if isinstance(incomplete, str) else incomplete
    return {key: metadata[key] for key in keys} | {"incomplete_data": tuple(str(name).strip() for name in names)}


def _repeats(samples: Sequence[EvalSampleSummary], scorer: str | None, epochs: int) -> dict[str, Any]:
    """How often each question was asked, and the figures that depend on it: the interval and pass@k."""
    verdicts = verdicts_of(samples, scorer)
    right = sum(map(sum, verdicts.values()))
    if epochs == 1:
        return {"interval": interval(right, len(samples))}
    return {
        "epochs": epochs,
        "interval": interval_over_questions([fmean(attempts) for attempts in verdicts.values()]),
        "pass_at": tuple(pass_at(verdicts.values(), k) for k in told_of(epochs)),
    }


def verdicts_of(samples: Sequence[EvalSampleSummary], scorer: str | None) -> dict[str, list[bool]]:
    """By question id, whether each attempt at it was right, in the order of the attempts; a failed one was not."""
    verdicts: defaultdict[str, list[bool]] = defaultdict(list)
    for sample in sorted(samples, key=lambda sample: sample.epoch):
        verdicts[str(sample.id)].append(ruling(sample, scorer) == "right")
    return dict(verdicts)


def _spent(what: Spent) -> dict[str, Any]:
    """As fields that JSON can hold, for the disclosure of a submission keeps them too."""
    return asdict(what) | {"broken_off": what.broken_off.model_dump() if what.broken_off else None}


def settings_of(header: EvalLog) -> dict[str, Any]:
    """How the model was sampled and what limited it, as far as it was set, by the names of Inspect's own options."""
    # A model that was made beforehand has only its own settings in the spec; those of the evaluation are in the plan.
    sampled = header.plan.config.merge(header.eval.model_generate_config)
    return sampled.model_dump(include=set(SAMPLING), exclude_none=True) | header.eval.config.model_dump(
        include=set(LIMITS), exclude_none=True
    )


def _sampling_seed(header: EvalLog) -> tuple[int, ...]:
    seed = settings_of(header).get("seed")
    return () if seed is None else (seed,)


def _commit(header: EvalLog) -> str:
    """The commit that ran the evaluation, where the log names one of this checkout, else that of the code running now.

    Inspect records the commit of the folder it was started in, which may be some other project's.
    """
    recorded = header.eval.revision
    if recorded is not None and (ROOT / ".git").exists():
        try:
            return git(ROOT, "rev-parse", f"{recorded.commit}^{{commit}}").strip() + "-dirty" * bool(recorded.dirty)
        except ProvenanceError:
            pass
    return code_commit()


def _from_here(name: str) -> str:
    """A path, or a model name with one in it, told from the current folder on where that holds it."""
    return name.replace(f"{Path.cwd()}/", "")
