"""Traces: what an Inspect log says of each rollout, as records, as chat rows for training, or as token ids.

    for trace in read_traces("logs/2026-01-01_generated-qa.eval"):
        chat_row(trace)      # {"messages": [...], "tools": "JSON text"}: what TRL's SFTTrainer takes
        token_row(trace)     # {"input_ids": [...], "assistant_masks": [...]}: what a checkpoint really saw and sampled

A log is the only record of a rollout and a Trace a view of it: nothing here writes. Chat rows carry tool arguments and
tool schemas as JSON text, so that neither Arrow nor JSON changes a byte of them. `harness.notebook` makes notebooks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inspect_ai.event import ModelEvent, StoreEvent
from inspect_ai.log import (
    EvalLog,
    EvalSample,
    read_eval_log,
    read_eval_log_sample_summaries,
    read_eval_log_samples_by_id,
)
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageTool

from harness.kernel.protocol import CellResult
from harness.kernel.sandbox import KernelConfig
from harness.models.chat import completion_of, sampled_completion, shown_text
from harness.models.tokens import tools_json
from harness.records import Message, ToolCallRecord, Trace, Verdict
from harness.scoring import ANSWER_KNOWN, verdict
from harness.tools import NotebookState

SCORERS = ("grade", "unscored")
CHUNK = 100
"""Samples read at once: Inspect reads a log's directory anew for every call, and holds what it reads in memory."""

REQUIRED = ("question", "level", "source", "source_id", "licence")
"""What a sample's metadata must say; `tasks/notebook_task.py` writes it."""


class TraceError(ValueError):
    """A log or a trace that cannot become what was asked for; the message names it, the reason and the mend."""


def read_traces(log_file: str | Path) -> Iterator[Trace]:
    """The traces of a log, one a sample and epoch, in the order of its data set; samples never run are not there.

    Raises TraceError for a missing file or a log of another kind of task.
    """
    if not Path(log_file).is_file():
        raise TraceError(f"{log_file}: no such log. `inspect list logs` shows what there is.")
    header = read_eval_log(log_file, header_only=True)
    place = {sample_id: i for i, sample_id in enumerate(header.eval.dataset.sample_ids or [])}
    there = [(summary.id, summary.epoch) for summary in read_eval_log_sample_summaries(log_file)]
    there.sort(key=lambda key: (place.get(key[0], len(place)), key[1]))
    for start in range(0, len(there), CHUNK):
        chunk = there[start : start + CHUNK]
        for sample in read_eval_log_samples_by_id(log_file, chunk, resolve_attachments="core"):
            yield trace_from_sample(sample, header, str(log_file))


def trace_from_sample(sample: EvalSample, header: EvalLog, log: str) -> Trace:
    """One sample of the log `log` (with its attachments resolved) as a Trace.

    `stop_reason` is "answered", "error", the kind of the limit that ended it ("turn", "token", "time", ...),
    "model_length" where the context was full, or "no answer" where the model stopped calling tools.
    Raises TraceError where the metadata is not that of a notebook task.
    """
    if missing := [name for name in REQUIRED if name not in sample.metadata]:
        raise TraceError(
            f"{log}: sample {sample.id} does not say its {', '.join(missing)}, so this is no log of a notebook task. "
            "Traces are read from logs of tasks made by tasks/notebook_task.py."
        )
    about = sample.metadata
    recovered = _lost_its_store(sample)
    state = (_with_store(sample) if recovered else sample).store_as(NotebookState)
    calls = [event for event in sample.events if isinstance(event, ModelEvent)]
    usage = sample.model_usage.values()
    costs = [spent.total_cost for spent in usage]
    return Trace(
        question_id=str(sample.id),
        epoch=sample.epoch,
        question=about["question"],
        guidelines=about.get("guidelines") or "",
        level=about["level"],
        family=about.get("family"),
        source=about["source"],
        source_id=about["source_id"],
        licence=about["licence"],
        model=calls[-1].model if calls else header.eval.model,
        scaffold=str((header.eval.metadata or {}).get("scaffold") or header.eval.solver or "unknown"),
        tools=tuple(tools_json(calls[0].tools)) if calls else (),
        messages=tuple(_message(message) for message in sample.messages),
        files=_files(sample),
        cells=tuple(CellResult.model_validate(cell) for cell in state.cells),
        verdict=_verdict(sample, state.answer),
        stop_reason=_stop_reason(sample, state.answer),
        input_tokens=sum(spent.input_tokens for spent in usage),
        output_tokens=sum(spent.output_tokens for spent in usage),
        cost_usd=sum(cost for cost in costs if cost is not None) if costs and None not in costs else None,
        executor=_executor(sample, header, recovered),
        log=log,
    )


def chat_row(trace: Trace) -> dict[str, Any]:
    """A row of a training set: the messages up to the model's last, and the tools as JSON text.

    A turn that its template renders exactly from its parts is structured; any other is its raw text. (Qwen3's template
    cannot render a turn without a think block at all: there only `token_row` is exact.) What the environment said after
    the last turn was never shown to the model and is left out.
    """
    last = max((i for i, message in enumerate(trace.messages) if message.role == "assistant"), default=-1)
    return {
        "messages": [_chat(message) for message in trace.messages[: last + 1]],
        "tools": f"[{', '.join(trace.tools)}]",
    }


def token_row(trace: Trace) -> dict[str, list[int]]:
    """The rollout in the token ids of the checkpoint that made it; the mask is 1 on every id that it sampled.

    Raises TraceError for a trace whose provider did not keep ids (use `chat_row`).
    """
    ids: list[int] = []
    mask: list[int] = []
    for message in trace.messages:
        if message.role == "assistant":
            if not message.environment_ids:
                raise TraceError(
                    f"{trace.log}: question {trace.question_id} was answered by {trace.model}, which keeps no token "
                    "ids. Only checkpoint/ does; use chat_row for others."
                )
            ids += [*message.environment_ids, *message.completion_ids]
            mask += [0] * len(message.environment_ids) + [1] * len(message.completion_ids)
    return {"input_ids": ids, "assistant_masks": mask}


def _files(sample: EvalSample) -> tuple[tuple[str, str], ...]:
    """The question's files where the sandbox was one of ours; none where it was another."""
    config = sample.sandbox.config if sample.sandbox else None
    if isinstance(config, KernelConfig):
        return config.files
    named = config.get("files", ()) if isinstance(config, dict) else ()
    return tuple((str(name), str(path)) for name, path in named)


def _lost_its_store(sample: EvalSample) -> bool:
    """Whether Inspect made the sample out of what a killed process left: its store is gone, and its sandbox."""
    return not sample.store and any(isinstance(event, StoreEvent) for event in sample.events)


def _with_store(sample: EvalSample) -> EvalSample:
    """The sample with the store that its events tell of (RFC 6902, change by change)."""
    import jsonpatch

    store: dict[str, Any] = {}
    for event in sample.events:
        if isinstance(event, StoreEvent):
            changes = [change.model_dump(by_alias=True, exclude={"replaced"}) for change in event.changes]
            store = jsonpatch.apply_patch(store, changes)
    return sample.model_copy(update={"store": store})


def _executor(sample: EvalSample, header: EvalLog, recovered: bool) -> str:
    """The kind of sandbox; of a recovered sample as its task was told."""
    if sample.sandbox is not None:
        return sample.sandbox.type
    return str(header.eval.task_args.get("sandbox") or "none") if recovered else "none"


def _message(message: ChatMessage) -> Message:
    if not isinstance(message, ChatMessageAssistant):
        call_id = message.tool_call_id if isinstance(message, ChatMessageTool) else None
        return Message(role=message.role, content=shown_text(message), tool_call_id=call_id)
    metadata = message.metadata or {}
    completion = sampled_completion(message) or completion_of(message)
    ids = [call.id for call in message.tool_calls or []]
    return Message(
        role="assistant",
        content=completion.content,
        reasoning=completion.reasoning,
        tool_calls=tuple(
            ToolCallRecord(id=id, name=call.name, arguments=call.arguments)
            for id, call in zip(ids, completion.calls, strict=True)
        ),
        raw=completion.text if metadata.get("rendering") in ("raw", "inexact") else None,
        environment_ids=tuple(metadata.get("environment_ids", ())),
        completion_ids=tuple(metadata.get("completion_ids", ())),
    )


def _chat(message: Message) -> dict[str, Any]:
    if message.raw is not None:
        return {"role": message.role, "content": message.raw}
    chat: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning is not None:
        chat["reasoning_content"] = message.reasoning
    if message.tool_calls:
        chat["tool_calls"] = [
            {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return chat


def _verdict(sample: EvalSample, answer: str | None) -> Verdict:
    scores = sample.scores or {}
    score = next((scores[name] for name in SCORERS if name in scores), None)
    target = sample.target if isinstance(sample.target, str) else json.dumps(sample.target, ensure_ascii=False)
    return Verdict(
        correct=verdict(score) if score is not None else None,
        answer=answer,
        target=target if sample.metadata.get(ANSWER_KNOWN, True) else None,
    )


def _stop_reason(sample: EvalSample, answer: str | None) -> str:
    if sample.error is not None:
        return "error"
    if answer is not None:
        return "answered"
    if sample.limit is not None:
        return sample.limit.type
    return "model_length" if sample.output.stop_reason == "model_length" else "no answer"
