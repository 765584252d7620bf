"""For the tests of calls: a ledger, a schema, rows, and a Caller that waits little."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from harness.calls.client import Caller
from harness.calls.endpoint import Endpoint, Limits
from harness.calls.ledger import Ledger
from harness.calls.request import Request

QUICK = Limits(at_once=16, start=16, try_s=10.0, total_s=60.0, first_wait_s=0.01, longest_wait_s=0.05)


def with_limits(**others: Any) -> Limits:
    """QUICK, but for `others`."""
    return replace(QUICK, **others)


class Score(BaseModel):
    model_config = ConfigDict(extra="forbid")

    score: int
    why: str


def score_request(row: int, **options: Any) -> Request:
    """The stand-in answers with the last user message that holds JSON, so each row has its own right answer."""
    answer = json.dumps({"score": row, "why": "because"})
    return Request([{"role": "user", "content": answer}], schema=Score, **options)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "calls.sqlite") as opened:
        yield opened


@pytest.fixture
def caller_of(ledger: Ledger) -> Callable[..., Caller]:
    """A Caller of the stage "score" at an address."""

    def make(base_url: str, limits: Limits = QUICK, **options: Any) -> Caller:
        fields = {name: options.pop(name) for name in list(options) if name in Endpoint.__dataclass_fields__}
        return Caller(Endpoint("judge", base_url, "stand-in", **fields), ledger, "score", limits=limits, **options)

    return make


def first_json(payload: dict[str, Any]) -> str:
    """The right answer, also after a repair was asked for."""
    return next(str(m["content"]) for m in payload["messages"] if str(m["content"]).startswith("{"))
