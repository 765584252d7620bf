"""`--model checkpoint/NAME -M server=vllm`: real HTTP to a stand-in for vLLM, through Inspect's own client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ChatMessageUser, ContentReasoning, GenerateConfig, Model, ModelOutput, get_model
from inspect_ai.tool import ToolInfo, ToolParams
from inspect_ai.util import JSONSchema

import harness.models.checkpoint  # noqa: F401  (registers the provider)
from harness.models.served import ServedCheckpointAPI
from harness.models.vllm_server import ServerFailed

StandIn = Callable[..., Path]
PYTHON = ToolInfo(
    name="python",
    description="Runs a cell.",
    parameters=ToolParams(properties={"code": JSONSchema(type="string", description="Code.")}, required=["code"]),
)


def called(code: str) -> dict[str, Any]:
    function = {"name": "python", "arguments": json.dumps({"code": code})}
    return {"tool_calls": [{"id": "c1", "type": "function", "function": function}]}


def requests(record: Path) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    return [entry["body"] for entry in entries if "body" in entry]


@pytest.fixture
def served(checkpoint_folder: Path) -> Iterator[Callable[..., Model]]:
    """Makes models of the small checkpoint behind the stand-in, and closes them."""
    models: list[Model] = []

    def make(**options: Any) -> Model:
        models.append(get_model(f"checkpoint/{checkpoint_folder}", memoize=False, server="vllm", **options))
        return models[-1]

    yield make
    for model in models:
        model.api.close()


def ask(model: Model, *questions: str, **config: Any) -> list[ModelOutput]:
    async def together() -> list[ModelOutput]:
        try:
            return await asyncio.gather(
                *(
                    model.generate([ChatMessageUser(content=q)], [PYTHON], config=GenerateConfig(**config))
                    for q in questions
                )
            )
        finally:
            assert isinstance(model.api, ServedCheckpointAPI)
            if model.api._client is not None:
                await model.api._client.aclose()  # each call here has an event loop of its own
                model.api._client = None

    with (
        asyncio.Runner() as runner
    ):  # Inspect may have put nest_asyncio in the place of asyncio.run, which closes no loop
        return runner.run(together())


def test_a_call_comes_back_as_a_call_and_thinking_as_reasoning(stand_in: StandIn, served: Any) -> None:
    stand_in(answers=[{"reasoning": "Two tables.", **called("1")}])
    [output] = ask(served(), "How many?")
    assert isinstance(output.message.content, list)
    assert isinstance(output.message.content[0], ContentReasoning)
    assert output.message.content[0].reasoning == "Two tables."
    assert [(c.function, c.arguments) for c in output.message.tool_calls or []] == [("python", {"code": "1"})]
    assert (output.stop_reason, output.usage and output.usage.total_tokens) == ("tool_calls", 10)


def test_calls_at_the_same_time_start_one_server_with_the_checkpoints_template_and_parser(
    stand_in: StandIn, served: Any, checkpoint_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = stand_in(answers=[{"content": "3"}])
    outputs = ask(served(max_model_len=2048, gpu_memory_utilization=0.5), *map(str, range(8)))
    assert [output.completion for output in outputs] == ["3"] * 8
    [argv] = [json.loads(line)["argv"] for line in record.read_text(encoding="utf-8").splitlines() if "argv" in line]
    options = dict(pairwise(argv))
    assert options["--chat-template"] == str(checkpoint_folder / "chat_template.jinja")
    assert options["--tool-call-parser"] == "hermes"
    assert (options["--max-model-len"], options["--gpu-memory-utilization"]) == ("2048", "0.5")
    assert "--reasoning-parser" not in argv
    said = capsys.readouterr().err
    assert said.count("$ ") == 1
    assert "is ready after" in said


def test_settings_go_along_and_greedy_is_the_default(stand_in: StandIn, served: Any) -> None:
    record = stand_in(answers=[{"content": "3"}])
    model = served(max_tokens=77)
    ask(model, "a")
    ask(model, "b", temperature=0.6, top_p=0.9, top_k=20, seed=5, max_tokens=9)
    plain, warm = requests(record)
    assert (plain["temperature"], plain["max_tokens"]) == (0.0, 77)
    assert {name: warm[name] for name in ("temperature", "top_p", "top_k", "seed", "max_tokens")} == {
        "temperature": 0.6,
        "top_p": 0.9,
        "top_k": 20,
        "seed": 5,
        "max_tokens": 9,
    }
    assert not plain["tools"][0]["function"]["strict"]


def test_a_malformed_call_that_vllm_left_in_the_text_goes_back_to_the_model(stand_in: StandIn, served: Any) -> None:
    stand_in(answers=[{"content": 'Now.\n<tool_call>\n{"name": "python", "arguments": {"code": 1\n</tool_call>'}])
    [output] = ask(served(), "How many?")
    [call] = output.message.tool_calls or []
    assert "could not be read" in (call.parse_error or "")
    assert output.message.text == "Now."


def test_a_call_that_vllm_left_in_the_thinking_is_counted_and_not_executed(stand_in: StandIn, served: Any) -> None:
    stand_in(answers=[{"content": "", "reasoning": 'So <tool_call>{"name": "python", "arguments": {}}</tool_call>'}])
    [output] = ask(served(), "How many?")
    assert not output.message.tool_calls
    assert (output.message.metadata or {})["calls_in_reasoning"] == 1


def test_a_full_context_ends_the_turn(stand_in: StandIn, served: Any) -> None:
    stand_in(answers=[{"refuse": "This model's maximum context length is 256 tokens."}])
    [output] = ask(served(), "How many?")
    assert (output.stop_reason, output.completion) == ("model_length", "")


def test_a_server_that_crashes_at_a_request_is_reported_once_and_not_asked_again(
    stand_in: StandIn, served: Any
) -> None:
    record = stand_in(answers=[{"crash": "CUDA error: an illegal memory access was encountered"}])
    model = served()
    for _ in range(2):
        with pytest.raises(ServerFailed, match=r"exit status 3(.|\n)*illegal memory access"):
            ask(model, "How many?")
    assert len(requests(record)) == 1


def test_a_server_that_does_not_start_is_reported_by_every_call(stand_in: StandIn, served: Any) -> None:
    stand_in(die="torch.OutOfMemoryError: CUDA out of memory.")
    model = served()
    for _ in range(2):
        with pytest.raises(ServerFailed, match=r"before it was ready(.|\n)*out of memory"):
            ask(model, "How many?")
