"""Checkpoints by rule: of those that were scored, the best and the last of each training stay, the others go.

Best is the one with the most right answers, of equals the earliest; with several ways of asking, the best of each. A
checkpoint that waits to be scored stays, one that nobody asks for stays too, and so does the newest on disk, from which
a training that was killed goes on. What is removed was renamed first: a kill leaves no half checkpoint.
"""

from __future__ import annotations

import shutil
from collections import defaultdict

from harness.trainings import SavedCheckpoint, checkpoints
from recipes.ablation.plan import Plan, Scoring, Training
from recipes.ablation.scores import row_of
from recipes.ablation.settings import Settings
from recipes.ablation.state import State

GONE = ".pruned-"


def prune(training: Training, plan: Plan, state: State, settings: Settings) -> list[str]:
    """Remove what the rule lets go and return the names of those folders. Another's training is left alone."""
    if settings.keep == "all" or not training.ours:
        return []
    for left in training.folder.glob(f"{GONE}*"):  # by a kill
        shutil.rmtree(left)
    saved = checkpoints(training.folder)
    goes = [each for each in saved[:-1] if each.folder.name not in _kept(saved, training, plan, state)]
    for each in goes:
        gone = each.folder.with_name(GONE + each.folder.name)
        each.folder.rename(gone)
        shutil.rmtree(gone)
    return [each.folder.name for each in goes]


def _kept(saved: list[SavedCheckpoint], training: Training, plan: Plan, state: State) -> set[str]:
    """Those that wait, those that nobody asks for, and the best of each way of asking."""
    asked: defaultdict[str, list[Scoring]] = defaultdict(list)
    for scoring in plan.scorings.values():
        for each in saved:
            if scoring.training == training.name and scoring.epoch is not None and each.is_of(scoring.epoch):
                asked[each.folder.name].append(scoring)
    kept = {each.folder.name for each in saved if each.folder.name not in asked}
    best: dict[tuple[str, ...], tuple[int, str]] = {}
    for each in saved:
        for scoring in asked.get(each.folder.name, []):
            row, _ = row_of(state, scoring.name)
            if row is None or row.k is None:
                kept.add(each.folder.name)
            elif scoring.words not in best or row.k > best[scoring.words][0]:
                best[scoring.words] = (row.k, each.folder.name)
    return kept | {name for _, name in best.values()}
