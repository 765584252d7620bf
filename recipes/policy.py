"""What `dpo.py` and `grpo.py` share: the model that is tuned with its tokenizer and template, and the run's beginning.

Both go on after a kill as `sft.py` does (`checkpoints.py`, `whole_checkpoints.py`): by the same command, from the
newest whole checkpoint; a folder begun with other settings, model or data is refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes import study_run
from recipes.checkpoints import checkpoint_to_go_on_from, claim, save_final, settings_of
from recipes.command_line import RecipeError
from recipes.publishing import Publisher
from recipes.sft import model_settings, use_muon
from recipes.training_template import training_template

if TYPE_CHECKING:
    from trl import ModelConfig


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

    if model_config.model_name_or_path is None:
        raise RecipeError("no model to train. Give a folder or a name of the Hub by --model_name_or_path.")
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    tokenizer: Any = AutoTokenizer.from_pretrained(
        model_config.model_name_or_path, revision=model_config.model_revision
    )
    tokenizer.chat_template = training_template(tokenizer)
    return tokenizer


def train(trainer: Any, recipe: PolicyArguments, model_config: ModelConfig, data: Path, publisher: Publisher) -> None:
    """Train from the beginning or from where a kill left off, and save.

    Args:
        trainer: Ready to train, with TRL's own optimizer.
        recipe: The recipe's own arguments.
        model_config: What the model is.
        data: The file that the run learns from; its hash is one of the run's settings.
        publisher: Where the model goes in the end.
    """
    if recipe.optimizer not in ("config", "muon"):
        raise RecipeError(f"--optimizer {recipe.optimizer}: there are config and muon.")
    if recipe.optimizer == "muon":
        use_muon(trainer, recipe.matrix_learning_rate)
    args, model = trainer.args, str(model_config.model_name_or_path)
    output = Path(args.output_dir)
    with data.open("rb") as rows:
        digest = hashlib.file_digest(rows, "sha256").hexdigest()
    settings = settings_of(recipe, args, model_settings(model_config) | {"data": digest}, trainer.train_dataset)
    if trainer.is_world_process_zero():
        claim(output, settings)
    args.resume_from_checkpoint = checkpoint_to_go_on_from(output, args.resume_from_checkpoint)
    run = study_run.attach(trainer, asdict(recipe), model)
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    save_final(trainer, output)
    publisher.publish(trainer, asdict(recipe), model)
    if run is not None:
        run.finish()
