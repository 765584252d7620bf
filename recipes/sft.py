"""Supervised fine-tuning on traces by TRL's SFTTrainer.

Every key of the YAML is a field of the script's own arguments (below), TRL's SFTConfig or TRL's ModelConfig, and can be
overridden by a flag of the same name. The loss is on assistant tokens only (`assistant_only_loss`). The chat template
that trains (`training_template.py`) is saved with every checkpoint, so the one that serves is the same. Rows may come
from several training sets, mixed by weight (`mixture.py`); one longer than `max_length` is dropped and counted, never
cut. LoRA and QLoRA are TRL's `use_peft` and `load_in_4bit`. Distillation is this, on a teacher's traces.

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
from recipes.loading import load_arguments, quantization
from recipes.mixture import sources_of, training_rows
from recipes.neftune import alpha_for
from recipes.publishing import Publisher
from recipes.training_template import training_template
from results.provenance import folder_hash

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from trl import ModelConfig, SFTConfig, SFTTrainer

    from recipes.trainer import RecipeTrainer


@dataclass
class RecipeArguments:
    """What TRL's own arguments do not cover."""

    training_set: str = field(
        metadata={"help": "Folder with rows.jsonl or of a published data set; or several, mixed: agent=1,chat.jsonl=2."}
    )
    variant: str | None = field(
        default=None,
        metadata={
            "help": "thinking: with the model's thoughts; non_thinking: without. Left out: a published data set's "
            "non_thinking, anything else as it was recorded."
        },
    )
    mix_by: str = field(
        default="rows",
        metadata={"help": "What the weights of several training sets count.", "choices": ["rows", "tokens"]},
    )
    optimizer: str = field(
        default="config", metadata={"help": "'config': TRL's `optim`; 'muon': Muon for matrices, AdamW for the rest."}
    )
    matrix_learning_rate: float = field(default=0.01, metadata={"help": "Learning rate of Muon's matrices."})
    threads: int = field(default=0, metadata={"help": "CPU threads of this process; 0 leaves torch's choice."})


def parse(arguments: list[str] | None = None) -> tuple[RecipeArguments, SFTConfig, ModelConfig]:
    """The command line (this process's own by default) and the YAML that it names."""
    from trl import ModelConfig, SFTConfig, TrlParser

    parser = TrlParser((RecipeArguments, SFTConfig, ModelConfig))  # type: ignore[arg-type]
    recipe, args, model_config = parser.parse_args_and_config(arguments, fail_with_unknown_args=True)
    return recipe, args, model_config


def make_trainer(
    recipe: RecipeArguments, args: SFTConfig, model_config: ModelConfig, model: PreTrainedModel | None = None
) -> RecipeTrainer:
    """The trainer of this run, ready to train. `model` takes the named one's place; the tokenizer stays that one's."""
    import torch
    from transformers import AutoTokenizer
    from trl import get_peft_config

    from recipes.trainer import RecipeTrainer

    if model_config.model_name_or_path is None:
        raise RecipeError("no model to train. Give a folder or a name of the Hub by --model_name_or_path.")
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    tokenizer = AutoTokenizer.from_pretrained(
        model_config.model_name_or_path, revision=model_config.model_revision, trust_remote_code=args.trust_remote_code
    )
    if args.chat_template_path is not None:
        tokenizer.chat_template = Path(args.chat_template_path).read_text(encoding="utf-8")
    if args.assistant_only_loss:
        tokenizer.chat_template = training_template(tokenizer)
    args.chat_template_path = None  # the tokenizer has it
    rows, account = training_rows(
        sources_of(recipe.training_set, recipe.variant),
        tokenizer,
        args.max_length,
        args.seed if args.data_seed is None else args.data_seed,
        recipe.mix_by,
        args.assistant_only_loss,
        args.dataset_num_proc,
    )
    if args.process_index == 0:
        print("\n".join(account.lines()))
    if args.padding_free and not args.packing:
        args.max_length = None  # TRL refuses it there as not kept to; here longer rows are gone by now
    if model is None:
        args.model_init_kwargs = load_arguments(args.model_init_kwargs, model_config)
    trainer = RecipeTrainer(
        model=model or model_config.model_name_or_path,
        args=args,
        train_dataset=rows,
        processing_class=tokenizer,
        quantization_config=quantization(model_config) if model is None else None,
        peft_config=get_peft_config(model_config),
    )
    trainer.account = account
    trainer.neftune_noise_alpha = alpha_for(args.neftune_noise_alpha, trainer)
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


def where_to_go_on(trainer: RecipeTrainer, recipe: RecipeArguments, model_config: ModelConfig) -> str | None:
    """The checkpoint that this run goes on from, None where it begins; the account of its rows is put beside it.

    Raises RecipeError where the output folder belongs to another run.
    """
    args = trainer.args
    output = Path(str(args.output_dir))
    settings = settings_of(recipe, args, model_settings(model_config), trainer.train_dataset)
    if trainer.is_world_process_zero():
        claim(output, settings)
        if trainer.account is not None:
            trainer.account.write(output)
    trainer.accelerator.wait_for_everyone()
    return checkpoint_to_go_on_from(output, args.resume_from_checkpoint, say=trainer.is_world_process_zero())


def model_settings(model_config: ModelConfig) -> dict[str, Any]:
    """What decides the model that training starts from: the hash of its folder, or its name on the Hub."""
    name = str(model_config.model_name_or_path)
    folder = Path(name).expanduser()
    rest = {key: value for key, value in asdict(model_config).items() if key != "model_name_or_path"}
    return {"weights": folder_hash(folder) if folder.is_dir() else name, **rest}


def main() -> None:
    """Parse, print every resolved value once, train, save."""
    lifeline.hold()
    recipe, args, model_config = parse()
    print_resolved(recipe, model_config, args)
    publisher = Publisher.of(args)
    trainer = make_trainer(recipe, args, model_config)
    args.resume_from_checkpoint = where_to_go_on(trainer, recipe, model_config)
    run = study_run.attach(trainer, asdict(recipe), str(model_config.model_name_or_path))
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    save_final(trainer, Path(str(args.output_dir)))
    publisher.publish(trainer, asdict(recipe), str(model_config.model_name_or_path))
    if run is not None:
        run.finish()


if __name__ == "__main__":
    main()
