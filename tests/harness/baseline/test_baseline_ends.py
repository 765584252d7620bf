"""How a baseline sample ends without its answer: out of steps, by a limit, by its provider; and what is kept of it."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from inspect_ai.event import InfoEvent
from inspect_ai.log import EvalSample
from inspect_ai.model import (
    ChatMessage,
    ModelOutput,
)

import dabstep._registry  # noqa: F401  (the kernel sandbox, by its name)
from tests.harness.baseline.conftest import Reply, Run, answer, block, cells, model_calls, question, score

pytest.importorskip("smolagents", reason="the extra `baseline` is not installed")


def test_after_ten_steps_the_model_is_asked_for_its_answer_in_words(
    play: Callable[..., tuple[EvalSample, Run]],
) -> None:
    sample, _ = play(*[block(f"print({n})") for n in range(10)], "It is six, I believe.")
    assert len(cells(sample)) == 10
    assert len(model_calls(sample)) == 11
    assert (score(sample), answer(sample)) == ("I", "It is six, I believe.")
    assert sample.messages[-1].text == "It is six, I believe."
    [ended] = [event.data for event in sample.events if isinstance(event, InfoEvent) and event.source == "smolagents"]
    assert ended == {"steps": 10, "state": "max_steps_error"}


def test_no_answer_at_all_is_graded_wrong(play: Callable[..., tuple[EvalSample, Run]]) -> None:
    sample, _ = play(*[block("1 + 1")] * 10, "")
    assert (score(sample), answer(sample)) == ("I", None)


def threads_in_the_agent() -> list[str]:
    """Threads that are still inside smolagents' loop; idle workers of the event loop's pool are not."""
    stacks = [traceback.extract_stack(frame) for frame in sys._current_frames().values()]
    return [line.name for stack in stacks for line in stack if "/smolagents/" in line.filename]


@pytest.mark.parametrize(
    ("limit", "kind", "count"),
    [({"turn_limit": 3}, "turn", 3), ({"token_limit": 30}, "token", 2), ({"time_limit": 3}, "time", 1)],
)
def test_inspects_limits_end_it_and_it_is_scored(
    play: Callable[..., tuple[EvalSample, Run]], limit: dict[str, int], kind: str, count: int
) -> None:
    first = "import time\nprint('begun')\n" + ("time.sleep(60)" if kind == "time" else "1")
    sample, run = play(block(first), block("1 + 1"), **limit)
    assert sample.limit is not None
    assert (sample.limit.type, score(sample), answer(sample)) == (kind, "I", None)
    assert len(cells(sample)) == (count if kind != "time" else 0)
    assert run.traces[0].stop_reason == kind
    assert sample.messages[-1].role == "assistant"
    assert not threads_in_the_agent()


def test_a_limit_that_strikes_in_the_model_ends_it(tmp_path: Path) -> None:
    async def slow(*_: object) -> ModelOutput:
        import anyio

        await anyio.sleep(60)
        raise AssertionError

    run = Run(tmp_path, lambda *_: "")
    run._reply = slow  # type: ignore[method-assign, assignment]
    [sample] = run(question(), time_limit=2)
    assert sample.limit is not None
    assert (sample.limit.type, score(sample)) == ("time", "I")


def test_a_failing_provider_fails_the_sample_and_is_not_told_to_the_model(tmp_path: Path) -> None:
    def fail(messages: list[ChatMessage], turn: int) -> Reply:
        if turn == 1:
            raise RuntimeError("no such deployment")
        return block("1 + 1")

    run = Run(tmp_path, fail)
    [sample] = run(question())
    assert sample.error is not None
    assert "RuntimeError('no such deployment')" in sample.error.message
    assert len(run.shown) == 2


def test_a_full_context_ends_it(play: Callable[..., tuple[EvalSample, Run]]) -> None:
    full = ModelOutput.from_content("mockllm", "", stop_reason="model_length")
    sample, run = play(block("1 + 1"), full)
    assert (score(sample), len(model_calls(sample))) == ("I", 2)
    assert run.traces[0].stop_reason == "model_length"
