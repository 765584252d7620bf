"""How near the calls come to what an endpoint's latency allows, and what limits them: `make bench-calls`.

Against the stand-in of tests/stand_ins/endpoint.py in a process of its own (50 ms, 100 calls at once: 2,000 a second is
all that can be had), in turn: bare aiohttp, the openai client as its manual shows it, the same client as `wire.py` uses
it, and the whole Caller with ledger, pacing, schema and tries counted. Then 50,000 rows through `feed.replies` with the
memory of the process before, during and after, and the paces found against an endpoint that refuses. Writes
results/runs/bench/calls.json and prints it as a table. CPU time is what to compare on a machine with other work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.progress import track

from harness.calls.client import Caller
from harness.calls.endpoint import Endpoint, Limits
from harness.calls.feed import new_event_loop, replies
from harness.calls.ledger import Ledger
from harness.calls.outcome import Failure
from harness.calls.request import Request, encode, payload
from harness.calls.wire import Wire
from tests.stand_ins.endpoint import stand_in_process

LATENCY_S, AT_ONCE = 0.05, 100
PROMPT = "A notebook's text. " * 200  # 3.8 KB, a short notebook
ALLOWED = AT_ONCE / LATENCY_S

console = Console()


class Score(BaseModel):
    """What a scoring stage asks for."""

    score: int
    why: str


def request(row: int) -> Request:
    """A row's question; the stand-in answers with the last message."""
    answer = json.dumps({"score": row, "why": "because"})
    return Request([{"role": "system", "content": PROMPT}, {"role": "user", "content": answer}], schema=Score)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results/runs/bench/calls.json"))
    parser.add_argument("--calls", type=int, default=4000, help="calls of each client, each time")
    parser.add_argument("--times", type=int, default=3, help="turns; the best of each client counts")
    parser.add_argument("--rows", type=int, default=50_000, help="rows of the memory measurement")
    options = parser.parse_args()
    found = {
        "allowed_per_second": ALLOWED,
        "load_before": os.getloadavg()[0],
        "clients": clients(options.calls, options.times),
        "memory": memory(options.rows),
        "refusals": refusals(),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    partial = options.output.with_suffix(".partial")
    partial.write_text(json.dumps(found, indent=1) + "\n")
    partial.replace(options.output)
    console.print_json(data=found)
    console.print(f"written to {options.output}")


def clients(calls: int, times: int) -> dict[str, dict[str, float]]:
    """Calls a second, the share of what is allowed, and CPU milliseconds a call, of each client at its best."""
    ways = {"aiohttp": bare, "openai, as in its manual": manual, "openai, bytes": wired, "Caller": called}
    found: dict[str, dict[str, float]] = {}
    for name in [name for _ in range(times) for name in ways]:
        loop = asyncio.Runner(loop_factory=new_event_loop)  # the loop that stages ask in
        with stand_in_process(latency_s=LATENCY_S) as there, loop as runner:
            measured = runner.run(timed(ways[name], there.base_url, calls))
        console.print(f"{name}: {measured}")
        best = found.setdefault(name, measured)
        for figure, better in (("per_second", max), ("share_of_allowed", max), ("cpu_ms", min)):
            best[figure] = better(best[figure], measured[figure])
    return found


Ask = Callable[[int], Awaitable[Any]]


async def timed(way: Callable[[str], Any], base_url: str, calls: int) -> dict[str, float]:
    """`calls` calls, AT_ONCE at once."""
    rows = iter(range(calls))
    async with way(base_url) as ask:

        async def worker() -> None:
            for row in rows:
                await ask(row)

        await asyncio.gather(*(ask(-1 - number) for number in range(AT_ONCE)))  # connections are made
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        lasted, cpu = time.perf_counter() - began, time.process_time() - cpu
    per_second = calls / lasted
    return {
        "per_second": round(per_second, 1),
        "share_of_allowed": round(per_second / ALLOWED, 3),
        "cpu_ms": round(cpu / calls * 1000, 3),
    }


@asynccontextmanager
async def bare(base_url: str) -> AsyncIterator[Ask]:
    """aiohttp alone, nothing kept."""
    import aiohttp

    endpoint = Endpoint("bench", base_url, "stand-in")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session:

        async def ask(row: int) -> str:
            body = encode(payload(endpoint, request(row), "json_schema"))
            async with session.post(f"{base_url}/chat/completions", data=body) as response:
                return str((await response.json())["choices"][0]["message"]["content"])

        yield ask


@asynccontextmanager
async def manual(base_url: str) -> AsyncIterator[Ask]:
    """The openai client with aiohttp, by its resource methods; nothing kept."""
    import openai

    endpoint = Endpoint("bench", base_url, "stand-in")
    client = openai.AsyncOpenAI(base_url=base_url, api_key="none", http_client=openai.DefaultAioHttpClient())
    async with client:

        async def ask(row: int) -> str | None:
            reply = await client.chat.completions.create(**payload(endpoint, request(row), "json_schema"))
            return str(reply.choices[0].message.content)

        yield ask


@asynccontextmanager
async def wired(base_url: str) -> AsyncIterator[Ask]:
    """The openai client as wire.py uses it; nothing kept."""
    endpoint = Endpoint("bench", base_url, "stand-in")
    wire = Wire(endpoint, "none", AT_ONCE)

    async def ask(row: int) -> bytes:
        return await wire.complete(encode(payload(endpoint, request(row), "json_schema")))

    yield ask
    await wire.close()


@asynccontextmanager
async def called(base_url: str) -> AsyncIterator[Ask]:
    """Everything."""
    with ledger() as kept:
        async with Caller(Endpoint("bench", base_url, "stand-in"), kept, "bench", limits=limits()) as caller:

            async def ask(row: int) -> int:
                outcome = await caller.answer(request(row))
                assert not isinstance(outcome, Failure), outcome
                return outcome.parsed(Score).score

            yield ask


def memory(rows: int) -> dict[str, Any]:
    """Resident memory (MB) while `rows` rows pass through `feed.replies`."""
    sizes: list[float] = []
    with stand_in_process(latency_s=LATENCY_S) as there, ledger() as kept:
        caller = Caller(Endpoint("bench", there.base_url, "stand-in"), kept, "bench", limits=limits())
        began, cpu = time.perf_counter(), time.process_time()
        stream = replies(caller, range(rows), request)
        for row, outcome in track(stream, "memory", total=rows, console=console):
            assert not isinstance(outcome, Failure), outcome
            assert outcome.parsed(Score).score == row
            if (row + 1) % max(1, rows // 50) == 0:
                sizes.append(resident_mb())
        lasted = time.perf_counter() - began
        counts = there.counts()
    return {
        "rows": rows,
        "asked": counts.requests,
        "seconds": round(lasted, 1),
        "per_second": round(rows / lasted, 1),
        "cpu_ms": round((time.process_time() - cpu) / rows * 1000, 3),
        "resident_mb_after_a_tenth": sizes[len(sizes) // 10],
        "resident_mb_at_the_end": sizes[-1],
        "resident_mb_at_most": max(sizes),
    }


def refusals() -> dict[str, dict[str, float]]:
    """Rates and wasted calls against an endpoint that bears 300 calls a second, and one that refuses 5% anyhow."""
    ways: dict[str, tuple[dict[str, Any], int]] = {
        "300 a second": ({"per_second": 300, "retry_after_s": 0.2}, 6000),
        "300 a second, no Retry-After": ({"per_second": 300}, 6000),
        "5% refused for no reason": ({"faults": {"429": 0.05}}, 6000),
    }
    found = {}
    for name, (options, calls) in ways.items():
        with stand_in_process(latency_s=LATENCY_S, **options) as there, ledger() as kept:
            endpoint = Endpoint("bench", there.base_url, "stand-in")
            caller = Caller(endpoint, kept, "bench", limits=Limits(at_once=AT_ONCE, tries=30))
            began = time.perf_counter()
            failed = sum(isinstance(outcome, Failure) for _, outcome in replies(caller, range(calls), request))
            lasted = time.perf_counter() - began
            asked = there.counts().requests
        found[name] = {
            "per_second": round((calls - failed) / lasted, 1),
            "wasted_share": round((asked - calls) / asked, 3),
            "failed": failed,
            "at_once_in_the_end": round(caller.pace.limit, 1),
        }
        console.print(f"{name}: {found[name]}")
    return found


def limits() -> Limits:
    """As many at once from the beginning as the measurement is about."""
    return Limits(at_once=AT_ONCE, start=AT_ONCE)


@contextmanager
def ledger() -> Iterator[Ledger]:
    """A ledger on this machine's disk, for one measurement."""
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "calls.sqlite") as opened:
        yield opened


def resident_mb() -> float:
    """This process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


if __name__ == "__main__":
    main()
