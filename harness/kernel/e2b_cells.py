"""One cell in an E2B sandbox: what comes of it while it runs, and the record of it. Used by `e2b.py`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.kernel.guest.excerpt import Excerpt, excerpt
from harness.kernel.protocol import CellError, CellResult, CellStatus

if TYPE_CHECKING:
    from e2b_code_interpreter import Execution

FLOOD_CHARS = 64 << 20  # the SDK keeps all output in memory until the cell ends
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Flood(Exception):
    """A cell gave more output than this process wants to hold."""


@dataclass(frozen=True)
class Outcome:
    """How a cell went: `execution` None where there is no reply; `note` is what the reader must know."""

    status: CellStatus
    execution: Execution | None = None
    note: str | None = None


class Output:
    """What a cell shows, as excerpts; raises Flood beyond FLOOD_CHARS."""

    def __init__(self, limit: int) -> None:
        self.stdout, self.stderr = Excerpt(limit), Excerpt(limit)
        self._left = FLOOD_CHARS

    def feed(self, into: Excerpt, text: str) -> None:
        """Add to one of the two. Raises Flood."""
        into.feed(text)
        self._left -= len(text)
        if self._left < 0:
            raise Flood

    def shown(self, result: Any) -> None:
        """A display that is not the cell's value goes where print goes."""
        if not result.is_main_result and result.text:
            self.feed(self.stdout, result.text + "\n")


def cell_result(code: str, outcome: Outcome, duration: float, output: Output, limit: int) -> CellResult:
    """The record of a cell; `limit` bounds result and traceback, in characters."""
    execution = outcome.execution
    result, error, cut = None, None, output.stdout.cut + output.stderr.cut
    if execution is not None and execution.text is not None:
        result, left_out = excerpt(execution.text, limit)
        cut += left_out
    if execution is not None and (raised := execution.error) is not None:
        message, _ = excerpt(raised.value, limit)
        traceback, left_out = excerpt(ANSI.sub("", raised.traceback), limit)
        error = CellError(name=raised.name[:200], message=message, traceback=traceback)
        cut += left_out
    return CellResult(
        code=code,
        status=outcome.status,
        stdout=output.stdout.text(),
        stderr=output.stderr.text(),
        result=result,
        error=error,
        note=outcome.note,
        execution_count=(execution.execution_count or 0) if execution else 0,
        duration_s=round(duration, 6),
        cut_chars=cut,
    )
