"""A small random checkpoint on disk: the tiny tokenizer and template, a Qwen3 that has learned nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TEXTS = (
    "user\n",
    "tool\n",
    "assistant\n",
    "What is the total of `weight` in 'parcels'?\n\nFiles: parcels.csv, rules.json",
    '<tool_call>\n{"name": "python", "arguments": {"code": "pd.read_csv(\'parcels.csv\').weight.sum()"}}\n</tool_call>',
    '<tool_call>\n{"name": "final_answer", "arguments": {"answer": "12.34"}}\n</tool_call>',
    "0   12.5\n1    3.0\nName: weight, dtype: float64",
)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """The tiny model's tokenizer with its template, trained on a few texts."""
    from recipes.tiny import train_tokenizer

    return train_tokenizer(TEXTS * 3, 500)


@pytest.fixture(scope="session")
def model(tokenizer: Any) -> Any:
    """An untrained Qwen3 of two layers that never closes a turn; large weights, so that no choice is a near-tie."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        intermediate_size=96,
        max_position_embeddings=256,
        initializer_range=0.3,
        tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    untrained: Any = Qwen3ForCausalLM
    model = untrained(config).eval()
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eos_token_id] = 0
    return model


@pytest.fixture(scope="session")
def checkpoint_folder(tokenizer: Any, model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint as `save_pretrained` writes it."""
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts a program `vllm` on PATH that does what it is told (`stand_in_vllm.py`); gives the file of its record."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "vllm"
    script = Path(__file__).with_name("stand_in_vllm.py")
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I "{script}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)

    def order(**orders: Any) -> Path:
        record = tmp_path / "record.jsonl"
        file = tmp_path / "orders.json"
        file.write_text(json.dumps({"record": str(record), "answers": [], **orders}), encoding="utf-8")
        monkeypatch.setenv("VLLM_STAND_IN", str(file))
        return record

    return order
