"""The host's ends of a kernel's sockets and pipes, on the running asyncio loop.

`Channel` sends and receives frames on a socket; `PipeReader` reads a pipe into a sink while it is wanted. What comes
from inside is bounded (a frame, a chunk) and never trusted.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import os
import socket
import termios
from collections.abc import Callable, Sequence

from harness.kernel.guest import wire

CHUNK = 1 << 18


class Channel:
    """Frames to and from the sandbox. `on_frame` is called for each, `on_end` once when no more will come.

    Bytes that are no frame end the channel as a closed socket does. `takes_descriptors` is for trusted peers alone.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_frame: Callable[[wire.Frame, list[int]], None],
        on_end: Callable[[], None],
        limit: int,
        takes_descriptors: bool = False,
    ) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._decoder = wire.Decoder(limit)
        self._on_frame = on_frame
        self._on_end = on_end
        self._takes_descriptors = takes_descriptors
        self._open = True
        self._sending = asyncio.Lock()
        self._loop.add_reader(sock.fileno(), self._readable)

    def _readable(self) -> None:
        descriptors: list[int] = []
        try:
            if self._takes_descriptors:
                data, descriptors = wire.receive_chunk(self._socket, CHUNK)
            else:
                data = self._socket.recv(CHUNK)
            if data:
                for frame in self._decoder.feed(data):
                    self._on_frame(frame, descriptors)
                return
        except BlockingIOError:
            return
        except (OSError, wire.WireError):
            pass
        self.end()

    def end(self) -> None:
        """Stop receiving, as if the other end had closed."""
        if self._open:
            self.close()
            self._on_end()

    async def send(self, frame: wire.Frame, descriptors: Sequence[int] = ()) -> None:
        """Send a frame. Raises OSError where the other end is gone."""
        data = wire.encode(frame)
        async with self._sending:
            sent = 0
            while descriptors and not sent:
                try:
                    sent = socket.send_fds(self._socket, [data], list(descriptors))
                except BlockingIOError:
                    await asyncio.sleep(0.001)
            if sent < len(data):
                try:
                    await self._loop.sock_sendall(self._socket, data[sent:])
                except asyncio.CancelledError:  # half a frame may be on its way: nothing after it would be understood
                    self.end()
                    raise

    def send_now(self, frame: wire.Frame) -> None:
        """Send a small frame without waiting, as well as can be."""
        with contextlib.suppress(OSError):
            self._socket.send(wire.encode(frame))

    def close(self) -> None:
        """Close this end; safe to call twice."""
        if self._open:
            self._open = False
            if not self._loop.is_closed():
                self._loop.remove_reader(self._socket.fileno())
            self._socket.close()


def open_pipes(count: int) -> list[int]:
    """`count` pipes: the reading and the writing end of each. Raises OSError, having opened none."""
    ends: list[int] = []
    try:
        for _ in range(count):
            ends += os.pipe()
    except OSError:
        for end in ends:
            os.close(end)
        raise
    return ends


class PipeReader:
    """Reads a pipe's bytes into `sink` between `resume` and `pause`; a writer waits meanwhile when the pipe is full."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        with contextlib.suppress(OSError):  # a larger pipe means fewer wake-ups; ordinary users' total is bounded
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 1 << 20)
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._sink: Callable[[bytes], None] | None = None

    def resume(self, sink: Callable[[bytes], None]) -> None:
        """Begin to read."""
        self._sink = sink
        self._loop.add_reader(self._descriptor, self._readable)

    def _readable(self) -> None:
        if not self._read(CHUNK):
            self._loop.remove_reader(self._descriptor)

    def _read(self, count: int) -> int:
        """Read up to `count` bytes; 0 at the end of the pipe."""
        try:
            data = os.read(self._descriptor, count)
        except BlockingIOError:
            return 1
        if self._sink is not None:
            self._sink(data)
        return len(data)

    def pause(self) -> None:
        """Take what is in the pipe by now, then stop; a process that goes on writing cannot prolong this."""
        if self._descriptor < 0:
            return
        self._loop.remove_reader(self._descriptor)
        waiting = array.array("i", [0])
        fcntl.ioctl(self._descriptor, termios.FIONREAD, waiting)
        left = waiting[0]
        while left > 0 and (count := self._read(min(left, CHUNK))):
            left -= count
        self._sink = None

    def close(self) -> None:
        """Close this end; safe to call twice."""
        if self._descriptor >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
