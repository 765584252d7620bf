"""Where chats become what templates take, and a model's text becomes messages. No tokenizer and no model in here.

    completion = parse_completion('<tool_call>\\n{"name": "python", "arguments": {"code": "1"}}\\n</tool_call>')
    message = assistant_message(completion)       # for Inspect: tool calls, or calls with `parse_error`
    row = completion.chat()                       # for a chat template: arguments as the JSON text that was written

Text in Qwen's formats is understood: an optional `<think>` block, content, any number of `<tool_call>` blocks with a
JSON object or Coder's XML each (`calls.py`). Parsing never raises: a malformed call becomes a call whose `parse_error`
the model is shown. A call inside a closed `<think>` block is deliberation and is not executed; in one that was never
closed it is. Template arguments stay JSON text, since Arrow would fill mixed structs with nulls and JSON would not
round-trip.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    Content,
    ContentReasoning,
    ContentText,
)
from inspect_ai.tool import ToolCall, ToolInfo

from harness.models.calls import OPEN, Call, read_call, typed_arguments

THINK, END_THINK = "<think>", "</think>"


@dataclass(frozen=True)
class Completion:
    """A completion's parts. `text` is all of it, as sampled, without the closing token."""

    text: str
    reasoning: str | None
    content: str
    calls: tuple[Call, ...]

    def chat(self) -> dict[str, Any]:
        """The structured chat message; a template may or may not render it to `text` (see `ChatTemplate.rendering`)."""
        message: dict[str, Any] = {"role": "assistant", "content": self.content}
        if self.reasoning is not None:
            message["reasoning_content"] = self.reasoning
        if self.calls:
            message["tool_calls"] = [call.chat() for call in self.calls]
        return message

    def raw_chat(self) -> dict[str, Any]:
        """The chat message with the whole text as its content."""
        return {"role": "assistant", "content": self.text}

    @property
    def malformed(self) -> bool:
        """Whether any call could not be understood."""
        return any(call.error for call in self.calls)


def parse_completion(text: str) -> Completion:
    """Split a completion into reasoning, content and calls. Never raises."""
    reasoning, rest = _split_reasoning(text)
    content, calls, position = [], [], 0
    while (start := rest.find(OPEN, position)) >= 0:
        content.append(rest[position:start])
        call, position = read_call(rest, start + len(OPEN))
        calls.append(call)
    content.append(rest[position:])
    if calls:
        content = [content[0].removesuffix("\n"), *(piece for piece in content[1:] if piece.strip())]
    return Completion(text, reasoning, "".join(content), tuple(calls))


def assistant_message(
    completion: Completion, metadata: Mapping[str, Any] | None = None, tools: Sequence[ToolInfo] = ()
) -> ChatMessageAssistant:
    """The Inspect message of a completion. `execute_tools` answers a malformed call with its error.

    `tools` say which of the values that Coder's format writes as bare text are numbers, lists and so on.
    """
    calls = [
        ToolCall(
            id=f"call_{uuid.uuid4().hex[:12]}",
            function=call.name,
            arguments={} if call.error else typed_arguments(call, tools),
            parse_error=call.error,
        )
        for call in completion.calls
    ]
    content: str | list[Content] = completion.content
    if completion.reasoning is not None:
        content = [ContentReasoning(reasoning=completion.reasoning), ContentText(text=completion.content)]
    return ChatMessageAssistant(
        content=content,
        tool_calls=calls or None,
        source="generate",
        metadata={**(metadata or {}), "raw": completion.text},
    )


def chat_message(message: ChatMessage) -> dict[str, Any]:
    """One Inspect message as chat templates take it; what a checkpoint wrote stays as it wrote it, byte for byte.

    Raises ValueError for content that is not text.
    """
    if isinstance(message, ChatMessageAssistant):
        if (completion := sampled_completion(message)) is not None:
            structured = (message.metadata or {}).get("rendering") == "structured"
            return completion.chat() if structured else completion.raw_chat()
        return completion_of(message).chat()
    return {"role": message.role, "content": shown_text(message)}


def sampled_completion(message: ChatMessageAssistant) -> Completion | None:
    """What a checkpoint sampled for this message, or None where another provider made it."""
    metadata = message.metadata or {}
    return parse_completion(metadata["raw"]) if "completion_ids" in metadata else None


def completion_of(message: ChatMessageAssistant) -> Completion:
    """The parts of an assistant message that no checkpoint sampled; its calls' arguments become canonical JSON."""
    reasoning = None
    if isinstance(message.content, list):
        thoughts = [part.reasoning for part in message.content if isinstance(part, ContentReasoning)]
        reasoning = "\n".join(thoughts) if thoughts else None
    calls = tuple(
        Call(call.function, json.dumps(call.arguments, ensure_ascii=False), call.parse_error)
        for call in message.tool_calls or []
    )
    return Completion(message.text, reasoning, message.text, calls)


def shown_text(message: ChatMessage) -> str:
    """What a model is shown of a system, user or tool message; a tool's error stands in for its result."""
    if not isinstance(message.content, str):
        odd = sorted({part.type for part in message.content if not isinstance(part, ContentText)})
        if odd:
            raise ValueError(f"a {message.role} message holds {', '.join(odd)}: only text can be shown to this model")
    if isinstance(message, ChatMessageTool) and message.error is not None:
        return f"Error: {message.error.message}"
    return message.text


def tool_schemas(tools: Sequence[ToolInfo]) -> list[dict[str, Any]]:
    """Tools as chat templates take them. The same tools give the same JSON, key order included."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters.model_dump(exclude_none=True),
            },
        }
        for tool in tools
    ]


def _split_reasoning(text: str) -> tuple[str | None, str]:
    """The think block and what follows. Its opening tag may stand in the prompt, its closing tag may be missing."""
    opened = text.lstrip().startswith(THINK)
    inner = text.lstrip().removeprefix(THINK) if opened else text
    end = _end_of_thinking(inner)
    if end >= 0:
        return inner[:end].strip("\n"), inner[end + len(END_THINK) :].lstrip("\n")
    if not opened:
        return None, text
    call = inner.find(OPEN)
    return (inner.strip("\n"), "") if call < 0 else (inner[:call].strip("\n"), inner[call:])


def _end_of_thinking(text: str) -> int:
    """Where the first closing tag stands that is no part of a call's arguments; -1 where there is none."""
    position = 0
    while (end := text.find(END_THINK, position)) >= 0:
        start = text.find(OPEN, position)
        if start < 0 or end < start:
            return end
        call, after = read_call(text, start + len(OPEN))
        position = start + len(OPEN) if call.error else after
    return -1
