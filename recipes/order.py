"""In which order an epoch shows the rows: drawn from seed and epoch alone, by length where padding is to be saved.

Rows of about the same length share a batch, so little of it is padding; which rows meet is drawn anew each epoch within
runs of fifty batches, and the batches are shuffled, so that their lengths do not rise and fall with the steps. Rows of
one length are often of one kind, and such batches teach less (results/LOG.md); `padding_free` saves the same padding
and keeps the plain order. The Trainer's own sampler draws from the process's random state instead: it cannot be gone
on with in mid-epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RUN_OF_BATCHES = 50
"""How many batches' rows are drawn together before they are sorted by length."""


class EpochOrder(torch.utils.data.Sampler[int]):
    """Row numbers of one epoch after the other.

    Args:
        rows: How many rows there are.
        seed: What is drawn.
        lengths: The rows' lengths in tokens, where rows of a length are to meet; None: plainly random.
        batch: How many rows share an optimizer step, over all processes and accumulation steps.
    """

    def __init__(self, rows: int, seed: int, lengths: Sequence[int] | None = None, batch: int = 1) -> None:
        self.rows, self.seed, self.lengths, self.batch = rows, seed, lengths, batch
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[int]:
        draw = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        drawn: list[int] = torch.randperm(self.rows, generator=draw).tolist()
        if self.lengths is None:
            return iter(drawn)
        lengths, run = self.lengths, self.batch * RUN_OF_BATCHES
        batches: list[list[int]] = []
        for start in range(0, self.rows, run):
            by_length = sorted(drawn[start : start + run], key=lambda row: lengths[row])
            batches += [by_length[at : at + self.batch] for at in range(0, len(by_length), self.batch)]
        # An incomplete batch stays last: what follows it would be cut elsewhere.
        full = len(batches) - (len(batches[-1]) < self.batch)
        order = [*torch.randperm(full, generator=draw).tolist(), *range(full, len(batches))]
        return iter([row for at in order for row in batches[at]])


def row_lengths(rows: Any) -> list[int]:
    """The number of tokens of every row of a tokenized data set."""
    import pyarrow.compute as compute

    return [int(n) for n in compute.list_value_length(rows.with_format("arrow")[:]["input_ids"]).to_pylist()]
