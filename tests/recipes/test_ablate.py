"""`recipes/ablate.py` for real: by two processes at once; and killed, and gone on with, to the same end.

The training set is nonsense of 32 rows and the questions are those of the cassette, so that a run is seconds long: what
is looked at is that nothing is lost, mixed or done twice, not what a model learns.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from recipes.tiny import make_tiny_model

ROOT = Path(__file__).parents[2]
PATIENCE_S = 1800

pytestmark = pytest.mark.slow


def write_settings(folder: Path) -> Path:
    """The ablation's YAML, with its data and its untrained model beside it."""
    rows = [
        {"messages": [{"role": "user", "content": f"q {n}"}, {"role": "assistant", "content": f"a {n}"}], "tools": "[]"}
        for n in range(32)
    ]
    (folder / "set").mkdir(parents=True)
    (folder / "set" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    make_tiny_model(rows, folder / "untrained", vocab_size=400, seed=0)
    settings: dict[str, Any] = {
        "study": "killed-or-not",
        "run": str(folder / "run"),
        "config": "recipes/configs/tiny.yaml",
        "launch": {"config_file": "recipes/launch/cpu.yaml", "num_cpu_threads_per_process": 1},
        "environment": {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        "slots": 2,
        "train": {
            "training_set": str(folder / "set"),
            "model_name_or_path": str(folder / "untrained"),
            "save_only_model": False,
        },
        "evaluate": {
            "task_args": {"questions": str(ROOT / "tests/cassettes/parcels"), "comments": "never"},
            "options": {"temperature": 0, "max_tokens": 8, "turn_limit": 1, "max_samples": 12},
        },
        "arms": {
            "one training": {"train": {"num_train_epochs": 3}, "score": [0, 1, 2, 3]},
            "1 epoch": {"train": {"num_train_epochs": 1}},
        },
        "compare": [["one training, epoch 0", "one training, epoch 3"], ["one training, epoch 1", "1 epoch"]],
    }
    path = folder / "ablation.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return path


def command(settings: Path, *options: str) -> list[str]:
    return [sys.executable, "recipes/ablate.py", str(settings), *options]


def ablate(settings: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(settings, *options), capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_S)


def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run" / "result.json").read_text())
    return found


def facts(folder: Path) -> dict[str, Any]:
    """What must not depend on kills: each scoring's k, n and the hash of the weights that were scored."""
    notes = {path.name: json.loads(path.read_text()) for path in (folder / "run/state").glob("*.scored.json")}
    return {name: {key: note["row"][key] for key in ("k", "n", "errors", "model_hash")} for name, note in notes.items()}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run by two processes: one trains, another scores what appears; both in a study of W&B, kept offline."""
    folder = tmp_path_factory.mktemp("watched")
    settings = write_settings(folder)
    of_wandb = {name: str(folder / "of-wandb") for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR")}
    study = {"DABSTEP_STUDY": "killed-or-not", "WANDB_MODE": "offline", "WANDB_DIR": str(folder), **of_wandb}
    with ExitStack() as files:
        outputs = {option: folder / f"{option}.out" for option in ("--train-only", "--watch")}
        processes = {
            option: subprocess.Popen(
                command(settings, option),
                cwd=ROOT,
                env={**os.environ, **study},
                stdout=files.enter_context(output.open("w")),
                stderr=subprocess.STDOUT,
            )
            for option, output in outputs.items()
        }
        for option, process in processes.items():
            assert process.wait(PATIENCE_S) == 0, outputs[option].read_text()[-3000:]
    return folder


def test_one_process_trains_and_another_scores_every_checkpoint(watched: Path) -> None:
    assert "$ inspect eval" not in (watched / "--train-only.out").read_text()
    assert "accelerate launch" not in (watched / "--watch.out").read_text()
    found = result(watched)
    assert [(run["label"], run["n"]) for run in found["runs"]] == [
        ("one training, epoch 0", 12),
        ("one training, epoch 1", 12),
        ("one training, epoch 2", 12),
        ("one training, epoch 3", 12),
        ("1 epoch", 12),
    ]
    assert [pair["pairs"] for pair in found["compared"]["comparisons"]] == [2, 2]
    assert found["missing"] == {}
    assert (watched / "run/plot.png").read_bytes().startswith(b"\x89PNG")
    assert "12" in (watched / "run/table.md").read_text()


def test_the_best_and_the_last_checkpoint_stay(watched: Path) -> None:
    assert [path.name for path in sorted((watched / "run/trainings/one-training-seed-0").glob("checkpoint-*"))] == [
        "checkpoint-2",
        "checkpoint-6",
    ], "all three are equally good, so the first of them is the best"


def test_its_trainings_scorings_and_table_are_one_group_of_the_study(
    watched: Path, offline_runs: Callable[[Path], list[Any]]
) -> None:
    runs = offline_runs(watched)
    assert {run.group for run in runs} == {"killed-or-not"}
    assert sorted(run.job for run in runs) == ["ablation"] + ["eval"] * 5 + ["train"] * 2
    [table] = [run for run in runs if run.job == "ablation"]
    assert [row["run"] for row in table.table("runs")][-1] == "1 epoch"


def test_a_rerun_does_nothing_again_and_a_dry_run_says_what_is_done(watched: Path) -> None:
    rows = (watched / "ledger.jsonl").read_text().splitlines()
    assert len(rows) == 5
    again = ablate(watched / "ablation.yaml")
    assert again.returncode == 0, again.stderr
    assert "$ " not in again.stdout
    assert (watched / "ledger.jsonl").read_text().splitlines() == rows
    planned = ablate(watched / "ablation.yaml", "--dry-run").stdout
    assert planned.count("(done) $ accelerate launch") == 2
    assert planned.count("(done) $ inspect eval") == 5


def test_other_settings_are_refused_by_what_differs(watched: Path) -> None:
    text = (watched / "ablation.yaml").read_text()
    (watched / "changed.yaml").write_text(text.replace("max_tokens: 8", "max_tokens: 9"))
    done = ablate(watched / "changed.yaml")
    assert done.returncode == 2
    assert "was begun with something else, and runs are not mixed: words: " in done.stderr
    assert "Traceback" not in done.stderr


MOMENTS = (
    ("$ accelerate launch", 6.0),
    ("checkpoint-", 0.0),
    ("$ inspect eval", 4.0),
    ("done: ", 0.0),
    ("done: ", 5.0),
)
"""When it is killed: so many seconds after a line like this was printed by this try."""


def test_killed_five_times_it_ends_with_the_same_models_and_scores(watched: Path, tmp_path: Path) -> None:
    settings = write_settings(tmp_path / "killed")
    for number, (line, seconds) in enumerate(MOMENTS):
        output = tmp_path / f"{number}.out"
        with output.open("w") as out:
            process = subprocess.Popen(command(settings), cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
        until = time.monotonic() + PATIENCE_S
        while line not in output.read_text() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(seconds)
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGKILL)
        process.wait()
        _, alive = psutil.wait_procs(family, timeout=60)
        assert alive == [], "a kill leaves nothing running"
    done = ablate(settings)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert facts(tmp_path / "killed") == facts(watched)
    logs = [json.loads(row)["log"] for row in (tmp_path / "killed/ledger.jsonl").read_text().splitlines()]
    assert len(logs) == len(set(logs)) == 5
    assert not list((tmp_path / "killed").rglob("*.partial"))
