"""Between TRL's GRPOTrainer and our rollouts: prompts with their files, ids with masks, rewards with their reasons.

    environment = Environment(read_prompts(folder), tokenizer, recipe)
    GRPOTrainer(rollout_func=environment.roll_out, reward_funcs=environment.reward, ...)

TRL's `rollout_func` is given prompts and nothing else, so a prompt's messages carry their question's id. It is used and
not TRL's `environment_factory`, which renders what a tool said by a made-up conversation and reads calls by a parser of
its own: that would be another loop than the one that evaluates.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.reward import Reward, reward_of
from harness.rollouts import Asked, Rollout, RolloutRunner, RolloutSettings
from recipes.command_line import RecipeError

PROMPTS = "prompts.jsonl"
MARK = "question_id"
TOO_LONG = "longer than max_completion_length"
COMMENTS = ("never", "optional", "required")


class Bounds(Protocol):
    """What `recipes/grpo.py` bounds rollouts by."""

    turns: int
    turn_tokens: int
    cell_seconds: float
    kernels: int
    comments: str


@dataclass(frozen=True)
class RlPrompt:
    """A question as it is asked, with the answer that is rewarded."""

    asked: Asked
    answer: str

    def marked(self) -> list[dict[str, str]]:
        """Its messages for TRL."""
        texts = (("system", self.asked.system), ("user", self.asked.user))
        return [{"role": role, "content": text, MARK: self.asked.id} for role, text in texts]


def prompts_file(folder: Path) -> Path:
    """The prompts of a folder. Raises RecipeError where there are none."""
    file = folder / PROMPTS
    if not file.is_file():
        raise RecipeError(f"{file}: no such prompts. Make them from logs with `dabstep rl-prompts`.")
    return file


def read_prompts(folder: Path) -> list[RlPrompt]:
    """The prompts of `dabstep rl-prompts`. Raises RecipeError naming the line of a row that cannot be played."""
    file = prompts_file(folder)
    prompts: dict[str, RlPrompt] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        row = json.loads(line)
        if [message["role"] for message in row["prompt"]] != ["system", "user"]:
            raise RecipeError(f"{file}:{number}: a prompt is a system and a user message. Make the prompts again.")
        system, user = (message["content"] for message in row["prompt"])
        files = {name: Path(path) for name, path in row["files"].items()}
        if absent := [path for path in files.values() if not path.is_file()]:
            raise RecipeError(f"{file}:{number}: {absent[0]} is not there. Make the question set or the prompts again.")
        prompts[row["question_id"]] = RlPrompt(Asked(row["question_id"], system, user, files), row["answer"])
    if not prompts:
        raise RecipeError(f"{file} holds no prompts.")
    return list(prompts.values())


class Environment:
    """Plays rollouts with the trainer's own model and rewards them."""

    def __init__(self, prompts: Sequence[RlPrompt], tokenizer: Any, bounds: Bounds) -> None:
        """Raises RecipeError for an unknown `comments`, TemplateError for a template that is not prefix-preserving."""
        from harness.models.tokens import ChatTemplate

        if bounds.comments not in COMMENTS:
            raise RecipeError(f"--comments {bounds.comments}: there are {', '.join(COMMENTS)}.")
        self.prompts = {prompt.asked.id: prompt for prompt in prompts}
        self.template = ChatTemplate(tokenizer)
        self.bounds = bounds
        self.runner = RolloutRunner(
            RolloutSettings(
                turns=bounds.turns,
                cell_s=bounds.cell_seconds,
                at_once=bounds.kernels,
                comments=bounds.comments,  # type: ignore[arg-type]  # checked above
            )
        )

    def roll_out(self, prompts: Sequence[Any], trainer: Any) -> dict[str, Any]:
        """TRL's `rollout_func`: a rollout of each prompt (TRL repeats them), as ids, masks and rewards."""
        asked = [self.prompts[messages[0][MARK]] for messages in prompts]
        rollouts = self._sampled([prompt.asked for prompt in asked], trainer)
        longest = trainer.max_completion_length
        rewards = [self._reward(prompt, rollout, longest) for prompt, rollout in zip(asked, rollouts, strict=True)]
        nothing = [trainer._tokenizer.eos_token_id]
        return {
            "prompt_ids": [list(each.prompt_ids) or nothing for each in rollouts],
            "completion_ids": [list(each.completion_ids[:longest]) or nothing for each in rollouts],
            "env_mask": [list(each.mask[:longest]) or [0] for each in rollouts],
            "logprobs": None,  # TRL computes them anew
            "value": [reward.value for reward in rewards],
            "reason": [reward.reason for reward in rewards],
            "turns": [each.turns for each in rollouts],
        }

    def reward(
        self,
        *,
        value: Sequence[float],
        reason: Sequence[str],
        turns: Sequence[int],
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[float | None]:
        """TRL's reward function: what `roll_out` found, with the share of every reason for the log."""
        for name, count in sorted(Counter(reason).items()):
            log_metric(f"reason/{name}", count / len(reason))
        log_metric("turns", sum(turns) / len(turns))
        return list(value)

    def close(self) -> None:
        """End what rollouts keep between them."""
        self.runner.close()

    def _sampled(self, asked: Sequence[Asked], trainer: Any) -> list[Rollout]:
        """Rollouts by the weights of this moment; a function of the run's seed, its step and its process alone."""
        from inspect_ai.model import GenerateConfig
        from trl.models.utils import unwrap_model_for_generation

        from harness.models.live import LiveAPI

        step = f"{trainer.args.seed} {trainer.state.global_step} {trainer.accelerator.process_index}"
        config = GenerateConfig(
            temperature=trainer.temperature,
            top_p=trainer.args.top_p,
            top_k=trainer.args.top_k,
            max_tokens=self.bounds.turn_tokens,
        )
        was_training = trainer.model.training
        with unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator) as model:
            model.eval()
            api = LiveAPI(model, self.template, batch_size=max(self.bounds.kernels, 1))
            try:
                return self.runner.run(api, config, asked, seed=_seed(step))
            finally:
                api.close()
                model.train(was_training)

    @staticmethod
    def _reward(prompt: RlPrompt, rollout: Rollout, longest: int) -> Reward:
        if len(rollout.completion_ids) > longest:
            return Reward(0.0, TOO_LONG)
        return reward_of(rollout.answer, rollout.answer_calls, rollout.cells, prompt.answer)


def _seed(text: str) -> int:
    import random

    return random.Random(text).getrandbits(62)
