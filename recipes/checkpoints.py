"""Checkpoints that are whole or are seen to be torn, and an output folder that only the run that began it goes on with.

    claim(output, settings_of(...))           # refuses a folder that was begun with other settings or data
    checkpoint, passed_over = newest_whole(output)

A checkpoint is written under another name (`PARTIAL`), sealed by `whole.json`, which names its files and their sizes in
bytes, brought to the disk and only then renamed to `checkpoint-STEP`. Whatever lacks the seal, or differs from it, is
passed over with the reason. It compares sizes, not contents: a disk that alters bytes is not noticed.
Settings that cannot change what is learned (logging, saving, uploading) may differ between the tries of one run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.command_line import RecipeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from datasets import Dataset

PARTIAL = "partial"
"""Where, in an output folder, what is still being written lies."""
SEAL = "whole.json"
RUN = "run.json"
HARMLESS = ("logging_", "log_", "save_", "hub_", "push_to_", "eval_", "report_", "ddp_", "dataloader_", "trackio_")
"""Beginnings of the names of TRL's settings that do not change what is learned."""
HARMLESS_NAMES = {
    *("output_dir", "run_name", "project", "disable_tqdm", "resume_from_checkpoint", "do_train", "do_eval"),
    *("do_predict", "dataset_num_proc", "load_best_model_at_end", "metric_for_best_model", "greater_is_better"),
    *("debug", "local_rank", "torch_empty_cache_steps", "skip_memory_metrics", "include_num_input_tokens_seen"),
    *("prediction_loss_only", "restore_callback_states_from_checkpoint", "use_cpu", "model_init_kwargs"),
}
MATTERS = {"dataloader_drop_last"}
COLUMNS = (
    "input_ids",
    "labels",
    "seq_lengths",
    "prompt_ids",
    "chosen_ids",
    "chosen_mask",
    "rejected_ids",
    "rejected_mask",
)
"""Columns of numbers that are trained on."""


def seal(folder: Path, resumable: bool) -> None:
    """Write `whole.json` into a checkpoint's folder, and see that all of it is on the disk.

    Args:
        folder: The checkpoint, complete but for its seal.
        resumable: Whether a training can go on from it; False where it holds weights only.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SEAL)
    sizes = {str(path.relative_to(folder)): path.stat().st_size for path in files}
    (folder / SEAL).write_text(json.dumps({"resumable": resumable, "files": sizes}, indent=1), encoding="utf-8")
    for path in [*files, folder / SEAL, folder]:
        _to_disk(path)


def publish(partial: Path, final: Path) -> None:
    """Give a sealed checkpoint its name; an older one of that name makes room."""
    if final.exists():
        doomed = partial.parent / f"old-{final.name}"
        shutil.rmtree(doomed, ignore_errors=True)
        final.rename(doomed)
        shutil.rmtree(doomed)
    partial.rename(final)
    _to_disk(final.parent)


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fault(checkpoint: Path) -> str | None:
    """Why a training cannot go on from this checkpoint; None where it can."""
    if not checkpoint.is_dir():
        return "there is no such folder"
    try:
        sealed = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))
        sizes, resumable = dict(sealed["files"]), bool(sealed["resumable"])
    except FileNotFoundError:
        return f"it has no {SEAL}: torn, or not written by this recipe"
    except (ValueError, KeyError, TypeError):
        return f"its {SEAL} cannot be read"
    for name, size in sizes.items():
        there = (checkpoint / name).stat().st_size if (checkpoint / name).is_file() else None
        if there is None:
            return f"{name} is missing"
        if there != size:
            return f"{name} has {there:,} bytes of {size:,}"
    return None if resumable else "it holds weights only (save_only_model)"


def checkpoints_in(output: Path) -> list[Path]:
    """The folders named `checkpoint-STEP`, newest step first."""
    named = [path for path in output.glob("checkpoint-*") if path.name.rpartition("-")[2].isdigit()]
    return sorted(named, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)


def newest_whole(output: Path) -> tuple[Path | None, dict[str, str]]:
    """The checkpoint to go on from, if there is one, and what newer ones were passed over, with the reason."""
    passed_over: dict[str, str] = {}
    for checkpoint in checkpoints_in(output):
        reason = fault(checkpoint)
        if reason is None:
            return checkpoint, passed_over
        passed_over[checkpoint.name] = reason
    return None, passed_over


def checkpoint_to_go_on_from(output: Path, asked: str | None, say: bool = True) -> str | None:
    """The checkpoint's folder, None where the run begins; what is passed over is said.

    Args:
        output: The run's folder.
        asked: A checkpoint's folder; None, "newest" or "true": the newest whole one of `output`.
        say: Whether to print what is gone on from, and what is passed over.

    Raises RecipeError for a checkpoint that was asked for by name and is torn, or of a run that is another's.
    """
    if asked is not None and str(asked).lower() not in ("newest", "true"):
        if reason := fault(Path(asked)):
            raise RecipeError(
                f"{asked} cannot be gone on from: {reason}. Give another, or leave the newest to be found."
            )
        theirs, ours = Path(asked).resolve().parent / RUN, output.resolve() / RUN
        if theirs != ours and theirs.is_file() and json.loads(theirs.read_text()) != json.loads(ours.read_text()):
            raise RecipeError(f"{asked} is of a run with other settings or data than these: see {theirs} and {ours}.")
        return asked
    newest, passed_over = newest_whole(output)
    if say:
        for name, reason in passed_over.items():
            print(f"passed over {output / name}: {reason}")
        print(f"going on from {newest}" if newest is not None else "beginning anew: no checkpoint to go on from")
    return None if newest is None else str(newest)


def save_final(trainer: Any, output: Path) -> None:
    """Put the trained model into `output` itself, each file when it is whole, config.json last of all."""
    partial = output / PARTIAL / "final"
    if trainer.args.should_save:
        shutil.rmtree(partial, ignore_errors=True)
    trainer.save_model(str(partial))
    trainer.accelerator.wait_for_everyone()
    if not trainer.args.should_save:
        return
    files = sorted((path for path in partial.rglob("*") if path.is_file()), key=lambda path: path.name == "config.json")
    for path in files:
        _to_disk(path)
        place = output / path.relative_to(partial)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)
    shutil.rmtree(output / PARTIAL, ignore_errors=True)


def settings_of(recipe: Any, args: Any, model: Mapping[str, Any], rows: Dataset) -> dict[str, Any]:
    """Everything that decides what is learned, by name, as JSON holds it.

    Args:
        recipe: The recipe's own arguments; its paths and its threads are left out, for the rows speak for them.
        args: TRL's configuration.
        model: What names the model and how it is loaded.
        rows: The tokenized rows as they are trained on: they cover data, template, tokenizer and mask.
    """
    own = {name: value for name, value in asdict(recipe).items() if name not in ("training_set", "threads")}
    named = {
        name: value
        for name, value in args.to_dict().items()
        if name in MATTERS or not (name.startswith(HARMLESS) or name in HARMLESS_NAMES)
    }
    rest = {"processes": args.world_size, "rows": len(rows), "rows' hash": rows_hash(rows)}
    settings = own | named | {f"model: {name}": value for name, value in model.items()} | rest
    return dict(json.loads(json.dumps(settings, default=str)))


def rows_hash(rows: Dataset) -> str:
    """A digest of the rows' token ids, labels and masks, in their order; of rows without any, of nothing."""
    import pyarrow.compute as compute

    digest = hashlib.sha256()
    columns = [name for name in COLUMNS if name in rows.column_names]
    for batch in rows.select_columns(columns).with_format("arrow").iter(batch_size=1000):
        for name in columns:
            column = batch[name].combine_chunks()
            digest.update(compute.list_value_length(column).to_numpy(zero_copy_only=False).astype("<i8").tobytes())
            digest.update(column.flatten().to_numpy(zero_copy_only=False).astype("<i8").tobytes())
    return digest.hexdigest()


def claim(output: Path, settings: Mapping[str, Any]) -> None:
    """Make `output` this run's folder, or find that it is; what an earlier try left half written is removed.

    Raises RecipeError where it belongs to another run.
    """
    file = output / RUN
    if not file.exists():
        if foreign := checkpoints_in(output):
            raise RecipeError(
                f"{output} holds checkpoints ({foreign[0].name}) but no {RUN} that says what they were trained on, so "
                "nothing can go on from them. Remove them or give another --output_dir."
            )
        output.mkdir(parents=True, exist_ok=True)
        partial = output / f"{RUN}.partial"
        partial.write_text(json.dumps(settings, indent=1, sort_keys=True), encoding="utf-8")
        partial.replace(file)
        return
    before = json.loads(file.read_text(encoding="utf-8"))
    changed = [
        f"{name}: {before.get(name, 'not set')} -> {settings.get(name, 'not set')}"
        for name in sorted({*before, *settings})
        if before.get(name) != settings.get(name)
    ]
    if changed:
        raise RecipeError(
            f"{output} was begun with other settings or data ({'; '.join(changed)}). "
            "Go on with the same ones, remove that folder, or give another --output_dir."
        )
    shutil.rmtree(output / PARTIAL, ignore_errors=True)
