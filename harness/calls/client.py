"""The Caller: asks one endpoint for one stage, and keeps every reply in the ledger before it hands it on.

    async with Caller(endpoint, ledger, stage="edu_score", budget=Budget(dollars=20), prices=prices) as caller:
        reply = await caller.ask(messages, schema=Score, sample=0, prompt_version="1f0c")
        async for row, outcome in caller.map(rows, make_request):
            ...

What is in the ledger is not asked again. The rest is asked over the openai client (`wire.py`), as many at once as the
endpoint bears (`pacing.py`), with bounded tries (`faults.py`) and bounded repairs of replies that break their schema.
A row's own failure is a Failure; what concerns all rows is raised as a CallsStopped.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Self, TypeVar

from pydantic import BaseModel

from harness.calls.endpoint import FORMS, Budget, Endpoint, EndpointError, Limits
from harness.calls.faults import Fault, fault_of
from harness.calls.halt import Halt
from harness.calls.ledger import Ledger
from harness.calls.outcome import (
    CallFailed,
    CallsStopped,
    EndpointDown,
    EndpointRefused,
    Failure,
    Reply,
    Tally,
    from_kept,
    to_kept,
)
from harness.calls.pacing import Pace
from harness.calls.prices import Prices
from harness.calls.reading import read_reply, usable
from harness.calls.request import Message, Request, encode, key_of, longest_reply, payload, repaired
from harness.calls.spending import Cost
from harness.calls.structured import Unusable
from harness.calls.till import Till
from harness.calls.wire import Wire

Row = TypeVar("Row")

WINDOW = 4
"""Rows in hand, in multiples of the calls at once: a slow row holds up nobody until so many have come after it."""
SHOWN = 500
"""Characters of a reply that a Failure shows."""
GRACE_S = 60.0
"""A try that was not settled this long after its time is up is counted as lost by whoever opens the ledger next."""

logger = logging.getLogger(__name__)


class _FormRefused(Exception):
    """The endpoint does not take the present way of asking for a schema."""


class Caller:
    """Calls of one stage to one endpoint; see the module's text. Belongs to one event loop."""

    def __init__(
        self,
        endpoint: Endpoint,
        ledger: Ledger,
        stage: str,
        budget: Budget | None = None,
        limits: Limits | None = None,
        prices: Prices | None = None,
    ) -> None:
        """Raises EndpointError where the key is missing, PriceError for a budget in dollars without a price."""
        self.endpoint, self.ledger, self.stage = endpoint, ledger, stage
        self.limits = limits or Limits()
        self.pace = Pace(self.limits.at_once, self.limits.start)
        self.form = endpoint.reply_form
        longest_s = self.limits.try_s + GRACE_S
        self._till = Till(endpoint, ledger, stage, budget or Budget(), prices or Prices({}), longest_s)
        self._secret = endpoint.key()
        self._wire: Wire | None = None
        self._halt = Halt()
        self._asking: dict[bytes, asyncio.Event] = {}
        self._fruitless = 0

    async def __aenter__(self) -> Self:
        self._wire = Wire(self.endpoint, self._secret, self.limits.at_once)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._wire is not None:
            await self._wire.close()

    async def ask(
        self,
        messages: Sequence[Message],
        *,
        schema: type[BaseModel] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        sample: int = 0,
        prompt_version: str = "",
        max_tokens: int | None = None,
    ) -> Reply:
        """A usable reply. Raises CallFailed (this question's), CallsStopped (no further calls), LedgerError."""
        outcome = await self.answer(Request(messages, schema, tools, sample, prompt_version, max_tokens))
        if isinstance(outcome, Failure):
            raise CallFailed(outcome)
        return outcome

    async def answer(self, request: Request) -> Reply | Failure:
        """The same for a Request, with this question's failure as a value."""
        while True:
            form, body = self.form, encode(payload(self.endpoint, request, self.form))
            key = key_of(self.endpoint, body, request)
            async with self._alone(key):
                try:
                    return self._known(key, request) or await self._pay(key, body, request, form)
                except _FormRefused as refused:
                    if request.schema is None or form == FORMS[-1]:
                        return self._kept_failure(key, Failure("400", str(refused)))
                    if self.form == form:
                        self.form = FORMS[FORMS.index(form) + 1]
                        logger.warning("%s: %s; asking by %s from now on.", self.endpoint.name, refused, self.form)

    async def map(
        self, rows: Iterable[Row], make_request: Callable[[Row], Request], window: int | None = None
    ) -> AsyncIterator[tuple[Row, Reply | Failure]]:
        """Every row with its outcome, in the order of `rows`, at most `window` rows in hand.

        `rows` is read inside the event loop: for a slow source use `feed.replies`. When calls are stopped, those in
        flight are awaited and kept before CallsStopped is raised.
        """
        pending: deque[tuple[Row, asyncio.Task[Reply | Failure]]] = deque()
        most = window or WINDOW * self.limits.at_once
        try:
            for row in rows:
                pending.append((row, asyncio.create_task(self.answer(make_request(row)))))
                while pending and (len(pending) >= most or pending[0][1].done()):
                    yield pending[0][0], await pending[0][1]
                    pending.popleft()
            while pending:
                yield pending[0][0], await pending[0][1]
                pending.popleft()
        except CallsStopped:
            await asyncio.gather(*(task for _, task in pending), return_exceptions=True)
            raise
        finally:
            for _, task in pending:
                task.cancel()
            await asyncio.gather(*(task for _, task in pending), return_exceptions=True)

    @asynccontextmanager
    async def _alone(self, key: bytes) -> AsyncIterator[None]:
        """One at a time a question: whoever comes second finds the first one's reply in the ledger."""
        while (other := self._asking.get(key)) is not None:
            await other.wait()
        self._asking[key] = asyncio.Event()
        try:
            yield
        finally:
            self._asking.pop(key).set()

    def _known(self, key: bytes, request: Request) -> Reply | Failure | None:
        kept = self.ledger.outcome(key)
        if kept is None:
            return None
        try:
            return from_kept(kept, request.schema)
        except Unusable as stale:
            logger.warning("a kept reply of %s no longer fits its schema and is asked anew (%s).", self.stage, stale)
            return None

    async def _pay(self, key: bytes, body: bytes, request: Request, form: Any) -> Reply | Failure:
        """Ask until there is a usable reply or a bound is reached."""
        now = asyncio.get_running_loop().time
        tally, ends = Tally(), now() + self.limits.total_s
        faults, repairs, text = 0, 0, ""
        while True:
            try:
                outcome = await self._try(key, body, request, tally, ends)
            except Unusable as unusable:
                text, repairs = unusable.text[:SHOWN], repairs + 1
                if unusable.reason == "refused" or repairs > self.limits.repairs:
                    return self._kept_failure(key, Failure(unusable.reason, unusable.detail, text, tally.bill()))
                body = encode(payload(self.endpoint, repaired(request, unusable), form))
                continue
            if isinstance(outcome, Reply):
                return outcome
            failure = Failure(outcome.reason, outcome.detail, text, tally.bill())
            if outcome.then == "row":
                return self._kept_failure(key, failure)
            faults += 1
            wait = self._wait(outcome, faults)
            if faults >= self.limits.tries or now() + wait > ends:
                return self._given_up(failure)
            await self._halt.pause(wait)

    async def _try(self, key: bytes, body: bytes, request: Request, tally: Tally, ends: float) -> Reply | Fault:
        """One try, counted however it ends. Raises Unusable for a reply that cannot be used."""
        if self._wire is None:
            raise EndpointError("a Caller is used inside `async with Caller(...) as caller`.")
        longest = longest_reply(self.endpoint, request)
        async with self.pace.slot() as slot:
            ticket, most = await self._till.open(key, body, longest, self._halt)
            outcome, cost, reply = "cancelled", most, None  # unless something better is known
            try:
                left = min(self.limits.try_s, ends - asyncio.get_running_loop().time())
                async with asyncio.timeout(max(left, 0.001)):
                    reading = read_reply(await self._wire.complete(body))
                outcome, cost, self._fruitless = "answered", self._till.cost(reading.usage, most), 0
                value = usable(reading, request.schema, longest)
                tally.add(outcome, cost)
                reply = Reply(
                    reading.text, reading.reasoning, reading.tool_calls, reading.finish_reason, tally.bill(), value
                )
                return reply
            except Unusable as unusable:
                outcome, unusable.text = unusable.reason, reading.text
                tally.add(outcome, cost)
                raise
            except Exception as error:
                fault = fault_of(error)
                fault = replace(fault, detail=self._redacted(fault.detail))
                outcome, cost, slot.refused = fault.reason, most if fault.unseen else Cost(), fault.for_load
                tally.add(outcome, cost)
                self._stop_for(fault)
                return fault
            finally:
                self.ledger.settle(ticket, outcome, cost, None if reply is None else to_kept(reply))

    def _wait(self, fault: Fault, faults: int) -> float:
        if fault.retry_after is not None:
            return fault.retry_after
        longest = min(self.limits.longest_wait_s, self.limits.first_wait_s * 2.0 ** min(faults - 1, 30))
        return longest * random.uniform(0.5, 1.0)

    def _kept_failure(self, key: bytes, failure: Failure) -> Failure:
        """A failure that asking again would not mend: kept, so that it is not paid for again."""
        self.ledger.fail(key, self.stage, to_kept(failure))
        return failure

    def _given_up(self, failure: Failure) -> Failure:
        """A failure of the endpoint's: not kept. Too many in a row stop everything, before all rows are dropped."""
        self._fruitless += 1
        if self._fruitless >= self.limits.give_up_after:
            raise self._halt.stop(
                EndpointDown(
                    f"endpoint {self.endpoint.name} ({self.endpoint.base_url}): {self._fruitless} rows of {self.stage} "
                    f"failed one after another, the last with {failure.reason} ({failure.detail}). Look after the "
                    "endpoint and start again; what was answered is not paid again."
                )
            )
        return failure

    def _stop_for(self, fault: Fault) -> None:
        if fault.then == "form":
            raise _FormRefused(fault.detail)
        if fault.then == "run":
            raise self._halt.stop(
                EndpointRefused(
                    f"endpoint {self.endpoint.name} ({self.endpoint.base_url}, {self.endpoint.model}) refuses the "
                    f"calls of {self.stage}: {fault.detail}. Mend that and start again; no row was dropped for it."
                )
            )

    def _redacted(self, text: str) -> str:
        return text.replace(self._secret, "[key]") if self.endpoint.key_env else text
