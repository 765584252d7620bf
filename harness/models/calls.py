"""The text of one tool call: Hermes' JSON (Qwen3 Instruct and Thinking) or Qwen3-Coder's XML. No messages in here.

    call, end = read_call(text, start)         # `start` lies behind <tool_call>, `end` behind </tool_call>
    call.error                                 # why it is malformed, in words for the model; None where it is not
    typed_arguments(call, tools)               # what the tool is given

The body alone says which format it is: Coder's begins with <function=. Reading never raises. Coder writes every value
as bare text, so `Call.arguments` keeps it as text, and only `typed_arguments`, which knows the schemas, makes numbers
and lists of it. A value ends at the first </parameter> that another parameter or </function> follows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from inspect_ai.tool import ToolInfo
from inspect_ai.util import JSONSchema

OPEN, CLOSE = "<tool_call>", "</tool_call>"
MAX_DEPTH = 32
"""Deepest nesting of arguments that is taken; logs and their viewers cannot hold hundreds of levels."""

HERMES = f'Write one JSON object, {{"name": ..., "arguments": {{...}}}}, between {OPEN} and {CLOSE}.'
CODER = (
    f"Between {OPEN} and {CLOSE}, write <function=NAME>, each argument as <parameter=NAME>, a line break, its value, a "
    "line break and </parameter>, then </function>."
)

_CANONICAL = re.compile(r'\n\{"name": "([^"\\]+)", "arguments": (\{.*\})\}\n', re.DOTALL)
_NAME = re.compile(r'"name"\s*:\s*"([^"\\]+)"|<function=([^<>\n]+)>')
_BLANK = re.compile(r"\s*")
_FUNCTION = re.compile(r"<function=\s*([^<>\s]+)\s*>")
_PARAMETER = re.compile(r"<parameter=\s*([^<>\s]+)\s*>")
_VALUE_END = re.compile(r"</parameter>\s*(?=<parameter=|</function>)")
_PYTHON_WORDS = {"True": True, "False": False, "None": None}
"""Coder's template shows arguments of earlier turns by Python's str(), so the model writes these as well."""


@dataclass(frozen=True)
class Call:
    """One tool call in a completion.

    `arguments` is JSON text; `error` says why the call is malformed, if it is; `bare` marks Coder's format, where every
    value is text until `typed_arguments` reads it.
    """

    name: str
    arguments: str
    error: str | None = None
    bare: bool = False

    def chat(self) -> dict[str, Any]:
        """As chat templates take it."""
        return {"type": "function", "function": {"name": self.name, "arguments": self.arguments}}


def read_call(text: str, start: int) -> tuple[Call, int]:
    """The call whose body begins at `start`, and where the text after its block begins."""
    begin = _after_blanks(text, start)
    bare = text.startswith("<function", begin)
    try:
        call, end = _read_coder(text, begin) if bare else _read_hermes(text, start)
        end = _after_blanks(text, end)
        if not text.startswith(CLOSE, end):
            raise ValueError(f"expected {CLOSE} after {'</function>' if bare else 'the JSON object'}")
        return call if bare else _canonical(call, text[start:end]), end + len(CLOSE)
    except (ValueError, RecursionError) as error:
        end = text.find(CLOSE, start)
        body = text[start:] if end < 0 else text[start:end]
        name = _NAME.search(body)
        reason = f"{error}" if end >= 0 else f"{error}; the block is not closed by {CLOSE}"
        advice = f"The tool call could not be read: {reason}. {CODER if bare else HERMES}"
        malformed = Call((name[1] or name[2]) if name else "tool_call", body.strip(), advice, bare)
        return malformed, len(text) if end < 0 else end + len(CLOSE)


def typed_arguments(call: Call, tools: Sequence[ToolInfo]) -> dict[str, Any]:
    """The arguments of a well-formed call. Text that its tool's schema does not take as text is read as JSON.

    What cannot be read stays text: the tool's own check then tells the model.
    """
    arguments: dict[str, Any] = json.loads(call.arguments)
    if not call.bare:
        return arguments
    schema = next((tool.parameters.properties for tool in tools if tool.name == call.name), {})
    return {name: _typed(value, schema.get(name)) for name, value in arguments.items()}


def _read_hermes(text: str, start: int) -> tuple[Call, int]:
    """A call from its JSON object. Raises ValueError saying what is wrong with it."""
    value, end = _DECODER.raw_decode(text, _after_blanks(text, start))
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    name, arguments = value.get("name"), value.get("arguments")
    if not isinstance(name, str) or not name:
        raise ValueError('"name" must be the name of a tool')
    if not isinstance(arguments, dict):
        raise ValueError('"arguments" must be a JSON object')
    return _loggable(Call(name, _dumped(arguments))), end


def _read_coder(text: str, start: int) -> tuple[Call, int]:
    """A call from its XML. Raises ValueError saying what is wrong with it."""
    function = _FUNCTION.match(text, start)
    if function is None:
        raise ValueError("expected <function=NAME>")
    arguments: dict[str, str] = {}
    position = _after_blanks(text, function.end())
    while parameter := _PARAMETER.match(text, position):
        name = parameter[1]
        end = _VALUE_END.search(text, parameter.end())
        if end is None:
            raise ValueError(f"the parameter {name!r} is not closed by </parameter>")
        if name in arguments:
            raise ValueError(f"the parameter {name!r} appears twice")
        arguments[name] = text[parameter.end() : end.start()].removeprefix("\n").removesuffix("\n")
        position = end.end()
    if not text.startswith("</function>", position):
        raise ValueError("expected <parameter=NAME> or </function>")
    return _loggable(Call(function[1], _dumped(arguments), bare=True)), position + len("</function>")


def _canonical(call: Call, body: str) -> Call:
    """`call` with the text of its arguments as it was written, where templates would write the rest alike."""
    written = _CANONICAL.fullmatch(body)
    return Call(call.name, written[2]) if written and _is_object(written[2]) else call


def _loggable(call: Call) -> Call:
    """`call`, if it can be logged: lone surrogates cannot, and raise UnicodeEncodeError, a ValueError."""
    (call.name + call.arguments).encode("utf-8")
    return call


def _dumped(arguments: dict[str, Any]) -> str:
    if _depth(arguments) > MAX_DEPTH:
        raise ValueError(f"arguments are nested more than {MAX_DEPTH} levels deep")
    return json.dumps(arguments, ensure_ascii=False)


def _typed(value: str, schema: JSONSchema | None) -> Any:
    if schema is None or _takes_text(schema):
        return value
    if value.strip() in _PYTHON_WORDS:
        return _PYTHON_WORDS[value.strip()]
    try:
        read = _DECODER.decode(value.strip())
        return value if _depth(read) > MAX_DEPTH else read
    except (ValueError, RecursionError):
        return value


def _takes_text(schema: JSONSchema) -> bool:
    if schema.anyOf:
        return any(map(_takes_text, schema.anyOf))
    return schema.type is None or "string" in (schema.type if isinstance(schema.type, list) else [schema.type])


def _after_blanks(text: str, start: int) -> int:
    blanks = _BLANK.match(text, start)
    return blanks.end() if blanks else start


def _is_object(text: str) -> bool:
    try:
        return isinstance(_DECODER.decode(text), dict)
    except ValueError:
        return False


def _depth(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise ValueError(f"the key {key!r} appears twice in one object")
        seen[key] = value
    return seen


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{digits} is too large a number")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
