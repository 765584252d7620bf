"""A random model of an architecture, shrunken until it fits anywhere: to try a recipe, to look at its batches.

    model = shrunken(AutoConfig.from_pretrained("Qwen/Qwen3-4B-Instruct-2507"), vocabulary=len(tokenizer))

What tells architectures apart is kept (kinds of norm and attention, tied embeddings, biases, grouped heads); width,
depth and vocabulary are not. It knows nothing, and says nothing of how well or how fast the real one would train.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_window_layers": 2,
}


def shrunken(config: PretrainedConfig, vocabulary: int, seed: int = 0) -> PreTrainedModel:
    """A model of `config`'s architecture with random weights of `seed`, in float32."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    given = config.to_dict()
    kept: dict[str, Any] = {key: value for key, value in given.items() if key not in ("layer_types", "dtype")}
    small = {key: value for key, value in SIZES.items() if key in given}
    if given.get("num_key_value_heads") == given.get("num_attention_heads"):
        small["num_key_value_heads"] = SIZES["num_attention_heads"]
    ids = {key: None for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    torch.manual_seed(seed)
    made = AutoConfig.for_model(**kept | small | ids | {"vocab_size": vocabulary})
    return AutoModelForCausalLM.from_config(made)  # type: ignore[no-any-return]
