"""The scores of an ablation: each log's ledger row is made when it ends, before its checkpoint may be pruned.

score(scoring, state)                   # RUN/scorings/NAME/*.eval -> the note "scored", and a row of the ledger
row, unscored = row_of(state, name)
"""

from __future__ import annotations

import json
import os

from harness.children import ChildFailed
from harness.evaluations import finished_log
from harness.records import Result
from recipes.ablation.plan import Scoring
from recipes.ablation.state import State
from results.from_log import LogError, Unscored, result_from_log
from results.ledger import append_new
from results.provenance import ProvenanceError


def score(scoring: Scoring, state: State) -> None:
    """Note a scoring's row and append it to the ledger beside the run's folder.

    A log without an answer key is noted as unscored, which is no score of 0. Raises ChildFailed without a whole log.
    """
    folder = state.folder / "scorings" / scoring.name
    log = finished_log(folder)
    if log is None:
        raise ChildFailed(f"{scoring.name}: its evaluation did not finish well; see {folder}/inspect.out.")
    try:
        row = result_from_log(log, checkpoint=scoring.label, seeds=(scoring.seed,))
    except Unscored as unscored:
        state.note(scoring.name, "scored", {"log": os.path.relpath(log, state.folder), "unscored": str(unscored)})
        return
    except (LogError, ProvenanceError) as error:
        raise ChildFailed(str(error)) from None
    state.note(
        scoring.name, "scored", {"log": os.path.relpath(log, state.folder), "row": json.loads(row.model_dump_json())}
    )
    append_new([row], state.folder.parent / "ledger.jsonl")


def row_of(state: State, name: str) -> tuple[Result | None, str]:
    """A scoring's row, or None and why there is none."""
    noted = state.noted(name, "scored")
    if noted is None:
        return None, "not scored yet"
    if "row" not in noted:
        return None, str(noted["unscored"])
    return Result.model_validate(noted["row"]), ""
