"""Prices for resumed runs: `inspect eval-retry` has no `--model-cost-config`, so that what it spends has no cost.

    export INSPECT_EVAL_MODEL_COST_CONFIG=prices.yaml      # Inspect's own variable: `inspect eval` reads it too
    inspect eval-retry LOG

Where that variable names a file, this hook gives Inspect its prices before any run of the process begins. It does not
bring back `--cost-limit`, which `eval-retry` does not take over either (0.3.285); `inspect eval-set` keeps both.
"""

from __future__ import annotations

import os
from pathlib import Path

from inspect_ai.hooks import Hooks, RunStart, hooks
from inspect_ai.model import ModelCost, ModelInfo, get_model_info, set_model_cost, set_model_info

VARIABLE = "INSPECT_EVAL_MODEL_COST_CONFIG"


class PricesError(ValueError):
    """A file of prices that cannot be used; the message names it, the reason and the mend."""


@hooks(name="dabstep_prices", description=f"Gives every run, resumed ones too, the prices that {VARIABLE} names.")
class Prices(Hooks):
    """Inspect calls this; see the module's docstring."""

    def enabled(self) -> bool:
        """Only where a file is named."""
        return bool(os.environ.get(VARIABLE))

    async def on_run_start(self, data: RunStart) -> None:
        """Set the prices."""
        set_prices(Path(os.environ[VARIABLE]))


def set_prices(path: Path) -> None:
    """Give Inspect the prices of a file in its own form: model -> dollars per million tokens, by kind.

    Raises PricesError for a file that is missing or holds anything else.
    """
    import yaml

    try:
        prices = {str(model): ModelCost(**cost) for model, cost in yaml.safe_load(path.read_text("utf-8")).items()}
    except (OSError, AttributeError, TypeError, ValueError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise PricesError(
            f"{path}: no prices can be read from it ({reason}). Map each model to input, output, input_cache_write and "
            "input_cache_read, in dollars per million tokens."
        ) from None
    for model, cost in prices.items():
        if get_model_info(model) is None:
            set_model_info(model, ModelInfo(cost=cost))
        else:
            set_model_cost(model, cost)
