"""Rows are read from wherever a training set lies, in the variant asked for; what is left out is counted by reason."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from recipes import rows as of_rows
from recipes.rows import chat_ids, fitting, read_rows, to_dataset, too_long
from tests.stand_ins.tokenizers import stock_tokenizer


def chat(answer: str, thought: str | None = None, **more: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": answer} | ({"reasoning_content": thought} if thought else {}) | more
    return {"messages": [{"role": "user", "content": "q"}, said], "tools": "[]"}


def write(folder: Path, *rows: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def test_a_folder_and_a_file_of_chats_are_read_alike(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", chat("a"), chat("b"))
    assert read_rows(folder) == read_rows(folder / "rows.jsonl")
    assert [row["messages"][1]["content"] for row in read_rows(folder)] == ["a", "b"]


def test_arguments_and_tools_become_json_text_and_text_parts_become_text(tmp_path: Path) -> None:
    call = {"id": "1", "function": {"name": "python", "arguments": {"code": "é", "n": None}}}
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    row = {
        "messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    }
    [read] = read_rows(write(tmp_path, {**row, "tools": [{"type": "function"}]}))
    assert read["messages"][0]["content"] == "one\ntwo"
    function = {"name": "python", "arguments": '{"code": "é", "n": null}'}
    assert read["messages"][1] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": function}],
    }
    assert read["tools"] == '[{"type": "function"}]'


def test_what_cannot_be_used_is_counted_by_its_reason(tmp_path: Path) -> None:
    picture = {"messages": [{"role": "user", "content": [{"type": "image"}]}, {"role": "assistant", "content": "a"}]}
    asked = {"messages": [{"role": "user", "content": "q"}]}
    dropped: Counter[str] = Counter()
    assert (
        len(read_rows(write(tmp_path, picture, asked, {"text": "x"}, {"messages": []}, chat("a")), None, dropped)) == 1
    )
    assert dropped == {of_rows.NOT_TEXT: 1, of_rows.NO_ASSISTANT: 1, of_rows.NOT_MESSAGES: 2}


def test_thinking_needs_thoughts_and_non_thinking_takes_them_out(tmp_path: Path) -> None:
    raw = chat("<think>\nt\n</think>\n\nc")
    folder = write(tmp_path, chat("a"), chat("b", "thought"), raw)
    dropped: Counter[str] = Counter()
    assert [row["messages"][1]["content"][:7] for row in read_rows(folder, "thinking", dropped)] == ["b", "<think>"]
    assert dropped == {of_rows.NO_THOUGHTS: 1}
    dropped = Counter()
    plain = read_rows(folder, "non_thinking", dropped)
    assert [row["messages"][1] for row in plain] == [{"role": "assistant", "content": c} for c in "ab"]
    assert dropped == {of_rows.RAW_THOUGHTS: 1}
    assert [bool(row["messages"][1].get("reasoning_content")) for row in read_rows(folder)] == [False, True, False]


def test_a_published_sets_splits_are_its_variants_and_arrows_nulls_are_no_arguments(tmp_path: Path) -> None:
    arguments = pa.struct([("code", pa.string()), ("answer", pa.string())])
    function = pa.struct([("name", pa.string()), ("arguments", arguments)])
    message = pa.struct(
        [("role", pa.string()), ("content", pa.string()), ("tool_calls", pa.list_(pa.struct([("function", function)])))]
    )
    call = {"function": {"name": "python", "arguments": {"code": "1", "answer": None}}}
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    (tmp_path / "data").mkdir()
    for split in ("thinking", "non_thinking"):
        table = pa.table({"messages": pa.array([messages], pa.list_(message)), "id": ["1"]})
        parquet.write_table(table, tmp_path / "data" / f"{split}-00000-of-00001.parquet")
    [row] = read_rows(tmp_path)
    assert row["messages"][1]["tool_calls"][0]["function"] == {"name": "python", "arguments": '{"code": "1"}'}
    (tmp_path / "data" / "thinking-00000-of-00001.parquet").unlink()
    with pytest.raises(SystemExit):
        read_rows(tmp_path, "thinking")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"messages": []}\n{"messages"', "rows.jsonl, line 2: no JSON"),
        ("[1]\n", "rows.jsonl, line 1: no JSON object"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    (tmp_path / "rows.jsonl").write_text(text)
    with pytest.raises(SystemExit):
        read_rows(tmp_path)
    assert said in capsys.readouterr().err


def test_rows_of_any_kind_are_dropped_by_length_and_counted_never_cut() -> None:
    from datasets import Dataset

    tokenizer = stock_tokenizer("qwen2_5")
    pairs = [{"prompt": [{"role": "user", "content": "q " * n}], "chosen": "a", "rejected": "b"} for n in (1, 400, 2)]

    def measure(row: dict[str, Any]) -> dict[str, Any]:
        return {"reason": too_long(len(chat_ids(tokenizer, row["prompt"], None)["input_ids"]), 100)}

    dropped: Counter[str] = Counter()
    kept = fitting(Dataset.from_list(pairs), measure, dropped)
    assert [row["prompt"][0]["content"] for row in kept] == ["q ", "q q "]
    assert dropped == {"longer than max_length=100 tokens": 1}
    assert kept.column_names == ["prompt", "chosen", "rejected"]


def test_rows_of_different_shape_stand_in_one_data_set() -> None:
    from datasets import concatenate_datasets

    call = {"type": "function", "function": {"name": "python", "arguments": '{"a": 1}'}}
    one, other = to_dataset([chat("a", tool_calls=[call])]), to_dataset([{"messages": chat("b")["messages"]}])
    both = concatenate_datasets([one, other])
    assert both[0]["messages"][1]["tool_calls"] == [call]
    assert both[1] == {
        "messages": [message | {"reasoning_content": None, "tool_calls": None} for message in chat("b")["messages"]],
        "tools": None,
    }
