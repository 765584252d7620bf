"""NEFTune's noise where rows are packed: the same on a token as without packing.

    trainer.neftune_noise_alpha = alpha_for(alpha, trainer)

NEFTune (https://arxiv.org/abs/2310.05914) adds to every embedding noise that is uniform in +-alpha / sqrt(L x d), where
L is the length of the sequence and d the width. transformers takes for L the length of the row that the model is given.
When conversations are packed, one row holds many, and each would get less noise than alone: by the root of row length
over conversation length. So alpha is scaled by that, with the mean lengths; conversations of one length then get just
the noise that they would get alone, others as if each had the mean length. Rows that are not packed change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def alpha_for(alpha: float | None, trainer: Any) -> float | None:
    """The alpha to train with: scaled where the trainer's rows are packed or flattened, else as it was given."""
    if alpha is None or not trainer.padding_free:
        return alpha
    batch = trainer.args.per_device_train_batch_size
    if "seq_lengths" in trainer.train_dataset.column_names:
        return packed_alpha(alpha, trainer.train_dataset["seq_lengths"], batch)
    return packed_alpha(alpha, [[len(ids)] for ids in trainer.train_dataset["input_ids"]], batch)


def packed_alpha(alpha: float, packed: Sequence[Sequence[int]], batch: int) -> float:
    """`alpha` times the root of mean row length by mean conversation length.

    Args:
        alpha: NEFTune's, for rows that are not packed.
        packed: The lengths of the conversations in each row, in tokens.
        batch: How many rows are flattened into the one that the model is given.
    """
    tokens = sum(map(sum, packed))
    row = batch * tokens / len(packed)
    conversation = tokens / sum(map(len, packed))
    return alpha * math.sqrt(row / conversation)
