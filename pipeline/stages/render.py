"""Stage render: every kept notebook read again and written as tagged text, the form in which models are shown it.

    stages: {render: {output_characters: 5000}}

The text becomes the row's `markdown`; what it was made of becomes its `shape`. Nothing of a notebook is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.quarantine import Dropped
from pipeline.reading.markdown import Rendering, markdown
from pipeline.reading.notebook import Notebook, joined
from pipeline.reading.opening import read_notebooks
from pipeline.reading.refusal import Refused
from pipeline.row import NotebookRow, Shape
from pipeline.runs.stages import Stage, StageContext
from pipeline.runs.steps import RowStep
from pipeline.stages.load import inputs_of

if TYPE_CHECKING:
    from datatrove.pipeline.base import PipelineStep


@dataclass(frozen=True)
class RenderSettings:
    """How much is shown, in characters: of one output, of all outputs of a cell, of a cell's own text."""

    output_characters: int = Rendering.output_characters
    outputs_of_cell_characters: int = Rendering.outputs_of_cell_characters
    cell_characters: int = Rendering.cell_characters


class Render(RowStep):
    """Reads the notebooks of its rows and fills in their text."""

    def __init__(self, context: StageContext[RenderSettings]) -> None:
        super().__init__()
        self._run = context.run
        settings = context.settings
        self._rendering = Rendering(
            settings.output_characters, settings.outputs_of_cell_characters, settings.cell_characters
        )

    def rows(self, rows: Iterator[NotebookRow]) -> Iterator[NotebookRow | Dropped]:
        """The rows with their text and shape; a notebook without code is dropped."""
        for row, notebook in read_notebooks(rows, inputs_of(self._run)):
            if isinstance(notebook, Refused):
                yield self.drop(row, notebook.reason, notebook.detail)
            elif not (shape := shape_of(notebook)).code_cells:
                yield self.drop(row, "no code cells", f"{shape.cells} cells")
            else:
                yield row.model_copy(update={"markdown": markdown(notebook, self._rendering), "shape": shape})


def shape_of(notebook: Notebook) -> Shape:
    """What a notebook consists of. Code cells without code do not count."""
    cells = notebook.cells or []
    code = [cell for cell in cells if cell.cell_type == "code" and joined(cell.source).strip()]
    return Shape(
        language=notebook.language,
        nbformat=None if notebook.nbformat is None else int(notebook.nbformat),
        cells=len(cells),
        code_cells=len(code),
        outputs=sum(len(cell.outputs or []) for cell in code),
    )


def steps(context: StageContext[RenderSettings]) -> Sequence[PipelineStep]:
    """One step: read and write as text."""
    return [Render(context)]


STAGE = Stage(
    "render",
    RenderSettings,
    steps,
    code=tuple(f"pipeline.reading.{name}" for name in ("decode", "html_text", "inflate", "markdown", "notebook")),
    needs=("dedup",),
)
