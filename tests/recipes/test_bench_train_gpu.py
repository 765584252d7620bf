"""The GPU's benchmark runs on a CPU with a shrunken model: every line of it but the GPU's kernels."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_it_measures_both_variants_and_writes_a_profile(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.bench_train_gpu", "--device", "cpu", "--small"]
    command += ["--variants", "plain,checkpointed", "--profile", "always", "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "train-gpu.json").read_text())
    for name, checkpointing in (("plain", False), ("checkpointed", True)):
        result = results[name]
        assert result["checkpointing"] is checkpointing
        assert result["attention"] == "documents"
        assert 0 < result["MFU"] < 1
        assert len(result["steps, s"]) == 2
        assert result["tokens/s"] * sum(result["steps, s"]) == pytest.approx(result["tokens"])
        assert 3 * 256 < result["tokens"] <= 4 * 256  # two steps of two rows, nearly full
        assert result["supervised share"] == pytest.approx(0.3, abs=0.02)
        assert "aten::mm" in Path(result["profile"]).read_text()


def test_a_variant_that_is_not_there_is_named() -> None:
    command = [sys.executable, "-m", "scripts.bench_train_gpu", "--variants", "quick"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert "no such quick. There are plain, compiled, checkpointed" in done.stderr
