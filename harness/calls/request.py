"""A request as a stage makes it, the payload that is sent, and the key under which its reply is kept.

    body = encode(payload(endpoint, Request([{"role": "user", "content": "..."}], schema=Score), "json_schema"))
    key_of(endpoint, body, request)

The key is a SHA-256 of the endpoint's address, the bytes that are sent (model, messages, schema and sampling are in
them), the sample index and the prompt's version: a change in any of them is another question.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from harness.calls.endpoint import Endpoint, EndpointError, ReplyForm
from harness.calls.structured import Unusable, response_format, with_schema
from harness.prompts import prompt

Message = Mapping[str, Any]

REPEATED = 8000
"""Characters of an unusable reply that are shown to the model again."""


@dataclass(frozen=True)
class Request:
    """One question to a model.

    `messages` are OpenAI chat messages. `sample` tells apart several replies to the same question. `max_tokens` None:
    the endpoint's.
    """

    messages: Sequence[Message]
    schema: type[BaseModel] | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    sample: int = 0
    prompt_version: str = ""
    max_tokens: int | None = None


def payload(endpoint: Endpoint, request: Request, form: ReplyForm) -> dict[str, Any]:
    """The JSON object that is sent for `request`, its schema asked for in `form`."""
    sent: dict[str, Any] = {"model": endpoint.model, "messages": list(request.messages)}
    if request.schema is not None:
        sent["messages"] = with_schema(sent["messages"], request.schema, form)
        if (wanted := response_format(request.schema, form)) is not None:
            sent["response_format"] = wanted
    if request.tools:
        sent["tools"] = list(request.tools)
    sent[endpoint.max_tokens_name] = longest_reply(endpoint, request)
    sent |= endpoint.sampling
    if isinstance(seed := sent.get("seed"), int):
        sent["seed"] = seed + request.sample
    return sent


def longest_reply(endpoint: Endpoint, request: Request) -> int:
    """The most tokens that the reply may have."""
    return endpoint.max_tokens if request.max_tokens is None else request.max_tokens


def repaired(request: Request, unusable: Unusable) -> Request:
    """The same question, with the reply that could not be used and what was wrong with it."""
    told = prompt("json_repair", reason=unusable.reason, detail=unusable.detail, schema=request.schema is not None)
    again: list[Message] = [{"role": "user", "content": told}]
    if unusable.text.strip() and unusable.reason != "cut off":
        again.insert(0, {"role": "assistant", "content": unusable.text[:REPEATED]})
    return replace(request, messages=[*request.messages, *again])


def encode(sent: Mapping[str, Any]) -> bytes:
    """The bytes of a payload, in the order of its keys (a model sees a schema's properties in theirs).

    A lone surrogate, which broken notebooks hold and UTF-8 has not, becomes a question mark. Raises EndpointError for
    what JSON cannot hold.
    """
    try:
        text = json.dumps(sent, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise EndpointError(f"a request to {sent.get('model')} cannot be written as JSON: {error}.") from None
    return text.encode("utf-8", "replace")


def key_of(endpoint: Endpoint, body: bytes, request: Request) -> bytes:
    """32 bytes that stand for the whole question."""
    digest = hashlib.sha256()
    for part in (endpoint.address.encode(), body, str(request.sample).encode(), request.prompt_version.encode()):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def most_tokens(body: bytes, longest: int) -> tuple[int, int]:
    """Upper bounds of the tokens in and out.

    A byte-level tokenizer makes no more tokens than bytes, and the payload's JSON is longer than what a chat template
    adds. Pictures given by address are not bounded by this.
    """
    return len(body), longest
