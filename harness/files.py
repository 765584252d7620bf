"""A file under its own name is a whole file: it is written beside it and renamed."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write `content` to `path`; a reader, or a kill at any moment, finds the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_bytes(content if isinstance(content, bytes) else content.encode())
    partial.replace(path)
