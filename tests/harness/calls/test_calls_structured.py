"""Schemas and replies: what is found in a text, and what a completion's body may hold."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.calls.endpoint import Endpoint
from harness.calls.reading import Reading, Unreadable, Usage, read_reply, usable
from harness.calls.request import Request, encode, key_of, payload
from harness.calls.structured import Unusable, parse, response_format
from tests.harness.calls.conftest import Score

RIGHT = '{"score": 4, "why": "a {brace} and \\"quotes\\""}'


@pytest.mark.parametrize(
    "text",
    [
        RIGHT,
        f"```json\n{RIGHT}\n```",
        f"Here you are: {RIGHT} I hope it helps.",
        f'<think>maybe {{"score": 1, "why": "draft"}}</think>\n{RIGHT}',
        f'maybe {{"score": 1, "why": "draft"}}</think>\n{RIGHT}',
        f'First {{"score": 1, "why": "draft"}}, then better:\n{RIGHT}',
    ],
)
def test_the_object_is_found(text: str) -> None:
    assert parse(text, Score).score == 4


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        ("", "empty reply", "empty"),
        (" \n", "empty reply", "empty"),
        ("No.", "no JSON", "no whole JSON object"),
        (RIGHT[:-2], "no JSON", "no whole JSON object"),
        ('{"parts": [' + RIGHT + ", ", "no JSON", "no whole JSON object"),  # what lies inside is not the reply
        ("[1]", "no JSON", "no whole JSON object"),
        ('{"score": 4}', "wrong schema", "why: Field required"),
        ('{"score": 4, "why": "a", "more": 1}', "wrong schema", "more: Extra inputs are not permitted"),
        ("{" * 5000, "no JSON", "no whole JSON object"),
        ('{"a":' * 5000, "no JSON", "no whole JSON object"),
    ],
)
def test_what_is_wrong_is_said(text: str, reason: str, detail: str) -> None:
    with pytest.raises(Unusable) as unusable:
        parse(text, Score)
    assert unusable.value.reason == reason
    assert detail in unusable.value.detail


@given(st.text())
def test_any_text_is_an_object_or_unusable(text: str) -> None:
    assert judged(text) in ("usable", "empty reply", "no JSON", "wrong schema")


def judged(text: str) -> str:
    try:
        parse(text, Score)
    except Unusable as unusable:
        return unusable.reason
    return "usable"


def test_the_schema_is_strict_and_keeps_its_order() -> None:
    wanted: Any = response_format(Score, "json_schema")
    schema = wanted["json_schema"]["schema"]
    assert wanted["json_schema"]["strict"]
    assert list(schema["properties"]) == schema["required"] == ["score", "why"]
    assert schema["additionalProperties"] is False


def test_a_schema_in_the_prompt_joins_a_system_message() -> None:
    endpoint = Endpoint("e", "http://localhost/v1", "m")
    request = Request([{"role": "system", "content": "Judge."}, {"role": "user", "content": "?"}], schema=Score)
    messages = payload(endpoint, request, "prompt")["messages"]
    assert [message["role"] for message in messages] == ["system", "user"]
    assert messages[0]["content"].startswith("Judge.\n\n")
    assert '"score"' in messages[0]["content"]


def completion(**message: Any) -> bytes:
    choice = {"message": {"content": "hello"} | message, "finish_reason": message.pop("finish", "stop")}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}).encode()


def test_a_completion_is_read() -> None:
    reading = read_reply(completion(reasoning_content="hm"))
    assert (reading.text, reading.reasoning, reading.usage) == ("hello", "hm", Usage(3, 2, 0))
    assert read_reply(completion(content=[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])).text == "ab"


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        "many",
        {},
        {"prompt_tokens": -1, "completion_tokens": 2},
        {"prompt_tokens": 1.5, "completion_tokens": 2},
    ],
    ids=str,
)
def test_a_count_of_tokens_that_cannot_be_believed_is_none(usage: Any) -> None:
    body = json.loads(completion()) | {"usage": usage}
    assert read_reply(json.dumps(body).encode()).usage is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"finish": "length"}, "cut off"),
        ({"finish": "content_filter"}, "refused"),
        ({"refusal": "no"}, "refused"),
        ({"content": None}, "empty reply"),
    ],
)
def test_a_reply_that_cannot_be_used_says_why(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unusable) as unusable:
        usable(read_reply(completion(**changes)), None, 100)
    assert unusable.value.reason == reason


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "usage", "tool_calls", "text", "refusal"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(json_values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
def test_any_body_is_a_reading_or_unreadable(body: bytes) -> None:
    with contextlib.suppress(Unreadable):
        assert isinstance(read_reply(body), Reading)


@given(st.lists(st.binary(max_size=4), min_size=2, max_size=2, unique=True), st.integers(0, 3), st.text(max_size=3))
def test_keys_differ_where_questions_do(bodies: list[bytes], sample: int, version: str) -> None:
    endpoint = Endpoint("e", "http://localhost/v1", "m")
    ask = Request([], sample=sample, prompt_version=version)
    keys = {key_of(endpoint, body, request) for body in bodies for request in (ask, Request([], sample=sample + 1))}
    assert len(keys) == 4
    assert key_of(endpoint, bodies[0], ask) == key_of(endpoint, bodies[0], ask)


@given(st.text(alphabet=st.characters(codec=None)))
def test_any_text_can_be_sent(text: str) -> None:
    sent = json.loads(encode({"model": "m", "messages": [{"content": text}]}))
    assert len(sent["messages"][0]["content"]) == len(text)
