"""How a question ended: a Reply, a Failure of that row, or an exception that stops all calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pydantic import BaseModel

from harness.calls.spending import Cost
from harness.calls.structured import parse

Model = TypeVar("Model", bound=BaseModel)


class CallsStopped(RuntimeError):
    """No further call can be made; the message says why, and the mend. What was answered is in the ledger."""


class BudgetStop(CallsStopped):
    """The next call might go beyond the budget."""


class EndpointRefused(CallsStopped):
    """The endpoint refuses whoever calls, not a row: no key, no money, no such model."""


class EndpointDown(CallsStopped):
    """Row after row failed for the endpoint's faults."""


@dataclass(frozen=True)
class Bill:
    """What one question cost: `tries` by outcome ("answered", or why not), tokens, dollars (None: no price)."""

    tries: Mapping[str, int] = field(default_factory=dict)
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    dollars: float | None = 0.0

    def __str__(self) -> str:
        return ", ".join(f"{outcome} {count}" for outcome, count in self.tries.items())


@dataclass(frozen=True)
class Reply:
    """A reply that can be used.

    `value` is the checked object where a schema was asked for; `tool_calls` are as the model sent them; `bill` counts
    every try it took; `paid_before`: it came out of the ledger and cost nothing now.
    """

    text: str
    reasoning: str | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    finish_reason: str = "stop"
    bill: Bill = Bill()
    value: BaseModel | None = None
    paid_before: bool = False

    def parsed(self, schema: type[Model]) -> Model:
        """`value`, typed. Raises TypeError where the question asked for another schema."""
        if not isinstance(self.value, schema):
            raise TypeError(f"the reply holds {type(self.value).__name__}, not {schema.__name__}")
        return self.value


@dataclass(frozen=True)
class Failure:
    """A question that got no usable reply within its bounds.

    `reason` is short and stable, for tables; `text` is the beginning of the last reply, where there was one.
    """

    reason: str
    detail: str
    text: str = ""
    bill: Bill = Bill()
    paid_before: bool = False


class CallFailed(RuntimeError):
    """Raised by `Caller.ask` for a Failure, which it holds."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.reason}: {failure.detail} [tries: {failure.bill}]")
        self.failure = failure


def to_kept(outcome: Reply | Failure) -> dict[str, Any]:
    """The fields that the ledger keeps; only a Failure has `reason`, by which the ledger tells them apart."""
    kept = vars(outcome) | {"bill": vars(outcome.bill)}
    return {name: value for name, value in kept.items() if name not in ("value", "paid_before")}


def from_kept(kept: dict[str, Any], schema: type[BaseModel] | None) -> Reply | Failure:
    """The outcome again, its value checked anew. Raises Unusable where `schema` has become stricter in its code."""
    kept = kept | {"bill": Bill(**kept["bill"]), "paid_before": True}
    if "reason" in kept:
        return Failure(**kept)
    reply = Reply(**kept | {"tool_calls": tuple(kept["tool_calls"])})
    return reply if schema is None else replace(reply, value=parse(reply.text, schema))


class Tally:
    """A bill while it grows."""

    def __init__(self) -> None:
        self._tries: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self._dollars: float | None = 0.0

    def add(self, outcome: str, cost: Cost) -> None:
        """Count one try."""
        self._tries[outcome] += 1
        self._tokens.update(vars(cost.usage))
        self._dollars = None if cost.dollars is None or self._dollars is None else self._dollars + cost.dollars

    def bill(self) -> Bill:
        """What it has come to."""
        return Bill(tries=dict(self._tries), dollars=self._dollars, **self._tokens)
