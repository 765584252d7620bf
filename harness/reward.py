"""The reward of a rollout in reinforcement learning: the grader's verdict, where it was not reached by a trick.

    Reward(1.0, "right")  or  Reward(0.0, "several answers in one"), ...
    reward = reward_of(rollout.answer, rollout.answer_calls, rollout.cells, target="3.14")

1 or 0, nothing between: whatever is given for a part can be had without the whole. The grader is lenient on purpose (a
score must mean what it means on the leaderboard), and what learns against it finds that out: one word of several
is enough for it where a name is asked for, the sign of a number does not count, nor what follows the first number. So
an answer that it passes must besides have the right one's form, stand in a bounded text, be given in one call, and
follow a cell that ran and showed something. Each refusal has a reason, to be counted.

What it cannot tell is a guess. `dabstep rl-prompts` therefore bounds how many questions share an answer. Answers are
out of a kernel's reach in any case (`harness/kernel`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.grader import LIST_SEPARATOR, is_correct
from harness.kernel.protocol import CellResult

RIGHT = "right"
SPARE_CHARACTERS = 24
"""An answer may be so much longer than twice the right one."""

_NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?|[-+]?\.\d+")
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Reward:
    """`value` is 1 for a right answer, else 0, for `reason`, which is the same for all of its kind."""

    value: float
    reason: str


def reward_of(answer: str | None, answer_calls: int, cells: Sequence[CellResult], target: str) -> Reward:
    """The reward of a rollout that ended with `answer` after `answer_calls` calls of `final_answer` and these cells."""
    if answer is None:
        return Reward(0.0, "no answer")
    if not answer.strip():
        return Reward(0.0, "empty answer")
    if answer_calls > 1:
        return Reward(0.0, "several calls of final_answer")
    if len(answer) > 2 * len(target) + SPARE_CHARACTERS:
        return Reward(0.0, "an answer that is too long")
    if not is_correct(answer, target):
        return Reward(0.0, "wrong")
    if (oddity := form_oddity(answer, target)) is not None:
        return Reward(0.0, oddity)
    if not any(cell.status == "ok" and (cell.stdout.strip() or cell.result) for cell in cells):
        return Reward(0.0, "no cell ran and showed something")
    return Reward(1.0, RIGHT)


def form_oddity(answer: str, target: str) -> str | None:
    """How an answer differs in form from the right one, beyond what a unit or a spelling may differ; or None.

    As many items, as many numbers with the same signs; where there are no numbers, as many words; where the right
    answer has both, its words as well.
    """
    if _items(answer) != _items(target):
        return "several answers in one"
    ours, theirs = _NUMBER.findall(answer), _NUMBER.findall(target)
    if len(ours) != len(theirs):
        return "several answers in one"
    if sorted(number.startswith("-") for number in ours) != sorted(number.startswith("-") for number in theirs):
        return "another sign"
    words, wanted = _WORD.findall(answer.casefold()), _WORD.findall(target.casefold())
    if not theirs and len(words) != len(wanted):
        return "several answers in one"
    return "other words" if theirs and not set(wanted) <= set(words) else None


def _items(text: str) -> int:
    plain = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)  # separators of thousands
    return sum(bool(item.strip()) for item in LIST_SEPARATOR.split(plain))
