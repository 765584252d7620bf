"""How much arithmetic a training step needs, and what share of a machine's ceiling that was (MFU).

    step_flops(config, documents=[4096, 4096], supervised=2600)

Counted is what the model needs, forward and backward, recomputation not: 6 operations a token and weight of the layers'
matrices, causal attention inside each document, and the head over the supervised positions only, as TRL runs it. The
usual convention (PaLM, appendix B, https://arxiv.org/abs/2204.02311: 6 N + 12 L H Q T a token, the head at every
position, attention not causal) is higher: `trl.trainer.utils.compute_flops_per_token` has it.
Norms, rotary positions, softmax and the optimizer are not counted, as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def layer_weights(config: Any) -> int:
    """Weights of all layers' matrices of a dense Qwen3-like model: q, k, v, o, gate, up and down."""
    width, heads, kv = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
    attention = width * config.head_dim * (heads + 2 * kv) + heads * config.head_dim * width
    return int(config.num_hidden_layers * (attention + 3 * width * config.intermediate_size))


def step_flops(config: Any, documents: Iterable[int], supervised: int) -> int:
    """Floating-point operations of forward and backward over packed documents.

    Args:
        config: Of a dense model: hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim,
            intermediate_size, vocab_size.
        documents: Tokens of each document.
        supervised: Positions that the loss is over.

    A product of an (m, k) and a (k, n) matrix is 2 m k n, and the backward pass has two for each of the forward's:
    6 a token and weight. Token i of a document attends to i tokens, so a document of n has n (n + 1) / 2 pairs, each
    with two products of `head_dim` in every head: 6 x 2 x n (n + 1) / 2 = 6 n (n + 1) a head's width and layer.
    """
    lengths = list(documents)
    matrices = 6 * layer_weights(config) * sum(lengths)
    width_of_heads = config.num_attention_heads * config.head_dim * config.num_hidden_layers
    attention = 6 * width_of_heads * sum(n * (n + 1) for n in lengths)
    head = 6 * config.hidden_size * config.vocab_size * supervised
    return int(matrices + attention + head)
