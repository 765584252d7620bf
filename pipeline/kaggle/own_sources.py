"""What a newer notebook says of itself: `metadata.kaggle.dataSources`, which Kaggle writes into the file.

    own = own_sources(notebook.metadata.kaggle)       # raw bytes of the file; anything else there counts as nothing

A data set's entry has the id of its version (`sourceId`) and of the data set (`datasetId`); competitions, notebooks'
outputs and models are counted by kind.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

KINDS = {"datasetversion": "data set", "competition": "competition", "kernelversion": "kernel"}


@dataclass(frozen=True)
class OwnSources:
    """`versions`: (id of the version, id of the data set or None). `others`: how many sources by kind."""

    versions: tuple[tuple[int, int | None], ...] = ()
    others: dict[str, int] = field(default_factory=dict)


def own_sources(raw: bytes | memoryview | msgspec.Raw) -> OwnSources:
    """The sources in the notebook's own `metadata.kaggle`."""
    try:
        entries = msgspec.json.decode(raw)["dataSources"]
        listed = [entry for entry in entries if isinstance(entry, dict)]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, RecursionError):
        return OwnSources()
    versions: dict[tuple[int, int | None], None] = {}
    others: dict[str, int] = {}
    for entry in listed:
        kind = KINDS.get(str(entry.get("sourceType", "")).casefold(), "model or other")
        number = _integer(entry.get("sourceId"))
        if kind == "data set" and number is not None:
            versions[number, _integer(entry.get("datasetId"))] = None
        elif kind != "data set":
            others[kind] = others.get(kind, 0) + 1
    return OwnSources(tuple(versions), others)


def _integer(value: object) -> int | None:
    try:
        number = int(str(value))
    except ValueError:
        return None
    return number if 0 < number < 2**62 else None
