"""What the agent has done is kept in the sample's store, by which it is scored, shown and read back."""

from __future__ import annotations

from harness.kernel.protocol import CellResult
from harness.tools import NotebookState


def test_cells_that_were_recorded_and_the_answer_are_read_back_through_the_model() -> None:
    first = CellResult(code="1", status="ok", result="1", execution_count=1)
    second = CellResult(code="2", status="died", note="gone")
    assert not NotebookState.is_answered()
    NotebookState.record(first)
    NotebookState.record(second)
    assert [CellResult.model_validate(cell) for cell in NotebookState().cells] == [first, second]
    assert not NotebookState.is_answered()
    NotebookState().answer = ""
    assert NotebookState.is_answered()
    assert len(NotebookState().cells) == 2
