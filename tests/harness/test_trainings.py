"""A training's folder, seen from outside: only whole checkpoints count, and each is found by its epoch."""

from __future__ import annotations

import json
from pathlib import Path

from harness.trainings import checkpoint_of, checkpoints, epochs_done


def save(training: Path, step: int, epoch: float, optimizer: bool = False) -> Path:
    folder = training / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(json.dumps({"epoch": epoch, "global_step": step}))
    if optimizer:
        (folder / "optimizer.pt").write_bytes(b"state")
    return folder


def test_checkpoints_are_found_by_their_epoch_in_the_order_of_their_steps(tmp_path: Path) -> None:
    third = save(tmp_path, 450, 3.0)
    first = save(tmp_path, 150, 1.0, optimizer=True)
    assert [saved.folder for saved in checkpoints(tmp_path)] == [first, third]
    assert [saved.resumable for saved in checkpoints(tmp_path)] == [True, False]
    assert checkpoint_of(tmp_path, 3) == third
    assert checkpoint_of(tmp_path, 2) is None


def test_the_epoch_need_not_be_met_to_the_digit_but_no_other_step_is_taken_for_it(tmp_path: Path) -> None:
    folder = save(tmp_path, 75, 0.4983)
    assert checkpoint_of(tmp_path, 0.5) == folder
    assert checkpoint_of(tmp_path, 0.51) is None


def test_what_is_being_written_or_removed_is_no_checkpoint(tmp_path: Path) -> None:
    (save(tmp_path, 10, 1.0) / "trainer_state.json").write_text('{"epoch": 1')
    save(tmp_path, 20, 2.0).rename(tmp_path / ".pruned-checkpoint-20")
    (tmp_path / "checkpoint-30").mkdir()
    assert checkpoints(tmp_path) == []


def test_progress_is_read_from_what_trl_prints(tmp_path: Path) -> None:
    output = tmp_path / "train.out"
    assert epochs_done(output) == 0
    output.write_text("{'loss': '2.1', 'epoch': '0.13'}\n{'loss': 1.9, 'epoch': 1.27}\n")
    assert epochs_done(output) == 1.27
