"""A run that was cut off at any step goes on with the same curve, and only from a checkpoint that is whole."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from recipes.checkpoints import SEAL, fault, newest_whole
from tests.stand_ins import tiny_training
from tests.stand_ins.tiny_training import make_study, weights_of, with_dropout

STEPS = 8


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_dropout(make_study(tmp_path_factory.mktemp("whole"), rows=44), 0.1)


def trainer_of(study: Path, output: Path, **settings: Any) -> Any:
    given = {"max_steps": STEPS, "save_steps": 2, "logging_steps": 3, "neftune_noise_alpha": 5.0}
    given |= {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    given |= {"train_sampling_strategy": "group_by_length"}
    return tiny_training.trainer_of(study, output, optimizer="muon", **(given | settings))


def curve(trainer: Any) -> list[dict[str, float]]:
    kept = ("step", "loss", "grad_norm", "learning_rate", "entropy", "mean_token_accuracy", "num_tokens")
    return [{name: line[name] for name in kept} for line in trainer.state.log_history if "loss" in line]


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
    assert same(weights_of(again), weights_of(whole))


def test_without_the_random_states_the_weights_would_differ(
    study: Path, straight: tuple[Path, Any], tmp_path: Path
) -> None:
    """The comparison above can fail."""
    folder, whole = straight
    cut = shutil.copytree(folder / "checkpoint-4", tmp_path / "checkpoint-4")
    (cut / "rng_state.pth").unlink()
    again = trainer_of(study, tmp_path / "again")
    again.train(resume_from_checkpoint=str(cut))
    assert not same(weights_of(again), weights_of(whole))


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
