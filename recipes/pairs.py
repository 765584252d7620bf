"""Preference pairs as ids with masks, for TRL's DPOTrainer: the loss is on what the model wrote, nothing else.

TRL takes all of a completion for the model's. In a trace of several turns that would be cell outputs, too, which
nobody should learn to write or to avoid. Ids are those that were sampled where `pairs.jsonl` has them and they are of
this tokenizer and template; else those of the rendered text. Pairs longer than `max_length` are dropped and counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.command_line import RecipeError

if TYPE_CHECKING:
    from datasets import Dataset

PAIRS = "pairs.jsonl"
Ids = dict[str, list[int]]
SIDES = ("chosen", "rejected")


@dataclass(frozen=True)
class PairCounts:
    """How pairs became ids. `sampled` had their own; `rendered` were tokenised from their text."""

    sampled: int
    rendered: int
    dropped: dict[str, int]


def pairs_file(folder: Path) -> Path:
    """The pairs of a folder. Raises RecipeError where there are none."""
    file = folder / PAIRS
    if not file.is_file():
        raise RecipeError(f"{file}: no such pairs. Make them from logs with `dabstep preference-pairs`.")
    return file


def pairs_as_ids(rows: Sequence[Mapping[str, Any]], tokenizer: Any, longest: int | None) -> tuple[Dataset, PairCounts]:
    """Columns `prompt_ids`, `chosen_ids`, `chosen_mask`, `rejected_ids`, `rejected_mask`, and the counts.

    Raises RecipeError when nothing is left, or a template that does not mark the assistant's turns is met.
    """
    from datasets import Dataset

    counts: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    kept: list[Ids] = []
    for row in rows:
        rendered = _rendered(row, tokenizer)
        sampled = row.get("tokens")
        own = sampled is not None and _same_text(sampled, rendered, tokenizer)
        ids = sampled if own and sampled is not None else rendered
        if longest is not None and max(len(ids["prompt_ids"]) + len(ids[f"{side}_ids"]) for side in SIDES) > longest:
            dropped[f"longer than max_length={longest}"] += 1
        else:
            counts["sampled" if own else "rendered"] += 1
            kept.append(dict(ids))
    if not kept:
        raise RecipeError(f"no pair is left to train on ({dict(dropped)}). Raise --max_length, or make other pairs.")
    return Dataset.from_list(kept), PairCounts(counts["sampled"], counts["rendered"], dict(dropped))


def _rendered(row: Mapping[str, Any], tokenizer: Any) -> Ids:
    """Ids and masks of a pair by the chat template; what follows the last sampled id is left off."""
    tools = json.loads(row["tools"]) if row.get("tools") else None
    found: Ids = {}
    prompt = _ids(tokenizer, row["prompt"], tools, add_generation_prompt=True)["input_ids"]
    for side in SIDES:
        whole = _ids(tokenizer, [*row["prompt"], *row[side]], tools, return_assistant_tokens_mask=True)
        ids, mask = whole["input_ids"], whole["assistant_masks"]
        if ids[: len(prompt)] != prompt:
            raise RecipeError(
                f"question {row.get('question_id')}: the chat template renders the prompt otherwise once an answer "
                "follows it. Train and serve a prefix-preserving template (recipes/sft.py saves one)."
            )
        end = max((i + 1 for i, sampled in enumerate(mask) if sampled), default=len(prompt))
        found[f"{side}_ids"], found[f"{side}_mask"] = ids[len(prompt) : end], mask[len(prompt) : end]
    return {"prompt_ids": prompt, **found}


def _ids(tokenizer: Any, messages: Sequence[Any], tools: Any, **how: Any) -> dict[str, list[int]]:
    given = tokenizer.apply_chat_template(list(messages), tools=tools or None, tokenize=True, return_dict=True, **how)
    return {name: list(given[name]) for name in ("input_ids", "assistant_masks") if name in given}


def _same_text(sampled: Mapping[str, list[int]], rendered: Ids, tokenizer: Any) -> bool:
    """Whether the recorded ids spell what this tokenizer and template render, up to what follows the last turn."""
    if any(max(ids, default=0) >= len(tokenizer) for name, ids in sampled.items() if name.endswith("_ids")):
        return False

    def text(ids: Mapping[str, list[int]], side: str) -> str:
        return str(tokenizer.decode([*ids["prompt_ids"], *ids[f"{side}_ids"]], clean_up_tokenization_spaces=False))

    return all(text(rendered, side).startswith(text(sampled, side)) for side in SIDES)
