"""Which model a stage asks: the endpoints of a run's YAML, and what their calls may cost.

    endpoints:
      judge:  {base_url: http://localhost:8000/v1, model: Qwen/Qwen3-32B, max_tokens: 2048, limits: {at_once: 128}}
      writer: {base_url: https://api.example.com/v1, model: large, key_env: EXAMPLE_KEY, sampling: {temperature: 0.7}}
    calls: {dollars: 50, prices: prices.yaml}
    stages:
      edu_score: {endpoint: judge}

An endpoint's settings are those of `harness.calls.endpoint.Endpoint`, and under `limits` those of `Limits` (`at_once`
is of one rank: ranks that run at the same time each have it). Keys are named by their environment variable. Every reply
is in the run's ledger before it is used: a rank that is run again pays for nothing twice but what was in flight.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.calls.client import Caller
from harness.calls.endpoint import Budget, Endpoint, Limits
from harness.calls.foretell import draw, estimate
from harness.calls.ledger import Ledger
from harness.calls.prices import Prices
from harness.calls.request import Request
from pipeline.row import NotebookRow
from pipeline.runs.config import CallSettings, ConfigError, read_dataclass
from pipeline.runs.stages import StageContext, shards

SAMPLE = 50
"""Rows from which a stage's cost is foretold."""


@dataclass(frozen=True)
class Model:
    """An endpoint of the run with its limits, prices and the run's budget."""

    endpoint: Endpoint
    limits: Limits
    prices: Prices
    budget: Budget

    def caller(self, ledger: Ledger, stage: str) -> Caller:
        """A Caller for one use. Raises EndpointError for a missing key, PriceError for a budget without a price."""
        return Caller(self.endpoint, ledger, stage, self.budget, self.limits, self.prices)


def model_of(context: StageContext[Any], name: str) -> Model:
    """The endpoint `name` of the run. Raises ConfigError where there is none or a setting of it is wrong."""
    raw = context.endpoints.get(name)
    if not isinstance(raw, Mapping):
        there = ", ".join(context.endpoints) or "none"
        raise ConfigError(
            f"stages.{context.name}: asks the endpoint {name!r}, and `endpoints` names {there}. Add "
            f"`endpoints: {{{name}: {{base_url: ..., model: ...}}}}`."
        )
    where = f"endpoints.{name}"
    settings = {key: value for key, value in raw.items() if key != "limits"}
    endpoint = read_dataclass(Endpoint, {"name": name, **settings}, where)
    limits = read_dataclass(Limits, raw.get("limits") or {}, f"{where}: limits")
    calls = _calls(context)
    prices = Prices.read(Path(calls.prices)) if calls.prices else Prices({})
    return Model(endpoint, limits, prices, Budget(calls.dollars, calls.tokens))


def open_ledger(context: StageContext[Any]) -> Ledger:
    """The run's ledger. Raises LedgerError."""
    return Ledger(context.run / _calls(context).ledger.replace("{host}", socket.gethostname()))


def identity(context: StageContext[Any], names: Sequence[str]) -> dict[str, str]:
    """What of these endpoints a stage's rows depend on: for its `models`."""
    told = {}
    for name in names:
        endpoint = model_of(context, name).endpoint
        sampling = " ".join(f"{key}={value}" for key, value in sorted(endpoint.sampling.items()))
        told[name] = f"{endpoint.model} at {endpoint.address}, {endpoint.max_tokens} tokens {sampling}".strip()
    return told


def foretold(
    context: StageContext[Any], endpoint: str, request: Callable[[NotebookRow], Request], each: str = "row"
) -> list[str]:
    """A stage's cost, from the sizes of a sample of its prompts, without a call; or why that cannot be told yet."""
    model = model_of(context, endpoint)
    if context.before is None or not shards(context.before):
        return [
            f"{model.endpoint.model}: the stage before has no rows yet; run it first (--stage) to foretell this one"
        ]
    requests, rows = draw(map(request, context.rows_before()), SAMPLE, seed=0)
    if not requests:
        return [f"{model.endpoint.model}: no rows, nothing to pay"]
    forecast = estimate(requests, rows, model.endpoint, model.limits, model.prices)
    return [f"{model.endpoint.model}, a call a {each}: {forecast}"]


def _calls(context: StageContext[Any]) -> CallSettings:
    return context.calls or CallSettings()
