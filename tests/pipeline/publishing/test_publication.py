"""The folder of a data set: shards whole, the folder there at the end or not at all, an old one kept until then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from pipeline.publishing.card import CardError, Facts, card, check
from pipeline.publishing.columns import NO_THOUGHTS, RAW_TURN, variant
from pipeline.publishing.folder import Publication
from pipeline.runs.parquet import ParquetError


def notebook(number: int) -> dict[str, Any]:
    return {"notebook_id": f"n{number}", "markdown": "text", "original_notebook": None}


def publish(folder: Path, rows: int) -> None:
    with Publication(folder, rows_in_shard=3) as publication:
        for number in range(rows):
            publication.add("notebooks", "notebooks", notebook(number))
        publication.finish(lambda counts: card(Facts("Seven", counts)))


def test_rows_are_cut_into_shards_and_none_is_lost(tmp_path: Path) -> None:
    publish(tmp_path / "set", 7)
    shards = sorted((tmp_path / "set" / "notebooks").iterdir())
    assert [parquet.read_table(shard).num_rows for shard in shards] == [3, 3, 1]
    assert "| notebooks | notebooks | 7 |" in (tmp_path / "set" / "README.md").read_text()


def test_a_publication_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    publish(tmp_path / "set", 2)
    with pytest.raises(ParquetError), Publication(tmp_path / "set", rows_in_shard=1) as publication:
        publication.add("notebooks", "notebooks", {"notebook_id": "n", "markdown": None})
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert parquet.read_table(tmp_path / "set" / "notebooks").num_rows == 2


def test_a_new_one_replaces_the_old_and_what_killed_ones_left(tmp_path: Path) -> None:
    publish(tmp_path / "set", 7)
    (tmp_path / "set.1.partial").mkdir()
    publish(tmp_path / "set", 1)
    assert parquet.read_table(tmp_path / "set" / "notebooks").num_rows == 1
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def row(content: str, thought: str | None) -> dict[str, Any]:
    turn = {"role": "assistant", "content": content, "reasoning_content": thought, "tool_calls": []}
    return {"messages": [{"role": "user", "content": "?", "reasoning_content": None, "tool_calls": []}, turn]}


def test_variants_hold_thoughts_or_none() -> None:
    thought = row("4", "two and two")
    assert variant(thought, thinking=True) == thought
    assert variant(thought, thinking=False) == row("4", None)
    assert variant(row("4", None), thinking=True) == NO_THOUGHTS
    assert variant(row("<think>hm</think>4", None), thinking=False) == RAW_TURN


@pytest.mark.parametrize(
    "yaml", ["configs: 3", "configs:\n- config_name: a\n  data_files:\n  - split: a-b\n    path: x"]
)
def test_a_card_that_the_hub_would_refuse_is_refused(yaml: str) -> None:
    with pytest.raises(CardError):
        check(f"---\n{yaml}\n---\n\ntext\n")


def test_a_card_without_configurations_is_refused() -> None:
    with pytest.raises(CardError, match="no configuration"):
        check("---\nlanguage: [en]\n---\n\ntext\n")
