"""Direct preference optimisation on pairs of rollouts by TRL's DPOTrainer.

    dabstep preference-pairs LOG... --output data/pairs
    accelerate launch recipes/dpo.py --config recipes/configs/tiny-dpo.yaml --training_set data/pairs \\
        --model_name_or_path CHECKPOINT --output_dir FOLDER

Every key of the YAML is a field of the script's own arguments (`policy.py`), TRL's DPOConfig or TRL's ModelConfig, and
can be overridden by a flag of the same name. The loss is on what the model wrote, in the very ids that it sampled
where they are known (`pairs.py`). A killed run goes on from its last checkpoint, with the same command.

It makes no pairs (`pipeline/preference_pairs.py`) and does not score (`inspect eval ... --model checkpoint/FOLDER`).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import lifeline
from recipes import study_run
from recipes.command_line import print_resolved
from recipes.going_on import finish, go_on
from recipes.pairs import SIDES, pairs_as_ids, pairs_file
from recipes.policy import PolicyArguments, load_tokenizer, model_arguments, run_settings, set_optimizer

if TYPE_CHECKING:
    from trl import DPOConfig, DPOTrainer, ModelConfig


def make_trainer(recipe: PolicyArguments, args: DPOConfig, model_config: ModelConfig) -> DPOTrainer:
    """The trainer of this run, ready to train."""
    from trl import DPOTrainer, get_peft_config
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    class MaskedPairs(DataCollatorForPreference):
        """TRL's collator, with the pairs' own masks in place of the whole completion."""

        def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
            batch = super().torch_call(examples)
            masks = [(len(each["prompt_ids"]), each[f"{side}_mask"]) for side in SIDES for each in examples]
            for row, (start, mask) in enumerate(masks):
                batch["completion_mask"][row, start : start + len(mask)] = batch["completion_mask"].new_tensor(mask)
            return batch

    class PairTrainer(DPOTrainer):
        """TRL's trainer on rows that are ids already."""

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

    tokenizer = load_tokenizer(recipe, model_config)
    text = pairs_file(Path(recipe.training_set)).read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    data, counts = pairs_as_ids(rows, tokenizer, args.max_length)
    print(f"pairs: {counts.sampled} in their own ids, {counts.rendered} tokenised here, dropped: {counts.dropped or 0}")
    args.model_init_kwargs = model_arguments(args, model_config)
    args.remove_unused_columns = False  # the masks
    trainer = PairTrainer(
        model=str(model_config.model_name_or_path),
        args=args,
        data_collator=MaskedPairs(pad_token_id=tokenizer.pad_token_id),
        train_dataset=data,
        processing_class=tokenizer,
        peft_config=get_peft_config(model_config),
    )
    set_optimizer(trainer, recipe)
    return trainer


def main() -> None:
    """Parse, print every resolved value once, train, save."""
    lifeline.hold()
    from trl import DPOConfig, ModelConfig, TrlParser

    parser = TrlParser((PolicyArguments, DPOConfig, ModelConfig))  # type: ignore[arg-type]
    recipe, args, model_config = parser.parse_args_and_config(fail_with_unknown_args=True)
    print_resolved(recipe, model_config, args)
    model, output = str(model_config.model_name_or_path), Path(args.output_dir)
    start = go_on(output, run_settings(recipe, args, model, pairs_file(Path(recipe.training_set))))
    trainer = make_trainer(recipe, args, model_config)
    run = study_run.attach(trainer, asdict(recipe), model)
    trainer.train(resume_from_checkpoint=start)
    trainer.save_model(str(output))
    finish(output)
    if run is not None:
        run.finish()


if __name__ == "__main__":
    main()
