"""Rows on disk: what is written is read back, and what is torn is refused with its place."""

import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.quarantine import SAMPLE_CHARACTERS, Dropped
from pipeline.row import Family, NotebookRow, Source, parent_id
from pipeline.runs.account import Account
from pipeline.runs.store import RowWriter, StoreError, read_rows, whole_file

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ROWS = st.lists(
    st.builds(
        NotebookRow,
        id=TEXT.filter(bool),
        source=st.builds(Source, address=TEXT, member=TEXT, size=st.integers(0, 1 << 40)),
        markdown=TEXT,
        family=st.none() | st.builds(Family, representative=TEXT, size=st.integers(1, 9)),
    )
)


@given(rows=ROWS, batch=st.sampled_from([1, 100, 1 << 20]))
def test_rows_are_read_back_as_they_were_written(rows, batch, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("store") / "00000.jsonl.zst"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.runs.store.BATCH_BYTES", batch)
        with RowWriter(path) as writer:
            for row in rows:
                writer.write(row)
        assert list(read_rows(path)) == rows


@given(rows=ROWS)
def test_a_row_passes_through_a_datatrove_document_unchanged(rows) -> None:
    assert [NotebookRow.from_document(row.to_document()) for row in rows] == rows


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x"

    def fail_halfway() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            assert not path.exists()
            raise KeyError

    with pytest.raises(KeyError):
        fail_halfway()
    assert os.listdir(tmp_path) == []
    with whole_file(path) as file:
        file.write(b"whole")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("x", b"whole")]


@pytest.mark.parametrize("cut", [3, 20, -1])
def test_a_torn_shard_is_refused(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    with RowWriter(path) as writer:
        for number in range(50):
            writer.write(NotebookRow(id=f"n{number}", source=Source(address="a")))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(StoreError, match="rows"):
        list(read_rows(path))


def test_a_line_that_is_no_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    with RowWriter(path) as writer:
        writer.write(NotebookRow(id="n", source=Source(address="a")))
        writer.write(Dropped(stage="s", reason="r", id="n"))
    with pytest.raises(StoreError, match=r"rows:2: not a row of this version \(.*reason"):
        list(read_rows(path))
    with pytest.raises(StoreError, match="no such file"):
        list(read_rows(tmp_path / "none"))


@given(st.text())
def test_a_sample_is_one_short_line_that_no_terminal_obeys(text: str) -> None:
    sample = Dropped(stage="s", reason="r", id="i", sample=text).sample
    assert len(sample) <= SAMPLE_CHARACTERS
    assert not any(character in sample for character in "\n\r\x1b\x07\x9b\u2028")
    sample.encode()  # no half of a surrogate pair is left


@pytest.mark.parametrize(("row_id", "parent"), [("a#1", "a"), ("a", "a"), ("a#b", "a#b"), ("#1", ""), ("a#1#2", "a#1")])
def test_the_parent_of_a_row(row_id: str, parent: str) -> None:
    assert parent_id(row_id) == parent


def test_steps_can_be_pickled_with_their_account(tmp_path: Path) -> None:
    assert pickle.loads(pickle.dumps(Account("s", tmp_path))).stage == "s"
