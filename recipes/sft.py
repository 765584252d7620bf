"""Supervised fine-tuning on traces by TRL's SFTTrainer.

Every key of the YAML is a field of the script's own arguments (below), TRL's SFTConfig or TRL's ModelConfig, and can be
overridden by a flag of the same name. The loss is on assistant tokens only. The chat template that trains is saved with
every checkpoint, so the one that serves is the same. A row longer than `max_length` is dropped and counted, never cut.

    accelerate launch recipes/sft.py --config recipes/configs/tiny.yaml --training_set FOLDER --output_dir FOLDER

It does not make data (see `pipeline/`) and does not score (see `inspect eval` with `--model checkpoint/FOLDER`).
Where the environment names a study (`harness/study.py`), the training is logged to W&B as one of its runs.
"""

from __future__ import annotations

import json
import sys
from dataclasses import MISSING, asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import lifeline
from recipes import study_run

if TYPE_CHECKING:
    from datasets import Dataset
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


class RecipeError(SystemExit):
    """A user's mistake: printed in one line, exit code 2."""

    def __init__(self, message: str) -> None:
        print(f"sft: {message}", file=sys.stderr)
        super().__init__(2)


def read_rows(training_set: Path, variant: str = "non_thinking") -> list[dict[str, Any]]:
    """The training set's rows, `{"messages": [...], "tools": "JSON text"}` each.

    Out of `rows.jsonl` (`dabstep training-set`), or the split `variant` of a folder that the pipeline published.
    """
    if (training_set / "data").is_dir():
        return published_rows(training_set, variant)
    file = training_set / "rows.jsonl"
    if not file.is_file():
        raise RecipeError(f"{file}: no such training set. Make one from logs with `dabstep training-set`.")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def published_rows(folder: Path, variant: str) -> list[dict[str, Any]]:
    """The rows of a published data set, its messages as chat templates want them: what is empty is not there."""
    from datasets import disable_progress_bars, load_dataset

    shards = sorted(str(shard) for shard in (folder / "data").glob(f"{variant}-*.parquet"))
    if not shards:
        there = sorted({shard.name.rpartition("-")[0] for shard in (folder / "data").glob("*.parquet")})
        raise RecipeError(f"{folder}: has no split {variant!r}. Give one of {', '.join(there) or 'none'} by --variant.")
    disable_progress_bars()
    columns = load_dataset("parquet", data_files=shards, split="train", columns=["messages", "tools"])
    return [{"messages": [_chat(message) for message in row["messages"]], "tools": row["tools"]} for row in columns]


def _chat(message: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key in ("role", "content") or value}


def rows_that_fit(rows: list[dict[str, Any]], max_length: int | None, tokenizer: Any) -> Dataset:
    """Rows whose tokens fit into `max_length`, as TRL's conversational rows; the others are dropped and counted.

    TRL would cut them silently, and a trace without its answer teaches never to answer.
    """
    from datasets import Dataset

    def fits(row: dict[str, Any]) -> bool:
        tools = json.loads(row["tools"]) if row.get("tools") else None
        ids = tokenizer.apply_chat_template(row["messages"], tools=tools, tokenize=True, return_dict=True)["input_ids"]
        return max_length is None or len(ids) <= max_length

    kept = [{"messages": row["messages"], "tools": row.get("tools")} for row in rows if fits(row)]
    print(f"rows: {len(kept)} kept, {len(rows) - len(kept)} dropped as longer than max_length={max_length}")
    if not kept:
        raise RecipeError("no row is left to train on. Raise --max_length.")
    return Dataset.from_list(kept)


def make_trainer(recipe: RecipeArguments, args: SFTConfig, model_config: ModelConfig) -> SFTTrainer:
    """The trainer of this run, ready to train."""
    import torch
    from transformers import AutoTokenizer
    from trl import SFTTrainer

    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    tokenizer = AutoTokenizer.from_pretrained(model_config.model_name_or_path)
    given = args.model_init_kwargs if isinstance(args.model_init_kwargs, dict) else {}
    args.model_init_kwargs = given | {
        "dtype": model_config.dtype,
        "attn_implementation": model_config.attn_implementation,
    }
    trainer = SFTTrainer(
        model=model_config.model_name_or_path,
        args=args,
        train_dataset=rows_that_fit(read_rows(Path(recipe.training_set), recipe.variant), args.max_length, tokenizer),
        processing_class=tokenizer,
    )
    if recipe.optimizer == "muon":
        from recipes.muon import MuonWithAdamW, split_parameters

        assert trainer.model is not None, "SFTTrainer always has its model"
        matrices, others = split_parameters(trainer.model)
        trainer.optimizer = MuonWithAdamW(
            matrices,
            others,
            recipe.matrix_learning_rate,
            args.learning_rate,
            args.weight_decay,
            (args.adam_beta1, args.adam_beta2),
        )
    return trainer


def print_resolved(recipe: RecipeArguments, model_config: ModelConfig, args: SFTConfig) -> None:
    """Print every value of the recipe, and those of TRL's that differ from its defaults."""
    print("recipe: " + ", ".join(f"{name}={value}" for name, value in asdict(recipe).items()))
    for config in (model_config, args):
        fields = type(config).__dataclass_fields__
        changed = {
            name: getattr(config, name)
            for name, known in fields.items()
            if getattr(config, name) != known.default and known.default is not MISSING and not name.startswith("_")
        }
        shown = ", ".join(f"{name}={value}" for name, value in changed.items())
        print(f"{type(config).__name__}, where it differs from its defaults: {shown}")


def main() -> None:
    """Parse, print every resolved value once, train, save."""
    lifeline.hold()
    from trl import ModelConfig, SFTConfig, TrlParser

    parser = TrlParser((RecipeArguments, SFTConfig, ModelConfig))  # type: ignore[arg-type]
    recipe, args, model_config = parser.parse_args_and_config(fail_with_unknown_args=True)
    print_resolved(recipe, model_config, args)
    trainer = make_trainer(recipe, args, model_config)
    run = study_run.attach(trainer, asdict(recipe), str(model_config.model_name_or_path))
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.save_model(args.output_dir)
    if run is not None:
        run.finish()


if __name__ == "__main__":
    main()
