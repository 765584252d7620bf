"""The last layer of a packed row where it is read: queries, attention and MLP at the predicting positions only.

What the last layer makes of any other position nobody reads, but for its keys and values. In rows of which a third is
supervised, a model of four layers spares a sixth of its work so, with the same loss and the same gradients.
`supervised_head.py` uses it, where a row is packed and its attention is `documents` (`attention.py`). Layers other than
Llama's, Qwen2's and Qwen3's, and such with a sliding window, are left as they are.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from recipes.attention import NAME, document_ends

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PREDICTING = "predicting"


def use_short_last_layer(model: PreTrainedModel) -> bool:
    """Have `model.base_model(..., predicting=positions)` give hidden states at those positions only: (1, n, width).

    Returns whether the model's last layer is one of those that can; without the argument it works as before.
    """
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer
    from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer
    from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer

    layers: Any = getattr(model.base_model, "layers", None)
    if not layers or type(layers[-1]) not in (LlamaDecoderLayer, Qwen2DecoderLayer, Qwen3DecoderLayer):
        return False
    if getattr(layers[-1].self_attn, "sliding_window", None):
        return False
    whole = layers[-1].forward

    def forward(self: Any, hidden: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        predicting = kwargs.pop(PREDICTING, None)
        return whole(hidden, *args, **kwargs) if predicting is None else _short(self, hidden, predicting, kwargs)

    layers[-1].forward = types.MethodType(forward, layers[-1])
    return True


def fits(model: PreTrainedModel, given: Mapping[str, Any]) -> bool:
    """Whether a call's inputs are one packed row whose documents are known, attended one by one."""
    ids = given.get("input_ids")
    if ids is None or ids.shape[0] != 1 or given.get("attention_mask") is not None:
        return False
    by_documents = model.config.get_text_config()._attn_implementation == NAME
    return by_documents and document_ends(ids.shape[1], given) is not None


def _short(layer: Any, hidden: torch.Tensor, predicting: torch.Tensor, kwargs: dict[str, Any]) -> torch.Tensor:
    """The layer at `predicting` (n sorted positions of the row): (1, length, width) in, (1, n, width) out."""
    attention = layer.self_attn
    normed = layer.input_layernorm(hidden)
    cos, sin = kwargs["position_embeddings"]
    query = _heads(attention, "q", normed[:, predicting], cos[:, predicting], sin[:, predicting])
    key = _heads(attention, "k", normed, cos, sin)
    value = _heads(attention, "v", normed)
    ends = document_ends(hidden.shape[1], kwargs)
    assert ends is not None, "fits() has seen to it"
    attended = _attended(query, key, value, predicting, ends, attention)
    residual = hidden[:, predicting] + attention.o_proj(attended.transpose(1, 2).flatten(2))
    out: torch.Tensor = residual + layer.mlp(layer.post_attention_layernorm(residual))
    return out


def _heads(attention: Any, which: str, states: torch.Tensor, *turn: torch.Tensor) -> torch.Tensor:
    """Queries, keys or values: (1, n, width) in, (1, heads, n, width of a head) out; turned by (cos, sin) if given."""
    heads = getattr(attention, f"{which}_proj")(states).unflatten(-1, (-1, attention.head_dim))
    norm = getattr(attention, f"{which}_norm", None)
    out: torch.Tensor = (heads if norm is None else norm(heads)).transpose(1, 2)
    if turn:
        cos, sin = (each.unsqueeze(1) for each in turn)
        first, second = out.chunk(2, dim=-1)
        out = out * cos + torch.cat((-second, first), dim=-1) * sin
    return out


def _attended(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    predicting: torch.Tensor,
    ends: torch.Tensor,
    attention: Any,
) -> torch.Tensor:
    """Each query over its own document up to itself."""
    bounds = torch.searchsorted(predicting, ends.to(predicting.dtype))
    asked, lengths = bounds.diff().tolist(), ends.diff().tolist()
    places = (predicting - ends.to(predicting.dtype)[:-1].repeat_interleave(bounds.diff())).split(asked)
    documents = zip(query.split(asked, 2), key.split(lengths, 2), value.split(lengths, 2), places, strict=True)
    parts = [
        functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=torch.arange(k.shape[2]) <= place[:, None],
            dropout_p=attention.attention_dropout if attention.training else 0.0,
            scale=attention.scaling,
            enable_gqa=q.shape[1] != k.shape[1],
        )
        for q, k, v, place in documents
        if len(place)
    ]
    return torch.cat(parts, dim=2)
