"""Tokens, dollars and time: where there is no price the reason is given, and a part is never taken for the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSampleSummary, EvalSpec, EvalStats
from inspect_ai.model import ModelUsage

from results.broken_off import Attempt, broken_off
from results.spent import Spent, is_local, spent


def usage(tokens: int, cost: float | None) -> ModelUsage:
    return ModelUsage(input_tokens=tokens, total_tokens=tokens, total_cost=cost)


def of(model: str, *samples: dict[str, ModelUsage], base_url: str | None = None) -> Spent:
    """What a log with these samples says; its header holds their sum, as Inspect adds it up."""
    total: dict[str, ModelUsage] = {}
    for each in samples:
        for name, used in each.items():
            total[name] = total.get(name, ModelUsage()) + used
    spec: dict[str, Any] = {"created": "2026-01-31T12:00:00+00:00", "task": "t", "task_id": "abc", "model": model}
    header = EvalLog(
        eval=EvalSpec(**spec, model_base_url=base_url, dataset=EvalDataset(), config=EvalConfig()),
        stats=EvalStats(
            started_at="2026-01-31T12:00:00+00:00", completed_at="2026-01-31T12:01:30+00:00", model_usage=total
        ),
    )
    summaries = [
        EvalSampleSummary(id=number, epoch=1, input="?", target="7", model_usage=each)
        for number, each in enumerate(samples)
    ]
    return spent(header, summaries, Path("logs/nowhere_abc.eval"))


def test_priced_calls_are_added_up() -> None:
    found = of("openai/gpt-5", {"openai/gpt-5": usage(10, 0.5)}, {"openai/gpt-5": usage(20, 1.0)})
    assert (found.tokens, found.cost_usd, found.cost_basis, found.wall_s) == (30, 1.5, "prices", 90.0)


def test_a_price_that_some_calls_lack_makes_the_whole_unpriced() -> None:
    """Inspect's own sum, 0.5 here, would pass a part for the whole."""
    found = of("openai/gpt-5", {"openai/gpt-5": usage(10, 0.5)}, {"openai/gpt-5": usage(20, None)})
    assert (found.cost_usd, found.cost_basis) == (None, "unpriced")


def test_a_model_behind_an_api_without_a_price_is_unpriced_and_ones_own_is_local() -> None:
    assert of("openai/gpt-5", {"openai/gpt-5": usage(10, None)}).cost_basis == "unpriced"
    assert of("checkpoint/x", {"checkpoint/x": usage(10, None)}).cost_basis == "local"


def test_a_model_of_ones_own_beside_a_priced_one_costs_nothing() -> None:
    found = of("checkpoint/x", {"checkpoint/x": usage(10, None), "openai/gpt-5": usage(20, 1.0)})
    assert (found.cost_usd, found.cost_basis) == (1.0, "prices")


@pytest.mark.parametrize(
    ("model", "base_url", "local"),
    [
        ("vllm/Qwen/Qwen3-4B", None, True),
        ("vllm/Qwen/Qwen3-4B", "https://gpu.example.org/v1", False),
        ("openai-api/lab/m", "http://localhost:8000/v1", True),
        ("openai-api/lab/m", None, False),
        ("anthropic/claude", None, False),
    ],
)
def test_where_a_model_runs_is_told_by_its_provider_and_address(model: str, base_url: str | None, local: bool) -> None:
    assert is_local(model, base_url) is local


def test_what_killed_attempts_lost_is_added_up_and_what_nobody_knows_is_counted() -> None:
    read = Attempt(seconds=5, tokens=240, costs=(0.25, 0.5), unanswered_calls=2, read=True)
    lost = broken_off([read, Attempt(seconds=3), read])
    assert lost is not None
    assert (lost.times, lost.tokens, lost.cost_usd) == (3, 480, 1.5)
    assert (lost.unanswered_calls, lost.unread) == (4, 1)
    assert broken_off([]) is None
    unpriced = broken_off([Attempt(seconds=1, tokens=5, costs=(0.25, None), read=True)])
    assert unpriced is not None
    assert unpriced.cost_usd is None
