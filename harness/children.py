"""Child processes, started with their command printed, watched with a progress bar, and ended with what started them.

A child's output goes to a file; when it fails, the error shows that file's last lines. Children, and what they start in
their turn, end when this process does, however it ends (`harness/lifeline.py`).
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from harness import lifeline

LAST_LINES = 15


class ChildFailed(RuntimeError):
    """A child ended with an error; the message holds its name, its exit status and the end of its output."""


class Progress:
    """Progress bars with time left, and lines between them. Without a terminal, a line at the end of each step."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars = RichProgress(
            TextColumn("{task.description:<18}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def step(self, name: str, total: float) -> Iterator[Callable[..., None]]:
        """A bar. The function it gives sets how much is done; without an argument it adds one."""
        task = self._bars.add_task(name, total=total)

        def advance(done: float | None = None) -> None:
            if done is None:
                self._bars.advance(task)
            else:
                self._bars.update(task, completed=done)

        yield advance
        self._bars.update(task, completed=total)


@dataclass
class Child:
    """One command. `done` tells how much of it is finished, in the unit of its step."""

    name: str
    command: Sequence[str]
    output: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    done: Callable[[], float] = lambda: 0.0
    _process: subprocess.Popen[bytes] | None = None

    def start(self, progress: Progress, environment: Mapping[str, str] | None = None) -> None:
        """Start it, `environment` added to its own, and print the command, as a user could type it."""
        progress.say(f"$ {shown(self.command)}")
        self.output.parent.mkdir(parents=True, exist_ok=True)
        with self.output.open("wb") as out:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment, **(environment or {}), lifeline.VARIABLE: "1"},
                preexec_fn=lifeline.end_with_parent,
                start_new_session=True,
            )

    def ended(self) -> bool:
        """Whether it has ended, or was never started."""
        return self._process is None or self._process.poll() is not None

    def succeeded(self) -> bool:
        """Whether it was started and has ended well."""
        return self._process is not None and self._process.poll() == 0

    def wait(self) -> None:
        """Wait for its end. Raises ChildFailed."""
        if self._process is None:
            return
        status = self._process.wait()
        if status:
            lines = self.output.read_text(errors="replace").strip().splitlines()[-LAST_LINES:]
            raise ChildFailed(
                f"{self.name} failed (exit status {status}); the end of {self.output}:\n" + "\n".join(lines)
            )

    def kill(self) -> None:
        """End it and what it started at once."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def shown(command: Sequence[str]) -> str:
    """The command as one would type it: the interpreter left out, paths from here."""
    here = str(Path.cwd()) + os.sep
    words = [word.replace(here, "") for word in command]
    known = {"inspect_ai": "inspect", "accelerate.commands.launch": "accelerate launch"}
    if words[1:2] == ["-P"]:
        del words[1]
    if len(words) > 2 and words[1] == "-m" and words[2] in known:
        return known[words[2]] + " " + shlex.join(words[3:])
    return shlex.join(["python", *words[1:]])
