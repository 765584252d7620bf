"""A stand-in for an OpenAI-compatible endpoint: real HTTP on loopback, answers by a rule, and misbehaves on order.

    with StandIn(latency_s=0.05, faults=Faults({"429": 0.05, "hang": 0.01})) as there:
        Endpoint("judge", there.base_url, "stand-in")
        there.counts.asked      # every payload that came, and how often

A rule gets the payload and returns the reply's text, or a mapping of the message's fields (`tool_calls`,
`reasoning_content`, and `finish_reason` of the choice), or raises Refuse(status, message).

In a process of its own (for measurements: it does not share the client's interpreter):

    with stand_in_process(rule="echo", latency_s=0.05) as there: ...

It keeps to `/v1/chat/completions` without streaming.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

Rule = Callable[[dict[str, Any]], "str | Mapping[str, Any]"]

KINDS = ("429", "429 bare", "500", "502", "hang", "drop", "cut body", "cut JSON", "wrong schema", "slow")


class Refuse(Exception):
    """Raised by a rule: an error reply."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        self.status, self.message, self.code = status, message, code


@dataclass(frozen=True)
class Faults:
    """How often the endpoint misbehaves, by kind; decided by the seed, the payload and how often that payload came,
    so that the order of requests does not matter."""

    shares: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if unknown := self.shares.keys() - set(KINDS):
            raise ValueError(f"no such faults: {sorted(unknown)}; there are {', '.join(KINDS)}")

    def of(self, digest: str, nth: int) -> str | None:
        chance = random.Random(f"{self.seed} {digest} {nth}").random()
        for kind, share in self.shares.items():
            chance -= share
            if chance < 0:
                return kind
        return None


@dataclass
class Counts:
    """What came, by the SHA-256 of the payload; `answered`: whole, right replies. `kinds` counts what was done."""

    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    at_once: int = 0
    most_at_once: int = 0

    @property
    def requests(self) -> int:
        return sum(self.asked.values())


def echo(payload: dict[str, Any]) -> str:
    """The last message again."""
    return str(payload["messages"][-1]["content"])


@dataclass
class Service:
    """The endpoint's behaviour; runs in whatever loop serves it."""

    rule: Rule = echo
    latency_s: float = 0.0
    most_at_once: int | None = None
    per_second: float | None = None
    retry_after_s: float | None = None
    faults: Faults = Faults()
    key: str | None = None
    counts: Counts = field(default_factory=Counts)
    _room: float = 1.0
    _filled: float = field(default_factory=time.monotonic)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024**2)
        app.router.add_post("/v1/chat/completions", self.complete)
        app.router.add_get("/counts", self.tell)
        return app

    async def tell(self, _: web.Request) -> web.Response:
        return web.json_response(vars(self.counts))

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        digest, counts = hashlib.sha256(body).hexdigest(), self.counts
        counts.asked[digest] += 1
        if self.key is not None and request.headers.get("Authorization") != f"Bearer {self.key}":
            return self._refusal(401, f"Incorrect API key provided: {request.headers.get('Authorization')}")
        if self._is_full():
            return self._refusal(429, "too many requests")
        counts.at_once += 1
        counts.most_at_once = max(counts.most_at_once, counts.at_once)
        try:
            return await self._act(request, body, digest, self.faults.of(digest, counts.asked[digest]))
        finally:
            counts.at_once -= 1

    def _is_full(self) -> bool:
        if self.most_at_once is not None and self.counts.at_once >= self.most_at_once:
            return True
        if self.per_second is None:
            return False
        now = time.monotonic()
        room = self._room + (now - self._filled) * self.per_second
        self._room, self._filled = min(room, max(1.0, self.per_second / 10)), now
        if self._room < 1:
            return True
        self._room -= 1
        return False

    def _refusal(self, status: int, message: str, code: str | None = None, bare: bool = False) -> web.Response:
        self.counts.kinds[str(status)] += 1
        wait = {} if bare or self.retry_after_s is None or status != 429 else {"Retry-After": f"{self.retry_after_s}"}
        return web.json_response({"error": {"message": message, "code": code}}, status=status, headers=wait)

    async def _act(self, request: web.Request, body: bytes, digest: str, fault: str | None) -> web.StreamResponse:
        if fault in ("429", "429 bare", "500", "502"):
            return self._refusal(int(fault[:3]), "on order", bare=fault == "429 bare")
        if fault is not None:
            self.counts.kinds[fault] += 1
        if fault == "hang":
            await asyncio.sleep(3600)
        await asyncio.sleep(self.latency_s)
        try:
            text = _completion(json.loads(body), self.rule, fault)
        except Refuse as refuse:
            return self._refusal(refuse.status, refuse.message, refuse.code)
        if fault == "cut body":
            return web.Response(text=text[: len(text) // 2], content_type="application/json")
        if fault in ("drop", "slow"):
            return await _trickle(request, text.encode(), fault == "drop")
        if fault is None:
            self.counts.kinds["answered"] += 1
            self.counts.answered[digest] += 1
        return web.Response(text=text, content_type="application/json")


def _completion(payload: dict[str, Any], rule: Rule, fault: str | None) -> str:
    answer = rule(payload)
    message: dict[str, Any] = {"role": "assistant", "content": None}
    message |= {"content": answer} if isinstance(answer, str) else answer
    finish = message.pop("finish_reason", "tool_calls" if message.get("tool_calls") else "stop")
    if fault in ("cut JSON", "wrong schema"):
        message, finish = _spoiled(message, fault == "cut JSON"), "length" if fault == "cut JSON" else finish
    tokens_in, tokens_out = len(json.dumps(payload["messages"])) // 4, len(json.dumps(message)) // 4
    usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    whole = {"id": "stand-in", "object": "chat.completion", "created": 0, "model": payload["model"]}
    return json.dumps(whole | {"choices": [choice], "usage": usage})


def _spoiled(message: dict[str, Any], cut: bool) -> dict[str, Any]:
    """The message with its JSON cut in half, or with another object in its place; of tool calls their arguments."""

    def spoil(text: str) -> str:
        return text[: len(text) // 2] if cut else '{"unheard_of": [1, 2, 3]}'

    if not message.get("tool_calls"):
        return message | {"content": spoil(message["content"])}
    calls = [
        call | {"function": call["function"] | {"arguments": spoil(call["function"]["arguments"])}}
        for call in message["tool_calls"]
    ]
    return message | {"tool_calls": calls}


async def _trickle(request: web.Request, body: bytes, drop: bool) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await response.prepare(request)
    pieces = [body[at : at + len(body) // 8 + 1] for at in range(0, len(body), len(body) // 8 + 1)]
    for piece in pieces[: len(pieces) // 2 if drop else None]:
        await response.write(piece)
        await asyncio.sleep(0.02)
    if drop and request.transport is not None:
        request.transport.abort()
    return response


async def _serve(service: Service, port: int = 0) -> tuple[web.AppRunner, str]:
    runner = web.AppRunner(service.app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/v1"


class StandIn:
    """The endpoint in a thread of this process; see the module's text. Options are those of Service."""

    def __init__(self, rule: Rule = echo, port: int = 0, **options: Any) -> None:
        self.service, self.port = Service(rule, **options), port
        self.counts = self.service.counts
        self.base_url = ""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner, self.base_url = self._run(_serve(self.service, self.port))
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


@dataclass(frozen=True)
class Elsewhere:
    """A stand-in in another process."""

    base_url: str

    def counts(self) -> Counts:
        with urllib.request.urlopen(self.base_url.removesuffix("/v1") + "/counts") as reply:
            told = json.load(reply)
        return Counts(
            *(Counter(told[name]) for name in ("asked", "answered", "kinds")), told["at_once"], told["most_at_once"]
        )


@contextmanager
def stand_in_process(rule: str = "echo", **options: Any) -> Iterator[Elsewhere]:
    """The endpoint in a process of its own. `rule` names a function of this file; `faults` is a mapping of shares."""
    command = [sys.executable, __file__, json.dumps({"rule": rule, **options})]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        yield Elsewhere(child.stdout.readline().strip())
    finally:
        child.kill()
        child.communicate()


async def _main(options: dict[str, Any]) -> None:
    faults = Faults(options.pop("faults", {}), options.pop("seed", 0))
    _, base_url = await _serve(Service(globals()[options.pop("rule")], faults=faults, **options))
    print(base_url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.argv[1])))
