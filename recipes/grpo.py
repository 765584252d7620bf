"""Reinforcement learning by TRL's GRPOTrainer: our loop and kernels are the environment, our grader the reward.

    dabstep rl-prompts LOG... --output data/prompts
    accelerate launch recipes/grpo.py --config recipes/configs/tiny-grpo.yaml --training_set data/prompts \\
        --model_name_or_path CHECKPOINT --output_dir FOLDER

Every key of the YAML is a field of the script's own arguments (below, `policy.py`), TRL's GRPOConfig or TRL's
ModelConfig, and can be overridden by a flag of the same name. A rollout is the agent's own loop in a real kernel
(`harness/rollouts.py`, `rollouts.py`), several turns long; the loss is on the very ids that were sampled, not on what
the environment said. The reward is 1 or 0 (`harness/reward.py`). A killed run goes on from its last checkpoint with the
same command and the same rollouts.

It samples in this process, on a GPU as well: vLLM is not wired in, so a large model's rollouts are slow. It does not
score.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import lifeline
from recipes.command_line import RecipeError, print_resolved
from recipes.loading import load_arguments, quantization
from recipes.policy import PolicyArguments, load_tokenizer, train
from recipes.publishing import Publisher
from recipes.rollouts import Environment, prompts_file, read_prompts

if TYPE_CHECKING:
    from trl import GRPOConfig, GRPOTrainer, ModelConfig


@dataclass
class RolloutArguments(PolicyArguments):
    """Bounds of a rollout."""

    turns: int = field(default=25, metadata={"help": "Turns of a rollout, at most."})
    turn_tokens: int = field(default=512, metadata={"help": "Tokens that a turn may have."})
    cell_seconds: float = field(default=20.0, metadata={"help": "Seconds that a cell may run."})
    kernels: int = field(default=32, metadata={"help": "Kernels that live at a time."})
    comments: str = field(default="never", metadata={"help": "As the task's -T comments: never, optional, required."})


def parse(arguments: list[str] | None = None) -> tuple[RolloutArguments, GRPOConfig, ModelConfig]:
    """The command line (this process's own by default) and the YAML that it names."""
    from trl import GRPOConfig, ModelConfig, TrlParser

    parser = TrlParser((RolloutArguments, GRPOConfig, ModelConfig))  # type: ignore[arg-type]
    recipe, args, model_config = parser.parse_args_and_config(arguments, fail_with_unknown_args=True)
    return recipe, args, model_config


def make_trainer(recipe: RolloutArguments, args: GRPOConfig, model_config: ModelConfig) -> GRPOTrainer:
    """The trainer of this run, ready to train."""
    from datasets import Dataset
    from trl import GRPOTrainer, get_peft_config
    from trl.trainer.utils import RepeatSampler

    from recipes.whole_checkpoints import WholeCheckpoints

    class EpochSampler(RepeatSampler):
        """TRL's order of prompts and their repetitions, drawn from seed and epoch alone: it can be gone on with."""

        def set_epoch(self, epoch: int) -> None:
            if self.shuffle:
                self.generator.manual_seed((self.seed or 0) * 1_000_003 + epoch)

    class PolicyTrainer(WholeCheckpoints, GRPOTrainer):
        """TRL's trainer, with checkpoints from which it goes on."""

        def train(self, *given: Any, **named: Any) -> Any:
            try:
                return super().train(*given, **named)
            finally:
                environment.close()

        def _get_train_sampler(self, dataset: Any = None) -> Any:
            rows: Any = self.train_dataset if dataset is None else dataset
            self._order = EpochSampler(
                rows,
                mini_repeat_count=args.num_generations or 1,
                batch_size=(args.generation_batch_size or 1) // (args.num_generations or 1),
                repeat_count=args.num_iterations * (args.steps_per_generation or 1),
                shuffle=bool(args.shuffle_dataset),
                seed=args.seed,
            )
            return self._order

    _check_saving(args)
    tokenizer = load_tokenizer(recipe, model_config)
    prompts = read_prompts(Path(recipe.training_set))
    together = (args.generation_batch_size or 0) // (args.num_generations or 1)
    if len(prompts) < together:
        raise RecipeError(
            f"{recipe.training_set} has {len(prompts)} prompts and {together} are rolled out together. Make more, or "
            "give a smaller --per_device_train_batch_size or --steps_per_generation."
        )
    environment = Environment(prompts, tokenizer, recipe)
    args.model_init_kwargs = load_arguments(args.model_init_kwargs, model_config)
    return PolicyTrainer(
        model=str(model_config.model_name_or_path),
        args=args,
        reward_funcs=environment.reward,
        train_dataset=Dataset.from_list([{"prompt": prompt.marked()} for prompt in prompts]),
        processing_class=tokenizer,
        quantization_config=quantization(model_config),
        peft_config=get_peft_config(model_config),
        rollout_func=environment.roll_out,
    )


def _check_saving(args: GRPOConfig) -> None:
    """A checkpoint between a rollout and its last update could not be gone on with: its rollouts would be lost."""
    updates = (args.steps_per_generation or 1) * args.num_iterations // args.gradient_accumulation_steps
    if args.save_strategy == "steps" and updates > 1 and args.save_steps % updates:
        raise RecipeError(
            f"--save_steps {args.save_steps:g}: rollouts last for {updates} updates, so checkpoints must be a multiple "
            f"of {updates} steps apart."
        )


def main() -> None:
    """Parse, print every resolved value once, train, save."""
    lifeline.hold()
    recipe, args, model_config = parse()
    print_resolved(recipe, model_config, args)
    publisher = Publisher.of(args)
    data = prompts_file(Path(recipe.training_set))
    train(make_trainer(recipe, args, model_config), recipe, model_config, data, publisher)


if __name__ == "__main__":
    main()
