"""What a run spent: tokens, dollars and time, over all of its attempts where it was broken off and resumed.

    spent(header, samples, Path("logs/x.eval"))

Dollars are those that Inspect worked out from prices it was given (`--model-cost-config`). A model that runs on a
machine of one's own has no price, and the row says *local*; where a price is lacking it says *unpriced*. Neither is 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from inspect_ai.log import EvalLog, EvalSampleSummary
from inspect_ai.model import ModelUsage

from harness.records import BrokenOff, CostBasis
from results.broken_off import broken_off, earlier_attempts, ended_attempts, killed_attempts

LOCAL = frozenset(
    {
        "checkpoint",
        "hf",
        "llama-cpp-python",
        "mockllm",
        "nnterp",
        "none",
        "ollama",
        "sglang",
        "transformer_lens",
        "vllm",
    }
)
"""Inspect's providers of models that run where the evaluation does, unless a base URL points elsewhere."""


@dataclass(frozen=True)
class Spent:
    """What a run spent; `broken_off` is a part of the totals. The fields are those of a row of the ledger."""

    tokens: int
    cost_usd: float | None
    cost_basis: CostBasis
    wall_s: float | None
    broken_off: BrokenOff | None


def spent(header: EvalLog, samples: Sequence[EvalSampleSummary], log: Path) -> Spent:
    """Add up what the log says and what its killed attempts spent for nothing."""
    earlier = earlier_attempts(header, log)
    killed = killed_attempts(earlier)
    lost = broken_off(killed)
    cost, basis = _cost(header, samples, lost)
    return Spent(
        tokens=_tokens(header, samples) + (lost.tokens if lost else 0),
        cost_usd=cost,
        cost_basis=basis,
        wall_s=_seconds(header, ended_attempts(earlier), [attempt.seconds for attempt in killed]),
        broken_off=lost,
    )


def _tokens(header: EvalLog, samples: Sequence[EvalSampleSummary]) -> int:
    """All tokens of the log. The header also counts calls of samples that were tried again, the samples those of a log
    that was resumed from another: the larger figure is the whole."""
    of_log = sum(usage.total_tokens for usage in header.stats.model_usage.values())
    return max(of_log, sum(usage.total_tokens for _, usage in _usages(samples)))


def _cost(
    header: EvalLog, samples: Sequence[EvalSampleSummary], lost: BrokenOff | None
) -> tuple[float | None, CostBasis]:
    """Dollars, and where they come from; None where no model has a price, or not every one that needs it.

    Inspect adds priced and unpriced calls as if the latter cost nothing, so every sample is looked at.
    """
    of_log = header.stats.model_usage
    used = [*of_log.items(), *_usages(samples)]
    own = {model for model, _ in used if is_local(model, header.eval.model_base_url)}
    paid = [(model, usage) for model, usage in used if usage.total_tokens and usage.total_cost is not None]
    free = [model for model, usage in used if usage.total_tokens and usage.total_cost is None]
    if set(free) - own or (paid and lost is not None and lost.cost_usd is None):
        return None, "unpriced"
    if not paid:
        return None, "local" if is_local(header.eval.model, header.eval.model_base_url) else "unpriced"
    whole = sum(usage.total_cost or 0.0 for usage in of_log.values())
    of_samples = sum(usage.total_cost or 0.0 for _, usage in _usages(samples))
    return max(whole, of_samples) + (lost.cost_usd or 0.0 if lost else 0.0), "prices"


def is_local(model: str, base_url: str | None = None) -> bool:
    """Whether a model runs on a machine of one's own, so that no call of it has a price."""
    if base_url is not None:
        return urlsplit(base_url).hostname in ("localhost", "127.0.0.1", "::1")
    return model.partition("/")[0] in LOCAL


def _usages(samples: Sequence[EvalSampleSummary]) -> Iterator[tuple[str, ModelUsage]]:
    return ((model, usage) for sample in samples for model, usage in sample.model_usage.items())


def _seconds(header: EvalLog, ended: Sequence[EvalLog], killed: Sequence[float]) -> float | None:
    """Wall time of every attempt, a killed one's up to its last sign of life; None for a log without times."""
    own = _seconds_of(header)
    if own is None:
        return None
    return round(own + sum(_seconds_of(earlier) or 0.0 for earlier in ended) + sum(killed), 3)


def _seconds_of(header: EvalLog) -> float | None:
    started, completed = header.stats.started_at, header.stats.completed_at
    if not started or not completed:
        return None
    return (datetime.fromisoformat(completed) - datetime.fromisoformat(started)).total_seconds()
