"""The text of a piece of HTML, tables with their cells side by side: one pass over it, nothing rendered or fetched.

    html_text("<table><tr><th>a</th><td>1</td></tr></table>")  ->  "a | 1"

This is no HTML parser: it splits at `<`, which is enough to read what a notebook's output says.
"""

from __future__ import annotations

import html
import re

_HIDDEN = frozenset({"style", "script", "head", "title", "template", "noscript", "svg"})
_CELLS = frozenset({"td", "th"})
_BREAKS = frozenset(
    {"tr", "br", "p", "div", "li", "table", "ul", "ol", "pre", "hr", "h1", "h2", "h3", "h4", "h5", "h6"}
)
_TAG = re.compile(r"(/?)([a-zA-Z][a-zA-Z0-9]*)")
_BLANKS = re.compile(r"[^\S\n]+")


def html_text(source: str) -> str:
    """The text that a reader of the HTML would see, a line a row or paragraph."""
    first, *pieces = source.split("<")
    texts = [first]
    hidden: str | None = None
    for piece in pieces:
        tag = _TAG.match(piece)
        if tag is None:
            if hidden is None and not piece.startswith(("!", "?", "/")):
                texts.append("<" + piece)
            elif hidden is None:
                texts.append(piece.partition(">")[2])
            continue
        closing, name = bool(tag[1]), tag[2].lower()
        if hidden is not None:
            if not (closing and name == hidden):
                continue
            hidden = None
        elif name in _HIDDEN and not closing:
            hidden = name
            continue
        if name in _BREAKS:
            texts.append("\n")
        elif name in _CELLS and not closing:
            texts.append(" | ")
        texts.append(piece.partition(">")[2].replace("\n", " "))
    return _tidied(html.unescape("".join(texts)))


def _tidied(text: str) -> str:
    """Blanks folded, empty lines out, and no bar before the first cell of a row."""
    lines = (_BLANKS.sub(" ", line).strip() for line in text.split("\n"))
    return "\n".join(line.removeprefix("| ") for line in lines if line.strip(" |"))
