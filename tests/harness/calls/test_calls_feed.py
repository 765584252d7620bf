"""Many rows through a Caller: in order, few in hand, the same within an event loop, and what stays when it stops."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from harness.calls.client import Caller
from harness.calls.feed import replies
from harness.calls.ledger import Ledger
from harness.calls.outcome import CallsStopped, Reply
from tests.harness.calls.conftest import Score, first_json, score_request
from tests.stand_ins.endpoint import Faults, Refuse, StandIn

CallerOf = Callable[..., Caller]


def test_rows_come_in_order_with_few_in_hand(caller_of: CallerOf) -> None:
    read = 0

    def rows() -> Any:
        nonlocal read
        for row in range(300):
            read += 1
            yield row

    with StandIn(latency_s=0.001) as there:
        stream = replies(caller_of(there.base_url), rows(), score_request, window=20)
        for number, (row, _) in enumerate(stream):
            assert number == row
            assert read <= row + 20


def test_an_iterator_that_is_closed_early_cancels_what_is_in_flight(caller_of: CallerOf, ledger: Ledger) -> None:
    with StandIn(rule=first_json, faults=Faults({"hang": 0.3})) as there:
        stream = replies(caller_of(there.base_url), iter(range(100)), score_request, window=10)
        next(row for row, _ in stream)
        stream.close()
    assert ledger.in_flight() == 0


def test_map_is_the_same_inside_an_event_loop(caller_of: CallerOf) -> None:
    async def scores() -> list[int]:
        async with caller_of(there.base_url) as caller:
            return [
                o.parsed(Score).score async for _, o in caller.map(range(50), score_request) if isinstance(o, Reply)
            ]

    with StandIn() as there:
        assert asyncio.run(scores()) == list(range(50))


def test_a_stop_inside_map_keeps_what_was_in_flight(caller_of: CallerOf, ledger: Ledger) -> None:
    def rule(payload: dict[str, Any]) -> str:
        if json.loads(payload["messages"][-1]["content"])["score"] == 3:
            raise Refuse(401, "expired")
        return str(payload["messages"][-1]["content"])

    async def scores() -> None:
        async with caller_of(there.base_url) as caller:
            async for _ in caller.map(range(10), score_request):
                pass

    with StandIn(rule=rule, latency_s=0.02) as there, pytest.raises(CallsStopped):
        asyncio.run(scores())
    assert ledger.totals().tries == {"answered": 9, "401": 1}
    assert ledger.in_flight() == 0
