"""The trainer of `recipes/sft.py`: TRL's SFTTrainer with a loss that costs less on a CPU, and runs that go on exactly.

Only what TRL does not do: the loss over supervised positions on a CPU (`supervised_head.py`; on a GPU TRL's own), rows
of a length together by an order that can be gone on with (`order.py`), whole checkpoints (`whole_checkpoints.py`).
Packing, padding-free batches, attention kernels and fused optimizers are TRL's settings, in the YAML.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trl import SFTTrainer

from recipes.supervised_head import use_supervised_head
from recipes.whole_checkpoints import WholeCheckpoints

if TYPE_CHECKING:
    from recipes.mixture import Account


class RecipeTrainer(WholeCheckpoints, SFTTrainer):
    """SFTTrainer, quicker on a CPU and resumable at any step. `account`: what became of every row that was read."""

    account: Account | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        model: Any = self.model
        model = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.supervised_head = use_supervised_head(model)
