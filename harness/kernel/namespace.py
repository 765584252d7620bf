"""The host's hold on one kernel's namespaces: its process 1, its worker, and commands and files inside.

`Namespace.open` has the zygote fork a new one and returns it with its first worker ready. Used by `bwrap.py`; the
other end is `guest/init.py` (orders) and `guest/worker.py` (cells).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from harness.kernel.cells import Worker
from harness.kernel.cgroup import Group
from harness.kernel.channel import Channel
from harness.kernel.command import Streams
from harness.kernel.guest import wire
from harness.kernel.guest.confine import INPUT
from harness.kernel.protocol import Completed, KernelUnavailable, Limits
from harness.kernel.zygote import remedy, warm_zygote

ORDERS_FRAME = 1 << 16
KILL_S = 5.0
DESCRIPTORS = 5  # orders, cells, stdout, stderr, process 1
TOLD_S = 3.0  # until process 1 must have told how a worker ended whose channel is closed


class Source(Protocol):
    """Where kernels come from: the zygote, or something that stands for one elsewhere."""

    reader: str  # who must be allowed to read the question's files

    def request(self, request: wire.Frame, descriptors: Sequence[int]) -> None:
        """Ask for a kernel. Raises OSError where none can be had; the caller keeps its descriptors."""

    def group(self, limit_mb: int) -> Group | None:
        """A control group for a kernel, None where none can be had or none is needed."""

    def discard(self, group: Group) -> None:
        """Let go of a kernel's control group."""

    def failure(self) -> KernelUnavailable:
        """Why it ended."""


class Namespace:
    """One kernel's namespaces, seen from the host. Belongs to the event loop that opened it."""

    def __init__(self, orders: socket.socket, limits: Limits) -> None:
        self._limits = limits
        self.loop = asyncio.get_running_loop()
        self.worker = Worker(0, limits.output_chars)
        self._orders = Channel(orders, self._on_event, self._on_end, ORDERS_FRAME, takes_descriptors=True)
        self._up: asyncio.Future[wire.Frame] = self.loop.create_future()
        self._interrupted = asyncio.Event()
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._spawned = 0
        self._pidfd = -1
        self._zygote: Source | None = None
        self._group: Group | None = None
        self._kills = 0
        self._over_memory = False
        self._worker_ended: asyncio.Future[int] = self.loop.create_future()
        self.is_alive = True

    @classmethod
    async def open(cls, files: Mapping[str, Path], limits: Limits) -> Self:
        """Have one forked and wait until its worker is ready.

        Raises KernelUnavailable where isolation cannot be had, PermissionError for a file that may not be read inside.
        """
        try:
            async with asyncio.timeout(limits.start_s):
                return await cls._open(files, limits)
        except TimeoutError:
            raise KernelUnavailable(
                f"A kernel was not ready after {limits.start_s:g} s. Is the machine overloaded? "
                "Give it longer: Limits(start_s=...)."
            ) from None

    @classmethod
    async def _open(cls, files: Mapping[str, Path], limits: Limits) -> Self:
        zygote = await cls._source(limits)
        namespace, guest_orders = cls._made(limits)
        group = namespace._bound_memory(zygote)
        request = {
            "files": [[name, str(path)] for name, path in files.items()],
            "memory_mb": limits.memory_mb,
            "processes": limits.processes,
            "disk_mb": limits.disk_mb,
            "watch_mb": limits.total_mb if group is None else None,
        }
        passed = [guest_orders.fileno(), *namespace.worker.guest_ends, *([group.descriptor] if group else [])]
        try:
            with guest_orders:
                zygote.request(request, passed)
            namespace.worker.close_guest_ends()
            answer = await namespace._up
            if "unreadable" in answer:
                raise PermissionError(_unreadable([files[name] for name in answer["unreadable"]], zygote.reader))
            if "reason" in answer:
                raise KernelUnavailable(
                    f"No isolated kernel can be had here: {answer['reason']}. {remedy(answer['reason'])}"
                )
            if await namespace.worker.frame(None) is None:
                raise KernelUnavailable("The kernel's worker ended while it started.")
        except OSError as error:
            await namespace.close()
            if isinstance(error, PermissionError):
                raise
            if error.errno in (errno.EMFILE, errno.ETOOMANYREFS):
                raise KernelUnavailable(_too_many_files(error)) from None
            raise await asyncio.to_thread(zygote.failure) from None
        except BaseException:
            namespace.kill()
            raise
        finally:
            if group is not None:
                os.close(group.descriptor)
        return namespace

    @classmethod
    async def _source(cls, limits: Limits) -> Source:
        return await warm_zygote(limits.start_s)

    @classmethod
    def _made(cls, limits: Limits) -> tuple[Self, socket.socket]:
        """One that is not open yet, and the other end of its orders."""
        try:
            orders, guest_orders = socket.socketpair()
            try:
                return cls(orders, limits), guest_orders
            except OSError:
                orders.close()
                guest_orders.close()
                raise
        except OSError as error:
            raise KernelUnavailable(_too_many_files(error)) from None

    def _bound_memory(self, zygote: Source) -> Group | None:
        self._zygote, self._group = zygote, zygote.group(self._limits.total_mb)
        return self._group

    def _on_event(self, frame: wire.Frame, descriptors: list[int]) -> None:
        match frame:
            case {"event": "up" | "refused"}:
                self._pidfd = descriptors[0] if descriptors else -1
                if not self._up.done():
                    self._up.set_result(frame)
            case {"event": "interrupted"}:
                self._interrupted.set()
            case {"event": "failed", "id": number, "errno": failure, "path": path}:
                if (exit_ := self._exits.get(number)) is not None and not exit_.done():
                    exit_.set_exception(OSError(failure, os.strerror(failure), path))
            case {"event": "exit", "id": number, "status": status}:
                if (exit_ := self._exits.get(number)) is not None and not exit_.done():
                    exit_.set_result(status)
            case {"event": "worker", "number": self.worker.number, "status": status}:
                self._over_memory = "memory" in frame
                if not self._worker_ended.done():
                    self._worker_ended.set_result(status)
                self.worker.cells.end()

    def _on_end(self) -> None:
        self.is_alive = False
        gone = ConnectionResetError("the kernel's namespaces have ended")
        waited_for: list[asyncio.Future[Any]] = [self._up, self._worker_ended, *self._exits.values()]
        for future in waited_for:
            if not future.done():
                future.set_exception(gone)
                future.exception()  # marks it as seen: nobody need wait for it
        self._interrupted.set()
        self.worker.cells.end()

    async def start_worker(self) -> None:
        """End every process inside but the first and start a new worker. Raises OSError, TimeoutError."""
        self.worker.close()
        self.worker = worker = Worker(self.worker.number + 1, self._limits.output_chars)
        self._worker_ended = self.loop.create_future()
        await self._orders.send({"op": "worker", "number": worker.number}, worker.guest_ends)
        worker.close_guest_ends()
        if await worker.frame(self._limits.start_s) is None:
            raise ConnectionResetError("the new worker ended while it started")

    async def interrupt(self) -> None:
        """Interrupt the worker; returns when the signal has been sent, so that it cannot hit a later cell."""
        self._interrupted.clear()
        with contextlib.suppress(OSError):
            await self._orders.send({"op": "interrupt"})
            await self._interrupted.wait()

    async def how_worker_ended(self) -> str:
        """How the worker was lost, as the end of a sentence about the kernel."""
        try:
            async with asyncio.timeout(TOLD_S):
                status = os.waitstatus_to_exitcode(await asyncio.shield(self._worker_ended))
        except TimeoutError:
            return "closed the channel that it is controlled by and was killed"
        except ConnectionError:
            return "died with its sandbox"
        if self._over_memory or (status == -signal.SIGKILL and self._was_killed_for_memory()):
            return f"held more than {self._limits.total_mb} MiB in all its processes and files and was killed"
        if status >= 0:
            return f"process ended with exit status {status}"
        return f"died ({signal.strsignal(-status)}, {signal.Signals(-status).name})"

    def _was_killed_for_memory(self) -> bool:
        """Whether Linux killed something here for want of memory since this was last asked."""
        before, self._kills = self._kills, self._group.kills() if self._group else 0
        return self._kills > before

    async def exec(
        self,
        argv: Sequence[str],
        stdin: bytes | None,
        cwd: str,
        env: Mapping[str, str],
        timeout: float | None,
        limit: int,
    ) -> Completed:
        """Run a command; its process group is killed at `timeout` seconds or beyond `limit` bytes a stream.

        Raises OSError for one that could not be started (ConnectionError where the namespaces have ended),
        TimeoutError, OutputTooLong.
        """
        order = {"kind": "exec", "argv": list(argv), "cwd": cwd, "env": dict(env)}
        return await self._spawn(order, argv[0], stdin, timeout, limit)

    async def read(self, path: str, limit: int, timeout: float) -> bytes:
        """A file's bytes, read by a process inside. Raises OSError as `open` does, OutputTooLong, TimeoutError."""
        order = {"kind": "read", "path": path, "limit": limit}
        return _whole(await self._spawn(order, path, None, timeout, limit), path).stdout

    async def write(self, path: str, data: bytes, timeout: float) -> None:
        """Write a file by a process inside. Raises OSError as `open` does, TimeoutError."""
        _whole(await self._spawn({"kind": "write", "path": path}, path, data, timeout, 0), path)

    async def _spawn(
        self, order: wire.Frame, name: str, stdin: bytes | None, timeout: float | None, limit: int
    ) -> Completed:
        self._spawned += 1
        number = self._spawned
        exit_: asyncio.Future[int] = self.loop.create_future()
        self._exits[number] = exit_
        streams = Streams(stdin, limit, too_long=lambda: self._orders.send_now({"op": "kill", "id": number}))
        try:
            await self._orders.send({"op": "spawn", "id": number, **order}, streams.descriptors)
            streams.close_guest_ends()
            async with asyncio.timeout(timeout):
                status = await asyncio.shield(exit_)
            stdout, stderr = streams.collect()
        except BaseException as error:
            self._orders.send_now({"op": "kill", "id": number})
            if isinstance(error, OSError) and not isinstance(error, TimeoutError | ConnectionError):
                raise OSError(error.errno, error.strerror, error.filename or name) from None
            raise
        finally:
            streams.close()
            del self._exits[number]
        return Completed(os.waitstatus_to_exitcode(status), stdout, stderr)

    def kill(self) -> None:
        """End every process inside at once and let go; safe to call twice. Needs no running loop."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.close(self._pidfd)
            self._pidfd = -1
        self._orders.end()
        self.worker.close()
        self._discard_group()

    def _discard_group(self) -> None:
        if self._zygote is not None and self._group is not None:
            self._zygote.discard(self._group)

    async def close(self) -> None:
        """End every process inside and wait until they are gone; safe to call twice."""
        pidfd = os.dup(self._pidfd) if self._pidfd >= 0 else -1
        self.kill()
        if pidfd >= 0:
            gone = asyncio.Event()
            loop = asyncio.get_running_loop()
            loop.add_reader(pidfd, gone.set)
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(KILL_S):
                        await gone.wait()
            finally:
                loop.remove_reader(pidfd)
                os.close(pidfd)
            self._discard_group()  # now that its processes are gone


def _unreadable(paths: Sequence[Path], reader: str) -> str:
    listed = ", ".join(map(str, paths))
    return (
        f"{listed}: not readable inside the kernel, which runs as {reader} "
        f"({INPUT} shows files with their own permissions). Allow it: chmod o+r {' '.join(map(str, paths))}"
    )


def _too_many_files(error: OSError) -> str:
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        f"A kernel takes {DESCRIPTORS} open files of this process, which may have {allowed}: {error.strerror}. "
        f"Allow more: ulimit -n {max(most, allowed)} (or run fewer side by side: --max-samples)."
    )


def _whole(completed: Completed, path: str) -> Completed:
    if completed.returncode != 0:
        raise OSError(errno.EIO, f"the process that handled it ended with {completed.returncode}", path)
    return completed
