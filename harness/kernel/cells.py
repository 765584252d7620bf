"""The host's end of a worker: its cell socket, its two output pipes, and what it may say of a cell.

Used by `namespace.py`, which starts workers, and `bwrap.py`, which runs cells; the other end is `guest/worker.py`.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import socket

from pydantic import BaseModel, ConfigDict

from harness.kernel.channel import Channel, PipeReader, open_pipes
from harness.kernel.guest import wire
from harness.kernel.guest.excerpt import Excerpt
from harness.kernel.protocol import CellError


class Reply(BaseModel):
    """What a worker may say of a cell; anything else counts as its death."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    cell: int
    result: str | None
    error: CellError | None
    execution_count: int
    cut: int


class OutputText:
    """One output stream of one cell: bytes in, an excerpt of at most `limit` characters out."""

    def __init__(self, limit: int) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._excerpt = Excerpt(limit)

    def feed(self, data: bytes) -> None:
        """Add what the pipe gave."""
        self._excerpt.feed(self._decoder.decode(data))

    def finish(self) -> tuple[str, int]:
        """The text, and how many characters were cut from it."""
        self._excerpt.feed(self._decoder.decode(b"", final=True))
        return self._excerpt.text(), self._excerpt.cut


class Worker:
    """The host's ends of one worker. `guest_ends` are to be sent to it and then closed by `close_guest_ends`."""

    def __init__(self, number: int, output_chars: int) -> None:
        stdout, guest_stdout, stderr, guest_stderr = open_pipes(2)
        try:
            cells, self._guest_cells = socket.socketpair()
        except OSError:
            for end in (stdout, guest_stdout, stderr, guest_stderr):
                os.close(end)
            raise
        self._guest_pipes = [guest_stdout, guest_stderr]
        self._frames: asyncio.Queue[wire.Frame | None] = asyncio.Queue()
        largest = (1 << 20) + 64 * output_chars  # a result and a traceback, in the longest spelling that JSON has
        self.number = number
        self.cells = Channel(cells, self._take, lambda: self._frames.put_nowait(None), largest)
        self.stdout = PipeReader(stdout)
        self.stderr = PipeReader(stderr)

    def _take(self, frame: wire.Frame, _: list[int]) -> None:
        self._frames.put_nowait(frame)
        if self._frames.qsize() > 1:  # nobody asked for so many: a cell writes here
            self.cells.end()

    @property
    def guest_ends(self) -> list[int]:
        """Cell socket, stdout, stderr."""
        return [self._guest_cells.fileno(), *self._guest_pipes]

    def close_guest_ends(self) -> None:
        """Close the worker's own ends here; safe to call twice."""
        self._guest_cells.close()
        while self._guest_pipes:
            os.close(self._guest_pipes.pop())

    async def frame(self, timeout: float | None) -> wire.Frame | None:
        """The next frame, None when the worker has ended. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            return await self._frames.get()

    def listen(self, stdout: OutputText | None, stderr: OutputText | None) -> None:
        """Begin to read what the worker writes; None throws it away."""
        self.stdout.resume(stdout.feed if stdout else _forget)
        self.stderr.resume(stderr.feed if stderr else _forget)

    def stop_listening(self) -> None:
        """Take what has been written by now and stop."""
        self.stdout.pause()
        self.stderr.pause()

    def close(self) -> None:
        """Close the host's ends, waking who waits for a frame; safe to call twice."""
        self.close_guest_ends()
        self.cells.end()
        self.stdout.close()
        self.stderr.close()


def _forget(_: bytes) -> None:
    """Throw away."""
