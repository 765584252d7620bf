"""A training set as rows for TRL: read from a folder, and only those that fit are kept, counted.

`rows.jsonl` (of `dabstep training-set`) or a folder that the pipeline published; rows longer than `max_length` are
dropped and counted, never cut.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.command_line import RecipeError

if TYPE_CHECKING:
    from datasets import Dataset


def read_rows(training_set: Path, variant: str = "non_thinking") -> list[dict[str, Any]]:
    """The training set's rows, `{"messages": [...], "tools": "JSON text"}` each.

    Out of `rows.jsonl` (`dabstep training-set`), or the split `variant` of a folder that the pipeline published.
    """
    if (training_set / "data").is_dir():
        return published_rows(training_set, variant)
    file = training_set / "rows.jsonl"
    if not file.is_file():
        raise RecipeError(f"{file}: no such training set. Make one from logs with `dabstep training-set`.")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def published_rows(folder: Path, variant: str) -> list[dict[str, Any]]:
    """The rows of a published data set, its messages as chat templates want them: what is empty is not there."""
    from datasets import disable_progress_bars, load_dataset

    shards = sorted(str(shard) for shard in (folder / "data").glob(f"{variant}-*.parquet"))
    if not shards:
        there = sorted({shard.name.rpartition("-")[0] for shard in (folder / "data").glob("*.parquet")})
        raise RecipeError(f"{folder}: has no split {variant!r}. Give one of {', '.join(there) or 'none'} by --variant.")
    disable_progress_bars()
    columns = load_dataset("parquet", data_files=shards, split="train", columns=["messages", "tools"])
    return [{"messages": [_chat(message) for message in row["messages"]], "tools": row["tools"]} for row in columns]


def _chat(message: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key in ("role", "content") or value}


def rows_that_fit(rows: list[dict[str, Any]], max_length: int | None, tokenizer: Any) -> Dataset:
    """Rows whose tokens fit into `max_length`, as TRL's conversational rows; the others are dropped and counted.

    TRL would cut them silently, and a trace without its answer teaches never to answer.
    """
    from datasets import Dataset

    def fits(row: dict[str, Any]) -> bool:
        tools = json.loads(row["tools"]) if row.get("tools") else None
        ids = tokenizer.apply_chat_template(row["messages"], tools=tools, tokenize=True, return_dict=True)["input_ids"]
        return max_length is None or len(ids) <= max_length

    kept = [{"messages": row["messages"], "tools": row.get("tools")} for row in rows if fits(row)]
    print(f"rows: {len(kept)} kept, {len(rows) - len(kept)} dropped as longer than max_length={max_length}")
    if not kept:
        raise RecipeError("no row is left to train on. Raise --max_length.")
    return Dataset.from_list(kept)
