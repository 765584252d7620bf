"""The progress line of a stage: ranks done, rows a second, time left, kept, dropped, money.

It reads markers and progress files, so it says the same of every executor, and of a run in another terminal. Without a
terminal there is one line at the end of the stage.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.runs.account import Counts, read_marker, read_progress
from pipeline.runs.funnel import duration, figures

LOOK_S = 0.5
FEW_RANKS = 64


class Watch:
    """Watches one stage. `expected`: how many rows its ranks will read, None where nobody knows yet."""

    def __init__(self, console: Console, name: str, folder: Path, tasks: int, expected: int | None) -> None:
        self._console = console
        self._name = name
        self._folder = folder
        self._waiting = list(range(tasks))
        self._tasks = tasks
        self._expected = expected
        self._finished = Counts()
        self._began = time.monotonic()
        self._looked = 0.0
        self._look()
        self._at_begin = self._finished.read
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._live.stop()
        if kind is None:
            self._console.print(self._line(self._look()), highlight=False, soft_wrap=True)

    def __call__(self) -> None:
        """Look, if it is time to; executors call this all the while."""
        now = time.monotonic()
        if self._console.is_terminal and now - self._looked >= LOOK_S:
            self._looked = now
            self._live.update(self._line(self._look()), refresh=True)

    def _look(self) -> Counts:
        """What all ranks have done until now. Markers are read once; of unfinished ranks only the first many."""
        for rank in list(self._waiting):
            if marker := read_marker(self._folder, rank):
                self._finished += marker.counts
                self._waiting.remove(rank)
        running = (read_progress(self._folder, rank) for rank in self._waiting[:FEW_RANKS])
        return sum((counts for counts in running if counts), self._finished)

    def _line(self, counts: Counts) -> Text:
        elapsed = time.monotonic() - self._began
        rate = (counts.read - self._at_begin) / elapsed if elapsed > 0 else 0.0
        parts = [f"{self._name:<12}", f"{self._tasks - len(self._waiting)}/{self._tasks} ranks"]
        total = f" of {self._expected:,}" if self._expected is not None and self._waiting else ""
        parts += [f"{counts.read:,}{total} rows", f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"]
        if self._waiting:
            parts.append(f"{self._left(counts, rate)} left")
        else:
            parts.append(duration(elapsed))
        parts += [f"{counts.kept:,} kept", f"{counts.dropped_rows:,} dropped"]
        parts += figures(counts)
        if counts.dollars:
            parts.append(f"${counts.dollars:,.2f}")
        return Text("  ".join(parts))

    def _left(self, counts: Counts, rate: float) -> str:
        if self._expected is None or rate <= 0:
            return "?"
        return duration(max(self._expected - counts.read, 0) / rate)
