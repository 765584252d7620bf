"""`dpo.py` and `grpo.py`: every YAML takes two steps on a shrunken model; a killed run goes on to the same weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipes import dpo, grpo
from recipes.checkpoints import newest_whole
from recipes.command_line import RecipeError
from recipes.shrunken import shrunken
from recipes.tiny import make_tiny_model
from tests.recipes.test_configs import CONFIGS, architecture
from tests.stand_ins.tokenizers import stock_tokenizer

ROOT = Path(__file__).parents[2]
FAMILIES = {"tiny": "tiny", "qwen3-4b": "qwen3_instruct_2507"}
QUESTION = [{"role": "system", "content": "s"}, {"role": "user", "content": "How many rows?\n\nFiles: a.csv"}]


def answered(answer: str) -> list[dict[str, Any]]:
    def call(name: str, **arguments: str) -> dict[str, Any]:
        function = {"name": name, "arguments": json.dumps(arguments)}
        return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}

    return [call("python", code="print(3)"), {"role": "tool", "content": "3"}, call("final_answer", answer=answer)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A family's random model, pairs and prompts in one folder."""
    made: dict[str, Path] = {}

    def prepare(name: str) -> Path:
        if name in made:
            return made[name]
        folder = made[name] = tmp_path_factory.mktemp(name)
        if name == "tiny":
            rows = [{"messages": [*QUESTION, *answered(str(n))]} for n in range(20)]
            make_tiny_model(rows, folder / "model", vocab_size=400, seed=0)
        else:
            tokenizer = stock_tokenizer(FAMILIES[name])
            shrunken(architecture(FAMILIES[name]), len(tokenizer)).save_pretrained(folder / "model")
            tokenizer.save_pretrained(folder / "model")
        (folder / "a.csv").write_text("x\n1\n2\n3\n")
        pair = {"prompt": QUESTION, "chosen": answered("3"), "rejected": answered("4"), "tools": "[]"}
        prompts = [
            {"prompt": QUESTION, "question_id": f"q{n}", "answer": "3", "files": {"a.csv": str(folder / "a.csv")}}
            for n in range(4)
        ]
        (folder / "pairs.jsonl").write_text((json.dumps(pair) + "\n") * 64)
        (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in prompts))
        return folder

    return prepare


def flags(folder: Path, output: Path, config: str, *more: str) -> list[str]:
    command = ["--config", str(CONFIGS / config), "--model_name_or_path", str(folder / "model")]
    command += ["--training_set", str(folder), "--output_dir", str(output), "--use_cpu", "true"]
    return [*command, "--logging_steps", "1", *more]


SMALL = ("--num_generations", "2", "--turns", "2", "--turn_tokens", "8", "--max_completion_length", "400")
TWO = ("--per_device_train_batch_size", "4", "--steps_per_generation", "1", "--gradient_accumulation_steps", "1")


@pytest.mark.filterwarnings("ignore")  # TRL: what is experimental, what is slow on a CPU
@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_yaml_of_preferences_takes_two_steps(name: str, prepared: Callable[[str], Path], tmp_path: Path) -> None:
    folder = prepared(name)
    more = ("--max_steps", "2", "--gradient_accumulation_steps", "2")
    recipe, args, model_config = dpo.parse(flags(folder, tmp_path, f"{name}-dpo.yaml", *more))
    trainer = dpo.make_trainer(recipe, args, model_config)
    batch = trainer.data_collator([trainer.train_dataset[0]])
    said = trainer.processing_class.decode(batch["input_ids"][0][batch["completion_mask"][0].bool()])
    assert "print(3)" in said
    assert "tool_response" not in said
    assert "\ntool\n" not in said
    trainer.train()
    points = [point for point in trainer.state.log_history if "loss" in point]
    assert len(points) == 2
    assert points[0]["rewards/margins"] == pytest.approx(0.0, abs=0.01)  # chosen and rejected are as likely as before
    of_the_chosen = -points[0]["logps/chosen"] / sum(trainer.train_dataset[0]["chosen_mask"])  # a token
    expected = 0.693 + (of_the_chosen if "sft" in args.loss_type else 0.0)
    assert points[0]["loss"] == pytest.approx(expected, abs=0.01)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_yaml_of_reinforcement_takes_two_steps_in_real_kernels(
    name: str, prepared: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = prepared(name)
    recipe, args, model_config = grpo.parse(
        flags(folder, tmp_path, f"{name}-grpo.yaml", "--max_steps", "2", *SMALL, *TWO)
    )
    trainer = grpo.make_trainer(recipe, args, model_config)
    trainer.train()
    points = [point for point in trainer.state.log_history if "reward" in point]
    assert len(points) == 2
    assert all(point["reward"] == 0.0 and point["reason/no answer"] == 1.0 for point in points)
    assert all(0 < point["completions/mean_length"] <= 16 for point in points)  # sampled ids alone: two turns of eight


def test_what_is_missing_or_wrong_is_said_in_a_line(
    prepared: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = prepared("tiny")
    for module, what in ((dpo, "dabstep preference-pairs"), (grpo, "dabstep rl-prompts")):
        name = module.__name__.rpartition(".")[2]
        recipe, args, model_config = module.parse(flags(folder, tmp_path, f"tiny-{name}.yaml"))
        recipe.training_set = str(tmp_path)
        with pytest.raises(RecipeError):
            module.make_trainer(recipe, args, model_config)  # type: ignore[arg-type]
        assert what in capsys.readouterr().err
    recipe, args, model_config = grpo.parse(flags(folder, tmp_path, "tiny-grpo.yaml", "--save_steps", "3"))
    with pytest.raises(RecipeError):
        grpo.make_trainer(recipe, args, model_config)
    assert "a multiple of 2 steps apart" in capsys.readouterr().err
    recipe, args, model_config = grpo.parse(flags(folder, tmp_path, "tiny-grpo.yaml"))
    with pytest.raises(RecipeError):
        grpo.make_trainer(recipe, args, model_config)
    assert "has 4 prompts and 16 are rolled out together" in capsys.readouterr().err


def script(name: str, folder: Path, output: Path) -> list[str]:
    more = ("--max_steps", "6", "--save_steps", "1", *(SMALL + TWO if name == "grpo" else ()))
    return [sys.executable, f"recipes/{name}.py", *flags(folder, output, f"tiny-{name}.yaml", *more)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dpo", "grpo"])
def test_a_killed_run_goes_on_by_the_same_command_to_the_same_weights(
    name: str, prepared: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = prepared("tiny")
    whole = subprocess.run(script(name, folder, tmp_path / "whole"), cwd=ROOT, capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr[-2000:]
    with (tmp_path / "log").open("w") as log:
        child = subprocess.Popen(
            script(name, folder, tmp_path / "killed"), cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
        deadline = time.monotonic() + 300
        while newest_whole(tmp_path / "killed")[0] is None and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL, (tmp_path / "log").read_text()[-2000:]
    again = subprocess.run(script(name, folder, tmp_path / "killed"), cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr[-2000:]
    assert "going on from" in again.stdout
    weights = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("whole", "killed")]
    assert weights[0] == weights[1]
    other = subprocess.run(
        [*script(name, folder, tmp_path / "killed"), "--seed", "5"], cwd=ROOT, capture_output=True, text=True
    )
    assert other.returncode == 2
    assert "was begun with other settings or data (" in other.stderr
