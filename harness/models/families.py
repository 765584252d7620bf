"""Which of vLLM's parsers understand a checkpoint: a table (`parsers.yaml`), and a refusal to guess beyond it.

    parsers = choose_parsers(checkpoint, tool=None, reasoning=None)     # what -M tool_call_parser=... would set
    parsers.tool, parsers.reasoning

A wrong parser loses calls or thoughts without a word, so a family that the table does not recognise from the model's
files is refused with the flags to give. The table names what vLLM calls its parsers; only Qwen3's formats are tested
here, and those against our own parser (`calls.py`, `chat.py`): vLLM itself was not run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from inspect_ai._util.error import PrerequisiteError

from harness.models.source import Checkpoint

NO_PARSER = "none"
"""The value of -M reasoning_parser that means: this model does not think aloud."""


@dataclass(frozen=True)
class Family:
    """Models that speak alike, how to recognise them, and vLLM's names of the parsers that read them."""

    family: str
    tool: str
    reasoning: str | None = None
    model_types: tuple[str, ...] = ()
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    tested: bool = False

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether the checkpoint's configuration and chat template are of this family."""
        text = checkpoint.template
        return (
            checkpoint.model_type in self.model_types
            and all(mark in text for mark in self.has)
            and not any(mark in text for mark in self.lacks)
        )


@dataclass(frozen=True)
class Parsers:
    """vLLM's parsers for one checkpoint, and why these: a family of the table, or "by -M"."""

    tool: str
    reasoning: str | None
    why: str


@cache
def known_families() -> tuple[Family, ...]:
    """The table."""
    rows: list[dict[str, Any]] = yaml.safe_load(
        files("harness.models").joinpath("parsers.yaml").read_text(encoding="utf-8")
    )["families"]
    frozen: list[dict[str, Any]] = [
        {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()} for row in rows
    ]
    return tuple(Family(**row) for row in frozen)


def choose_parsers(checkpoint: Checkpoint, tool: str | None = None, reasoning: str | None = None) -> Parsers:
    """The parsers of `checkpoint`: those that were named, else its family's.

    `reasoning` "none" means that the model does not think aloud. Raises PrerequisiteError where the family is not
    recognised and `tool` does not say what to do.
    """
    found = [family for family in known_families() if family.recognises(checkpoint)]
    known = found[0] if len(found) == 1 else None
    if tool is None and known is None:
        names = ", ".join(f"{family.family} ({family.tool})" for family in known_families())
        raise PrerequisiteError(
            f"checkpoint/{checkpoint.name}: it is not known how this model writes its tool calls "
            f"(model_type {checkpoint.model_type or 'unknown'}), and a wrong parser would lose them silently. Say it: "
            f"-M tool_call_parser=NAME -M reasoning_parser=NAME|{NO_PARSER}. vLLM's parsers of families known here: "
            f"{names}. Or run it in this process, which reads Qwen's formats alone: -M server=in-process."
        )
    chosen = reasoning if reasoning is not None or known is None else known.reasoning
    why = "by -M" if known is None or tool or reasoning else known.family
    return Parsers(tool or (known.tool if known else ""), None if chosen == NO_PARSER else chosen, why)
