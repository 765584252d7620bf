"""A training set as rows for TRL: read from where it lies, in the variant asked for, every drop with its reason.

    rows = read_rows(Path("data/training"), variant=None, dropped=Counter())
    kept = fitting(to_dataset(rows), measure, dropped)

A training set is a folder with `rows.jsonl` (of `dabstep training-set`), a folder that the pipeline published (or any
other with `data/SPLIT-*.parquet`), or one `.jsonl` or `.parquet` file of chats (`messages`, perhaps `tools`).
A row that cannot be used is dropped and counted; one that is longer than `max_length` is dropped, too, and never cut:
a trace without its answer teaches never to answer.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.command_line import RecipeError

if TYPE_CHECKING:
    from datasets import Dataset

VARIANTS = ("thinking", "non_thinking")
KEYS = ("role", "content", "reasoning_content", "tool_calls")
"""What a message may hold; all else is about it, not in it."""

NO_ASSISTANT = "no assistant turn"
NO_THOUGHTS = "not in thinking: no thoughts in its first turn"
RAW_THOUGHTS = "not in non_thinking: a raw turn whose thoughts cannot be taken out"
NOT_TEXT = "not only text"
NOT_MESSAGES = "no messages"


def read_rows(
    training_set: Path, variant: str | None = None, dropped: Counter[str] | None = None
) -> list[dict[str, Any]]:
    """The training set's rows, `{"messages": [...], "tools": "JSON text" or None}` each.

    Args:
        training_set: See above.
        variant: "thinking": with the model's thoughts (rows without are dropped); "non_thinking": without them; None: a
            published set's split "non_thinking", anything else as it was recorded.
        dropped: Where the rows that are no use are counted, by reason.

    Raises RecipeError for a place that holds no training set, an unknown variant, a line that is no JSON.
    """
    if variant is not None and variant not in VARIANTS:
        raise RecipeError(f"variant {variant!r}: there are {' and '.join(VARIANTS)}.")
    dropped = dropped if dropped is not None else Counter()
    rows = []
    for raw in _raw_rows(training_set, variant):
        row = _as_chat(raw)
        row = _in_variant(row, variant) if isinstance(row, dict) else row
        if isinstance(row, str):
            dropped[row] += 1
        else:
            rows.append(row)
    return rows


def to_dataset(rows: list[dict[str, Any]]) -> Dataset:
    """Rows as a data set; what a message lacks becomes null, which templates take for absent."""
    from datasets import Dataset, Features, List, Value

    text = Value("string")
    call = {"type": text, "function": {"name": text, "arguments": text}}
    message = {"role": text, "content": text, "reasoning_content": text, "tool_calls": List(call)}
    features = Features({"messages": List(message), "tools": text})
    return Dataset.from_list([{"messages": row["messages"], "tools": row.get("tools")} for row in rows], features)


def fitting(
    rows: Dataset,
    measure: Callable[[dict[str, Any]], dict[str, Any]],
    dropped: Counter[str],
    processes: int | None = None,
) -> Dataset:
    """The rows for which `measure` has no `reason` against; the others are counted in `dropped`.

    Args:
        rows: Of any kind (chats, preference pairs).
        measure: Makes of a row what is to be known of it: `{"reason": "" or why not, ...}`; its other keys become
            columns of what is returned.
        dropped: Counts by reason.
        processes: How many measure; None for one.
    """
    measured = rows.map(measure, num_proc=processes, desc="Measuring rows", keep_in_memory=True)
    against = measured["reason"]
    dropped.update(reason for reason in against if reason)
    return measured.select([i for i, reason in enumerate(against) if not reason]).remove_columns("reason")


def chat_ids(tokenizer: Any, messages: list[dict[str, Any]], tools: str | None, mask: bool = False) -> Any:
    """The ids of a conversation (`input_ids`), and with `mask` which of them an assistant wrote (`assistant_masks`).

    As TRL's trainers make them. Raises jinja2.TemplateError where the template refuses the conversation.
    """
    given = json.loads(tools) if tools else None
    wanted = {"return_assistant_tokens_mask": True} if mask else {}
    return tokenizer.apply_chat_template(messages, tools=given, tokenize=True, return_dict=True, **wanted)


def too_long(tokens: int, max_length: int | None) -> str:
    """The reason against a row of so many tokens; empty where it fits."""
    return f"longer than max_length={max_length} tokens" if max_length is not None and tokens > max_length else ""


def _raw_rows(training_set: Path, variant: str | None) -> Iterable[dict[str, Any]]:
    if (training_set / "data").is_dir():
        return _parquet_rows(_shards(training_set, variant), training_set)
    if training_set.suffix == ".parquet" and training_set.is_file():
        return _parquet_rows([training_set], training_set)
    file = training_set if training_set.suffix == ".jsonl" else training_set / "rows.jsonl"
    if not file.is_file():
        raise RecipeError(f"{file}: no such training set. Make one from logs with `dabstep training-set`.")
    return _json_rows(file)


def _json_rows(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise RecipeError(f"{file}, line {number}: no JSON ({error}). Make the file anew.") from None
            if not isinstance(row, dict):
                raise RecipeError(f"{file}, line {number}: no JSON object. A row is {{'messages': [...], ...}}.")
            yield row


def _shards(folder: Path, variant: str | None) -> list[Path]:
    """The Parquet files of the split that `variant` names, or of the only one there is where none was asked for."""
    splits: dict[str, list[Path]] = {}
    for shard in sorted((folder / "data").glob("*.parquet")):
        splits.setdefault(shard.name.partition("-")[0], []).append(shard)
    wanted = variant or ("non_thinking" if "non_thinking" in splits or len(splits) != 1 else next(iter(splits)))
    if wanted not in splits:
        there = ", ".join(sorted(splits)) or "none"
        raise RecipeError(f"{folder}: has no split {wanted!r}. Give one of {there} by --variant.")
    return splits[wanted]


def _parquet_rows(shards: list[Path], named: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as parquet

    for shard in shards:
        with parquet.ParquetFile(shard) as file:
            columns = [name for name in ("messages", "tools") if name in file.schema_arrow.names]
            if "messages" not in columns:
                raise RecipeError(f"{named}: {shard.name} has no column 'messages', so it holds no chats.")
            for batch in file.iter_batches(batch_size=256, columns=columns):
                for row in batch.to_pylist():
                    yield {**row, "messages": [_without_nulls(message) for message in row["messages"] or []]}


def _without_nulls(value: Any) -> Any:
    """What Arrow filled with null because another row has it is taken out again."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _as_chat(row: dict[str, Any]) -> dict[str, Any] | str:
    """The row as chat templates take it; why not where that cannot be."""
    if not isinstance(row.get("messages"), list) or not row["messages"]:
        return NOT_MESSAGES
    messages = []
    for message in row["messages"]:
        content = _text(message.get("content"))
        if content is None:
            return NOT_TEXT
        chat = {key: message[key] for key in KEYS if message.get(key)} | {"content": content}
        if message.get("tool_calls"):
            chat["tool_calls"] = [_call(call) for call in message["tool_calls"]]
        messages.append(chat)
    if not any(message["role"] == "assistant" for message in messages):
        return NO_ASSISTANT
    tools = row.get("tools")
    return {"messages": messages, "tools": tools if isinstance(tools, str | None) else json.dumps(tools)}


def _text(content: Any) -> str | None:
    """A message's text; None where it holds something else, too."""
    if isinstance(content, list):
        if any(part.get("type") != "text" for part in content):
            return None
        return "\n".join(str(part.get("text") or "") for part in content)
    return content or ""


def _call(call: dict[str, Any]) -> dict[str, Any]:
    """A call whose arguments are JSON text, so that Arrow changes nothing of them."""
    function = call.get("function") or call
    arguments = function.get("arguments") or {}
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {"type": "function", "function": {"name": function["name"], "arguments": text}}


def _in_variant(row: dict[str, Any], variant: str | None) -> dict[str, Any] | str:
    """The row with its thoughts, or without them; why not where that cannot be."""
    turns = [message for message in row["messages"] if message["role"] == "assistant"]
    if variant == "thinking":
        first = turns[0]
        return row if first.get("reasoning_content") or "</think>" in first["content"] else NO_THOUGHTS
    if variant is None:
        return row
    if any("<think>" in turn["content"] or "</think>" in turn["content"] for turn in turns):
        return RAW_THOUGHTS
    plain = [
        {key: value for key, value in message.items() if key != "reasoning_content"} for message in row["messages"]
    ]
    return {**row, "messages": plain}
