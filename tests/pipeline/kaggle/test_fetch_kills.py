"""kill -9 while data sets come: the next run goes on with the bytes that are there, and the rows are the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.kaggle.attempt import archive_path
from pipeline.kaggle.handles import Handle
from tests.pipeline.kaggle.meta_kaggle import MadeSet, write_notebook, write_tables
from tests.stand_ins.kaggle import Kaggle

SIZE = 12_000_000
SET = MadeSet(1, "ada", "tides", compressed=SIZE)
# What is lost with a kill: kagglehub's block of a mebibyte, and the buffers of two connections, for when it goes on, it
# asks for the whole archive first, and leaves that answer unread.
IN_FLIGHT = 8_000_000
KILLS = 4


def run(config: Path, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "dabstep", "pipeline", "run", str(config)], **options)


@pytest.mark.slow
def test_a_killed_download_goes_on(tmp_path: Path, kaggle: Kaggle) -> None:
    write_notebook(tmp_path / "notebooks/0000/000/000000101.ipynb", ["pd.read_csv('../input/tides/tides.csv')"])
    write_tables(tmp_path / "meta", [SET], {101: [1]})
    data = os.urandom(SIZE)
    size = len(kaggle.add(SET.handle, {"tides.csv": data}, compress=False))
    kaggle.always[SET.handle] = "slow:3000000"
    stages = {
        "load": {"inputs": [str(tmp_path / "notebooks")]},
        "link": {"meta_kaggle": str(tmp_path / "meta"), "memory_gb": 0.5},
        "fetch": {"cache": str(tmp_path / "cache")},
    }
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump({"run": str(tmp_path / "run"), "tasks": 1, "stages": stages}))
    archive = archive_path(tmp_path / "cache", Handle.parse(SET.handle))
    kept = []
    for kill in range(1, KILLS + 1):
        process = run(config, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 240
        while not (archive.exists() and archive.stat().st_size > kill * size / (KILLS + 2)):
            assert process.poll() is None, "it ended before it was killed"
            assert time.monotonic() < deadline, "no byte came"
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(1.0)
        kept.append(archive.stat().st_size)
        time.sleep(0.5)
        assert archive.stat().st_size == kept[-1], "kagglehub goes on after its run was killed"
    done = run(config)
    assert done.wait(240) == 0
    funnel = json.loads((tmp_path / "run/funnel.json").read_text())
    assert funnel["stages"][-1]["kept"] == 1
    assert (tmp_path / "run/files/ada/tides/1/tides.csv").read_bytes() == data
    assert funnel["stages"][-1]["figures"]["bytes downloaded"] == size
    # kagglehub goes on with a range: each began where the kill had left the file.
    assert [start for _, start in kaggle.ranges] == kept
    wasted = kaggle.sent[SET.handle] - size
    print(f"\n{KILLS} kills: the server wrote {wasted:,} bytes more than the {size:,} of the archive")
    assert wasted < IN_FLIGHT * KILLS
