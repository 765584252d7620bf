"""The arithmetic behind MFU: counted by hand on a small model, and equal to TRL's where both count the same."""

from types import SimpleNamespace

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen3ForCausalLM
from trl.trainer.utils import compute_flops_per_token

from recipes.flops import layer_weights, step_flops
from recipes.tiny import tiny_config
from scripts.bench_train_gpu import qwen3_4b

SMALL = SimpleNamespace(
    hidden_size=4,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=3,
    intermediate_size=5,
    vocab_size=7,
)


def test_counted_by_hand() -> None:
    """A layer: q 4x6, k and v 4x3, o 6x4, gate, up and down 4x5."""
    layer = 4 * 6 + 2 * 4 * 3 + 6 * 4 + 3 * 4 * 5
    assert layer_weights(SMALL) == 2 * layer
    pairs = (1 + 2 + 3) + (1 + 2)  # of documents of 3 and 2 tokens
    by_hand = 6 * 2 * layer * 5 + 3 * 2 * 2 * pairs * 2 * 3 * 2 + 6 * 4 * 7 * 4
    assert step_flops(SMALL, [3, 2], supervised=4) == by_hand


def test_qwen3_4b_has_its_published_number_of_weights() -> None:
    """4.0 billion, 3.6 billion without the embedding: the model's card."""
    config = qwen3_4b(small=False)
    assert round(layer_weights(config) / 1e9, 1) == 3.6
    assert round((layer_weights(config) + config.vocab_size * config.hidden_size) / 1e9, 1) == 4.0


def test_with_the_head_everywhere_and_attention_not_causal_it_is_trls_figure() -> None:
    config, length = qwen3_4b(small=False), 8192
    not_causal = step_flops(config, [length], supervised=length)
    causal = 6 * config.num_attention_heads * config.head_dim * config.num_hidden_layers * length * (length + 1)
    assert not_causal - causal + 2 * causal * length // (length + 1) == length * compute_flops_per_token(config, length)


def test_torchs_own_counter_finds_the_same_in_a_real_forward_and_backward_pass() -> None:
    """Eager attention does not leave out what is masked, so the whole square is counted there."""
    config = tiny_config(64)
    config._attn_implementation = "eager"
    model, ids = Qwen3ForCausalLM(config), torch.randint(0, 64, (1, 32))
    with FlopCounterMode(display=False) as counted:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    square = 12 * config.num_attention_heads * config.head_dim * config.num_hidden_layers * 32 * 32
    causal = 6 * config.num_attention_heads * config.head_dim * config.num_hidden_layers * 32 * 33
    expected = step_flops(config, [32], supervised=32) - causal + square
    assert abs(counted.get_total_flops() / expected - 1) < 0.01
