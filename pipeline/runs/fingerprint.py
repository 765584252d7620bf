"""What the rows of a stage depend on, so that a run is gone on with only where that would not mix two runs.

Each stage keeps its own fingerprint, which includes that of the stage before: settings, outside inputs, prompts,
models, the source of its code, the number of ranks. A stage that has not begun may be changed freely; one that has is
refused when anything differs, and the message says what. Executors, workers and limits of memory are no part of it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.row import NotebookRow
from pipeline.runs.config import plain
from pipeline.runs.layout import FINGERPRINT
from pipeline.runs.stages import Stage, StageContext
from pipeline.runs.store import whole_file

PROMPTS = Path(__file__).parents[1] / "prompts"
SHOWN_CHANGES = 12


class FingerprintError(ValueError):
    """A stage cannot be gone on with; the message says what changed since it began, and the mend."""


def file_identity(path: Path) -> str:
    """What tells one state of a local file from another: its size and when it was written."""
    state = path.stat()
    return f"{state.st_size} bytes, written {state.st_mtime_ns}"


def fingerprint(stage: Stage[Any], context: StageContext[Any], before: str | None) -> dict[str, Any]:
    """The parts a stage's rows depend on; `before` is the digest of the stage before."""
    parts: dict[str, Any] = {
        "row": NotebookRow.model_fields["schema_version"].default,
        "tasks": context.tasks,
        "settings": plain(context.settings),
        "code": {module: _source_digest(module) for module in dict.fromkeys([stage.steps.__module__, *stage.code])},
        "prompts": {name: _digest((PROMPTS / name).read_bytes()) for name in stage.prompts},
        "inputs": dict(stage.inputs(context)) if stage.inputs else {},
        "models": dict(stage.models(context)) if stage.models else {},
        "before": before,
    }
    if context.before is None:
        parts["limit"] = context.limit
    return json.loads(json.dumps(parts, default=str, sort_keys=True))  # type: ignore[no-any-return]


def digest(parts: Mapping[str, Any]) -> str:
    """One short name for all parts."""
    return _digest(json.dumps(parts, sort_keys=True).encode())


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs, one line a part: "settings.output_characters: 1000 -> 500"."""
    before, after = dict(_flat(old)), dict(_flat(new))
    lines = []
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            lines.append(f"{key}: {_shown(before, key)} -> {_shown(after, key)}")
    return lines


def read_fingerprint(folder: Path) -> dict[str, Any] | None:
    """What a stage was begun with, or None when it has not begun."""
    path = folder / FINGERPRINT
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def begin(context: StageContext[Any], parts: Mapping[str, Any]) -> None:
    """Write what a stage begins with, if it has not begun."""
    if read_fingerprint(context.folder) is None:
        with whole_file(context.folder / FINGERPRINT) as file:
            file.write(json.dumps(parts, indent=1, sort_keys=True).encode() + b"\n")


def check(context: StageContext[Any], parts: Mapping[str, Any]) -> None:
    """Raises FingerprintError for a stage that was begun with other parts."""
    begun = read_fingerprint(context.folder)
    if begun is not None and (lines := changes(begun, parts)):
        more = [f"and {len(lines) - SHOWN_CHANGES} more"] if len(lines) > SHOWN_CHANGES else []
        raise FingerprintError(
            f"{context.folder}: the stage {context.name} was begun otherwise, and going on would mix two runs:\n"
            + "\n".join(f"  {line}" for line in lines[:SHOWN_CHANGES] + more)
            + f"\nUndo the change, or give another `run:` folder, or remove {context.folder} and run it again (replies "
            "that were paid for are in the ledger, and are not paid twice)."
        )


def _source_digest(module: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise FingerprintError(f"{module}: a stage names it as its code, but there is no such module.")
    return _digest(Path(spec.origin).read_bytes())


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else name)
    else:
        yield key, value


def _shown(flat: Mapping[str, Any], key: str) -> str:
    return json.dumps(flat[key], ensure_ascii=False)[:80] if key in flat else "(not there)"
