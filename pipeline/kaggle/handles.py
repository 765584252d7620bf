"""The name of a Kaggle data set with its version pinned: `owner/slug/versions/3`.

    handle = Handle("zillow", "zecon", 3)
    Handle.parse("zillow/zecon/versions/3") == handle

Names come from tables and notebooks that anybody may have written, and become paths: only Kaggle's own characters pass.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Self

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class HandleError(ValueError):
    """Text that names no version of a data set."""


class Handle(NamedTuple):
    """Owner, slug and version, as in the address of the data set's page."""

    owner: str
    slug: str
    version: int

    def __str__(self) -> str:
        return f"{self.owner}/{self.slug}/versions/{self.version}"

    @classmethod
    def of(cls, owner: str | None, slug: str | None, version: int | None) -> Self:
        """A checked handle. Raises HandleError where a part is missing or no name of Kaggle's."""
        for part in (owner, slug):
            if not part or not _NAME.fullmatch(part) or ".." in part:
                raise HandleError(f"{part!r} is no name of an owner or a data set on Kaggle")
        if version is None or version < 1:
            raise HandleError(f"{version!r} is no number of a version")
        return cls(str(owner), str(slug), version)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The handle that `str` wrote. Raises HandleError."""
        parts = text.split("/")
        if len(parts) != 4 or parts[2] != "versions" or not parts[3].isdecimal():
            raise HandleError(f"{text!r} is not owner/slug/versions/N")
        return cls.of(parts[0], parts[1], int(parts[3]))
