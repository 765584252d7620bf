"""A training as a run of a study: TRL's own curve, the training set and the checkpoints as artifacts."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recipes.tiny import make_tiny_model
from results.provenance import folder_hash

ROOT = Path(__file__).parents[2]


def test_two_steps_of_training_log_their_curve_and_link_training_set_and_checkpoints(
    tmp_path: Path, study_environment: dict[str, str], offline_runs: Callable[[Path], list[Any]]
) -> None:
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    rows = [{"messages": messages, "tools": "[]"} for _ in range(32)]
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "set" / "card.json").write_text(json.dumps({"rows": 32, "dropped": {"graded wrong": 4}}))
    make_tiny_model(rows, tmp_path / "model", vocab_size=300, seed=0)
    command = [sys.executable, "recipes/sft.py", "--config", "recipes/configs/tiny.yaml", "--max_steps", "2"]
    command += ["--training_set", str(tmp_path / "set"), "--model_name_or_path", str(tmp_path / "model")]
    command += ["--output_dir", str(tmp_path / "out"), "--logging_steps", "1", "--run_name", "two steps"]
    command += ["--save_strategy", "steps", "--save_steps", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **study_environment}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]

    [run] = offline_runs(tmp_path)
    assert (run.group, run.job, run.name, run.exit_code) == ("muon-or-adamw", "train", "two steps", 0)
    assert run.config["recipe"]["optimizer"] == "muon"
    assert run.config["learning_rate"] == 0.01
    assert [point["train/global_step"] for point in run.history if "train/loss" in point] == [1, 2]
    assert (tmp_path / "out" / "study-run.txt").read_text().strip() == run.id

    digest = hashlib.sha256((tmp_path / "set" / "rows.jsonl").read_bytes()).hexdigest()
    assert run.used()["training-set"].metadata == {"digest": digest, "rows": 32, "dropped": {"graded wrong": 4}}
    assert run.used()["model"].metadata["digest"] == folder_hash(tmp_path / "model")
    made = {artifact.metadata["step"]: artifact for artifact in run.artifacts if not artifact.used}
    assert {step: artifact.metadata["digest"] for step, artifact in made.items()} == {
        step: folder_hash(tmp_path / "out" / f"checkpoint-{step}") for step in (1, 2)
    }
    assert "step-2" in made[2].aliases
