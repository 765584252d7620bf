"""`recipes/sft.py`: two steps for real, rows too long are dropped and counted, mistakes are said in a line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from recipes.tiny import make_tiny_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training set of 33 rows, one of them very long, and an untrained model."""
    folder = tmp_path_factory.mktemp("sft")
    rows = [
        {"messages": [{"role": "user", "content": f"q {n}"}, {"role": "assistant", "content": f"a {n}"}], "tools": "[]"}
        for n in range(32)
    ]
    rows.append({"messages": [{"role": "user", "content": "long 1" * 900}, {"role": "assistant", "content": "a"}]})
    (folder / "set").mkdir()
    (folder / "set" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    make_tiny_model(rows, folder / "model", vocab_size=400, seed=0)
    return folder


def sft(study: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "recipes/sft.py", "--config", "recipes/configs/tiny.yaml"]
    command += ["--training_set", str(study / "set"), "--model_name_or_path", str(study / "model")]
    command += ["--output_dir", str(study / "out"), *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_one_epoch_leaves_a_checkpoint_that_serves_with_the_template_it_trained_with(study: Path) -> None:
    done = sft(study, "--num_train_epochs", "1")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "33 rows read, 1 dropped as longer than max_length=512 tokens, 32 used" in done.stdout
    assert "matrix_learning_rate=0.02" in done.stdout
    checkpoint = study / "out" / "checkpoint-2"
    assert (checkpoint / "chat_template.jinja").read_text() == (ROOT / "recipes/templates/tiny.jinja").read_text()
    assert (checkpoint / "model.safetensors").exists()


def test_without_padding_longer_rows_are_dropped_and_counted_too(study: Path, tmp_path: Path) -> None:
    how = ["--padding_free", "true", "--attn_implementation", "documents", "--max_steps", "2"]
    done = sft(study, *how, "--output_dir", str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    assert "33 rows read, 1 dropped as longer than max_length=512 tokens, 32 used" in done.stdout


def test_a_missing_training_set_is_named_with_the_way_to_make_one(study: Path, tmp_path: Path) -> None:
    done = sft(study, "--training_set", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert "nowhere/rows.jsonl: no such training set. Make one from logs with `dabstep training-set`" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_teaches() -> None:
    done = subprocess.run([sys.executable, "recipes/sft.py", "--help"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0
    assert "--training_set" in done.stdout
