"""Tokenizers of the families that configs are shipped for, built here: the real ones cannot be had offline.

Their class, special tokens and chat templates are the models' own; only the vocabulary is trained here. The templates
are those that TRL ships a copy of. Qwen3-*-Thinking-2507's is no such copy: it is the hybrid Qwen3's with the one
difference that its prompt opens the think block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trl.chat_template_utils as trl_templates

from recipes.tiny import train_tokenizer

QWEN_TOKENS = ["<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "</tool_call>"]
QWEN_TOKENS += ["<tool_response>", "</tool_response>"]
FAMILIES = ("tiny", "qwen2_5", "qwen3_instruct_2507", "qwen3_thinking_2507", "qwen3")
TEXT = "user\nassistant\ntool\nsystem\nHow many rows does it have? pd.read_csv('a.csv') 1234567890"


def stock_template(family: str) -> str:
    """The template that the family's models come with."""
    if family == "qwen3_thinking_2507":
        head, _, _ = trl_templates.qwen3_chat_template.rpartition("{%- if add_generation_prompt %}")
        return head + "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n<think>\\n' }}\n{%- endif %}"
    return {
        "qwen2_5": trl_templates.qwen2_5_chat_template,
        "qwen3": trl_templates.qwen3_chat_template,
        "qwen3_instruct_2507": trl_templates.qwen3_instruct_2507_chat_template,
    }[family]


def stock_tokenizer(family: str, texts: Sequence[str] = (TEXT,) * 4, size: int = 400) -> Any:
    """A tokenizer of the family's class with the template that its models come with, as from the Hub."""
    if family == "tiny":
        return train_tokenizer(texts, size)
    from transformers import Qwen2Tokenizer

    tokenizer = Qwen2Tokenizer().train_new_from_iterator(texts, size)
    tokenizer.add_special_tokens({"eos_token": "<|im_end|>"})
    tokenizer.add_tokens(QWEN_TOKENS)
    tokenizer.chat_template = stock_template(family)
    return tokenizer
