"""Replies that keep to a schema: how one is asked for, and how a reply becomes a checked pydantic object.

    response_format(Score, "json_schema")     # goes into the payload
    parse('{"score": 4, ...}', Score)         # -> Score, or raises Unusable

The strict form of the schema (every property required, no others) is the openai client's own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from harness.calls.endpoint import ReplyForm
from harness.prompts import prompt

Model = TypeVar("Model", bound=BaseModel)


class Unusable(Exception):
    """A reply that came, and was paid for, but cannot be used.

    `reason` is one of a few short strings, for tables; `detail` says what is wrong, for the model and for people;
    `text` is the reply itself, where whoever catches it put it.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.text = reason, detail, ""


@lru_cache(maxsize=256)
def _strict_schema(schema: type[BaseModel]) -> str:
    """The strict JSON schema as text: cached, and nobody can change it."""
    from openai import pydantic_function_tool

    return json.dumps(pydantic_function_tool(schema)["function"]["parameters"], ensure_ascii=False)


def response_format(schema: type[BaseModel], form: ReplyForm) -> dict[str, Any] | None:
    """The payload's `response_format`; None in the form that asks by the prompt alone."""
    if form == "json_schema":
        described = {"name": schema.__name__, "strict": True, "schema": json.loads(_strict_schema(schema))}
        return {"type": "json_schema", "json_schema": described}
    return {"type": "json_object"} if form == "json_object" else None


def with_schema(messages: Sequence[Any], schema: type[BaseModel], form: ReplyForm) -> list[Any]:
    """The messages, with the schema written out where the endpoint does not enforce it itself."""
    if form == "json_schema":
        return list(messages)
    told, first = prompt("json_reply", schema=_strict_schema(schema)), messages[0] if messages else {}
    if first.get("role") == "system" and isinstance(first.get("content"), str):
        return [{**first, "content": f"{first['content']}\n\n{told}"}, *messages[1:]]  # templates take but one
    return [{"role": "system", "content": told}, *messages]


def parse(text: str, schema: type[Model]) -> Model:
    """A reply's text as a checked object. Raises Unusable ("empty reply", "no JSON", "wrong schema").

    JSON is also found after thinking that was left in the text, in a fence, and between words.
    """
    if not text.strip():
        raise Unusable("empty reply", "The reply was empty.")
    try:
        return schema.model_validate_json(text)
    except ValidationError:
        found = _find_object(text)
    if found is None:
        raise Unusable("no JSON", "The reply held no whole JSON object.")
    try:
        return schema.model_validate_json(found)
    except ValidationError as error:
        raise Unusable("wrong schema", _told(error)) from None


def _find_object(text: str) -> str | None:
    """The last whole JSON object outside thinking (models write drafts first), if any.

    An object begins at the first brace or at the beginning of a line: what lies inside an outer object that was cut off
    is not taken for the reply.
    """
    text = text.rpartition("</think>")[2]
    found, start = None, text.find("{")
    decoder = json.JSONDecoder()
    while start >= 0:
        try:
            _, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start
        else:
            found = text[start:end]
        start = text.find("\n{", end) + 1 or -1
    return found


def _told(error: ValidationError) -> str:
    """What is wrong, a line a field, at most ten."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [f"{'.'.join(map(str, fault['loc'])) or 'reply'}: {fault['msg']}" for fault in faults[:10]]
    return "\n".join(lines + [f"and {len(faults) - 10} more"] * (len(faults) > 10))
