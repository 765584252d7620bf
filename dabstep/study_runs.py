"""Evaluations as runs of a study (`harness/study.py`): the hook by which Inspect tells of them.

An evaluation's run has a point of progress for each finished sample (nothing for a model call), and at its end the
score with k, n, errors and interval, a table of its questions, and its place between the data, the model and the log.
`inspect eval-retry` goes on in the same run. A killed evaluation leaves its settings and its progress.
Inspect finds the hook by `dabstep/_registry.py`. The log stays the only record: everything here is a view of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anyio import to_thread
from inspect_ai.hooks import Hooks, RunEnd, SampleEnd, TaskEnd, TaskStart, hooks
from inspect_ai.log import (
    EvalLog,
    EvalSample,
    EvalSampleSummary,
    read_eval_log_sample_summaries,
    read_eval_log_samples_by_id,
)

from harness import study
from harness.study import Content, StudyRun
from harness.trace import trace_from_sample
from results.from_log import fields_of, settings_of, tally
from results.intervals import Share

COLUMNS = (
    "question",
    "epoch",
    "family",
    "level",
    "answer",
    "target",
    "right",
    "stop reason",
    "error",
    "turns",
    "input tokens",
    "output tokens",
    "cost in dollars",
)
RIGHT = COLUMNS.index("right")
LONGEST_CELL = 1000
STATED = ("scaffold", "split", "exposure", "data_hash", "incomplete_data")
SPENT = ("tokens", "cost_usd", "wall_s", "commit", "model_hash", "log")

Row = tuple[Any, ...]


class Evaluation:
    """The run of one task."""

    def __init__(self, run: StudyRun, header: EvalLog) -> None:
        self._run = run
        self._header = header
        self._rows: dict[tuple[str, int], Row] = {}
        self._right = self._errors = 0

    @classmethod
    def begin(cls, data: TaskStart) -> Evaluation | None:
        """Start the run, or go on with it where the task is a retry; None where there is to be none (said once)."""
        spec, header = data.spec, EvalLog(eval=data.spec, plan=data.plan)
        about = spec.metadata or {}
        if missing := [name for name in ("data_hash", "scaffold") if name not in about]:
            study.say_once(f"{spec.task} does not state its {' and '.join(missing)}, so it is not logged to W&B")
            return None
        name = f"{spec.task.rpartition('/')[2]} {spec.model}"
        run = study.start_run("eval", name, _config(header), run_id=study.id_of("eval", spec.task_id))
        if run is None:
            return None
        with study.harmless("log the data set"):
            run.used(Content("dataset", about["data_hash"], {"name": spec.dataset.name}))
        return cls(run, header)

    def add(self, sample: EvalSample) -> None:
        """Keep a finished sample's row, and log how many are right so far."""
        row = _row(sample, self._header, "")
        self._rows[str(sample.id), sample.epoch] = row
        self._right += row[RIGHT] is True
        self._errors += sample.error is not None
        done = len(self._rows)
        figures = {"finished": done, "right": self._right, "errors": self._errors, "share": self._right / done}
        self._run.progress({f"progress/{name}": value for name, value in figures.items()})

    def end(self, log: EvalLog | None) -> None:
        """Log what is known only now and close the run; without a log, the task ended before it was done."""
        if log is not None:
            with study.harmless("log the score"):
                summaries = read_eval_log_sample_summaries(log.location)
                self._run.summarise({"status": log.status, **_score(summaries)})
                self._run.table("questions", COLUMNS, self._all_rows(log, summaries))
                fields = fields_of(log, summaries, log.location)
                self._run.summarise({name: fields[name] for name in SPENT})
                if not log.eval.model.startswith("none/"):
                    self._run.used(Content("model", fields["model_hash"], {"model": log.eval.model}))
                self._run.made(log_content(log))
        with study.harmless("finish the run"):
            self._run.finish(failed=log is None or log.status != "success")

    def _all_rows(self, log: EvalLog, summaries: Sequence[EvalSampleSummary]) -> list[Row]:
        """In the log's order, with the samples that a retry took over from an earlier log."""
        missing = [(each.id, each.epoch) for each in summaries if (str(each.id), each.epoch) not in self._rows]
        for sample in read_eval_log_samples_by_id(log.location, missing, resolve_attachments="core") if missing else ():
            self._rows[str(sample.id), sample.epoch] = _row(sample, log, log.location)
        return [self._rows[str(each.id), each.epoch] for each in summaries]


@hooks(name="dabstep_study", description=f"Logs evaluations to W&B as runs of the study named by {study.VARIABLE}.")
class StudyHook(Hooks):
    """Inspect calls this; what waits for W&B or reads files does so in a thread of its own."""

    def __init__(self) -> None:
        self._evaluations: dict[str, Evaluation] = {}

    def enabled(self) -> bool:
        """Only where a study is named."""
        return study.asked_for()

    async def on_task_start(self, data: TaskStart) -> None:
        """Start the evaluation's run."""
        with study.harmless("start the evaluation's run"):
            evaluation = await to_thread.run_sync(Evaluation.begin, data)
            if evaluation is not None:
                self._evaluations[data.eval_id] = evaluation

    async def on_sample_end(self, data: SampleEnd) -> None:
        """Add a row to the table and a point to the progress."""
        evaluation = self._evaluations.get(data.eval_id)
        if evaluation is not None:
            with study.harmless("log a sample"):
                evaluation.add(data.sample)

    async def on_task_end(self, data: TaskEnd) -> None:
        """Close the evaluation's run."""
        evaluation = self._evaluations.pop(data.eval_id, None)
        if evaluation is not None:
            await to_thread.run_sync(evaluation.end, data.log)

    async def on_run_end(self, data: RunEnd) -> None:
        """Close what is still open: Inspect tells no hook of the end of a task that failed or was cancelled."""
        while self._evaluations:
            _, evaluation = self._evaluations.popitem()
            await to_thread.run_sync(evaluation.end, None)


def log_content(log: EvalLog) -> Content:
    """A log as an artifact that holds the file itself."""
    about = {"task": log.eval.task, "model": log.eval.model, "created": log.eval.created}
    return Content("evaluation", log.eval.eval_id, about, file=Path(log.location.removeprefix("file://")))


def _config(header: EvalLog) -> dict[str, Any]:
    """What tells one evaluation from another. Model arguments stay out: they may hold a key."""
    spec = header.eval
    return {
        "task": spec.task,
        "task_arguments": spec.task_args_passed,
        "model": spec.model,
        "solver": spec.solver,
        **{name: (spec.metadata or {}).get(name) for name in STATED},
        "samples": spec.dataset.samples,
        "epochs": spec.config.epochs or 1,
        "task_id": spec.task_id,
        **settings_of(header),
    }


def _score(summaries: Sequence[EvalSampleSummary]) -> dict[str, Any]:
    """k, n, errors and the interval where every sample has an answer key, else how many have none."""
    counts = tally(summaries)
    figures: dict[str, Any] = {"n": counts.n, "errors": counts.errors, "unscored": counts.unscored}
    if counts.n and not counts.unscored:
        share = Share(counts.k, counts.n)
        figures |= {"k": share.k, "share": share.value}
        figures |= {"interval/low": share.interval.low, "interval/high": share.interval.high}
    return figures


def _row(sample: EvalSample, header: EvalLog, log: str) -> Row:
    trace = trace_from_sample(sample, header, log)
    return (
        trace.question_id,
        trace.epoch,
        trace.family,
        trace.level,
        _cell(trace.verdict.answer),
        _cell(trace.verdict.target),
        trace.verdict.correct,
        trace.stop_reason,
        _cell(sample.error.message.partition("\n")[0]) if sample.error else None,
        sum(message.role == "assistant" for message in trace.messages),
        trace.input_tokens,
        trace.output_tokens,
        trace.cost_usd,
    )


def _cell(text: str | None) -> str | None:
    return text if text is None or len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}... ({len(text)} characters)"
