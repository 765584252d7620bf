"""What of a rendered notebook a model is shown: its cells, numbered, and of a long one head, tail and headings.

    shown = show(row.markdown, 60_000)
    shown.text, shown.cells_cut, shown.characters_cut
    output_of(row.markdown, 12)         # what cell 12 printed: for checking what a model quotes

Text and code cells are numbered from 1 in one sequence; an output has the number of the code before it. A code cell and
its output are kept or left out together. The rule for a notebook that is too long: 55% of the room for its first cells,
35% for its last, the rest for the headings of what lies between; a cell that fills its room alone is cut by the one
rule for excerpts. A line where the cut is says what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.kernel.guest.excerpt import excerpt

HEAD, TAIL = 0.55, 0.35
NOTE = 200
"""Characters kept free for the line that says what was left out, and for that of an excerpt."""
SHORTEST = 1_000

_CELL = re.compile(r"^<(markdown|python|output)_cell>\n(.*?)\n</\1_cell>$", re.DOTALL | re.MULTILINE)
_ANY_TAG = re.compile(r"<(?=/?(?:markdown|python|output)_cell\b)")
_FENCE = re.compile(r"\A(`{3,})\w*\n(.*)\n\1\Z", re.DOTALL)
_HEADING = re.compile(r"^#{1,6} .*$", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """A cell of a rendered notebook: `kind` is markdown, python or output, `body` what stands between its tags."""

    kind: str
    number: int
    body: str

    @property
    def content(self) -> str:
        """The body without its fence."""
        fenced = _FENCE.match(self.body)
        return fenced.group(2) if fenced else self.body

    def __str__(self) -> str:
        return f'<{self.kind}_cell n="{self.number}">\n{_ANY_TAG.sub("&lt;", self.body)}\n</{self.kind}_cell>'


@dataclass(frozen=True)
class Shown:
    """A notebook's text for a model. `cells` counts without outputs; `characters_cut` are those not shown of cells."""

    text: str
    cells: int
    cells_cut: int = 0
    characters_cut: int = 0


def read_cells(markdown: str) -> tuple[Cell, ...]:
    """The cells of a rendered notebook (`pipeline/reading/markdown.py`), in order."""
    cells, number = [], 0
    for found in _CELL.finditer(markdown):
        number += found.group(1) != "output"
        cells.append(Cell(found.group(1), number, found.group(2)))
    return tuple(cells)


def output_of(cells: Sequence[Cell], number: int) -> str | None:
    """What a cell printed or displayed; None where there is no such cell or it has no output."""
    return next((cell.content for cell in cells if cell.kind == "output" and cell.number == number), None)


def code_of(cells: Sequence[Cell], number: int) -> str | None:
    """A cell's code; None where there is no such cell or it is text."""
    return next((cell.content for cell in cells if cell.kind == "python" and cell.number == number), None)


def show(markdown: str, limit: int) -> Shown:
    """At most `limit` characters of a notebook, by the rule above. Raises ValueError for a limit below 1,000."""
    if limit < SHORTEST:
        raise ValueError(f"a notebook cannot be shown in {limit} characters; give {SHORTEST:,} or more.")
    cells = read_cells(markdown)
    count = cells[-1].number if cells else 0
    whole = "\n".join(map(str, cells))
    if len(whole) <= limit:
        return Shown(whole, count)
    groups = _groups(cells)
    room = limit - 3 * NOTE
    head, first = _filled(groups, int(room * HEAD))
    tail, last = _filled(groups[first:][::-1], int(room * TAIL))
    middle = groups[first : len(groups) - last]
    shown = sum(map(len, head)) + sum(map(len, tail))
    headings = "" if not middle else _headings(middle, limit - shown - NOTE)
    parts = [*head, *([_note(middle, headings)] if middle else []), *reversed(tail)]
    cut = sum(len(_text(group)) for group in groups) - shown
    return Shown("\n".join(parts), count, len(middle), max(cut, 0))


def _groups(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Cells by their number: a code cell with its output."""
    groups: list[list[Cell]] = []
    for cell in cells:
        if groups and groups[-1][0].number == cell.number:
            groups[-1].append(cell)
        else:
            groups.append([cell])
    return groups


def _text(group: Iterable[Cell]) -> str:
    return "\n".join(map(str, group))


def _filled(groups: Sequence[Sequence[Cell]], room: int) -> tuple[list[str], int]:
    """The texts of the groups that fit, and how many they are. The first is cut where it alone is too long."""
    texts: list[str] = []
    for group in groups:
        text = _text(group)
        if len(text) + 1 > room:
            if texts:
                break
            text = _cut(group, room)
            if len(text) + 1 > room:
                break
        texts.append(text)
        room -= len(text) + 1
    return texts, len(texts)


def _cut(group: Sequence[Cell], room: int) -> str:
    """A group with its bodies cut to equal shares of the room; its tags stay."""
    share = room // len(group) - NOTE // 2
    bodies = (excerpt(cell.content, max(share, 0))[0] for cell in group)
    return _text(Cell(cell.kind, cell.number, body) for cell, body in zip(group, bodies, strict=True))


def _headings(groups: Iterable[Sequence[Cell]], room: int) -> str:
    """The headings of cells that are left out, as many as there is room for."""
    lines: list[str] = []
    for group in groups:
        if group[0].kind == "markdown":
            for heading in _HEADING.findall(group[0].body):
                line = _ANY_TAG.sub("&lt;", heading)
                room -= len(line) + 1
                if room < 0:
                    return "\n".join(lines)
                lines.append(line)
    return "\n".join(lines)


def _note(groups: Sequence[Sequence[Cell]], headings: str) -> str:
    first, last = groups[0][0].number, groups[-1][0].number
    span = f"Cell {first} is" if first == last else f"Cells {first} to {last} are"
    told = f"[{span} left out here{'; their headings:' if headings else ''}]"
    return f"{told}\n{headings}\n[End of the headings]" if headings else told
