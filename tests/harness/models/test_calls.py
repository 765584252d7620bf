"""Qwen3 Instruct, Thinking and Coder: each case of `tool_calls.jsonl` is understood, and rendered token for token."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageTool, ChatMessageUser, ContentReasoning
from inspect_ai.tool import ToolInfo, ToolParams
from inspect_ai.util import JSONSchema

from harness.models.chat import assistant_message, parse_completion
from harness.models.tokens import ChatTemplate

HERE = Path(__file__).parent
CASES: list[dict[str, Any]] = [
    json.loads(line) for line in (HERE / "tool_calls.jsonl").read_text(encoding="utf-8").splitlines()
]
NAMES = [case["case"] for case in CASES]
PLOT = ToolInfo(
    name="plot",
    description="Plots.",
    parameters=ToolParams(
        properties={
            "points": JSONSchema(type="array"),
            "grid": JSONSchema(anyOf=[JSONSchema(type="boolean"), JSONSchema(type="null")]),
            "width": JSONSchema(type="integer"),
            "title": JSONSchema(anyOf=[JSONSchema(type="string"), JSONSchema(type="null")]),
        }
    ),
)
CODE = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Z"], include_characters="\n\t"))


@pytest.fixture(scope="module")
def templates(tokenizer: Any) -> dict[str, ChatTemplate]:
    """Templates of the three formats, over one small tokenizer."""
    from trl import chat_template_utils as trl_templates

    texts = {
        "instruct": trl_templates.qwen3_instruct_2507_training_chat_template,
        "thinking": trl_templates.qwen3_training_chat_template,
        "coder": (HERE / "coder.jinja").read_text(encoding="utf-8"),
    }
    return {name: ChatTemplate(with_template(tokenizer, text), name) for name, text in texts.items()}


def with_template(tokenizer: Any, text: str) -> Any:
    other = copy.copy(tokenizer)
    other.chat_template = text
    return other


def xml(**arguments: str) -> str:
    parameters = "".join(f"<parameter={name}>\n{value}\n</parameter>\n" for name, value in arguments.items())
    return f"<tool_call>\n<function=python>\n{parameters}</function>\n</tool_call>"


def parts(message: ChatMessageAssistant) -> tuple[str | None, str]:
    if isinstance(message.content, str):
        return None, message.content
    thoughts = [part.reasoning for part in message.content if isinstance(part, ContentReasoning)]
    return "\n".join(thoughts), message.text


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_completion_becomes_the_expected_message(case: dict[str, Any]) -> None:
    message = assistant_message(parse_completion(case["text"]), tools=[PLOT])
    assert parts(message) == (case["reasoning"], case["content"])
    calls = message.tool_calls or []
    assert [call.function for call in calls] == [expected["name"] for expected in case["calls"]]
    for call, expected in zip(calls, case["calls"], strict=True):
        if "error" in expected:
            assert expected["error"] in (call.parse_error or "")
            assert call.arguments == {}
        else:
            assert (call.parse_error, call.arguments) == (None, expected["arguments"])


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_what_was_sampled_is_rendered_again_token_for_token(
    case: dict[str, Any], templates: dict[str, ChatTemplate]
) -> None:
    template = templates[case["case"].partition(":")[0]]
    history: list[ChatMessage] = [ChatMessageUser(content="How many?")]
    sampled = [*template.ids(case["text"]), template.closing_id]
    first = template.prompt(history, [PLOT])
    completion, metadata = template.sampled(first, sampled)
    history += [assistant_message(completion, metadata, [PLOT]), ChatMessageTool(content="3")]
    if metadata["rendering"] == "inexact":  # Thinking's template writes a whole thought before every turn
        assert template.name == "thinking"
        assert not (case["text"].startswith("<think>\n") and "\n</think>\n\n" in case["text"])
        return
    second = template.prompt(history, [PLOT])
    assert second.rollout_ids == first.ids + tuple(sampled)


def test_coder_calls_of_another_provider_are_rendered_as_the_model_writes_them(
    templates: dict[str, ChatTemplate],
) -> None:
    call = {"type": "function", "function": {"name": "python", "arguments": '{"code": "1", "comment": "Look."}'}}
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    rendered = templates["coder"].render([{"role": "user", "content": "u"}, message])
    assert rendered.endswith(f"<|im_start|>assistant\n{xml(code='1', comment='Look.')}<|im_end|>\n")


def test_a_template_of_qwens_later_models_takes_coder_calls_too(tokenizer: Any) -> None:
    from trl import chat_template_utils as trl_templates

    template = ChatTemplate(with_template(tokenizer, trl_templates.qwen3_5_think_training_chat_template))
    assert not template.takes_text
    assert template.rendering(parse_completion("Two tables.\n</think>\n\n" + xml(code="1"))) != "inexact"


@settings(deadline=None)
@given(code=CODE, comment=CODE)
def test_any_code_survives_coders_format(code: str, comment: str) -> None:
    [call] = parse_completion(xml(code=code, comment=comment)).calls
    assert json.loads(call.arguments) == {"code": code, "comment": comment}


def test_the_model_is_told_the_format_that_it_tried_to_write() -> None:
    [coder] = parse_completion("<tool_call>\n<function=python>\n1\n</tool_call>").calls
    [hermes] = parse_completion("<tool_call>\n{oops\n</tool_call>").calls
    assert "<function=NAME>" in (coder.error or "")
    assert "JSON object" in (hermes.error or "")
    assert "<function" not in (hermes.error or "")
