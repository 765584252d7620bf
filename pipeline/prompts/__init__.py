"""The pipeline's prompts, one file each beside this module, found by package.

    prompt("edu_score", least=4)
    version("edu_score", "notebook")    # eight bytes in hex that change with the bytes of these files

A stage names the files that it sends in its `prompts`, so that a run is not gone on with under another prompt.
"""

from __future__ import annotations

import hashlib
from importlib import resources

from harness.prompts import render


def prompt(name: str, **variables: object) -> str:
    """Render the prompt `name`. Raises `jinja2.UndefinedError` for a variable that it needs and does not get."""
    return render(__name__, name, **variables)


def version(*names: str) -> str:
    """What tells these prompts from an earlier state of them."""
    digest = hashlib.blake2b(digest_size=8)
    for name in names:
        data = resources.files(__name__).joinpath(f"{name}.md").read_bytes()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
