"""The process in which datatrove's Ray executor runs; `pipeline/runs/ray_executor.py` starts and watches it.

Its standard input is {"plan", "stage", "ranks", "settings", "log"}.
"""

from __future__ import annotations

import json
import os
import sys

from harness import lifeline


def main() -> None:
    """See the module's docstring."""
    lifeline.hold()
    os.environ.setdefault("RAY_worker_niceness", "0")  # 15 otherwise: on a busy machine such workers hardly run
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it asks addresses of clouds what machine this is
    import ray
    from datatrove.executor import RayPipelineExecutor

    from pipeline.runs.config import RaySettings
    from pipeline.runs.rank_step import RunRank

    task = json.loads(sys.stdin.read())
    settings = RaySettings(**task["settings"])
    if settings.address is None:
        bytes_needed = int(settings.workers * settings.cpus_per_task * settings.memory_gb * (1 << 30))
        ray.init(
            num_cpus=settings.workers * settings.cpus_per_task,
            _memory=bytes_needed,
            include_dashboard=False,
            log_to_driver=True,
            runtime_env={"env_vars": {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}},
        )
    else:
        ray.init(address=settings.address)
    RayPipelineExecutor(
        pipeline=[RunRank(task["plan"], task["stage"], task["ranks"])],
        tasks=len(task["ranks"]),
        workers=settings.workers,
        cpus_per_task=settings.cpus_per_task,
        mem_per_cpu_gb=settings.memory_gb,
        logging_dir=task["log"],
        time=int(60 * settings.minutes) if settings.minutes is not None else None,
    ).run()
    ray.shutdown()


if __name__ == "__main__":
    main()
