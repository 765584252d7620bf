"""Direct preference optimisation on pairs of rollouts by TRL's DPOTrainer.

    dabstep preference-pairs LOG... --output data/pairs
    accelerate launch recipes/dpo.py --config recipes/configs/tiny-dpo.yaml --training_set data/pairs \\
        --model_name_or_path CHECKPOINT --output_dir FOLDER

Every key of the YAML is a field of the script's own arguments (`policy.py`), TRL's DPOConfig or TRL's ModelConfig, and
can be overridden by a flag of the same name. The loss is on what the model wrote, in the very ids that it sampled
where they are known (`pairs.py`). A killed run goes on by the same command (`policy.py`).

It makes no pairs (`pipeline/preference_pairs.py`) and does not score (`inspect eval ... --model checkpoint/FOLDER`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import lifeline
from recipes.command_line import print_resolved
from recipes.loading import load_arguments, quantization
from recipes.pairs import SIDES, pairs_as_ids, pairs_file
from recipes.policy import PolicyArguments, load_tokenizer, train
from recipes.publishing import Publisher

if TYPE_CHECKING:
    from trl import DPOConfig, DPOTrainer, ModelConfig


def parse(arguments: list[str] | None = None) -> tuple[PolicyArguments, DPOConfig, ModelConfig]:
    """The command line (this process's own by default) and the YAML that it names."""
    from trl import DPOConfig, ModelConfig, TrlParser

    parser = TrlParser((PolicyArguments, DPOConfig, ModelConfig))  # type: ignore[arg-type]
    recipe, args, model_config = parser.parse_args_and_config(arguments, fail_with_unknown_args=True)
    return recipe, args, model_config


def make_trainer(recipe: PolicyArguments, args: DPOConfig, model_config: ModelConfig) -> DPOTrainer:
    """The trainer of this run, ready to train."""
    from trl import DPOTrainer, get_peft_config
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    from recipes.whole_checkpoints import WholeCheckpoints

    class MaskedPairs(DataCollatorForPreference):
        """TRL's collator, with the pairs' own masks in place of the whole completion."""

        def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
            batch = super().torch_call(examples)
            masks = [(len(each["prompt_ids"]), each[f"{side}_mask"]) for side in SIDES for each in examples]
            for row, (start, mask) in enumerate(masks):
                batch["completion_mask"][row, start : start + len(mask)] = batch["completion_mask"].new_tensor(mask)
            return batch

    class PairTrainer(WholeCheckpoints, DPOTrainer):
        """TRL's trainer on rows that are ids already."""

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

    tokenizer = load_tokenizer(recipe, model_config)
    text = pairs_file(Path(recipe.training_set)).read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    data, counts = pairs_as_ids(rows, tokenizer, args.max_length)
    print(f"pairs: {counts.sampled} in their own ids, {counts.rendered} tokenised here, dropped: {counts.dropped or 0}")
    args.model_init_kwargs = load_arguments(args.model_init_kwargs, model_config)
    args.remove_unused_columns = False  # the masks
    return PairTrainer(
        model=str(model_config.model_name_or_path),
        args=args,
        data_collator=MaskedPairs(pad_token_id=tokenizer.pad_token_id),
        train_dataset=data,
        processing_class=tokenizer,
        quantization_config=quantization(model_config),
        peft_config=get_peft_config(model_config),
    )


def main() -> None:
    """Parse, print every resolved value once, train, save."""
    lifeline.hold()
    recipe, args, model_config = parse()
    print_resolved(recipe, model_config, args)
    publisher = Publisher.of(args)
    train(
        make_trainer(recipe, args, model_config), recipe, model_config, pairs_file(Path(recipe.training_set)), publisher
    )


if __name__ == "__main__":
    main()
