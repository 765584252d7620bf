"""How many calls at once: found out while calling, one more at a time, fewer as the endpoint refuses.

    pace = Pace(most=64, start=8)
    async with pace.slot() as slot:
        slot.refused = status == 429

Additive increase, multiplicative decrease, with the decrease in proportion to the share of refusals in a window of
calls (as in DCTCP, RFC 8257): an endpoint at its capacity is met within a few windows, and one that now and then
refuses for no reason of load costs little. A refused call waits by itself; the others go on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass
class Slot:
    """One call in flight; who holds it says at its end whether the endpoint refused it for load."""

    refused: bool = False


class Pace:
    """The number of calls in flight to one endpoint, within one event loop."""

    def __init__(self, most: int, start: int) -> None:
        self.most = most
        self.limit = float(min(start, most))
        self.busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._doubling = True
        self._open_window()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """Wait for a turn, in order of arrival, and hold it."""
        await self._enter()
        slot = Slot()
        try:
            yield slot
        finally:
            self._count(slot.refused)
            self.busy -= 1
            self._admit()

    async def _enter(self) -> None:
        if self.busy < int(self.limit) and not self._waiting:
            self.busy += 1
        else:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # admitted and cancelled at once: give the turn on
                    self.busy -= 1
                    self._admit()
                raise
        self._full |= self.busy >= int(self.limit)

    def _admit(self) -> None:
        while self._waiting and self.busy < int(self.limit):
            turn = self._waiting.popleft()
            if not turn.done():
                self.busy += 1
                turn.set_result(None)

    def _open_window(self) -> None:
        self._ended = self._refused = 0
        self._full = False

    def _count(self, refused: bool) -> None:
        """At the end of a window (as many calls as are allowed at once), move the limit."""
        self._ended += 1
        self._refused += refused
        if self._ended < int(self.limit):
            return
        if self._refused:
            self._doubling = False
            self.limit = max(1.0, self.limit * (1 - self._refused / self._ended / 2))
        elif self._full:  # a limit that was not reached says nothing about a higher one
            self.limit = min(float(self.most), self.limit * 2 if self._doubling else self.limit + 1)
        self._open_window()
