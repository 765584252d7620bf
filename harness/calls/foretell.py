"""What a stage will cost, before it is paid: tokens, money and hours, each as a range.

    requests, rows = draw(map(make_request, all_rows), 50, seed=0)
    print(estimate(requests, rows, endpoint, limits, prices))    # free: from the sizes of prompts
    print(await measure(caller, requests, rows))                 # asks the sample; its replies are kept, not wasted

`estimate` rests on the assumptions below and says so. `measure` gives 95% intervals of the mean over the sample; they
do not cover an endpoint that is slower or faster later.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from harness.calls.client import Caller
from harness.calls.endpoint import Endpoint, Limits
from harness.calls.outcome import Failure
from harness.calls.prices import Price, Prices
from harness.calls.request import Request, encode, longest_reply, payload

Item = TypeVar("Item")

BYTES_A_TOKEN = (4.5, 3.6, 2.5)
"""Assumed of a prompt: low, likely and high end of its tokens (English prose, notebooks, tables of numbers)."""
SHARE_OF_LONGEST = (0.05, 0.3, 1.0)
"""Assumed of a reply: its length as a share of the longest that is allowed."""
TOKENS_A_SECOND = (150.0, 50.0, 15.0)
"""Assumed of an endpoint: tokens a second of one reply."""


class ForetellError(ValueError):
    """Nothing can be foretold; the message says why."""


@dataclass(frozen=True)
class Range:
    """What is likely, and between what bounds."""

    low: float
    likely: float
    high: float

    def __str__(self) -> str:
        return f"{_short(self.likely)} ({_short(self.low)} to {_short(self.high)})"


@dataclass(frozen=True)
class Forecast:
    """Tokens, dollars (None: the model has no price) and hours for `rows` rows, out of `sampled` of them.

    `failed`: rows of the sample without a usable reply. `basis` says what it rests on.
    """

    rows: int
    sampled: int
    failed: int
    input_tokens: Range
    output_tokens: Range
    dollars: Range | None
    hours: Range
    basis: str

    def __str__(self) -> str:
        money = "no price was given" if self.dollars is None else f"${self.dollars}"
        return (
            f"{self.rows:,} rows, from {self.sampled:,} sampled ({self.basis}): {self.input_tokens} tokens in, "
            f"{self.output_tokens} out; {money}; {self.hours} hours"
        ) + f"; {self.failed:,} of the sample failed" * bool(self.failed)


def draw(items: Iterable[Item], count: int, seed: int) -> tuple[list[Item], int]:
    """A uniform sample of `count` items, and how many there are; reads them once, keeps only the sample."""
    chance, seen = random.Random(seed), 0
    kept: list[Item] = []
    for item in items:
        seen += 1
        if len(kept) < count:
            kept.append(item)
        elif (place := chance.randrange(seen)) < count:
            kept[place] = item
    return kept, seen


def estimate(requests: Sequence[Request], rows: int, endpoint: Endpoint, limits: Limits, prices: Prices) -> Forecast:
    """From the sizes of the prompts alone: nothing is asked, nothing paid. Raises ForetellError for an empty sample."""
    if not requests:
        raise ForetellError("there are no rows to foretell from.")
    sizes = [len(encode(payload(endpoint, request, endpoint.reply_form))) for request in requests]
    longest = [longest_reply(endpoint, request) for request in requests]
    in_mean, out_mean = sum(sizes) / len(sizes), sum(longest) / len(longest)
    tokens_in = _each(lambda size: rows * in_mean / size, BYTES_A_TOKEN)
    tokens_out = _each(lambda share: rows * out_mean * share, SHARE_OF_LONGEST)
    ends = zip(SHARE_OF_LONGEST, TOKENS_A_SECOND, strict=True)
    low, likely, high = (rows * out_mean * share / speed / limits.at_once / 3600 for share, speed in ends)
    return Forecast(
        rows,
        len(requests),
        0,
        tokens_in,
        tokens_out,
        _dollars(prices.of(endpoint), tokens_in, tokens_out),
        Range(low, likely, high),
        "estimated from prompt sizes, without a call",
    )


async def measure(caller: Caller, requests: Sequence[Request], rows: int) -> Forecast:
    """From replies to the sample, which are paid and kept. Raises ForetellError for fewer than two, CallsStopped."""
    if len(requests) < 2:
        raise ForetellError("a measured forecast needs a sample of two rows or more.")
    outcomes = await asyncio.gather(*(caller.answer(request) for request in requests))
    bills = [outcome.bill for outcome in outcomes]
    dollars = [bill.dollars for bill in bills if bill.dollars is not None]
    totals = caller.ledger.totals(caller.stage)
    seconds = totals.seconds / max(totals.answered, 1)
    at_once, at_first = caller.limits.at_once, min(caller.limits.start, caller.limits.at_once)
    return Forecast(
        rows,
        len(requests),
        sum(isinstance(outcome, Failure) for outcome in outcomes),
        _mean([bill.input_tokens for bill in bills], rows),
        _mean([bill.output_tokens for bill in bills], rows),
        _mean(dollars, rows) if len(dollars) == len(bills) else None,
        Range(*(rows * seconds / calls / 3600 for calls in (at_once, max(at_first, at_once / 2), at_first))),
        f"measured; hours if the endpoint bears {at_once} to {at_first} calls at once",
    )


def _mean(values: Sequence[float], rows: int) -> Range:
    """Student's interval of the mean, times the rows."""
    from scipy.stats import t

    count = len(values)
    mean = math.fsum(values) / count
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1) / count)
    reach = float(t.ppf(0.975, count - 1)) * spread
    return Range(max(0.0, mean - reach) * rows, mean * rows, (mean + reach) * rows)


def _each(of: Callable[[float], float], ends: tuple[float, float, float]) -> Range:
    low, likely, high = (of(end) for end in ends)
    return Range(low, likely, high)


def _dollars(price: Price | None, tokens_in: Range, tokens_out: Range) -> Range | None:
    if price is None:
        return None
    ends = zip(vars(tokens_in).values(), vars(tokens_out).values(), strict=True)
    low, likely, high = (price.dollars(round(into), round(out)) for into, out in ends)
    return Range(low, likely, high)


def _short(value: float) -> str:
    """1.2M, 340k, 12.5, 0.034."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if value >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g}{unit}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
