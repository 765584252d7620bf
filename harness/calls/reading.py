"""What the body of a chat completion holds: read without trust, and judged usable or not.

reading = read_reply(response.content)           # raises Unreadable
value = usable(reading, request.schema, 4096)    # raises Unusable
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from harness.calls.structured import Unusable, parse


@dataclass(frozen=True)
class Usage:
    """Tokens as the endpoint counted them; the cached ones are part of the input."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True)
class Reading:
    """What a chat completion holds; `usage` None where the endpoint tells none that can be believed."""

    text: str
    reasoning: str | None
    tool_calls: tuple[Mapping[str, Any], ...]
    finish_reason: str
    refusal: str | None
    usage: Usage | None


class Unreadable(Exception):
    """The body of a 200 is no chat completion."""


def read_reply(body: bytes) -> Reading:
    """Read a chat completion. Raises Unreadable, naming what is missing."""
    try:
        whole = json.loads(body)
        choice = whole["choices"][0]
        message = choice["message"]
        text = message.get("content") or ""
        if not isinstance(text, str):  # some endpoints answer in parts
            text = "".join(part.get("text") or "" for part in text)
        reasoning = message.get("reasoning_content") or message.get("reasoning")
        return Reading(
            text=text,
            reasoning=reasoning if isinstance(reasoning, str) else None,
            tool_calls=tuple(dict(call) for call in message.get("tool_calls") or ()),
            finish_reason=str(choice.get("finish_reason") or "unknown"),
            refusal=str(message["refusal"]) if message.get("refusal") else None,
            usage=_usage(whole.get("usage")),
        )
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise Unreadable(f"the body is no whole JSON ({len(body):,} bytes)") from None
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise Unreadable(f"the body is no chat completion ({type(error).__name__}: {error})") from None


def _usage(told: Any) -> Usage | None:
    if not isinstance(told, Mapping):
        return None
    details = told.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    counts: tuple[Any, ...] = (told.get("prompt_tokens"), told.get("completion_tokens"), cached or 0)
    return Usage(*counts) if all(type(count) is int and 0 <= count < 2**40 for count in counts) else None


def usable(reading: Reading, schema: type[BaseModel] | None, longest: int) -> BaseModel | None:
    """The checked object of a reply; None where no schema was asked for, or tools are called first.

    Raises Unusable with reason "refused", "cut off" (at `longest` tokens), "empty reply", "no JSON" or "wrong schema".
    """
    if reading.refusal or reading.finish_reason == "content_filter":
        raise Unusable("refused", reading.refusal or "The endpoint filtered the reply.")
    if reading.finish_reason == "length":
        raise Unusable("cut off", f"The reply reached its limit of {longest:,} tokens.")
    if schema is not None and not reading.tool_calls:
        return parse(reading.text, schema)
    if not reading.text.strip() and not reading.tool_calls:
        raise Unusable("empty reply", "The reply was empty.")
    return None
