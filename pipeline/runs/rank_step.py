"""A stage's ranks as one step that datatrove's Ray and Slurm executors can run.

Those executors number their tasks from 0 and remember by themselves which are done. So each attempt gets an executor
and a logging folder of its own over the ranks that have no marker: its task i is the i-th of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from datatrove.executor import SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep

from pipeline.runs.plan import Plan, run_unit


class RunRank(PipelineStep):  # type: ignore[misc]  # datatrove ships no types
    """Runs one rank of a stage from its input to its marker."""

    type = "stage"

    def __init__(self, plan: str, stage: str, ranks: Sequence[int]) -> None:
        self.name = stage
        super().__init__()
        self._plan = plan
        self._stage = stage
        self._ranks = tuple(ranks)

    def run(self, data: Iterable[Any] | None = None, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """For datatrove: `rank` is the number of the task."""
        run_unit(Plan.from_json(self._plan), self._stage, self._ranks[rank])
        yield from ()


class RankArray(SlurmPipelineExecutor):  # type: ignore[misc]  # datatrove ships no types
    """datatrove's executor without its last job, which adds up figures and waits for ever after a failure."""

    def launch_merge_stats(self) -> None:
        """Hand in nothing: the markers hold the counts."""
