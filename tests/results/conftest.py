"""What the tests of the results room share: ledger rows, traces and questions with only what a test cares about."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from harness.kernel.protocol import CellResult
from harness.records import Message, Question, Result, ToolCallRecord, Trace, Verdict
from results.intervals import interval


@pytest.fixture
def row() -> Callable[..., Result]:
    """Makes a complete run row; what is named is changed. The interval follows k and n unless it is given."""

    def make(k: int = 54, n: int = 72, **changes: Any) -> Result:
        fields: dict[str, Any] = {
            "kind": "run",
            "task": "dabstep_easy",
            "split": "easy",
            "model": "checkpoint/runs/epoch-3",
            "checkpoint": "epoch 3",
            "scaffold": "notebook",
            "exposure": "general",
            "k": k,
            "n": n,
            "errors": 0,
            "interval": interval(k, n),
            "seeds": (1,),
            "tokens": 1_234_567,
            "cost_basis": "local" if changes.get("cost_usd") is None else "prices",
            "wall_s": 245.0,
            "commit": "0" * 40,
            "data_hash": "sha256:" + "a" * 64,
            "model_hash": "sha256:" + "b" * 64,
            "log": "logs/easy.eval",
            "recorded_at": "2026-01-31T12:00:00+00:00",
        }
        return Result.model_validate(fields | changes)

    return make


@pytest.fixture
def trace() -> Callable[..., Trace]:
    """Makes a trace of one cell and an answer; what is named is changed."""

    def make(
        question_id: str = "q1", correct: bool | None = True, cell: CellResult | None = None, **changes: Any
    ) -> Trace:
        ran = cell or CellResult(code="1 + 1", status="ok", result="2", execution_count=1)
        calls = (
            ToolCallRecord(id="1", name="python", arguments=json.dumps({"code": ran.code})),
            ToolCallRecord(id="2", name="final_answer", arguments='{"answer": "2"}'),
        )
        fields: dict[str, Any] = {
            "question_id": question_id,
            "question": "What is one and one?",
            "guidelines": "Answer with a number.",
            "level": "primer",
            "family": "sums",
            "source": "parcels",
            "source_id": "seed-9",
            "licence": "Apache-2.0",
            "model": "checkpoint/runs/epoch-3",
            "scaffold": "notebook",
            "messages": (
                Message(role="system", content="You work in a notebook."),
                Message(role="user", content="What is one and one?"),
                Message(role="assistant", content="I add them.", tool_calls=calls[:1]),
                Message(role="tool", content=ran.text(), tool_call_id="1"),
                Message(role="assistant", content="", tool_calls=calls[1:]),
                Message(role="tool", content="Answer received.", tool_call_id="2"),
            ),
            "cells": (ran,),
            "verdict": Verdict(correct=correct, answer="2" if correct else "3", target="2"),
            "stop_reason": "answered",
            "executor": "bwrap",
            "log": "logs/easy.eval",
        }
        return Trace.model_validate(fields | changes)

    return make


@pytest.fixture
def question() -> Callable[..., Question]:
    """Makes a question of a family with an answer."""
    made = iter(range(10_000))

    def make(family: str | None, answer: str | None) -> Question:
        return Question(
            id=f"q{next(made)}",
            question="How many?",
            level="primer",
            answer=answer,
            source="parcels",
            source_id="seed-9",
            family=family,
            licence="Apache-2.0",
            checked="oracle",
        )

    return make
