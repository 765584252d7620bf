"""Cutting text that may be endless: the head and the tail are kept, one line between says how much was left out.

Memory stays within a few times the limit, whatever is fed.
"""

from __future__ import annotations


class Excerpt:
    """The first and last characters of a text that arrives in pieces; `limit` bounds what is kept, in characters."""

    def __init__(self, limit: int) -> None:
        self._head_limit = (limit + 1) // 2
        self._tail_limit = limit - self._head_limit
        self._head = ""
        self._tail = ""
        self._length = 0

    def feed(self, text: str) -> None:
        """Add a piece."""
        self._length += len(text)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += text[:room]
            text = text[room:]
        if text and self._tail_limit:
            self._tail = (self._tail + text[-self._tail_limit :])[-self._tail_limit :]

    def skip(self, count: int) -> None:
        """Leave out `count` characters unseen: what was fed before is the head, what comes after is the tail."""
        if count:
            self._head_limit = len(self._head)
            self._tail = ""
            self._length += count

    @property
    def cut(self) -> int:
        """How many characters have been left out."""
        return self._length - len(self._head) - len(self._tail)

    def text(self) -> str:
        """The text, whole where it fits, otherwise with the line that says how many characters were cut."""
        if not self.cut:
            return self._head + self._tail
        newline = "" if self._head.endswith("\n") or not self._head else "\n"
        return f"{self._head}{newline}[... {self.cut} characters cut ...]\n{self._tail}"


def excerpt(text: str, limit: int) -> tuple[str, int]:
    """`text` cut to `limit` characters, and how many were left out."""
    kept = Excerpt(limit)
    kept.feed(text)
    return kept.text(), kept.cut
