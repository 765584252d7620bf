"""Jobs: children that start when what they need is there, so many at once as there are slots for them.

    jobs = [Job("training", lambda: trainer), Job("score epoch 1", scoring_once_the_checkpoint_is_there)]
    run_jobs(jobs, [Slot(), Slot()], tick, progress)

The first job in the list that can start takes a slot that may run its kind. A slot adds to its children's environment,
such as which GPU is theirs. It knows nothing of models or evaluations, and keeps nothing: what is done already is not
to be given as a job again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.children import Child, ChildFailed, Progress

POLL_S = 0.3


@dataclass(frozen=True)
class Slot:
    """A place for one child at a time: the kinds of job it takes (None: all), and its part of the environment."""

    kinds: frozenset[str] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """Something to run once.

    Attributes:
        name: What it is called.
        child: Gives the child to start; None while it cannot start yet. Raises ChildFailed where it never will.
        ended: Called when the child has ended well. Raises ChildFailed where that left nothing that can be used.
        kind: Which slots take it.
    """

    name: str
    child: Callable[[], Child | None]
    ended: Callable[[], None] = lambda: None
    kind: str = ""


def run_jobs(
    jobs: Sequence[Job],
    slots: Sequence[Slot],
    tick: Callable[[Sequence[Child]], None],
    progress: Progress,
    failed: Callable[[Job, ChildFailed], None] | None = None,
) -> None:
    """Run all jobs; `tick` is called with the running children, several times a second.

    A job that fails is told to `failed` and the others go on; without `failed` it ends them all.
    Raises ChildFailed (without `failed`), and whatever a job's `child` raises besides.
    """
    loop = _Loop(list(jobs), slots, progress, failed)
    try:
        while loop.waiting or loop.running:
            loop.start()
            loop.collect()
            tick([child for _, child in loop.running.values()])
            time.sleep(POLL_S)
    finally:
        for _, child in loop.running.values():
            child.kill()


def run_all(children: Sequence[Child], at_once: int, tick: Callable[[], None], progress: Progress) -> None:
    """Run the children, so many at once, calling `tick` while they run. The first that fails ends the others."""
    jobs = [Job(child.name, lambda child=child: child) for child in children]  # type: ignore[misc]
    run_jobs(jobs, [Slot()] * at_once, lambda running: tick(), progress)


@dataclass
class _Loop:
    """What waits and what runs, by the number of its slot."""

    waiting: list[Job]
    slots: Sequence[Slot]
    progress: Progress
    failed: Callable[[Job, ChildFailed], None] | None
    running: dict[int, tuple[Job, Child]] = field(default_factory=dict)

    def start(self) -> None:
        """Fill the free slots."""
        for number, slot in enumerate(self.slots):
            if number not in self.running and (found := self._next(slot)) is not None:
                job, child = found
                self.waiting.remove(job)
                child.start(self.progress, slot.environment)
                self.running[number] = (job, child)

    def _next(self, slot: Slot) -> tuple[Job, Child] | None:
        for job in list(self.waiting):
            if slot.kinds is not None and job.kind not in slot.kinds:
                continue
            try:
                child = job.child()
            except ChildFailed as error:
                self.waiting.remove(job)
                self._tell(job, error)
                continue
            if child is not None:
                return job, child
        return None

    def collect(self) -> None:
        """Let go of those that have ended."""
        for number, (job, child) in list(self.running.items()):
            if child.ended():
                del self.running[number]
                try:
                    child.wait()
                    job.ended()
                except ChildFailed as error:
                    self._tell(job, error)

    def _tell(self, job: Job, error: ChildFailed) -> None:
        if self.failed is None:
            raise error
        self.failed(job, error)
