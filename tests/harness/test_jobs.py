"""Jobs start when they can, in the order given, so many at once; one that fails costs only what needs it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from harness.children import Child, ChildFailed, Progress
from harness.jobs import Job, Slot, run_jobs


@pytest.fixture
def progress() -> Progress:
    return Progress(Console(quiet=True))


def python(name: str, code: str, folder: Path) -> Child:
    return Child(name, [sys.executable, "-c", code], folder / f"{name}.out")


def test_a_job_waits_for_what_it_needs_and_those_after_it_go_first(tmp_path: Path, progress: Progress) -> None:
    made, ended = tmp_path / "checkpoint", []
    score = python("score", f"print(open({str(made)!r}).read())", tmp_path)
    train = python("train", f"open({str(made)!r}, 'w').write('weights')", tmp_path)
    jobs = [
        Job("score", lambda: score if made.exists() else None, lambda: ended.append("score")),
        Job("train", lambda: train, lambda: ended.append("train")),
    ]
    run_jobs(jobs, [Slot()], lambda running: None, progress)
    assert ended == ["train", "score"]
    assert (tmp_path / "score.out").read_text() == "weights\n"


def test_a_slot_takes_its_kinds_only_and_adds_to_their_environment(tmp_path: Path, progress: Progress) -> None:
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    jobs = [
        Job(f"{kind} {number}", lambda name=f"{kind}-{number}": python(name, code, tmp_path), kind=kind)  # type: ignore[misc]
        for kind in ("training", "scoring")
        for number in range(2)
    ]
    slots = [
        Slot(frozenset({"training"}), {"CUDA_VISIBLE_DEVICES": "0"}),
        Slot(frozenset({"scoring"}), {"CUDA_VISIBLE_DEVICES": "1"}),
    ]
    most = 0

    def tick(running: Sequence[Child]) -> None:
        nonlocal most
        most = max(most, len(running))

    run_jobs(jobs, slots, tick, progress)
    said = {path.stem: path.read_text().strip() for path in tmp_path.glob("*.out")}
    assert said == {"training-0": "0", "training-1": "0", "scoring-0": "1", "scoring-1": "1"}
    assert most <= 2


def test_a_failure_is_told_and_the_others_go_on(tmp_path: Path, progress: Progress) -> None:
    failed: dict[str, str] = {}

    def never() -> Child:
        raise ChildFailed("there will be no checkpoint")

    jobs = [
        Job("broken", lambda: python("broken", "raise SystemExit('out of memory')", tmp_path)),
        Job("needs it", never),
        Job("sound", lambda: python("sound", "print('done')", tmp_path)),
    ]
    run_jobs(jobs, [Slot()], lambda running: None, progress, lambda job, error: failed.update({job.name: str(error)}))
    assert "out of memory" in failed["broken"]
    assert failed["needs it"] == "there will be no checkpoint"
    assert (tmp_path / "sound.out").read_text() == "done\n"
    with pytest.raises(ChildFailed, match="out of memory"):
        run_jobs(jobs[:1], [Slot()], lambda running: None, progress)
