"""Ranks on a Slurm cluster, by datatrove's executor: an array of jobs for the ranks of a stage that have no marker.

The command stays (on the login node) and waits, for the next stage begins when this one is complete. What counts are
the markers: when the jobs have left the queue, ranks without one are handed in again, a bounded number of times; those
that raised an exception are not. A command that was broken off finds its jobs again, and waits for them before it
hands in anything. The run's folder must be one that all nodes see, and `dabstep` installed in the environment there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.runs.config import ConfigError, SlurmSettings
from pipeline.runs.layout import logs
from pipeline.runs.plan import Plan, error_file
from pipeline.runs.store import whole_file

TICK_S = 0.3
QUEUE = "squeue"


def run_on_slurm(
    plan: Plan, stage: str, settings: SlurmSettings, missing: Callable[[], list[int]], watch: Callable[[], None]
) -> None:
    """Run the missing ranks of a stage. Raises ConfigError where this is no machine that can hand in jobs."""
    for program in ("sbatch", QUEUE):
        if shutil.which(program) is None:
            raise ConfigError(f"executor: slurm needs {program} on the PATH. Start it on a login node of the cluster.")
    if not settings.partition:
        raise ConfigError("executor: slurm needs slurm.partition, the name of a partition of the cluster.")
    folder, log = plan.folder(stage), logs(plan.config.run) / stage
    jobs = log / "jobs.json"
    if jobs.exists():
        _wait(json.loads(jobs.read_text()), settings, missing, watch)
    for attempt in range(1, settings.attempts + 1):
        ranks = [rank for rank in missing() if not error_file(folder, rank).exists()]
        if not ranks:
            break
        ids = _hand_in(plan, stage, ranks, settings, log / f"slurm-{time.strftime('%Y%m%d-%H%M%S')}-{attempt}")
        with whole_file(jobs) as file:
            file.write(json.dumps(ids).encode())
        _wait(ids, settings, missing, watch)
    jobs.unlink(missing_ok=True)
    for rank in missing():
        if not (path := error_file(folder, rank)).exists():
            with whole_file(path, durable=False) as file:
                file.write(f"its job ended without a result, {settings.attempts} times; logs are in {log}".encode())


def _hand_in(plan: Plan, stage: str, ranks: list[int], settings: SlurmSettings, log: Path) -> list[str]:
    """Hand in one array of jobs for the ranks; the ids of the jobs."""
    from loguru import logger

    from pipeline.runs.rank_step import RankArray, RunRank

    logger.disable("datatrove")  # what it says would tear the progress line
    executor = RankArray(
        pipeline=[RunRank(plan.to_json(), stage, ranks)],
        tasks=len(ranks),
        time=settings.time,
        partition=settings.partition,
        cpus_per_task=settings.cpus_per_task,
        mem_per_cpu_gb=max(1, -(-settings.memory_gb // settings.cpus_per_task)),
        workers=settings.workers,
        qos="",
        with_srun=settings.srun,
        job_name=f"{plan.config.run.name}-{stage}",
        venv_path=settings.venv or _activate_script(),
        sbatch_args=dict(settings.sbatch),
        max_array_size=settings.max_array_size,
        logging_dir=str(log),
        slurm_logs_folder=str(log / "jobs"),
    )
    executor.run()
    return [str(executor.job_id)]  # of several arrays the last, which begins when those before have ended


def _activate_script() -> str | None:
    """The activate script of the environment this process runs in, if it is one."""
    script = Path(sys.prefix) / "bin" / "activate"
    return str(script) if script.exists() else None


def _wait(ids: list[str], settings: SlurmSettings, missing: Callable[[], list[int]], watch: Callable[[], None]) -> None:
    """Until all ranks are done, or none of the jobs is in the queue any more."""
    looked = time.monotonic()
    while missing():
        time.sleep(TICK_S)
        watch()
        if time.monotonic() - looked >= settings.poll_s:
            looked = time.monotonic()
            if not _in_queue(ids):
                return


def _in_queue(ids: list[str]) -> bool:
    """Whether any of the jobs waits or runs. A queue that does not answer is asked again later."""
    command = [QUEUE, "--noheader", "--format=%A", f"--jobs={','.join(ids)}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return True
    if done.returncode != 0:
        return "invalid job id" not in done.stderr.lower()
    return bool(done.stdout.strip())
