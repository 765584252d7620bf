"""Supervised fine-tuning on traces by TRL's SFTTrainer.

Every key of the YAML is a field of the script's own arguments (below), TRL's SFTConfig or TRL's ModelConfig, and can be
overridden by a flag of the same name. The loss is on assistant tokens only. The chat template that trains is saved with
every checkpoint, so the one that serves is the same. A row longer than `max_length` is dropped and counted, never cut.

    accelerate launch recipes/sft.py --config recipes/configs/tiny.yaml --training_set FOLDER --output_dir FOLDER

A run that was killed goes on by the same command: from the newest whole checkpoint of its output folder, with the same
curve (`whole_checkpoints.py`). A folder begun with other settings or data is refused with what changed.

It does not make data (see `pipeline/`) and does not score (see `inspect eval` with `--model checkpoint/FOLDER`).
Where the environment names a study (`harness/study.py`), the training is logged to W&B as one of its runs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import lifeline
from recipes import study_run
from recipes.checkpoints import checkpoint_to_go_on_from, claim, save_final, settings_of
from recipes.command_line import RecipeError, print_resolved
from recipes.rows import read_rows, rows_that_fit
from results.provenance import folder_hash

if TYPE_CHECKING:
    from trl import ModelConfig, SFTConfig, SFTTrainer


@dataclass
class RecipeArguments:
    """What TRL's own arguments do not cover."""

    training_set: str = field(metadata={"help": "Folder with rows.jsonl, or of a published data set."})
    variant: str = field(
        default="non_thinking", metadata={"help": "Split of a published data set: thinking or non_thinking."}
    )
    optimizer: str = field(
        default="config", metadata={"help": "'config': TRL's `optim`; 'muon': Muon for matrices, AdamW for the rest."}
    )
    matrix_learning_rate: float = field(default=0.01, metadata={"help": "Learning rate of Muon's matrices."})
    threads: int = field(default=0, metadata={"help": "CPU threads of this process; 0 leaves torch's choice."})


def make_trainer(recipe: RecipeArguments, args: SFTConfig, model_config: ModelConfig) -> SFTTrainer:
    """The trainer of this run, ready to train."""
    import torch
    from transformers import AutoTokenizer

    from recipes.attention import implementation
    from recipes.trainer import RecipeTrainer

    if model_config.model_name_or_path is None:
        raise RecipeError("no model to train. Give a folder or a name of the Hub by --model_name_or_path.")
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    tokenizer = AutoTokenizer.from_pretrained(model_config.model_name_or_path)
    given = args.model_init_kwargs if isinstance(args.model_init_kwargs, dict) else {}
    args.model_init_kwargs = given | {
        "dtype": model_config.dtype,
        "attn_implementation": implementation(model_config.attn_implementation),
    }
    trainer = RecipeTrainer(
        model=model_config.model_name_or_path,
        args=args,
        train_dataset=rows_that_fit(read_rows(Path(recipe.training_set), recipe.variant), args.max_length, tokenizer),
        processing_class=tokenizer,
    )
    if recipe.optimizer == "muon":
        use_muon(trainer, recipe.matrix_learning_rate)
    return trainer


def use_muon(trainer: SFTTrainer, matrix_learning_rate: float) -> None:
    """Have the trainer's matrices moved by Muon; the rest keeps AdamW with TRL's settings."""
    from recipes.muon import MuonWithAdamW, split_parameters

    assert trainer.model is not None, "SFTTrainer always has its model"
    args = trainer.args
    matrices, others = split_parameters(trainer.model)
    betas = (args.adam_beta1, args.adam_beta2)
    trainer.optimizer = MuonWithAdamW(
        matrices, others, matrix_learning_rate, args.learning_rate, args.weight_decay, betas
    )


def where_to_go_on(trainer: SFTTrainer, recipe: RecipeArguments, model_config: ModelConfig) -> str | None:
    """The checkpoint that this run goes on from, None where it begins.

    Raises RecipeError where the output folder belongs to another run.
    """
    args = trainer.args
    output = Path(args.output_dir)
    settings = settings_of(recipe, args, model_settings(model_config), trainer.train_dataset)
    if trainer.is_world_process_zero():
        claim(output, settings)
    return checkpoint_to_go_on_from(output, args.resume_from_checkpoint)


def model_settings(model_config: ModelConfig) -> dict[str, Any]:
    """What decides the model that training starts from: the hash of its folder, or its name on the Hub."""
    name = str(model_config.model_name_or_path)
    folder = Path(name).expanduser()
    rest = {key: value for key, value in asdict(model_config).items() if key != "model_name_or_path"}
    return {"weights": folder_hash(folder) if folder.is_dir() else name, **rest}


def main() -> None:
    """Parse, print every resolved value once, train, save."""
    lifeline.hold()
    from trl import ModelConfig, SFTConfig, TrlParser

    parser = TrlParser((RecipeArguments, SFTConfig, ModelConfig))  # type: ignore[arg-type]
    recipe, args, model_config = parser.parse_args_and_config(fail_with_unknown_args=True)
    print_resolved(recipe, model_config, args)
    trainer = make_trainer(recipe, args, model_config)
    args.resume_from_checkpoint = where_to_go_on(trainer, recipe, model_config)
    run = study_run.attach(trainer, asdict(recipe), str(model_config.model_name_or_path))
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    save_final(trainer, Path(args.output_dir))
    if run is not None:
        run.finish()


if __name__ == "__main__":
    main()
