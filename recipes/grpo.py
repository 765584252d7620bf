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

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness import lifeline
from recipes import study_run
from recipes.command_line import print_resolved
from recipes.going_on import finish, go_on
from recipes.policy import PolicyArguments, load_tokenizer, model_arguments, run_settings, set_optimizer
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


def make_trainer(recipe: RolloutArguments, args: GRPOConfig, model_config: ModelConfig) -> GRPOTrainer:
    """The trainer of this run, ready to train."""
    from datasets import Dataset
    from trl import GRPOTrainer, get_peft_config

    tokenizer = load_tokenizer(recipe, model_config)
    prompts = read_prompts(Path(recipe.training_set))
    environment = Environment(prompts, tokenizer, recipe)
    args.model_init_kwargs = model_arguments(args, model_config)
    trainer = GRPOTrainer(
        model=str(model_config.model_name_or_path),
        args=args,
        reward_funcs=environment.reward,
        train_dataset=Dataset.from_list([{"prompt": prompt.marked()} for prompt in prompts]),
        processing_class=tokenizer,
        peft_config=get_peft_config(model_config),
        rollout_func=environment.roll_out,
    )
    set_optimizer(trainer, recipe)
    return trainer


def main() -> None:
    """Parse, print every resolved value once, train, save."""
    lifeline.hold()
    from trl import GRPOConfig, ModelConfig, TrlParser

    parser = TrlParser((RolloutArguments, GRPOConfig, ModelConfig))  # type: ignore[arg-type]
    recipe, args, model_config = parser.parse_args_and_config(fail_with_unknown_args=True)
    print_resolved(recipe, model_config, args)
    model, output = str(model_config.model_name_or_path), Path(args.output_dir)
    start = go_on(output, run_settings(recipe, args, model, prompts_file(Path(recipe.training_set))))
    trainer = make_trainer(recipe, args, model_config)
    run = study_run.attach(trainer, asdict(recipe), model)
    trainer.train(resume_from_checkpoint=start)
    trainer.save_model(str(output))
    finish(output)
    if run is not None:
        run.finish()


if __name__ == "__main__":
    main()
