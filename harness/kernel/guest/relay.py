"""Descriptors across a container's wall: sockets and pipes on either side, carried over one stream of bytes.

The host passes descriptors to process 1 of a kernel. Into a container nothing can be passed but stdin and stdout; so a
relay on each side carries what is written on them. On the stream: four bytes of length, four of a channel's number, the
bytes. Channel 0 holds JSON: {"frame", "ends"} is a frame of the orders socket with the channels of its descriptors,
{"taken", "count"} lets the other side send so many bytes more, {"over"} says that a channel has ended.

A side may have WINDOW bytes of a channel under way, so a writer whose reader does not read waits, as at any pipe. Order
is kept within what belongs together: what a worker printed before it answered arrives before the answer. Used by
`harness/kernel/container.py` on the host and by `container.py` beside this file; both ends are this class.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import selectors
import termios
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

WINDOW = 1 << 20
CHUNK = 1 << 16
MOST_WAITING = 4 << 20
CONTROL = 0
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class RelayError(ValueError):
    """Bytes that no relay sends."""


@dataclass
class Group:
    """Channels that came with one frame; `held` waits until what was printed before has been written."""

    channels: list[Channel] = field(default_factory=list)
    held: deque[Callable[[], None]] = field(default_factory=deque)

    @property
    def is_behind(self) -> bool:
        """Whether output is still on its way into a pipe."""
        return any(channel.waiting for channel in self.channels if channel.is_sink and not channel.is_source)


@dataclass
class Channel:
    """One descriptor of this side. A source is read here, a sink is written; a socket is both."""

    number: int
    descriptor: int
    is_source: bool
    is_sink: bool
    group: Group
    credit: int = WINDOW
    waiting: bytearray = field(default_factory=bytearray)
    ends: bool = False


class Relay:
    """One side. `on_frame(frame, channels)` is called for a frame of the other side."""

    def __init__(
        self, incoming: int, outgoing: int, on_frame: Callable[[dict[str, Any], list[Any]], None], longest: int
    ) -> None:
        for descriptor in (incoming, outgoing):
            os.set_blocking(descriptor, False)
        self.selector = selectors.PollSelector()
        self.is_over = False
        self._incoming, self._outgoing = incoming, outgoing
        self._on_frame = on_frame
        self._longest = longest
        self._received = bytearray()
        self._unsent = bytearray()
        self._channels: dict[int, Channel] = {}
        self.selector.register(incoming, READ, self._read_stream)

    def step(self, timeout: float | None) -> None:
        """Wait for something to do, at most `timeout` seconds, and do it."""
        self._prepare()
        for key, mask in self.selector.select(timeout):
            if key.fileobj in self.selector.get_map():  # what came before it may have ended it
                key.data(mask)

    def open(self, number: int, descriptor: int, is_source: bool, is_sink: bool, group: Group) -> None:
        """Begin to carry what is read from and written to a descriptor, which belongs to the relay from now on."""
        os.set_blocking(descriptor, False)
        channel = Channel(number, descriptor, is_source, is_sink, group)
        self._channels[number] = channel
        group.channels.append(channel)

    def pass_on_output(self) -> None:
        """Send what is in all pipes by now, so that what is told next comes after it."""
        self._drain([channel for channel in self._channels.values() if channel.is_source and not channel.is_sink])

    def send_frame(self, frame: dict[str, Any], ends: list[Any]) -> None:
        """Send a frame, with the channels of its descriptors."""
        self._send(CONTROL, json.dumps({"frame": frame, "ends": ends}).encode())

    def in_order(self, group: Group, action: Callable[[], None]) -> None:
        """Do something once what was printed before has been written."""
        if group.held or group.is_behind:
            group.held.append(action)
        else:
            action()

    def close(self) -> None:
        """Let go of every descriptor but the two of the stream."""
        self.is_over = True
        for channel in list(self._channels.values()):
            with contextlib.suppress(OSError):
                if channel.waiting:
                    os.write(channel.descriptor, channel.waiting)
            self._drop(channel)
        self.selector.close()

    def _prepare(self) -> None:
        """Ask for what is of use now."""
        room = len(self._unsent) < MOST_WAITING
        self._ask(self._outgoing, WRITE if self._unsent else 0, self._write_stream)
        for channel in list(self._channels.values()):
            wanted = (READ if channel.is_source and channel.credit > 0 and room and not channel.ends else 0) | (
                WRITE if channel.waiting else 0
            )
            self._ask(channel.descriptor, wanted, partial(self._ready, channel))

    def _ask(self, descriptor: int, wanted: int, action: Callable[[int], None]) -> None:
        asked = self.selector.get_map().get(descriptor)
        if asked is None and wanted:
            self.selector.register(descriptor, wanted, action)
        elif asked is not None and not wanted:
            self.selector.unregister(descriptor)
        elif asked is not None and asked.events != wanted:
            self.selector.modify(descriptor, wanted, action)

    def _ready(self, channel: Channel, mask: int) -> None:
        if mask & WRITE and channel.waiting:  # a pipe that was closed counts as both
            self._write(channel)
        if mask & READ and channel.number in self._channels:
            if channel.is_sink:  # a socket's answer comes after what was printed
                self._drain([other for other in channel.group.channels if not other.is_sink])
            self._pass_on(channel, CHUNK)

    def _pass_on(self, channel: Channel, count: int) -> int:
        """Send what can be read, at most `count` bytes; how many there were."""
        try:
            data = os.read(channel.descriptor, count)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if data:
            channel.credit -= len(data)
            self._send(channel.number, data)
        else:
            self._finish(channel)
        return len(data)

    def _drain(self, channels: list[Channel]) -> None:
        """Pass on what is in these pipes by now, whatever the other side has room for."""
        for channel in channels:
            if channel.number not in self._channels or channel.ends:
                continue
            waiting = array.array("i", [0])
            with contextlib.suppress(OSError):
                fcntl.ioctl(channel.descriptor, termios.FIONREAD, waiting)
            left = waiting[0]
            while left > 0 and (count := self._pass_on(channel, min(left, CHUNK))):
                left -= count

    def _write(self, channel: Channel) -> None:
        try:
            written = os.write(channel.descriptor, channel.waiting)
        except BlockingIOError:
            return
        except OSError:  # nobody reads any more
            channel.waiting.clear()
            self._finish(channel)
            return
        del channel.waiting[:written]
        self._send(CONTROL, json.dumps({"taken": channel.number, "count": written}).encode())
        if channel.ends and not channel.waiting:
            self._drop(channel)
        while channel.group.held and not channel.group.is_behind:
            channel.group.held.popleft()()

    def _finish(self, channel: Channel) -> None:
        """A channel has ended on this side: nothing more comes of it, nothing more is wanted."""
        self._send(CONTROL, json.dumps({"over": channel.number}).encode())
        self._end(channel)

    def _end(self, channel: Channel) -> None:
        channel.ends = True
        if not channel.waiting:
            self._drop(channel)

    def _drop(self, channel: Channel) -> None:
        if self._channels.pop(channel.number, None) is not None:
            self._ask(channel.descriptor, 0, lambda _: None)
            os.close(channel.descriptor)
            channel.group.channels.remove(channel)
            while channel.group.held and not channel.group.is_behind:
                channel.group.held.popleft()()

    def _send(self, number: int, data: bytes) -> None:
        self._unsent += len(data).to_bytes(4, "big") + number.to_bytes(4, "big") + data
        if len(self._unsent) > MOST_WAITING:
            self._write_stream(WRITE)

    def _write_stream(self, _: int) -> None:
        try:
            del self._unsent[: os.write(self._outgoing, self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            self.is_over = True

    def _read_stream(self, _: int) -> None:
        try:
            data = os.read(self._incoming, 1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.is_over = True
            return
        self._received += data
        try:
            while (message := self._message()) is not None:
                self._take(*message)
        except (ValueError, KeyError, TypeError):  # whoever sends this is no relay
            self.is_over = True

    def _message(self) -> tuple[int, bytes] | None:
        if len(self._received) < 8:
            return None
        length = int.from_bytes(self._received[:4], "big")
        if length > self._longest:
            raise RelayError(f"a message of {length} bytes; the limit is {self._longest}")
        if len(self._received) < 8 + length:
            return None
        number = int.from_bytes(self._received[4:8], "big")
        data = bytes(self._received[8 : 8 + length])
        del self._received[: 8 + length]
        return number, data

    def _take(self, number: int, data: bytes) -> None:
        if number == CONTROL:
            match json.loads(data):
                case {"frame": dict() as frame, "ends": list() as ends}:
                    self._on_frame(frame, ends)
                case {"taken": int() as taken, "count": int() as count} if taken in self._channels:
                    self._channels[taken].credit += count
                case {"over": int() as over} if over in self._channels:
                    ending = self._channels[over]
                    self.in_order(ending.group, partial(self._end, ending))
        elif (channel := self._channels.get(number)) is not None and channel.is_sink and not channel.ends:
            if len(channel.waiting) > 8 * WINDOW:
                raise RelayError("more than was let through")
            if channel.is_source:  # a socket
                self.in_order(channel.group, partial(self._put, channel, data))
            else:
                self._put(channel, data)

    def _put(self, channel: Channel, data: bytes) -> None:
        channel.waiting += data
        self._write(channel)
