"""A datatrove step that asks a model once about each row.

    class Score(AskingStep):
        def request(self, row: NotebookRow) -> Request: ...
        def answered(self, row: NotebookRow, reply: Reply) -> Iterable[NotebookRow | Dropped]: ...

Rows come out in the order in which they came in. A row whose question got no usable reply within its bounds is dropped
with the reason; trouble that concerns all rows (a wrong key, no budget left, a dead endpoint) fails the rank, which
goes on from the ledger when it is run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from harness.calls.feed import replies
from harness.calls.outcome import Failure, Reply
from harness.calls.request import Request
from pipeline.asking.models import model_of, open_ledger
from pipeline.quarantine import Dropped
from pipeline.row import NotebookRow
from pipeline.runs.stages import StageContext
from pipeline.runs.steps import RowStep


class AskingStep(RowStep):
    """See the module's docstring. Raises ConfigError when it is built with an endpoint that the run does not have."""

    def __init__(self, context: StageContext[Any], endpoint: str) -> None:
        super().__init__()
        self.context = context
        self.model = model_of(context, endpoint)

    def request(self, row: NotebookRow) -> Request:
        """What the model is asked about a row."""
        raise NotImplementedError

    def answered(self, row: NotebookRow, reply: Reply) -> Iterable[NotebookRow | Dropped]:
        """What becomes of a row once there is a usable reply."""
        raise NotImplementedError

    def rows(self, rows: Iterator[NotebookRow]) -> Iterator[NotebookRow | Dropped]:
        """All rows of the rank."""
        with open_ledger(self.context) as ledger:
            caller = self.model.caller(ledger, self.context.name)
            for row, outcome in replies(caller, rows, self.request):
                self.book(outcome)
                if isinstance(outcome, Failure):
                    yield self.drop(row, f"no usable reply: {outcome.reason}", f"{outcome.detail} {outcome.text}")
                else:
                    yield from self.answered(row, outcome)

    def book(self, outcome: Reply | Failure) -> None:
        """Count what a question cost, with all its tries, also where an earlier attempt of this rank paid for it."""
        bill = outcome.bill
        self.spent(input_tokens=bill.input_tokens, output_tokens=bill.output_tokens, dollars=bill.dollars or 0.0)
