"""The lines of a notebook's code that tell it from others: normalised, without what Kaggle's template puts everywhere.

    lines = code_lines(notebook)      in order, for the exact comparison
    own = telling_lines(lines)        a set, for the comparison by likeness

Comments, blanks and empty lines are no part of the code; the template's lines (`kaggle_header.txt`) are nobody's own.
Imports and very short lines are shared by notebooks that have nothing else in common, so likeness leaves them out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from pipeline.reading.notebook import Notebook, joined

SHORTEST_TELLING = 6
_COMMENT = re.compile(r"\s#\s.*")
_IMPORT = re.compile(r"import[A-Za-z_]|from[A-Za-z_.]+import|plt\.show\(\)$")


def code_lines(notebook: Notebook) -> list[str]:
    """All lines of code in their order, without blanks, comments and the template's lines."""
    header = kaggle_header()
    lines = []
    for cell in notebook.cells or []:
        if cell.cell_type == "code":
            for line in joined(cell.source).split("\n"):
                if (normal := _normalised(line)) and normal not in header:
                    lines.append(normal)
    return lines


def telling_lines(lines: Iterable[str]) -> set[str]:
    """The distinct lines that make two notebooks alike when they share them."""
    return {line for line in lines if len(line) >= SHORTEST_TELLING and not _IMPORT.match(line)}


@cache
def kaggle_header() -> frozenset[str]:
    """The template's lines, normalised."""
    text = files("pipeline.reading").joinpath("kaggle_header.txt").read_text(encoding="utf-8")
    return frozenset(map(_normalised, text.splitlines()))


def _normalised(line: str) -> str:
    """A line without its comment and blanks, with one kind of quote; empty where it is a comment alone."""
    if "#" in line:
        if line.lstrip().startswith("#"):
            return ""
        line = _COMMENT.sub("", line)
    return "".join(line.split()).replace('"', "'")
