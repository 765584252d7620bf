"""A trace as ReAct text (Thought, Action, Observation), and a reward for that form, which nobody should rely on.

    react_messages(trace)           # the same conversation, calls written as text
    form_reward(text)               # 0 to 1: how much of it keeps the form

**The reward can be gamed**: it reads the form and nothing else, so a text that keeps the form and does nothing has all
of it (a test shows one). No recipe uses it. It is here to compare with systems that reward the form; what a rollout is
worth is said by `harness/reward.py`.
"""

from __future__ import annotations

import json
import re
from typing import Any

from harness.records import Message, Trace
from harness.tools import ANSWER_TOOL

_STEP = re.compile(r"^(Thought|Action|Action Input|Observation|Final Answer):", re.MULTILINE)
_ORDER = {
    None: {"Thought", "Action", "Final Answer"},
    "Thought": {"Action", "Final Answer"},
    "Action": {"Action Input"},
    "Action Input": {"Observation"},
    "Observation": {"Thought", "Action", "Final Answer"},
    "Final Answer": set[str](),
}


def react_messages(trace: Trace) -> list[dict[str, Any]]:
    """System, user and assistant messages; what a tool said is a user's message that begins with Observation."""
    last = max((i for i, message in enumerate(trace.messages) if message.role == "assistant"), default=-1)
    return [_as_text(message) for message in trace.messages[: last + 1]]


def form_reward(text: str) -> float:
    """The share of steps that stand where they may, halved where there is no final answer at the end."""
    steps: list[str] = _STEP.findall(text)
    before = [None, *steps[:-1]]
    if not steps:
        return 0.0
    kept = sum(step in _ORDER[previous] for previous, step in zip(before, steps, strict=True)) / len(steps)
    return kept if steps[-1] == "Final Answer" else kept / 2


def _as_text(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "user", "content": f"Observation: {message.content}"}
    if message.role != "assistant":
        return {"role": message.role, "content": message.content}
    if message.raw is not None:
        return {"role": "assistant", "content": message.raw}
    thought = "\n".join(part for part in (message.reasoning, message.content) if part)
    lines = [f"Thought: {thought}"] if thought else []
    for call in message.tool_calls:
        answer = json.loads(call.arguments).get("answer") if call.name == ANSWER_TOOL else None
        if answer is not None:
            lines.append(f"Final Answer: {answer}")
        else:
            lines += [f"Action: {call.name}", f"Action Input: {call.arguments}"]
    return {"role": "assistant", "content": "\n".join(lines)}
