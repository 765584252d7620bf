"""A command that runs inside a kernel's namespaces: its input, its bounded output, how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

from harness.kernel.channel import PipeReader, open_pipes
from harness.kernel.protocol import OutputTooLong


class Streams:
    """The host's ends of a command's stdin, stdout and stderr. `too_long` is called once a stream passes `limit`.

    `descriptors` are the command's own ends, to be sent and then closed by `close_guest_ends`.
    """

    def __init__(self, stdin: bytes | None, limit: int, too_long: Callable[[], None]) -> None:
        self._limit = limit
        self._too_long = too_long
        self._collected = (bytearray(), bytearray())
        self._readers: list[PipeReader] = []
        self._feeding: asyncio.Task[None] | None = None
        ends = open_pipes(2 if stdin is None else 3)
        if stdin is None:
            guest_stdin = os.open(os.devnull, os.O_RDONLY)
        else:
            feed, guest_stdin = ends.pop(), ends.pop()
            self._feeding = asyncio.create_task(_feed(feed, stdin))
        self.descriptors = [guest_stdin]
        for kept, reader, guest in zip(self._collected, ends[::2], ends[1::2], strict=True):
            self.descriptors.append(guest)
            self._readers.append(PipeReader(reader))
            self._readers[-1].resume(lambda data, kept=kept: self._keep(kept, data))  # type: ignore[misc]

    def _keep(self, kept: bytearray, data: bytes) -> None:
        room = self._limit - len(kept)
        kept += data[: room + 1]
        if len(data) > room >= 0:
            self._too_long()

    def close_guest_ends(self) -> None:
        """Close the command's ends here; safe to call twice."""
        while self.descriptors:
            os.close(self.descriptors.pop())

    def collect(self) -> tuple[bytes, bytes]:
        """What has been written by now. Raises OutputTooLong."""
        for reader in self._readers:
            reader.pause()
        stdout, stderr = (bytes(kept) for kept in self._collected)
        for output in (stdout, stderr):
            if len(output) > self._limit:
                raise OutputTooLong(output[: self._limit], self._limit)
        return stdout, stderr

    def close(self) -> None:
        """Let go of everything; safe to call twice."""
        self.close_guest_ends()
        if self._feeding is not None:
            self._feeding.cancel()
        for reader in self._readers:
            reader.close()


async def _feed(descriptor: int, data: bytes) -> None:
    """Write `data` to a pipe as its reader takes it, then close it."""
    os.set_blocking(descriptor, False)
    loop = asyncio.get_running_loop()
    view = memoryview(data)
    try:
        with contextlib.suppress(BrokenPipeError):
            while view:
                try:
                    view = view[os.write(descriptor, view[: 1 << 20]) :]
                except BlockingIOError:
                    writable = loop.create_future()
                    loop.add_writer(descriptor, lambda future=writable: future.done() or future.set_result(None))  # type: ignore[misc]
                    try:
                        await writable
                    finally:
                        loop.remove_writer(descriptor)
    finally:
        os.close(descriptor)
