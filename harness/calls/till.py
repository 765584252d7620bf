"""The till of one stage at one endpoint: no try is made before it is written down and within the budget.

ticket, most = await till.open(key, body, longest=4096)      # BudgetStop where there is no room
ledger.settle(ticket, "answered", till.cost(usage, most))
"""

from __future__ import annotations

import asyncio

from harness.calls.endpoint import Budget, Endpoint
from harness.calls.halt import Halt
from harness.calls.ledger import Ledger, Ticket
from harness.calls.outcome import BudgetStop
from harness.calls.prices import PriceError, Prices
from harness.calls.reading import Usage
from harness.calls.request import most_tokens
from harness.calls.spending import Cost

POLL_S = 0.05
"""How often a try without room looks whether those in flight came in cheaper than they might have."""


class Till:
    """Opens and prices tries; see the module's text."""

    def __init__(
        self, endpoint: Endpoint, ledger: Ledger, stage: str, budget: Budget, prices: Prices, longest_s: float
    ) -> None:
        """`longest_s`: the longest a try can last. Raises PriceError for a budget in dollars without a price."""
        self.ledger, self.stage, self.budget, self.longest_s = ledger, stage, budget, longest_s
        self.price = prices.of(endpoint)
        self._names = (stage, endpoint.name, endpoint.model)
        if budget.dollars is not None and self.price is None:
            raise PriceError(
                f"a budget in dollars needs the price of {endpoint.model}. Add it to the price list: "
                f"{endpoint.model}: {{input: DOLLARS_PER_MILLION, output: DOLLARS_PER_MILLION}}"
            )

    async def open(self, key: bytes, body: bytes, longest: int, halt: Halt) -> tuple[Ticket, Cost]:
        """Write a try down; with it, the most it can cost. Waits while calls in flight may yet leave room for it."""
        tokens_in, tokens_out = most_tokens(body, longest)
        dollars = self.price.dollars(tokens_in, tokens_out) if self.price else 0.0
        most = Cost(unseen_tokens=tokens_in + tokens_out, unseen_dollars=dollars)
        while True:
            halt.check()
            begun = self.ledger.begin(key, self._names, most, self.budget, self.longest_s)
            if isinstance(begun, Ticket):
                return begun, most
            if begun == 0:
                raise halt.stop(
                    BudgetStop(
                        f"the budget of {self.budget} has no room for the next call of {self.stage}, which may take "
                        f"{most.unseen_tokens:,} tokens (${dollars:.4f}). So far: {self.ledger.totals()}. Raise the "
                        "budget to go on; nothing that was answered is paid again."
                    )
                )
            self.ledger.count_lost()
            await asyncio.sleep(POLL_S)

    def cost(self, usage: Usage | None, most: Cost) -> Cost:
        """What a reply cost by the endpoint's own count; without one, the most it can be."""
        if usage is None:
            return most
        if self.price is None:
            return Cost(usage, None)
        return Cost(usage, self.price.dollars(usage.input_tokens, usage.output_tokens, usage.cached_tokens))
