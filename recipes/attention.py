"""Attention over packed rows that costs what their documents cost: `attn_implementation: documents`.

A packed row holds several documents. SDPA needs a mask of the row's length squared to keep them apart; here a GPU runs
torch's own variable-length flash attention (`torch.nn.attention.varlen`, nothing to download) and a CPU runs SDPA on
one document after the other. Batches with padding go through SDPA as usual. FlashAttention-3 of the Hub's `kernels`
(`attn_implementation: flash_attention_3`) is the faster choice where it can be downloaded: `best` tries it first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

NAME = "documents"


def register() -> None:
    """Make the name known to transformers; may be called again."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, mask_for_padding)


def mask_for_padding(*args: Any, attention_mask: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor | None:
    """SDPA's mask where there is padding; none for a packed row, whose documents `attend` keeps apart."""
    from transformers.masking_utils import sdpa_mask

    if attention_mask is None:
        return None
    given: dict[str, Any] = {"attention_mask": attention_mask, **kwargs}
    mask: torch.Tensor | None = sdpa_mask(*args, **given)
    return mask


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each document; (batch, heads, length, width) in, (batch, length, heads, width) out."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    packed = attention_mask is None and query.shape[0] == 1 and query.shape[2] == key.shape[2]
    ends = document_ends(query.shape[2], kwargs) if packed else None
    if ends is None:
        done: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return done
    if query.is_cuda:
        return _on_gpu(
            query, key, value, ends, int(kwargs.get("max_length_q") or query.shape[2]), dropout, scaling
        ), None
    lengths = ends.diff().tolist()  # split, not sliced: the backward of that is one concatenation
    documents = zip(*(states.split(lengths, dim=2) for states in (query, key, value)), strict=True)
    grouped = query.shape[1] != key.shape[1]
    parts = [
        torch.nn.functional.scaled_dot_product_attention(
            q, k, v, dropout_p=dropout, is_causal=True, scale=scaling, enable_gqa=grouped
        )
        for q, k, v in documents
    ]
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def document_ends(length: int, given: Mapping[str, Any]) -> torch.Tensor | None:
    """Where documents begin and the last one ends, by the collator or by positions that begin anew; None: no row."""
    ends, positions = given.get("cu_seq_lens_q"), given.get("position_ids")
    if ends is not None or positions is None or positions.shape != (1, length):
        return ends
    starts = (positions[0] == 0).nonzero().flatten().to(torch.int32)
    return torch.cat([starts, starts.new_tensor([length])]) if len(starts) and starts[0] == 0 else None


def _on_gpu(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    ends: torch.Tensor,
    longest: int,
    dropout: float,
    scaling: float | None,
) -> torch.Tensor:
    """torch's variable-length flash attention; it knows half precision only, and no dropout."""
    from torch.nn.attention.varlen import varlen_attn

    if dropout:
        raise ValueError("attn_implementation 'documents' has no attention dropout on a GPU. Take sdpa.")
    half = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else query.dtype
    q, k, v = (states[0].transpose(0, 1).to(half).contiguous() for states in (query, key, value))
    gqa = query.shape[1] != key.shape[1]
    out = varlen_attn(q, k, v, ends, ends, longest, longest, scale=scaling, window_size=(-1, 0), enable_gqa=gqa)
    assert isinstance(out, torch.Tensor)
    return out[None]


def implementation(asked: str | None) -> str | None:
    """The implementation's name as transformers knows it; "best" is chosen here, and said."""
    register()
    if asked != "best":
        return asked
    chosen, why = best_implementation()
    print(f"attention: {chosen}; {why}")
    return chosen


def best_implementation() -> tuple[str, str]:
    """What packed rows are best attended with on this machine, and why: FlashAttention-3, else `documents`."""
    if not torch.cuda.is_available():
        return NAME, "no GPU: SDPA on one document after the other"
    if torch.cuda.get_device_capability() != (9, 0):
        return NAME, f"{torch.cuda.get_device_name()} is no Hopper, so FlashAttention-3 has no kernel for it"
    try:
        from kernels import get_kernel
        from transformers.modeling_flash_attention_utils import FLASH_ATTN_KERNEL_FALLBACK, FLASH_ATTN_KERNEL_VERSIONS

        kernel = FLASH_ATTN_KERNEL_FALLBACK["flash_attention_3"]
        get_kernel(kernel, version=FLASH_ATTN_KERNEL_VERSIONS[kernel])
    except Exception as error:
        return NAME, f"FlashAttention-3 is not to be had ({type(error).__name__}: {str(error)[:80]})"
    return "flash_attention_3", "FlashAttention-3 of the Hub's kernels"
