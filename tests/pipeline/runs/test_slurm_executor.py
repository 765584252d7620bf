"""The Slurm executor against a stand-in: programs named sbatch, srun, squeue, scontrol with a queue in a folder."""

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from pipeline.runs.config import ConfigError
from pipeline.runs.run import missing_ranks
from pipeline.runs.stages import shards
from pipeline.runs.store import read_rows

SBATCH = """
import os, pathlib, re, subprocess, sys
queue = pathlib.Path({queue!r})
script = pathlib.Path(sys.argv[-1]).read_text()
number = 100 + len(list(queue.glob("*.script")))
(queue / f"{{number}}.script").write_text(script)
(queue / f"{{number}}.args").write_text(" ".join(sys.argv[1:-1]))
first, last = map(int, re.search(r"--array=(\\d+)-(\\d+)", script).groups())
exported = dict(re.findall(r"(\\w+)=(\\w+)", sys.argv[1].removeprefix("--export=ALL,")))
print(f"Submitted batch job {{number}}")
sys.stdout.flush()
os.environ.update(exported, SLURM_JOB_ID=str(number), SLURM_NODELIST="node1", SLURM_NODEID="0")
for task in range(first, last + 1):
    if {lost!r} == [number, task]:
        continue
    done = subprocess.run(
        ["bash", str(queue / f"{{number}}.script")],
        env={{**os.environ, "SLURM_ARRAY_TASK_ID": str(task)}}, capture_output=True, text=True,
    )
    (queue / f"{{number}}_{{task}}.out").write_text(done.stdout + done.stderr)
"""
SRUN = """
import os, sys
words = sys.argv[1:]
os.execvp(words[words.index("launch_pickled_pipeline")], words[words.index("launch_pickled_pipeline"):])
"""
SQUEUE = "pass\n"  # jobs run while they are handed in, so the queue is always empty


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes the stand-in; `lost` is [job, task] of one that vanishes without a trace."""

    def make(lost: list[int] | None = None) -> Path:
        folder, queue = tmp_path / "bin", tmp_path / "queue"
        folder.mkdir()
        queue.mkdir()
        program(folder, "sbatch", SBATCH.format(queue=str(queue), lost=lost))
        program(folder, "srun", SRUN)
        program(folder, "squeue", SQUEUE)
        program(folder, "scontrol", "print('node1')\n")
        bin_of_python = str(Path(sys.executable).parent)
        monkeypatch.setenv("PATH", os.pathsep.join([str(folder), bin_of_python, os.environ["PATH"]]))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        return queue

    return make


SLURM = {"partition": "cpu", "poll_s": 0.2, "time": "00:10:00", "sbatch": {"account": "lab"}, "memory_gb": 3}
STAGES = {"numbers": {}, "paid": {}}


def rows_of(plan) -> list:
    return [row for shard in shards(plan.folder("paid")) for row in read_rows(shard)]


def test_the_same_yaml_gives_the_same_rows(cluster, toy_plan, run_toys, tmp_path: Path) -> None:
    queue = cluster()
    here = toy_plan(STAGES, tasks=2)
    run_toys(here)
    there = toy_plan(STAGES, tasks=2, run=str(tmp_path / "there"), executor="slurm", slurm=SLURM)

    funnel, _ = run_toys(there)

    assert funnel.complete
    assert rows_of(there) == rows_of(here)
    script = (queue / "100.script").read_text()
    for line in ("partition=cpu", "array=0-1", "time=00:10:00", "account=lab", "mem-per-cpu=3G", "cpus-per-task=1"):
        assert f"#SBATCH --{line}\n" in script
    assert "srun" in script
    assert len(list(queue.glob("*.script"))) == 2  # one array a stage, and nothing else


def test_a_rank_whose_job_vanished_is_handed_in_again_alone(cluster, toy_plan, run_toys) -> None:
    queue = cluster(lost=[100, 1])
    plan = toy_plan({"numbers": {}}, tasks=3, executor="slurm", slurm=SLURM)
    funnel, _ = run_toys(plan)
    assert funnel.complete
    assert "--array=0-0" in (queue / "101.script").read_text()


def test_a_rank_that_raises_is_not_handed_in_again(cluster, toy_plan, run_toys) -> None:
    queue = cluster()
    plan = toy_plan({"numbers": {}, "paid": {"raise_for": "n1.ipynb"}}, tasks=2, executor="slurm", slurm=SLURM)
    funnel, said = run_toys(plan)
    assert not funnel.complete
    assert missing_ranks(plan, "paid") == [1]
    assert "cannot digest n1.ipynb" in said
    assert len(list(queue.glob("*.script"))) == 2


def test_a_machine_that_cannot_hand_in_jobs_says_so(toy_plan, run_toys, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="needs sbatch on the PATH"):
        run_toys(toy_plan({"numbers": {}}, executor="slurm", slurm=SLURM))


def test_jobs_of_a_broken_off_command_are_waited_for(cluster, toy_plan, run_toys, monkeypatch) -> None:
    cluster()
    plan = toy_plan({"numbers": {}}, tasks=2, executor="slurm", slurm=SLURM)
    asked = []
    monkeypatch.setattr("pipeline.runs.slurm_executor._in_queue", lambda ids: bool(asked.append(ids)))
    jobs = plan.config.run / "logs" / "numbers" / "jobs.json"
    jobs.parent.mkdir(parents=True)
    jobs.write_text(json.dumps(["77"]))
    funnel, _ = run_toys(plan)
    assert funnel.complete
    assert asked[0] == ["77"]
