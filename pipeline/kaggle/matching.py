"""The files a notebook read, among those of its data sets: by slug and path, by path, by the end of a path, by name.

    matched = match(mentions, {handle: ("train.csv", "sub/test.csv")})
    matched.files          # (handle, path) -> the mentions that mean it
    matched.ambiguous      # mention -> the files it could be; none of them is taken
    matched.unmatched      # mentions that mean no file here

A stricter way that finds something ends the search; within one way, capitals count first, then not. Kaggle shows a
zipped table under its own name, so `train.csv` also finds `train.csv.zip`. A pattern or a folder means all its files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

from pipeline.kaggle.handles import Handle

MOST_OF_PATTERN = 50
ZIPPED = ".zip"


class File(NamedTuple):
    """A file of a data set; `path` is relative to the data set, with slashes."""

    handle: Handle
    path: str


@dataclass(frozen=True)
class Matched:
    """What mentions mean. Files are in the order in which they were first mentioned."""

    files: dict[File, tuple[str, ...]] = field(default_factory=dict)
    ambiguous: dict[str, tuple[File, ...]] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()


def match(mentions: Iterable[str], data_sets: Mapping[Handle, Sequence[str]]) -> Matched:
    """See the module's docstring."""
    files: dict[File, list[str]] = {}
    ambiguous: dict[str, tuple[File, ...]] = {}
    unmatched: list[str] = []
    everything = [File(handle, path) for handle, paths in data_sets.items() for path in sorted(paths)]
    for mention in dict.fromkeys(mentions):
        found, several = _find(mention, everything)
        if not found:
            unmatched.append(mention)
        elif len(found) > 1 and not several:
            ambiguous[mention] = tuple(found)
        else:
            for file in found[:MOST_OF_PATTERN]:
                files.setdefault(file, []).append(mention)
    return Matched({file: tuple(names) for file, names in files.items()}, ambiguous, tuple(unmatched))


def _find(mention: str, everything: list[File]) -> tuple[list[File], bool]:
    """The files a mention means, and whether it means several."""
    path, candidates = _place(mention, everything)
    if not path:
        return candidates, True
    if any(mark in path for mark in "*?["):
        return _first(fnmatchcase, candidates, path), True
    for way in (_is_path, _ends_with_path, _has_name):
        if found := _first(way, candidates, path):
            return found, False
    return _first(_is_in_folder, candidates, path), True


def _place(mention: str, everything: list[File]) -> tuple[str, list[File]]:
    """The path within a data set ("" for all of it), and the files it may be among.

    Kaggle mounts a data set at `input/SLUG`, of late also at `input/datasets/OWNER/SLUG`, and once mounted a
    notebook's only one at `input` itself.
    """
    parts = [part for part in unquote(mention).strip().split("/") if part not in ("", ".", "..")]
    if "input" not in parts[:-1]:
        return "/".join(parts), everything
    parts = parts[len(parts) - parts[::-1].index("input") :] if parts[-1] != "input" else parts
    if len(parts) >= 3 and parts[0] == "datasets":
        owner, slug = parts[1:3]
        if own := [f for f in everything if _same(f.handle.owner, owner) and _same(f.handle.slug, slug)]:
            return "/".join(parts[3:]), own
    if own := [file for file in everything if _same(file.handle.slug, parts[0])]:
        return "/".join(parts[1:]), own
    if len(parts) > 1:
        # The first folder is no data set here: another source of the notebook, unless a data set has such a folder.
        return "/".join(parts), [file for file in everything if _same(file.path.split("/")[0], parts[0])]
    return "/".join(parts), everything


def _first(fits: Callable[[str, str], bool], candidates: list[File], path: str) -> list[File]:
    """The candidates that fit with capitals, else those without; a name before the same name zipped."""
    for fold in (str, str.casefold):
        wanted = fold(path)
        if found := [file for file in candidates if fits(fold(file.path), wanted)]:
            return found
        if found := [file for file in candidates if (name := unzipped(file.path)) and fits(fold(name), wanted)]:
            return found
    return []


def unzipped(path: str) -> str | None:
    """`train.csv` for `train.csv.zip`; None for what is not a zipped file by its name."""
    inner = path[: -len(ZIPPED)]
    return inner if path.lower().endswith(ZIPPED) and "." in PurePosixPath(inner).name else None


def _is_path(name: str, path: str) -> bool:
    return name == path


def _ends_with_path(name: str, path: str) -> bool:
    return name.endswith("/" + path)


def _has_name(name: str, path: str) -> bool:
    return PurePosixPath(name).name == PurePosixPath(path).name


def _is_in_folder(name: str, path: str) -> bool:
    return name.startswith(path + "/")


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()
