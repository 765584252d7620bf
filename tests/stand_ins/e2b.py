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
import datetime
import itertools
import shutil
import tempfile
import threading
import urllib.parse
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from harness.kernel.protocol import Limits
from tests.stand_ins.e2b_inside import DROP, NEVER, Sandbox, said

LIMITS = Limits(cell_s=3600, grace_s=1, memory_mb=512, disk_mb=256, processes=32, output_chars=1 << 20)


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
        add("GET", "/health", self._inside("health", Sandbox.health))
        add("GET", "/files", self._inside("files", Sandbox.read))
        add("POST", "/files", self._inside("files", Sandbox.write))
        add("POST", "/filesystem.Filesystem/Remove", self._inside("files", Sandbox.remove))
        add("POST", "/process.Process/Start", self._inside("process", Sandbox.start))
        add("POST", "/process.Process/SendSignal", self._inside("process", Sandbox.signal))
        add("POST", "/execute", self._inside("execute", Sandbox.execute))
        add("GET", "/contexts", self._inside("contexts", Sandbox.contexts))
        add("POST", "/contexts/{context}/restart", self._inside("contexts", Sandbox.restart))
        return application

    def _faulty(self, name: str, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
        """`answer`, after what was ordered for this request."""

        async def handle(request: web.Request) -> web.StreamResponse:
            self.asked[name] += 1
            fault = self.faults[name].pop(0) if self.faults[name] else ""
            what, _, number = fault.partition(":")
            if what.isdecimal():
                headers = {"Retry-After": number} if number else {}
                return said(int(what), f"fault {what}", headers)
            if what in ("slow", "hang"):
                await asyncio.sleep(float(number or 3600))
            if what == "dead":
                await self._end(request.headers["E2b-Sandbox-Id"])
            request[DROP] = int(number) if what == "drop" else NEVER
            return await answer(request)

        return handle

    def _inside(self, name: str, answer: Callable[[Sandbox, web.Request], Awaitable[web.StreamResponse]]) -> Any:
        """`answer` of the sandbox that the request names; 502 where there is none."""

        async def handle(request: web.Request) -> web.StreamResponse:
            sandbox = self._alive.get(request.headers.get("E2b-Sandbox-Id", ""))
            if sandbox is None:
                return said(502, "The sandbox was not found")
            return await answer(sandbox, request)

        return self._faulty(name, handle)

    async def _create(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("X-API-KEY") != self.KEY:
            return said(401, "Invalid API key")
        asked = await request.json()
        folder = Path(tempfile.mkdtemp(dir=self._folder.name))
        sandbox = Sandbox(f"i{next(self._numbers):04}", asked, folder, self.limits, self.root_commands)
        self.made.append(sandbox)
        self._alive[sandbox.id] = sandbox
        self._live_for(sandbox, asked["timeout"])
        body = {"templateID": asked["templateID"], "sandboxID": sandbox.id, "clientID": "c", "envdVersion": "0.6.8"}
        return web.json_response(body, status=201)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("X-API-KEY") != self.KEY:
            return said(401, "Invalid API key")
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
            return said(404, "no such sandbox")
        self.killed.append(request.match_info["id"])
        await self._end(request.match_info["id"])
        return web.Response(status=204)

    async def _set_timeout(self, request: web.Request) -> web.StreamResponse:
        if (sandbox := self._alive.get(request.match_info["id"])) is None:
            return said(404, "no such sandbox")
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
