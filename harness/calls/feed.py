"""Rows in, replies out, for a stage that knows no asyncio: the calls run in a thread of their own.

    for row, outcome in replies(caller, rows, make_request):
        ...

In the order of the rows, with a bounded number in hand: memory stays flat however many rows there are. While the stage
reads or writes, calls go on.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import TypeVar

from harness.calls.client import WINDOW, Caller
from harness.calls.outcome import CallsStopped, Failure, Reply
from harness.calls.request import Request

Row = TypeVar("Row")


def replies(
    caller: Caller, rows: Iterable[Row], make_request: Callable[[Row], Request], window: int | None = None
) -> Iterator[tuple[Row, Reply | Failure]]:
    """Every row with its outcome, in order; `window` bounds the rows in hand (None: four times the calls at once).

    Opens and closes `caller`, which can be used once so. When calls are stopped, those in flight are awaited and kept
    before CallsStopped is raised. To close the iterator early cancels what is in flight.
    """
    pending: deque[tuple[Row, Future[Reply | Failure]]] = deque()
    most = window or WINDOW * caller.limits.at_once
    with _loop() as loop:
        asyncio.run_coroutine_threadsafe(caller.__aenter__(), loop).result()
        try:
            for row in rows:
                pending.append((row, asyncio.run_coroutine_threadsafe(caller.answer(make_request(row)), loop)))
                while pending and (len(pending) >= most or pending[0][1].done()):
                    yield pending[0][0], pending[0][1].result()
                    pending.popleft()
            while pending:
                yield pending[0][0], pending[0][1].result()
                pending.popleft()
        except CallsStopped:
            wait([future for _, future in pending])
            raise
        finally:
            asyncio.run_coroutine_threadsafe(_end(caller), loop).result()


async def _end(caller: Caller) -> None:
    """Cancel what still runs, and let it settle with the ledger, before the connections are closed."""
    running = asyncio.all_tasks() - {asyncio.current_task()}
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await caller.__aexit__()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed, for its calls cost a fifth less; else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


@contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs in a thread."""
    loop = new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="calls", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
