"""Every limit ends a sample that is then scored: wrong for want of an answer, never an error, the limit in the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval
from inspect_ai.model import ModelCost, ModelInfo, ModelOutput, ModelUsage, get_model, set_model_info
from inspect_ai.model._model_info import clear_model_info_cache

from harness.records import Question
from results.from_log import result_from_log
from tasks.generated_qa import generated_qa


@pytest.fixture
def price() -> Iterator[None]:
    """A dollar a call: 1,000 tokens of input at 1,000 dollars a million."""
    dollars = ModelCost(input=1000, output=0, input_cache_write=0, input_cache_read=0)
    set_model_info("mockllm/model", ModelInfo(cost=dollars))
    yield
    clear_model_info_cache()


def never_ends(*_: Any) -> ModelOutput:
    """A model that only ever runs one more cell, and thinks about 0.2 s of it."""
    output = ModelOutput.for_tool_call("mockllm/model", "python", {"code": "import time\ntime.sleep(0.2)"}, content="")
    output.usage = ModelUsage(input_tokens=1000, output_tokens=10, total_tokens=1010)
    return output


@pytest.mark.usefixtures("price")
@pytest.mark.parametrize(
    ("limit", "value", "named", "calls"),
    [
        ("turn_limit", 3, "turn", 4),
        ("token_limit", 2500, "token", 3),
        ("message_limit", 6, "message", None),
        ("time_limit", 1, "time", None),
        ("working_limit", 1, "working", None),
        ("cost_limit", 2.5, "cost", 3),
    ],
)
def test_a_sample_that_runs_into_a_limit_is_wrong_and_not_an_error(
    limit: str,
    value: float,
    named: str,
    calls: int | None,
    question: Callable[..., Question],
    question_set: Callable[..., Path],
    tmp_path: Path,
) -> None:
    task = generated_qa(str(question_set(question(1))))
    model = get_model("mockllm/model", custom_outputs=never_ends, memoize=False)
    options: dict[str, Any] = {limit: value, "temperature": 0.5, "seed": 11}
    [log] = eval(task, model=model, log_dir=str(tmp_path / "logs"), display="none", **options)
    assert log.status == "success", log.error
    [sample] = log.samples or []
    assert sample.error is None
    assert sample.limit is not None
    assert sample.limit.type == named
    assert [score.value for score in (sample.scores or {}).values()] == ["I"]
    row = result_from_log(log.location)
    assert (row.k, row.n, row.errors) == (0, 1, 0)
    assert row.settings[limit] == value
    assert (row.settings["temperature"], row.settings["seed"], row.seeds) == (0.5, 11, (11,))
    if calls is not None:  # Inspect stops after the call that goes beyond the limit, which is paid for too
        assert row.tokens == 1010 * calls
        assert (row.cost_usd, row.cost_basis) == (pytest.approx(1.0 * calls), "prices")
