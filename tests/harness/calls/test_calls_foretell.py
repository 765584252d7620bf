"""Forecasts: a uniform sample, ranges that hold what then happens, and assumptions that are named."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from harness.calls.client import Caller
from harness.calls.endpoint import Endpoint
from harness.calls.feed import replies
from harness.calls.foretell import Forecast, ForetellError, Range, draw, estimate, measure
from harness.calls.ledger import Ledger
from harness.calls.prices import Price, Prices
from harness.calls.request import Request
from tests.harness.calls.conftest import QUICK, score_request
from tests.stand_ins.endpoint import StandIn

PRICES = Prices({"stand-in": Price(input=1.0, output=10.0)})
ROWS = 200


def question(row: int) -> Request:
    return Request([{"role": "user", "content": "word " * (20 + row * 7 % 50)}])


def test_a_sample_is_uniform_and_the_rest_is_counted() -> None:
    drawn: Counter[int] = Counter()
    for seed in range(2000):
        sample, count = draw(iter(range(10)), 3, seed)
        assert (len(set(sample)), count) == (3, 10)
        drawn.update(sample)
    assert all(500 < times < 700 for times in drawn.values())
    assert draw(iter(range(2)), 3, 0) == ([0, 1], 2)


def test_what_is_measured_on_a_sample_holds_for_all_rows_and_is_not_paid_twice(
    caller_of: Callable[..., Caller], ledger: Ledger
) -> None:
    async def foretell() -> Forecast:
        async with caller_of(there.base_url, prices=PRICES) as caller:
            sample, rows = draw(map(question, range(ROWS)), 40, seed=0)
            return await measure(caller, sample, rows)

    with StandIn(latency_s=0.01) as there:
        forecast = asyncio.run(foretell())
        assert (forecast.rows, forecast.sampled, forecast.failed) == (ROWS, 40, 0)
        assert len(list(replies(caller_of(there.base_url, prices=PRICES), range(ROWS), question))) == ROWS
        assert there.counts.requests == len({question(row).messages[0]["content"] for row in range(ROWS)})


def test_a_measured_range_holds_the_bill(caller_of: Callable[..., Caller], ledger: Ledger) -> None:
    def distinct(row: int) -> Request:
        return Request([*question(row).messages, {"role": "user", "content": f"{row} " + "x" * (row % 30)}])

    async def foretell() -> Forecast:
        async with caller_of(there.base_url, prices=PRICES) as caller:
            sample, rows = draw(map(distinct, range(ROWS)), 40, seed=0)
            return await measure(caller, sample, rows)

    with StandIn(latency_s=0.01) as there:
        forecast = asyncio.run(foretell())
        list(replies(caller_of(there.base_url, prices=PRICES), range(ROWS), distinct))
    totals = ledger.totals()
    assert forecast.dollars is not None
    for foretold, paid in (
        (forecast.input_tokens, totals.input_tokens),
        (forecast.output_tokens, totals.output_tokens),
        (forecast.dollars, totals.dollars),
    ):
        assert foretold.low <= paid <= foretold.high
        assert foretold.low < foretold.likely < foretold.high < 2 * foretold.likely
    assert 0 < forecast.hours.low <= forecast.hours.high


def test_an_estimate_costs_nothing_names_its_basis_and_holds_the_prompts() -> None:
    endpoint = Endpoint("far", "https://llm.example/v1", "stand-in", max_tokens=100)
    forecast = estimate([score_request(row) for row in range(10)], 1000, endpoint, QUICK, PRICES)
    assert forecast.output_tokens == Range(5_000.0, 30_000.0, 100_000.0)
    assert forecast.input_tokens.low < forecast.input_tokens.likely < forecast.input_tokens.high
    assert forecast.dollars is not None
    assert forecast.dollars.high == pytest.approx((forecast.input_tokens.high + 10 * 100_000) / 1e6, rel=1e-3)
    assert "1,000 rows, from 10 sampled (estimated from prompt sizes, without a call)" in str(forecast)
    unpriced = estimate([score_request(0)], 1000, endpoint, QUICK, Prices({}))
    assert unpriced.dollars is None
    assert "no price was given" in str(unpriced)


def test_nothing_is_foretold_from_nothing(caller_of: Callable[..., Caller]) -> None:
    with pytest.raises(ForetellError, match="no rows"):
        estimate([], 0, Endpoint("e", "http://localhost/v1", "m"), QUICK, PRICES)
    with pytest.raises(ForetellError, match="two rows or more"):
        asyncio.run(measure(caller_of("http://localhost/v1"), [score_request(1)], 10))
