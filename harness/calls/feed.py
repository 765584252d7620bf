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
from contextlib import contextmanager
from typing import Generic, TypeVar

from harness.calls.client import WINDOW, Caller
from harness.calls.outcome import CallsStopped, Failure, Reply
from harness.calls.request import Request

Row = TypeVar("Row")

TOGETHER = 16
"""Rows that are handed to the thread at once while it has enough to do: to wake it for each costs more than a call."""


def replies(
    caller: Caller, rows: Iterable[Row], make_request: Callable[[Row], Request], window: int | None = None
) -> Iterator[tuple[Row, Reply | Failure]]:
    """Every row with its outcome, in order; `window` bounds the rows in hand (None: four times the calls at once).

    Opens and closes `caller`, which can be used once so. When calls are stopped, those in flight are awaited and kept
    before CallsStopped is raised. To close the iterator early cancels what is in flight.
    """
    most = window or WINDOW * caller.limits.at_once
    with _loop() as loop:
        asyncio.run_coroutine_threadsafe(caller.__aenter__(), loop).result()
        desk = _Desk[Row](caller, loop)
        try:
            for row in rows:
                desk.put(row, make_request(row))
                while desk.in_hand and (len(desk.in_hand) >= most or desk.in_hand[0].done):
                    yield desk.take()
            while desk.in_hand:
                yield desk.take()
        except CallsStopped:
            desk.wait_for_all()
            raise
        finally:
            asyncio.run_coroutine_threadsafe(_end(caller), loop).result()


class _Asked(Generic[Row]):
    """A row in hand. `done` is set last, by the loop's thread."""

    __slots__ = ("done", "error", "outcome", "request", "row")

    def __init__(self, row: Row, request: Request) -> None:
        self.row, self.request, self.done = row, request, False
        self.outcome: Reply | Failure | None = None
        self.error: BaseException | None = None


class _Desk(Generic[Row]):
    """Where the stage's thread puts rows and takes outcomes, in order, and the loop's thread works on them."""

    def __init__(self, caller: Caller, loop: asyncio.AbstractEventLoop) -> None:
        self._caller, self._loop = caller, loop
        self.in_hand: deque[_Asked[Row]] = deque()
        self._fresh: list[_Asked[Row]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun = self._settled = 0  # each counted by one thread alone
        self._awaited: _Asked[Row] | None = None
        self._wake = threading.Event()

    def put(self, row: Row, request: Request) -> None:
        """Have a request answered, at once or with the next few."""
        asked = _Asked(row, request)
        self.in_hand.append(asked)
        self._fresh.append(asked)
        if len(self._fresh) >= TOGETHER or self._begun - self._settled < 2 * self._caller.limits.at_once:
            self._hand_over()

    def take(self) -> tuple[Row, Reply | Failure]:
        """The first row in hand with its outcome, waited for. Raises what its question raised."""
        asked = self.in_hand[0]
        self._wait(asked)
        self.in_hand.popleft()
        if asked.error is not None:
            raise asked.error
        assert asked.outcome is not None
        return asked.row, asked.outcome

    def wait_for_all(self) -> None:
        """Wait for all that was begun, whatever its end; what was not begun is let go."""
        begun = [asked for asked in self.in_hand if asked not in self._fresh]
        self._fresh.clear()
        for asked in begun:
            self._wait(asked)

    def _wait(self, asked: _Asked[Row]) -> None:
        if asked.done:
            return
        self._hand_over()
        self._awaited = asked
        while not asked.done:  # what wakes may also be the end of the one before
            self._wake.wait()
            self._wake.clear()

    def _hand_over(self) -> None:
        if self._fresh:
            batch, self._fresh = self._fresh, []
            self._begun += len(batch)
            self._loop.call_soon_threadsafe(self._begin, batch)

    def _begin(self, batch: list[_Asked[Row]]) -> None:
        """In the loop's thread."""
        for asked in batch:
            task = self._loop.create_task(self._answer(asked))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, asked: _Asked[Row]) -> None:
        try:
            asked.outcome = await self._caller.answer(asked.request)
        except BaseException as error:
            asked.error = error
        finally:
            self._settled += 1
            asked.done = True
            if self._awaited is asked:
                self._wake.set()


async def _end(caller: Caller) -> None:
    """Cancel what still runs, and let it settle with the ledger, before the connections are closed."""
    running = asyncio.all_tasks() - {asyncio.current_task()}
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await caller.__aexit__()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed, for its calls cost less; else asyncio's own."""
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
