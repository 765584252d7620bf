"""What `dpo.py` and `grpo.py` share: the model that is tuned, its tokenizer and template, its optimizer, its folder.

The template that trains is saved with every checkpoint and served, as with `sft.py`.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.command_line import RecipeError
from results.provenance import folder_hash

if TYPE_CHECKING:
    from trl import ModelConfig

SETTINGS = (
    *("learning_rate", "beta", "seed", "max_steps", "num_train_epochs", "per_device_train_batch_size"),
    *("gradient_accumulation_steps", "lr_scheduler_type", "warmup_steps", "loss_type", "max_length"),
    *("num_generations", "temperature", "num_iterations", "steps_per_generation", "scale_rewards"),
)
"""Of TRL's arguments, those that make another run of it; `run.json` keeps them."""


@dataclass
class PolicyArguments:
    """What TRL's own arguments do not cover, whatever the method."""

    training_set: str = field(metadata={"help": "Folder of the data; the recipe's module says of which kind."})
    optimizer: str = field(
        default="config", metadata={"help": "'config': TRL's `optim`; 'muon': Muon for matrices, AdamW for the rest."}
    )
    matrix_learning_rate: float = field(default=0.001, metadata={"help": "Learning rate of Muon's matrices."})
    threads: int = field(default=0, metadata={"help": "CPU threads of this process; 0 leaves torch's choice."})


def load_tokenizer(recipe: PolicyArguments, model_config: ModelConfig) -> Any:
    """The tokenizer with the template that trains. Raises RecipeError where there is none, or no model was named."""
    import torch
    from transformers import AutoTokenizer
    from trl.chat_template_utils import get_training_chat_template

    if model_config.model_name_or_path is None:
        raise RecipeError("no model to train. Give a folder or a name of the Hub by --model_name_or_path.")
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    tokenizer: Any = AutoTokenizer.from_pretrained(model_config.model_name_or_path)
    if not tokenizer.chat_template:
        raise RecipeError(f"{model_config.model_name_or_path}: its tokenizer has no chat template. Tune a chat model.")
    try:
        tokenizer.chat_template = get_training_chat_template(tokenizer) or tokenizer.chat_template
    except ValueError as error:
        raise RecipeError(f"{model_config.model_name_or_path}: {error}") from None
    return tokenizer


def model_arguments(args: Any, model_config: ModelConfig) -> dict[str, Any]:
    """What the model is loaded with."""
    given = args.model_init_kwargs if isinstance(args.model_init_kwargs, dict) else {}
    named = {"dtype": model_config.dtype, "attn_implementation": model_config.attn_implementation}
    return given | named


def set_optimizer(trainer: Any, recipe: PolicyArguments) -> None:
    """Muon where it is asked for; else the trainer makes TRL's own."""
    if recipe.optimizer == "config":
        return
    if recipe.optimizer != "muon":
        raise RecipeError(f"--optimizer {recipe.optimizer}: there are config and muon.")
    from recipes.muon import MuonWithAdamW, split_parameters

    args = trainer.args
    matrices, others = split_parameters(trainer.model)
    betas = (args.adam_beta1, args.adam_beta2)
    trainer.optimizer = MuonWithAdamW(
        matrices, others, recipe.matrix_learning_rate, args.learning_rate, args.weight_decay, betas
    )


def run_settings(recipe: PolicyArguments, args: Any, model: str, data: Path) -> dict[str, Any]:
    """What makes a run that run: the recipe's arguments, TRL's that matter, the hashes of model and data."""
    folder = Path(model).expanduser()
    with data.open("rb") as rows:
        digest = hashlib.file_digest(rows, "sha256").hexdigest()
    ours = {name: value for name, value in asdict(recipe).items() if name != "training_set"}
    theirs = {name: str(getattr(args, name)) for name in SETTINGS if hasattr(args, name)}
    return {**ours, **theirs, "model": folder_hash(folder) if folder.is_dir() else model, "data": digest}
