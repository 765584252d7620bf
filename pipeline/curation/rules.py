"""Rules for one trace: what is dropped, for which reason, before one of several tries is chosen.

    rules = Rules(longest_characters=60_000)
    reason = fault(trace, rules)            # "graded wrong", "trivial: no cell computes", ..., or None

A trace is trivial when none of its cells that ran computes anything: no arithmetic, comparison, subscript, loop or call
but those that show, import or convert. Such an answer was known beforehand, guessed, or read off a print-out. Lengths
are those of what a model would read: every message's text, thought and arguments.
"""

from __future__ import annotations

import ast
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.records import Trace
from harness.reward import Reward, reward_of
from harness.tools import ANSWER_TOOL
from harness.trace import chat_row

SIMULATED = "simulated"
_SHOWING = frozenset(
    ("print", "display", "len", "str", "int", "float", "round", "repr", "type", "head", "tail", "info", "describe")
    + ("open", "read", "readlines")
)
_COMPUTING = (ast.BinOp, ast.Compare, ast.Subscript, ast.AugAssign, ast.For, ast.While, ast.comprehension)


@dataclass(frozen=True)
class Rules:
    """Bounds and choices. `tokenizer` (a folder or a Hub id) is needed for a bound in tokens, by its chat template.

    `distinct`: of a question's tries that say the same, one is kept. `rewarded`: the grader's leniency is not enough,
    the answer must be worth a reward (`harness/reward.py`); for a model that learns from its own rollouts.
    """

    longest_characters: int | None = 200_000
    longest_tokens: int | None = None
    tokenizer: str | None = None
    simulated: bool = False
    trivial: bool = False
    per_question: int = 1
    distinct: bool = False
    rewarded: bool = False

    def __post_init__(self) -> None:
        if self.longest_tokens is not None and self.tokenizer is None:
            raise ValueError("longest_tokens: tokens are counted by a tokenizer. Name one by `tokenizer`.")
        if self.per_question < 1:
            raise ValueError(f"per_question: {self.per_question}; it must be 1 or more.")

    @cached_property
    def counter(self) -> Any:
        """The tokenizer, loaded once."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.tokenizer)


def fault(trace: Trace, rules: Rules) -> str | None:
    """Why a trace does not belong in a training set, or None."""
    if trace.verdict.correct is None:
        return "unscored"
    if not trace.verdict.correct:
        return "graded wrong"
    if rules.rewarded and not (reward := score_of(trace)).value:
        return f"right by the grader alone: {reward.reason}"
    if trace.stop_reason != "answered":
        return f"ended by {trace.stop_reason}"
    if trace.executor == SIMULATED and not rules.simulated:
        return "simulated executor"
    if any(cell.status in ("timeout", "died") for cell in trace.cells):
        return "a cell timed out or killed its kernel"
    if not rules.trivial and not any(cell.status == "ok" and computes(cell.code) for cell in trace.cells):
        return "trivial: no cell computes"
    return _too_long(trace, rules)


def score_of(trace: Trace) -> Reward:
    """The reward of a trace with a verdict."""
    calls = sum(call.name == ANSWER_TOOL for message in trace.messages for call in message.tool_calls)
    return reward_of(trace.verdict.answer, calls, trace.cells, trace.verdict.target or "")


def rank(trace: Trace) -> tuple[int, int, int]:
    """What decides between tries without a fault, the least first: cells that raised, characters, number of the try."""
    return failed_cells(trace), characters(trace), trace.epoch


def said(trace: Trace) -> str:
    """A fingerprint of what the model itself wrote, for telling tries apart."""
    turns = [
        (message.content, message.reasoning, [(call.name, call.arguments) for call in message.tool_calls], message.raw)
        for message in trace.messages
        if message.role == "assistant"
    ]
    return hashlib.sha256(json.dumps(turns).encode()).hexdigest()


def failed_cells(trace: Trace) -> int:
    """How many cells raised."""
    return sum(cell.status == "error" for cell in trace.cells)


def characters(trace: Trace) -> int:
    """What a model would read of it: texts, thoughts, tool names and arguments."""
    return sum(
        len(message.content)
        + len(message.reasoning or "")
        + sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
        for message in trace.messages
    )


def computes(code: str) -> bool:
    """Whether a cell computes something; one that is no plain Python (magics) is taken to, if it is no bare shell."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):
        return not code.lstrip().startswith(("!", "%"))
    return any(
        isinstance(node, _COMPUTING)
        or (isinstance(node, ast.Call) and _name(node.func) not in _SHOWING and _acts(node))
        for node in ast.walk(tree)
    )


def _acts(call: ast.Call) -> bool:
    """Whether a call does more than read a file: `pd.read_csv(...)` alone is no computation."""
    return not _name(call.func).startswith(("read_", "load"))


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _too_long(trace: Trace, rules: Rules) -> str | None:
    if rules.longest_characters is not None and characters(trace) > rules.longest_characters:
        return f"longer than {rules.longest_characters:,} characters"
    if rules.longest_tokens is not None and tokens(trace, rules) > rules.longest_tokens:
        return f"longer than {rules.longest_tokens:,} tokens"
    return None


def tokens(trace: Trace, rules: Rules) -> int:
    """How many tokens a trace has by the tokenizer's chat template."""
    row = chat_row(trace)
    ids = rules.counter.apply_chat_template(row["messages"], tools=json.loads(row["tools"]), return_dict=True)
    return len(ids["input_ids"])
