"""The inside of a stand-in E2B sandbox: its daemon (files, processes) and its code interpreter, on a real bwrap kernel.

Every method that takes a request answers one of E2B's addresses; which one, and who may ask, is `e2b.py`'s.
"""

from __future__ import annotations

import asyncio
import base64
import codecs
import contextlib
import itertools
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from harness.kernel.bwrap import BwrapKernel
from harness.kernel.cells import OutputText
from harness.kernel.protocol import HOME, INPUT, CellResult, Limits

END_OF_STREAM = 2
DROP = web.RequestKey("drop", int)
"""After how many lines of the reply the connection is to break; NEVER: not at all."""
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
    """One sandbox: what was asked for, the files sent to it, its kernel once there is one, and what it answers.

    `root_commands` is the whole service's list; commands of root are written there.
    """

    id: str
    asked: dict[str, Any]
    folder: Path
    limits: Limits
    root_commands: list[str]
    files: dict[str, Path] = field(default_factory=dict)
    kernel: StreamingKernel | None = None
    starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    commands: dict[int, asyncio.Task[Any]] = field(default_factory=dict)
    pids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    ends: asyncio.TimerHandle | None = None

    async def running(self) -> StreamingKernel:
        async with self.starting:
            if self.kernel is None:
                kernel = StreamingKernel()
                await kernel.start(self.files, self.limits)
                self.kernel = kernel
            return self.kernel

    # The daemon.

    async def health(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=204)

    async def read(self, request: web.Request) -> web.StreamResponse:
        path = request.query["path"]
        try:
            return web.Response(body=await (await self.running()).read_file(path))
        except FileNotFoundError:
            return said(404, f"path '{path}' does not exist")
        except IsADirectoryError:
            return said(400, f"path '{path}' is a directory")
        except OSError as error:
            return said(500, f"error opening file '{path}': {error}")

    async def write(self, request: web.Request) -> web.StreamResponse:
        path = request.query.get("path", "")
        if request.content_type == "application/octet-stream":
            data = await request.read()
        else:
            part = await (await request.multipart()).next()
            path, data = path or part.filename, bytes(await part.read())  # type: ignore[union-attr]
        if path.startswith(INPUT + "/") and self.kernel is None:
            kept = self.folder / str(len(self.files))
            kept.write_bytes(data)
            self.files[path.removeprefix(INPUT + "/")] = kept
        else:
            try:
                await (await self.running()).write_file(path, data)
            except IsADirectoryError:
                return said(400, f"path is a directory: {path}")
            except OSError as error:
                return said(507 if error.errno == 28 else 500, f"error opening file: {error}")
        return web.json_response([{"path": path, "name": Path(path).name, "type": "file"}])

    async def remove(self, request: web.Request) -> web.StreamResponse:
        path = (await request.json())["path"]
        await (await self.running()).exec(["rm", "-rf", "--", path])
        return web.json_response({})

    async def start(self, request: web.Request) -> web.StreamResponse:
        process = json.loads((await request.read())[5:])["process"]
        user = base64.b64decode(request.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        reply = web.StreamResponse(headers={"Content-Type": "application/connect+json"})
        await reply.prepare(request)
        number = next(self.pids)
        await reply.write(_envelope({"event": {"start": {"pid": number}}}))
        exit_code = 0
        if user == "root:":
            self.root_commands.append(process["args"][-1])
        else:
            kernel = await self.running()
            argv, cwd = [process["cmd"], *process["args"]], process.get("cwd") or HOME
            task = asyncio.create_task(kernel.exec(argv, None, cwd, process.get("envs", {}), None, 1 << 26))
            self.commands[number] = task
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
                del self.commands[number]
        if request[DROP] == NEVER:
            await reply.write(_envelope({"event": {"end": {"exitCode": exit_code, "exited": exit_code >= 0}}}))
            await reply.write(_envelope({}, END_OF_STREAM))
        elif request.transport is not None:
            request.transport.abort()
        return reply

    async def signal(self, request: web.Request) -> web.StreamResponse:
        number = (await request.json())["process"]["pid"]
        if number in self.commands:
            self.commands[number].cancel()
        return web.json_response({})

    # The code interpreter.

    async def execute(self, request: web.Request) -> web.StreamResponse:
        code = (await request.json())["code"]
        kernel = await self.running()
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

    async def contexts(self, request: web.Request) -> web.StreamResponse:
        return web.json_response([{"id": "default", "language": "python", "cwd": HOME}])

    async def restart(self, request: web.Request) -> web.StreamResponse:
        await (await self.running()).restart()
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


def said(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"code": status, "message": message}, status=status, headers=headers)
