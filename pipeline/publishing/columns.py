"""What a published row holds: the columns, their types, and the two variants of a trace.

    row = published(trace, row)                  # a dictionary that fits `TRACES`
    variant(row, thinking=False)                 # without the model's thoughts; None where that cannot be had

`messages` are TRL's conversational rows. Tool arguments and tool schemas are JSON text: TRL and chat templates take
both as they are, and Arrow cannot fill an argument's missing keys with nulls. A message without calls has an empty
list; `reasoning_content` is null where the model did not think, which templates take for absent.
Notebooks are by far the longest column, and lie in a table of their own (`NOTEBOOKS`), joined by `notebook_id`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.records import Trace
from harness.trace import chat_row
from pipeline.row import NotebookRow, parent_id

if TYPE_CHECKING:
    import pyarrow

VARIANTS = ("thinking", "non_thinking")
NO_THOUGHTS = "not in thinking: the teacher's thoughts are not in the log"
RAW_TURN = "not in non_thinking: a raw turn whose thoughts cannot be taken out"
_THOUGHT = re.compile(r"</?think>")


def traces_schema() -> pyarrow.Schema:
    """The columns of the two variants."""
    import pyarrow as pa

    text, texts = pa.string(), pa.list_(pa.string())
    function = pa.struct([("name", text), ("arguments", text)])
    call = pa.struct([("type", text), ("function", function)])
    message = pa.struct(
        [
            pa.field("role", text, nullable=False),
            pa.field("content", text, nullable=False),
            ("reasoning_content", text),
            ("tool_calls", pa.list_(call)),
        ]
    )
    return pa.schema(
        [
            pa.field("messages", pa.list_(message), nullable=False),
            pa.field("tools", text, nullable=False),
            pa.field("id", text, nullable=False),
            ("edu_score", pa.int64()),
            ("files_used", texts),
            ("packages_used", texts),
            pa.field("question", text, nullable=False),
            ("guidelines", text),
            pa.field("answer", text, nullable=False),
            ("answer_kind", text),
            pa.field("generated_answer", text, nullable=False),
            ("kaggle_dataset_name", text),
            ("kaggle_datasets", texts),
            pa.field("executor_type", text, nullable=False),
            ("teacher", text),
            ("licence", text),
            ("verified_by", texts),
            pa.field("notebook_id", text, nullable=False),
            ("notebook_family", text),
        ]
    )


def notebooks_schema() -> pyarrow.Schema:
    """The columns of the notebooks."""
    import pyarrow as pa

    text = pa.string()
    columns = ["notebook_id", "markdown", "original_notebook"]
    return pa.schema([pa.field(name, text, nullable=name == "original_notebook") for name in columns])


def published(trace: Trace, row: NotebookRow) -> dict[str, Any]:
    """A trace with what the pipeline knows of its question: `answer` is the question's own, `generated_answer` the
    trace's; the grader takes them for the same, though their forms may differ."""
    chat, question = chat_row(trace), row.question
    sets = [data_set.handle for data_set in row.links.data_sets] if row.links else []
    verdicts = row.verification.verdicts if row.verification else ()
    return {
        "messages": [_message(message) for message in chat["messages"]],
        "tools": chat["tools"],
        "id": row.id,
        "edu_score": row.edu_score.total if row.edu_score else None,
        "files_used": list(row.extracted.files) if row.extracted else [],
        "packages_used": list(row.extracted.packages) if row.extracted else [],
        "question": trace.question,
        "guidelines": trace.guidelines,
        "answer": question.answer if question else trace.verdict.target,
        "answer_kind": question.answer_kind if question else None,
        "generated_answer": trace.verdict.answer,
        "kaggle_dataset_name": sets[0] if sets else None,
        "kaggle_datasets": sets,
        "executor_type": trace.executor,
        "teacher": trace.model,
        "licence": trace.licence,
        "verified_by": [f"{verdict.by} {verdict.model}" for verdict in verdicts if verdict.agrees],
        "notebook_id": parent_id(row.id),
        "notebook_family": row.family.representative if row.family else None,
    }


def variant(row: Mapping[str, Any], thinking: bool) -> dict[str, Any] | str:
    """The row with the model's thoughts, or without; the reason where it has no such variant.

    `thinking` needs a thought in its first turn at least. A turn that is kept as raw text may hold thoughts that no
    rule can take out, so such a trace is not in the variant without.
    """
    turns = [message for message in row["messages"] if message["role"] == "assistant"]
    raw = any(_THOUGHT.search(turn["content"]) for turn in turns)
    if thinking:
        thought = bool(turns) and (turns[0]["reasoning_content"] or _THOUGHT.search(turns[0]["content"]))
        return dict(row) if thought else NO_THOUGHTS
    if raw:
        return RAW_TURN
    return {**row, "messages": [{**message, "reasoning_content": None} for message in row["messages"]]}


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "role": message["role"],
        "content": message["content"],
        "reasoning_content": message.get("reasoning_content"),
        "tool_calls": message.get("tool_calls", []),
    }
