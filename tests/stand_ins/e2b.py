"""A stand-in for E2B, over real HTTP on loopback: its three interfaces on one port, and real kernels behind them.

    with E2B() as e2b:
        e2b.environment                              # E2B_API_URL, E2B_SANDBOX_URL, E2B_API_KEY: the SDK asks this one
        e2b.faults["execute"] = ["429", "drop:1"]    # one a request
        e2b.alive, e2b.made, e2b.killed              # ids of sandboxes; e2b.asked counts requests

Sandboxes are told apart by the header `E2b-Sandbox-Id`. Each is one of our bwrap kernels, begun when it is first needed
with the files that were sent to /home/user/input by then. What differs from the real thing: cells have no root, so
root's commands are written down (`root_commands`) and answered with 0; the effect of ours, a read-only input folder, is
there from the start. As E2B does, it takes the quotes off a text that is a cell's value, colours tracebacks, interrupts
a cell whose client has gone, and answers 502 for a sandbox that is not there any more.

Faults, by what is asked ("create", "list", "kill", "files", "process", "execute", "contexts"): a status ("429",
"429:SECONDS" with Retry-After, "502", "500"), "dead" (the sandbox is ended first), "drop:LINES" (the connection breaks
after so many lines of a reply), "slow:SECONDS", "hang".
"""

from __future__ import annotations

import asyncio
import base64
import codecs
import contextlib
import datetime
import itertools
import json
import shutil
import struct
import tempfile
import threading
import urllib.parse
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from harness.kernel.bwrap import BwrapKernel
from harness.kernel.cells import OutputText
from harness.kernel.protocol import HOME, INPUT, CellResult, Limits

LIMITS = Limits(cell_s=3600, grace_s=1, memory_mb=512, disk_mb=256, processes=32, output_chars=1 << 20)
END_OF_STREAM = 2
DROP = web.RequestKey("drop", int)
NEVER = -1
COLOURED = "\x1b[0;31m{}\x1b[0m"

Told = Callable[[str, str], None]


class StreamingKernel(BwrapKernel):
    """A bwrap kernel that tells what a cell writes as it comes: `tell(name of the stream, text)`."""

    tell: Told = staticmethod(lambda *_: None)

    def _outputs(self) -> tuple[OutputText, OutputText]:
        return _ToldText("stdout", self.tell), _ToldText("stderr", self.tell)


class _ToldText(OutputText):
    def __init__(self, name: str, tell: Told) -> None:
        super().__init__(1000)
        self._name, self._tell = name, tell
        self._told = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, data: bytes) -> None:
        super().feed(data)
        if text := self._told.decode(data):
            self._tell(self._name, text)


@dataclass
class Sandbox:
    """One sandbox: what was asked for, the files sent to it, its kernel once there is one."""

    id: str
    asked: dict[str, Any]
    folder: Path
    files: dict[str, Path] = field(default_factory=dict)
    kernel: StreamingKernel | None = None
    starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    commands: dict[int, asyncio.Task[Any]] = field(default_factory=dict)
    ends: asyncio.TimerHandle | None = None

    async def running(self, limits: Limits) -> StreamingKernel:
        async with self.starting:
            if self.kernel is None:
                kernel = StreamingKernel()
                await kernel.start(self.files, limits)
                self.kernel = kernel
            return self.kernel


class E2B:
    """See the module's docstring."""

    KEY = "e2b_stand_in"

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self.faults: dict[str, list[str]] = defaultdict(list)
        self.asked: Counter[str] = Counter()
        self.made: list[Sandbox] = []
        self.killed: list[str] = []
        self.root_commands: list[str] = []
        self._alive: dict[str, Sandbox] = {}
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._port = 0
        self._numbers = itertools.count()
        self._folder = tempfile.TemporaryDirectory(prefix="stand-in-e2b-")

    @property
    def environment(self) -> dict[str, str]:
        """The variables under which the SDK asks this stand-in, and nobody else."""
        url = f"http://127.0.0.1:{self._port}"
        return {"E2B_API_URL": url, "E2B_SANDBOX_URL": url, "E2B_API_KEY": self.KEY}

    @property
    def alive(self) -> list[str]:
        """The sandboxes that have not ended."""
        return list(self._alive)

    def end(self, sandbox_id: str) -> None:
        """End a sandbox as E2B does when its lifetime is over."""
        asyncio.run_coroutine_threadsafe(self._end(sandbox_id), self._loop).result(30)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._folder.cleanup()

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        runner = web.AppRunner(self._application(), handler_cancellation=True, shutdown_timeout=0.5)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self._port = runner.addresses[0][1]
        self._ready.set()
        try:
            self._loop.run_forever()
        finally:
            for sandbox_id in self.alive:
                self._loop.run_until_complete(self._end(sandbox_id))
            self._loop.run_until_complete(runner.cleanup())
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=1 << 30)
        add = application.router.add_route
        add("POST", "/v2/sandboxes", self._faulty("create", self._create))
        add("GET", "/v2/sandboxes", self._faulty("list", self._list))
        add("DELETE", "/sandboxes/{id}", self._faulty("kill", self._kill))
        add("POST", "/sandboxes/{id}/timeout", self._faulty("timeout", self._set_timeout))
        add("GET", "/health", self._inside("health", self._health))
        add("GET", "/files", self._inside("files", self._read))
        add("POST", "/files", self._inside("files", self._write))
        add("POST", "/filesystem.Filesystem/Remove", self._inside("files", self._remove))
        add("POST", "/process.Process/Start", self._inside("process", self._start))
        add("POST", "/process.Process/SendSignal", self._inside("process", self._signal))
        add("POST", "/execute", self._inside("execute", self._execute))
        add("GET", "/contexts", self._inside("contexts", self._contexts))
        add("POST", "/contexts/{context}/restart", self._inside("contexts", self._restart))
        return application

    def _faulty(self, name: str, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
        """`answer`, after what was ordered for this request."""

        async def handle(request: web.Request) -> web.StreamResponse:
            self.asked[name] += 1
            fault = self.faults[name].pop(0) if self.faults[name] else ""
            what, _, number = fault.partition(":")
            if what.isdecimal():
                headers = {"Retry-After": number} if number else {}
                return _said(int(what), f"fault {what}", headers)
            if what in ("slow", "hang"):
                await asyncio.sleep(float(number or 3600))
            if what == "dead":
                await self._end(request.headers["E2b-Sandbox-Id"])
            request[DROP] = int(number) if what == "drop" else NEVER
            return await answer(request)

        return handle

    def _inside(self, name: str, answer: Callable[[web.Request, Sandbox], Awaitable[web.StreamResponse]]) -> Any:
        """`answer` of the sandbox that the request names; 502 where there is none."""

        async def handle(request: web.Request) -> web.StreamResponse:
            sandbox = self._alive.get(request.headers.get("E2b-Sandbox-Id", ""))
            if sandbox is None:
                return _said(502, "The sandbox was not found")
            return await answer(request, sandbox)

        return self._faulty(name, handle)

    # The control plane.

    async def _create(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("X-API-KEY") != self.KEY:
            return _said(401, "Invalid API key")
        asked = await request.json()
        sandbox = Sandbox(f"i{next(self._numbers):04}", asked, Path(tempfile.mkdtemp(dir=self._folder.name)))
        self.made.append(sandbox)
        self._alive[sandbox.id] = sandbox
        self._live_for(sandbox, asked["timeout"])
        body = {"templateID": asked["templateID"], "sandboxID": sandbox.id, "clientID": "c", "envdVersion": "0.6.8"}
        return web.json_response(body, status=201)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("X-API-KEY") != self.KEY:
            return _said(401, "Invalid API key")
        wanted = dict(urllib.parse.parse_qsl(request.query.get("metadata", "")))
        now = datetime.datetime.now(datetime.UTC).isoformat()
        listed = [
            {
                **{"templateID": "t", "sandboxID": sandbox.id, "clientID": "c", "envdVersion": "0.6.8"},
                **{"startedAt": now, "endAt": now, "cpuCount": 2, "memoryMB": 512, "diskSizeMB": 512},
                **{"state": "running", "metadata": sandbox.asked["metadata"]},
            }
            for sandbox in self._alive.values()
            if wanted.items() <= sandbox.asked["metadata"].items()
        ]
        return web.json_response(listed)

    async def _kill(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["id"] not in self._alive:
            return _said(404, "no such sandbox")
        self.killed.append(request.match_info["id"])
        await self._end(request.match_info["id"])
        return web.Response(status=204)

    async def _set_timeout(self, request: web.Request) -> web.StreamResponse:
        if (sandbox := self._alive.get(request.match_info["id"])) is None:
            return _said(404, "no such sandbox")
        self._live_for(sandbox, (await request.json())["timeout"])
        return web.Response(status=204)

    def _live_for(self, sandbox: Sandbox, seconds: float) -> None:
        if sandbox.ends is not None:
            sandbox.ends.cancel()
        sandbox.ends = self._loop.call_later(seconds, lambda: self._loop.create_task(self._end(sandbox.id)))

    async def _end(self, sandbox_id: str) -> None:
        if (sandbox := self._alive.pop(sandbox_id, None)) is None:
            return
        if sandbox.ends is not None:
            sandbox.ends.cancel()
        async with sandbox.starting:
            if sandbox.kernel is not None:
                await sandbox.kernel.close()
        shutil.rmtree(sandbox.folder, ignore_errors=True)

    # The sandbox's daemon.

    async def _health(self, request: web.Request, sandbox: Sandbox) -> web.StreamResponse:
        return web.Response(status=204)

    async def _read(self, request: web.Request, sandbox: Sandbox) -> web.StreamResponse:
        path = request.query["path"]
        try:
            return web.Response(body=await (await sandbox.running(self.limits)).read_file(path))
        except FileNotFoundError:
            return _said(404, f"path '{path}' does not exist")
        except IsADirectoryError:
            return _said(400, f"path '{path}' is a directory")
        except OSError as error:
            return _said(500, f"error opening file '{path}': {error}")

    async def _write(self, request: web.Request, sandbox: Sandbox) -> web.StreamResponse:
        path = request.query.get("path", "")
        if request.content_type == "application/octet-stream":
            data = await request.read()
        else:
            part = await (await request.multipart()).next()
            path, data = path or part.filename, bytes(await part.read())  # type: ignore[union-attr]
        if path.startswith(INPUT + "/") and sandbox.kernel is None:
            kept = sandbox.folder / str(len(sandbox.files))
            kept.write_bytes(data)
            sandbox.files[path.removeprefix(INPUT + "/")] = kept
        else:
            try:
                await (await sandbox.running(self.limits)).write_file(path, data)
            except IsADirectoryError:
                return _said(400, f"path is a directory: {path}")
            except OSError as error:
                return _said(507 if error.errno == 28 else 500, f"error opening file: {error}")
        return web.json_response([{"path": path, "name": Path(path).name, "type": "file"}])

    async def _remove(self, request: web.Request, sandbox: Sandbox) -> web.StreamResponse:
        path = (await request.json())["path"]
        await (await sandbox.running(self.limits)).exec(["rm", "-rf", "--", path])
        return web.json_response({})

    async def _start(self, request: web.Request, sandbox: Sandbox) -> web.StreamResponse:
        process = json.loads((await request.read())[5:])["process"]
        user = base64.b64decode(request.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        reply = web.StreamResponse(headers={"Content-Type": "application/connect+json"})
        await reply.prepare(request)
        number = len(self.asked) + self.asked["process"]
        await reply.write(_envelope({"event": {"start": {"pid": number}}}))
        exit_code = 0
        if user == "root:":
            self.root_commands.append(process["args"][-1])
        else:
            kernel = await sandbox.running(self.limits)
            argv, cwd = [process["cmd"], *process["args"]], process.get("cwd") or HOME
            task = asyncio.create_task(kernel.exec(argv, None, cwd, process.get("envs", {}), None, 1 << 26))
            sandbox.commands[number] = task
            try:
                done = await task
                exit_code = done.returncode
                for name, data in (("stdout", done.stdout), ("stderr", done.stderr)):
                    for at in range(0, len(data), 1 << 15):
                        text = base64.b64encode(data[at : at + (1 << 15)]).decode()
                        await reply.write(_envelope({"event": {"data": {name: text}}}))
            except asyncio.CancelledError:
                if asyncio.current_task().cancelling():  # type: ignore[union-attr]
                    raise  # the client has gone
                exit_code = -1  # a signal
            finally:
                task.cancel()
                del sandbox.commands[number]
        if request[DROP] == NEVER:
            await reply.write(_envelope({"event": {"end": {"exitCode": exit_code, "exited": exit_code >= 0}}}))
            await reply.write(_envelope({}, END_OF_STREAM))
        elif request.transport is not None:
            request.transport.abort()
        return reply

    async def _signal(self, request: web.Request, sandbox: Sandbox) -> web.StreamResponse:
        number = (await request.json())["process"]["pid"]
        if number in sandbox.commands:
            sandbox.commands[number].cancel()
        return web.json_response({})

    # The code interpreter.

    async def _execute(self, request: web.Request, sandbox: Sandbox) -> web.StreamResponse:
        code = (await request.json())["code"]
        kernel = await sandbox.running(self.limits)
        lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        kernel.tell = lambda name, text: lines.put_nowait({"type": name, "text": text, "timestamp": 0})
        cell = asyncio.create_task(kernel.run(code))
        cell.add_done_callback(lambda _: lines.put_nowait(None))
        reply = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await reply.prepare(request)
        left = request[DROP]
        try:
            while (line := await lines.get()) is not None:
                await reply.write(json.dumps(line).encode() + b"\n")
                if left > 0 and (left := left - 1) == 0:
                    break
            if left != NEVER:
                assert request.transport is not None
                request.transport.abort()
                return reply
            for line in _outcome(await cell):
                await reply.write(json.dumps(line).encode() + b"\n")
        finally:
            cell.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await cell
        return reply

    async def _contexts(self, request: web.Request, sandbox: Sandbox) -> web.StreamResponse:
        return web.json_response([{"id": "default", "language": "python", "cwd": HOME}])

    async def _restart(self, request: web.Request, sandbox: Sandbox) -> web.StreamResponse:
        await (await sandbox.running(self.limits)).restart()
        return web.json_response({})


def _outcome(result: CellResult) -> list[dict[str, Any]]:
    """What E2B sends of a cell that ended."""
    lines: list[dict[str, Any]] = [{"type": "number_of_executions", "execution_count": result.execution_count}]
    if result.status == "died":
        error = {"name": "ContextRestarting", "value": "Context was restarted", "traceback": ""}
        return [*lines, {"type": "error", **error}]
    if result.result is not None:
        text = result.result
        if text.startswith("'") and text.endswith("'"):
            text = text[1:-1]
        lines.append({"type": "result", "text": text, "is_main_result": True})
    if result.error is not None:
        *traceback, last = result.error.traceback.split("\n")
        shown = "\n".join([*map(COLOURED.format, traceback), last])
        lines.append({"type": "error", "name": result.error.name, "value": result.error.message, "traceback": shown})
    return lines


def _envelope(message: dict[str, Any], flags: int = 0) -> bytes:
    data = json.dumps(message).encode()
    return struct.pack(">BI", flags, len(data)) + data


def _said(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"code": status, "message": message}, status=status, headers=headers)
