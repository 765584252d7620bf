"""A worker process of the local executor: `python -m pipeline.runs.worker`, never started by hand.

The first line of its standard input is {"plan", "stage"}; each further line is the number of a rank to run. To its
standard output it writes "ready" when it has started, and after each rank "RANK done" or "RANK failed". What stages
print goes to standard error, which is the worker's log. It ends when its input ends, and with the process that started
it.
"""

from __future__ import annotations

import json
import os
import sys
import traceback

from harness import lifeline


def main() -> None:
    """See the module's docstring."""
    lifeline.hold()
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    import pipeline.runs.steps  # noqa: F401  # heavy, and no part of a rank's time
    from pipeline.runs.plan import Plan, run_unit

    task = json.loads(sys.stdin.readline())
    plan = Plan.from_json(task["plan"])
    answers.write("ready\n")
    for line in sys.stdin:
        rank = int(line)
        try:
            run_unit(plan, task["stage"], rank)
            answers.write(f"{rank} done\n")
        except Exception:
            traceback.print_exc()
            answers.write(f"{rank} failed\n")


if __name__ == "__main__":
    main()
