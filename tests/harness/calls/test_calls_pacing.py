"""The pace: never more at once than allowed, fewer when refused, as many as the endpoint bears."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from harness.calls.pacing import Pace


def drive(pace: Pace, calls: int, refuses: Callable[[int], bool]) -> list[int]:
    """Make `calls` calls, each a few turns of the event loop long; how many were in flight at each one's start."""
    seen = []

    async def call() -> None:
        async with pace.slot() as slot:
            seen.append(pace.busy)
            slot.refused = refuses(pace.busy)
            await asyncio.sleep(0)

    async def all_calls() -> None:
        await asyncio.gather(*(call() for _ in range(calls)))

    asyncio.run(all_calls())
    return seen


def test_an_endpoint_that_bears_all_gets_all_and_never_more() -> None:
    pace = Pace(most=64, start=8)
    seen = drive(pace, 2000, lambda _: False)
    assert max(seen) == 64
    assert pace.limit == 64
    assert pace.busy == 0


def test_an_endpoint_that_bears_twenty_gets_about_twenty() -> None:
    pace = Pace(most=64, start=8)
    drive(pace, 5000, lambda busy: busy > 20)
    assert 12 <= pace.limit <= 26


def test_refusals_for_no_reason_cost_little() -> None:
    chance = random.Random(0)
    pace = Pace(most=64, start=8)
    drive(pace, 5000, lambda _: chance.random() < 0.05)
    assert pace.limit > 12  # halving at each would leave about sqrt(2 / 0.05) = 6


def test_an_endpoint_that_refuses_all_is_still_asked_one_by_one() -> None:
    pace = Pace(most=64, start=8)
    seen = drive(pace, 200, lambda _: True)
    assert seen[-1] == 1
    assert pace.limit == 1


def test_a_limit_that_is_not_reached_is_not_raised() -> None:
    pace = Pace(most=64, start=8)

    async def one_by_one() -> None:
        for _ in range(100):
            async with pace.slot():
                pass

    asyncio.run(one_by_one())
    assert pace.limit == 8


@pytest.mark.parametrize("admitted", [False, True], ids=["waiting", "admitted in the same turn"])
def test_a_call_that_is_cancelled_while_it_waits_gives_its_turn_on(admitted: bool) -> None:
    async def cancelled() -> int:
        pace, hold = Pace(most=1, start=1), asyncio.Event()

        async def call() -> None:
            async with pace.slot():
                await hold.wait()

        first, second, third = (asyncio.create_task(call()) for _ in range(3))
        await asyncio.sleep(0)
        if admitted:
            hold.set()
            await first
        second.cancel()
        hold.set()
        await asyncio.wait_for(asyncio.gather(first, second, third, return_exceptions=True), 5)
        return pace.busy

    assert asyncio.run(cancelled()) == 0
