"""The agent's two tools, and the only place where their names, descriptions and parameters are written.

`python(code, comment)` runs a cell in the sample's kernel; `final_answer(answer)` ends the work. What they did is kept
in `NotebookState`, a store model, so that it survives a limit and is still scored and shown.
They do not cut output by themselves (the kernel does) and do not run anything outside a kernel sandbox.
"""

from __future__ import annotations

from typing import Any, Literal

from inspect_ai.tool import Tool, tool
from inspect_ai.util import StoreModel, sandbox, store
from pydantic import Field

from harness.kernel.protocol import CellResult
from harness.kernel.sandbox import KernelSandbox

Comments = Literal["never", "optional", "required"]
ANSWER_TOOL = "final_answer"


class NotebookState(StoreModel):
    """What a sample's agent has done so far: its cells (CellResult as JSON objects) and its final answer.

    The methods of every turn go to the store itself: the model builds a validator at each access, 0.1 to 0.2 ms.
    """

    answer: str | None = Field(default=None)
    cells: list[dict[str, Any]] = Field(default_factory=list)

    @classmethod
    def record(cls, cell: CellResult) -> None:
        """Add a cell that ran."""
        kept, name = store(), f"{cls.__name__}:cells"
        kept.set(name, [*kept.get(name, []), cell.model_dump(mode="json", exclude_defaults=True)])

    @classmethod
    def is_answered(cls) -> bool:
        """Whether the final answer has been given."""
        return store().get(f"{cls.__name__}:answer") is not None


async def _run_cell(code: str) -> str:
    kernel = sandbox().as_type(KernelSandbox).kernel  # type: ignore[type-abstract]  # any backend will do
    result = await kernel.run(code)
    NotebookState.record(result)
    return result.text()


@tool(name="python", parallel=False)
def python_without_comment() -> Tool:
    """The `python` tool in its plain form."""

    async def execute(code: str) -> str:
        """Run one cell in the live Jupyter kernel and read what it shows. Variables persist between cells.

        Args:
            code: Python code of the cell.
        """
        return await _run_cell(code)

    return execute


@tool(name="python", parallel=False)
def python_with_comment() -> Tool:
    """The `python` tool with an optional comment."""

    async def execute(code: str, comment: str = "") -> str:
        """Run one cell in the live Jupyter kernel and read what it shows. Variables persist between cells.

        Args:
            code: Python code of the cell.
            comment: What this cell is for, in a sentence.
        """
        return await _run_cell(code)

    return execute


@tool(name="python", parallel=False)
def python_with_required_comment() -> Tool:
    """The `python` tool for models that do not think aloud: a comment is required."""

    async def execute(comment: str, code: str) -> str:
        """Run one cell in the live Jupyter kernel and read what it shows. Variables persist between cells.

        Args:
            comment: What was learned so far and what this cell is for, in a few sentences.
            code: Python code of the cell.
        """
        return await _run_cell(code)

    return execute


@tool(parallel=False)
def final_answer() -> Tool:
    """The `final_answer` tool."""

    async def execute(answer: str) -> str:
        """Give the final answer and end the work.

        Args:
            answer: The answer alone, in the form that the guidelines ask for.
        """
        NotebookState().answer = answer
        return "Answer received."

    return execute


def notebook_tools(comments: Comments = "optional") -> list[Tool]:
    """The two tools; `comments` says whether `python` has a comment parameter and whether it must be given."""
    python = {
        "never": python_without_comment,
        "optional": python_with_comment,
        "required": python_with_required_comment,
    }[comments]
    return [python(), final_answer()]
