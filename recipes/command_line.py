"""What every recipe's command line does alike: a user's mistake in one line, every resolved value printed once."""

from __future__ import annotations

import sys
from dataclasses import MISSING, asdict
from pathlib import Path
from typing import Any


class RecipeError(SystemExit):
    """A user's mistake: printed in one line after the recipe's name, exit code 2."""

    def __init__(self, message: str) -> None:
        print(f"{Path(sys.argv[0]).stem}: {message}", file=sys.stderr)
        super().__init__(2)


def print_resolved(recipe: Any, *configs: Any) -> None:
    """Print every value of the recipe's own arguments, and those of TRL's configs that differ from its defaults."""
    print("recipe: " + ", ".join(f"{name}={value}" for name, value in asdict(recipe).items()))
    for config in configs:
        fields = type(config).__dataclass_fields__
        changed = {
            name: getattr(config, name)
            for name, known in fields.items()
            if getattr(config, name) != known.default and known.default is not MISSING and not name.startswith("_")
        }
        shown = ", ".join(f"{name}={value}" for name, value in changed.items())
        print(f"{type(config).__name__}, where it differs from its defaults: {shown}")
