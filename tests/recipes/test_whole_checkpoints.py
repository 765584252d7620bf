"""A run that was cut off at any step goes on with the same curve, and only from a checkpoint that is whole."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from recipes.checkpoints import SEAL, fault, newest_whole
from recipes.tiny import make_tiny_model

STEPS = 8


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training set of 44 rows of different lengths, and an untrained model with dropout."""
    folder = tmp_path_factory.mktemp("whole")
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"q {n} " * (1 + n % 7)},
                {"role": "assistant", "content": f"a {n * 7} " * (1 + n % 5)},
            ],
            "tools": "[]",
        }
        for n in range(44)
    ]
    (folder / "set").mkdir()
    (folder / "set" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    make_tiny_model(rows, folder / "model", vocab_size=400, seed=0)
    config = json.loads((folder / "model" / "config.json").read_text())
    (folder / "model" / "config.json").write_text(json.dumps(config | {"attention_dropout": 0.1}))
    return folder


def trainer_of(study: Path, output: Path, **settings: Any) -> Any:
    from trl import ModelConfig, SFTConfig

    from recipes.sft import RecipeArguments, make_trainer

    given = {"learning_rate": 0.01, "max_steps": STEPS, "save_steps": 2, "logging_steps": 3, "neftune_noise_alpha": 5.0}
    given |= {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "max_length": 256, "bf16": False}
    given |= {"gradient_checkpointing": False, "assistant_only_loss": True, "report_to": "none", "use_cpu": True}
    given |= {"train_sampling_strategy": "group_by_length", "disable_tqdm": True}
    args = SFTConfig(output_dir=str(output), **(given | settings))
    recipe = RecipeArguments(training_set=str(study / "set"), optimizer="muon", threads=1)
    return make_trainer(recipe, args, ModelConfig(model_name_or_path=str(study / "model"), dtype="float32"))


def curve(trainer: Any) -> list[dict[str, float]]:
    kept = ("step", "loss", "grad_norm", "learning_rate", "entropy", "mean_token_accuracy", "num_tokens")
    return [{name: line[name] for name in kept} for line in trainer.state.log_history if "loss" in line]


def weights(trainer: Any) -> dict[str, Any]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(bool((one[name] == other[name]).all()) for name in one)


@pytest.fixture(scope="module")
def straight(study: Path) -> tuple[Path, Any]:
    trainer = trainer_of(study, study / "straight")
    trainer.train()
    return study / "straight", trainer


@pytest.mark.parametrize("step", [2, 4, 6])
def test_from_any_checkpoint_curve_and_weights_are_those_of_the_run_that_was_never_cut_off(
    study: Path, straight: tuple[Path, Any], tmp_path: Path, step: int
) -> None:
    """Muon, schedule, order by length, NEFTune and dropout included; step 6 begins an epoch, 2 and 4 lie inside one."""
    folder, whole = straight
    again = trainer_of(study, tmp_path / "again")
    again.train(resume_from_checkpoint=str(folder / f"checkpoint-{step}"))
    assert curve(again) == curve(whole)
    assert same(weights(again), weights(whole))


def test_without_the_random_states_the_weights_would_differ(
    study: Path, straight: tuple[Path, Any], tmp_path: Path
) -> None:
    """The comparison above can fail."""
    folder, whole = straight
    cut = shutil.copytree(folder / "checkpoint-4", tmp_path / "checkpoint-4")
    (cut / "rng_state.pth").unlink()
    again = trainer_of(study, tmp_path / "again")
    again.train(resume_from_checkpoint=str(cut))
    assert not same(weights(again), weights(whole))


def test_a_checkpoint_is_sealed_and_nothing_half_written_is_left(straight: tuple[Path, Any]) -> None:
    folder, _ = straight
    assert newest_whole(folder) == (folder / f"checkpoint-{STEPS}", {})
    assert not list((folder / "partial").glob("*"))
    assert {"model.safetensors", "optimizer.pt", "rng_state.pth", "curve.json"} <= set(
        json.loads((folder / "checkpoint-2" / SEAL).read_text())["files"]
    )


def test_torn_checkpoints_are_passed_over_with_the_reason(straight: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = straight
    for step in (2, 4, 6, 8):
        shutil.copytree(folder / f"checkpoint-{step}", tmp_path / f"checkpoint-{step}")
    optimizer = tmp_path / "checkpoint-8" / "optimizer.pt"
    optimizer.write_bytes(optimizer.read_bytes()[:1000])
    (tmp_path / "checkpoint-6" / SEAL).unlink()
    (tmp_path / "checkpoint-4" / "scheduler.pt").unlink()
    newest, passed_over = newest_whole(tmp_path)
    assert newest == tmp_path / "checkpoint-2"
    assert "optimizer.pt has 1,000 bytes of" in passed_over["checkpoint-8"]
    assert passed_over["checkpoint-6"] == "it has no whole.json: torn, or not written by this recipe"
    assert passed_over["checkpoint-4"] == "scheduler.pt is missing"


def test_old_checkpoints_are_forgotten_only_when_the_new_one_is_whole(study: Path, tmp_path: Path) -> None:
    trainer_of(study, tmp_path / "few", save_total_limit=2).train()
    assert sorted(path.name for path in (tmp_path / "few").glob("checkpoint-*")) == ["checkpoint-6", "checkpoint-8"]


def test_weights_alone_can_be_scored_but_not_gone_on_from(study: Path, tmp_path: Path) -> None:
    trainer_of(study, tmp_path / "weights", save_only_model=True, max_steps=2).train()
    assert fault(tmp_path / "weights" / "checkpoint-2") == "it holds weights only (save_only_model)"
