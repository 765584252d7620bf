"""Why an archive, a member or a notebook is not read, and the bounds that keep one input from stopping a run.

    raise Refused("encrypted", "a.ipynb")

The reason is one of `REASONS`: it is what the funnel counts. The detail is for whoever looks at the quarantine.
"""

from __future__ import annotations

from dataclasses import dataclass

REASONS = {
    # archives
    "not a ZIP": "no end record, and it does not begin like an archive",
    "truncated archive": "begins like an archive, but its directory is missing or cut off",
    "broken directory": "the records of the directory contradict each other or the file",
    "split archive": "one part of an archive of several files",
    "directory too large": "the directory is larger than an honest archive of this kind has",
    # members
    "not a notebook": "its name does not end in .ipynb",
    "bad path": "absolute, with .. or a backslash or control characters, or not UTF-8",
    "symlink": "a symbolic link",
    "not a regular file": "a device, a pipe or a socket",
    "encrypted": "protected by a password",
    "unknown compression": "neither stored nor deflated",
    "too large": "more bytes than a notebook may have",
    "compression ratio": "inflates to so many times its size that it is a bomb",
    "overlap": "shares bytes with another member",
    "outside the archive": "its place is not inside the file",
    "duplicate name": "a member of the same name came before it",
    "not in the file list": "left out by the list of files that was given",
    "header disagrees": "the header at the member says something else than the directory",
    "broken compression": "the compressed data cannot be inflated",
    "lying size": "holds another number of bytes than declared",
    "wrong checksum": "its CRC is not the one declared",
    "empty": "no bytes at all",
    # notebooks
    "broken JSON": "not JSON, even with the usual mistakes forgiven",
    "nested too deeply": "JSON nested deeper than any notebook is",
    "too many parts": "so many objects or strings that parsing them would take the memory of a whole rank",
    "not an object": "JSON, but a list, a number or a text",
    "wrong types": "a field of a notebook holds a value of another type",
    "no cells": "neither cells nor worksheets",
    "too many cells": "more cells than a notebook may have",
    "unknown cell type": "a cell without a type, or of none that nbformat knows",
    "unknown nbformat": "neither 2, 3 nor 4",
    "other language": "its kernel is not one of the languages asked for",
}


class Refused(ValueError):
    """Content that is not read. `reason` is a key of REASONS, `detail` names the place or the values."""

    def __init__(self, reason: str, detail: str = "") -> None:
        if reason not in REASONS:
            raise KeyError(f"{reason!r} is not a reason; add it to REASONS with its meaning")
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Limits:
    """Bounds on one input. All sizes in bytes."""

    notebook_bytes: int = 32_000_000
    ratio: int = 200
    directory_bytes: int = 1_000_000_000
    cells: int = 10_000
    objects: int = 500_000
    strings: int = 2_000_000


LIMITS = Limits()
