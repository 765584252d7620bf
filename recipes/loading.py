"""How a recipe's model is loaded: precision, attention, quantised or not. No weights are touched in here.

    args.model_init_kwargs = load_arguments(args.model_init_kwargs, model_config)
    SFTTrainer(..., quantization_config=quantization(model_config), peft_config=get_peft_config(model_config))

QLoRA (`load_in_4bit`, `use_peft`) needs bitsandbytes: pip install 'dabstep[qlora]'. It runs on CPUs, too, slowly.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from recipes.command_line import RecipeError

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig
    from trl import ModelConfig


def load_arguments(given: Any, model_config: ModelConfig) -> dict[str, Any]:
    """What the model's `from_pretrained` is given; `given`, of the YAML's `model_init_kwargs`, comes first."""
    from recipes.attention import implementation

    return {
        "revision": model_config.model_revision,
        "dtype": model_config.dtype,
        "attn_implementation": implementation(model_config.attn_implementation),
        **(given if isinstance(given, dict) else {}),
    }


def quantization(model_config: ModelConfig) -> BitsAndBytesConfig | None:
    """The quantisation that was asked for; None without.

    Raises RecipeError where bitsandbytes is missing, or where quantised weights would be trained themselves.
    """
    from trl import get_quantization_config

    if not (model_config.load_in_4bit or model_config.load_in_8bit):
        return None
    if not model_config.use_peft:
        raise RecipeError("quantised weights cannot be trained themselves. Add --use_peft, or load them unquantised.")
    if find_spec("bitsandbytes") is None:
        raise RecipeError("load_in_4bit and load_in_8bit need bitsandbytes. Install it: pip install 'dabstep[qlora]'.")
    return get_quantization_config(model_config)
