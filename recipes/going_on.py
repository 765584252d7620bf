"""A killed run goes on, a run with other settings is refused, a finished one is left alone.

    start = go_on(Path(args.output_dir), {"model": ..., "data": ..., ...})      # a checkpoint's folder, or None
    trainer.train(resume_from_checkpoint=start)
    finish(Path(args.output_dir))

What a run is, is written into `run.json` in its output folder before the first step. A checkpoint without its
`trainer_state.json`, which the Trainer writes last, was torn by the kill and is not used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recipes.command_line import RecipeError

CLAIM, FINISHED, STATE = "run.json", "finished", "trainer_state.json"
OPTIMIZER = ("optimizer.pt", "optimizer.bin")


def go_on(output: Path, settings: Mapping[str, Any]) -> str | None:
    """Claim `output` for a run of `settings` (JSON values), and the newest whole checkpoint to go on from.

    Raises RecipeError for a folder of another run, of a finished one, or of a killed one that kept no optimizer.
    """
    claim = output / CLAIM
    ours = json.loads(json.dumps(settings))
    if claim.is_file():
        theirs = json.loads(claim.read_text(encoding="utf-8"))
        if theirs.pop(FINISHED, False):
            raise RecipeError(f"{output} holds a finished run. Give another --output_dir, or remove that folder.")
        if theirs != ours:
            changed = [name for name in sorted(ours | theirs) if ours.get(name) != theirs.get(name)]
            told = "; ".join(f"{name}: {theirs.get(name)} -> {ours.get(name)}" for name in changed)
            raise RecipeError(f"{output} holds a run with other settings ({told}). Give another --output_dir.")
        return _newest(output)
    if output.is_dir() and any(output.iterdir()):
        raise RecipeError(f"{output} is not empty and holds no run of this recipe. Give another --output_dir.")
    _write(claim, ours)
    return None


def finish(output: Path) -> None:
    """Say that the run is whole."""
    _write(output / CLAIM, json.loads((output / CLAIM).read_text(encoding="utf-8")) | {FINISHED: True})


def _newest(output: Path) -> str | None:
    whole = [folder for folder in output.glob("checkpoint-*") if (folder / STATE).is_file()]
    if not whole:
        return None
    newest = max(whole, key=lambda folder: int(folder.name.rpartition("-")[2]))
    if not any((newest / name).exists() for name in OPTIMIZER):
        raise RecipeError(
            f"{output} holds a run that was broken off and kept no optimizer (save_only_model), so it cannot go on. "
            "Remove that folder and start anew, or keep checkpoints whole with --save_only_model false."
        )
    print(f"going on from {newest}")
    return str(newest)


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, indent=2), encoding="utf-8")
    partial.replace(path)
