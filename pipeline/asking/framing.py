"""The messages in which a model is shown a notebook: orders in the first, data between marks in the second.

    messages("edu_score", shown)
    messages("verify", shown, question=question.question, guidelines=question.guidelines)

Everything that a stranger wrote (the notebook, file names, questions made of it) stands between two lines with the same
mark. The mark is a hash of all that data, so that no notebook can hold the line that would end it; it is the same
whenever the same notebook is shown, so that replies are found again in the ledger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from harness.calls.request import Message
from pipeline.asking.shown import Shown
from pipeline.prompts import prompt, version

FRAME = ("notebook", "data_only")
"""The prompts that every stage sends beside its own."""


def messages(
    task: str, shown: Shown, *, files: Sequence[str] = (), question: str = "", guidelines: str = "", **variables: object
) -> list[Message]:
    """The prompt `task` with its `variables` as system message, and the notebook with what belongs to it as data."""
    listed = [_one_line(file) for file in files]
    data = "\0".join([shown.text, *listed, question, guidelines])
    system = prompt(task, data_only=prompt("data_only"), **variables)
    user = prompt(
        "notebook",
        mark=hashlib.sha256(data.encode("utf-8", "replace")).hexdigest()[:16],
        text=shown.text,
        cells=shown.cells,
        cells_cut=shown.cells_cut,
        characters_cut=shown.characters_cut,
        files=listed,
        question=question,
        guidelines=guidelines,
    )
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def prompt_files(task: str) -> tuple[str, ...]:
    """The files under `pipeline/prompts/` that a task sends: for a stage's `prompts`."""
    return tuple(f"{name}.md" for name in (task, *FRAME))


def prompt_version(task: str) -> str:
    """What stands for those files in the ledger's keys."""
    return version(task, *FRAME)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
