"""Preference pairs become ids whose masks cover what the model wrote, in its own ids where they are known."""

from __future__ import annotations

from typing import Any

import pytest

from recipes.command_line import RecipeError
from recipes.pairs import pairs_as_ids
from recipes.tiny import train_tokenizer

CALL = '<tool_call>\n{"name": "python", "arguments": {"code": "n = 1"}}\n</tool_call>'


def turn(answer: str) -> list[dict[str, Any]]:
    call = {"type": "function", "function": {"name": "python", "arguments": '{"code": "n = 1"}'}}
    return [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "a long cell output 12345"},
        {"role": "assistant", "content": answer},
    ]


PROMPT = [{"role": "system", "content": "s"}, {"role": "user", "content": "How many 7?"}]
ROW = {"prompt": PROMPT, "chosen": turn("right 7"), "rejected": turn("wrong 8"), "tools": "[]", "question_id": "q"}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer([CALL, "How many 7?", "a long cell output 12345", "right 7", "wrong 8"] * 3, 300)


def text(tokenizer: Any, ids: list[int], mask: list[int], wanted: int) -> str:
    return str(tokenizer.decode([i for i, sampled in zip(ids, mask, strict=True) if sampled == wanted]))


def test_the_loss_is_on_the_models_turns_with_their_closing_token_and_not_on_cell_outputs(tokenizer: Any) -> None:
    data, counts = pairs_as_ids([ROW], tokenizer, 512)
    pair: Any = data[0]
    assert (counts.sampled, counts.rendered, counts.dropped) == (0, 1, {})
    for side, answer in (("chosen", "right 7"), ("rejected", "wrong 8")):
        ids, mask = pair[f"{side}_ids"], pair[f"{side}_mask"]
        assert text(tokenizer, ids, mask, 1) == f"{CALL}<|im_end|>{answer}<|im_end|>"
        assert "a long cell output 12345" in text(tokenizer, ids, mask, 0)
        assert mask[-1] == 1  # the line break after the last turn is nobody's
    assert tokenizer.decode(pair["prompt_ids"]).endswith("How many 7?<|im_end|>\n<|im_start|>assistant\n")


def spelled_otherwise(tokenizer: Any) -> dict[str, list[int]]:
    """The same texts by other ids: each character of a turn by its own."""
    data, _ = pairs_as_ids([ROW], tokenizer, 512)
    pair: Any = data[0]
    found = {"prompt_ids": pair["prompt_ids"]}
    for side in ("chosen", "rejected"):
        ids: list[int] = []
        mask: list[int] = []
        for i, sampled in zip(pair[f"{side}_ids"], pair[f"{side}_mask"], strict=True):
            token = tokenizer.convert_ids_to_tokens(i)
            parts = [i] if token.startswith("<|") else tokenizer.convert_tokens_to_ids(list(token))
            ids, mask = [*ids, *parts], [*mask, *[sampled] * len(parts)]
        found |= {f"{side}_ids": ids, f"{side}_mask": mask}
    return found


def test_ids_that_were_sampled_are_kept_where_they_spell_the_same_text(tokenizer: Any) -> None:
    tokens = spelled_otherwise(tokenizer)
    data, counts = pairs_as_ids([{**ROW, "tokens": tokens}], tokenizer, 512)
    pair: Any = data[0]
    assert counts.sampled == 1
    assert pair["chosen_ids"] == tokens["chosen_ids"]
    assert len(pair["chosen_ids"]) > len(pairs_as_ids([ROW], tokenizer, 512)[0][0]["chosen_ids"])


def test_ids_of_another_tokenizer_are_not_believed(tokenizer: Any) -> None:
    tokens = spelled_otherwise(tokenizer)
    for foreign in ({"chosen_ids": [5] * 40, "chosen_mask": [1] * 40}, {"prompt_ids": [10**6]}):
        _, counts = pairs_as_ids([{**ROW, "tokens": tokens | foreign}], tokenizer, 512)
        assert (counts.sampled, counts.rendered) == (0, 1)


def test_pairs_that_are_too_long_are_dropped_and_counted(tokenizer: Any) -> None:
    long = {**ROW, "chosen": turn("right 7 " * 200)}
    data, counts = pairs_as_ids([ROW, long], tokenizer, 200)
    assert len(data) == 1
    assert counts.dropped == {"longer than max_length=200": 1}
    with pytest.raises(RecipeError):
        pairs_as_ids([long], tokenizer, 200)
