"""The one switch that stops all calls of a Caller: what was asked and not yet sent sees it before it costs anything."""

from __future__ import annotations

import asyncio
import contextlib

from harness.calls.outcome import CallsStopped


class Halt:
    """Open until something stops the calls; the first reason stands."""

    def __init__(self) -> None:
        self._reason: CallsStopped | None = None
        self._event = asyncio.Event()

    def stop(self, reason: CallsStopped) -> CallsStopped:
        """Stop; gives what to raise."""
        self._reason = self._reason or reason
        self._event.set()
        return self._reason

    def check(self) -> None:
        """Raise the reason where there is one."""
        if self._reason is not None:
            raise self._reason

    async def pause(self, seconds: float) -> None:
        """Sleep, but no longer than until the calls are stopped."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
