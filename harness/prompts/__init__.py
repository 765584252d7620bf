"""Prompts as files beside this module, found by package and never by working directory.

    prompt("notebook")
    prompt("question", question="How many rows?", guidelines="A number.", files=["a.csv"])

A prompt is a Jinja template; a variable that it needs and does not get is an error (`jinja2.UndefinedError`).
Another room keeps its prompts beside a module of its own and renders them by `render`.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import jinja2


@cache
def _template(package: str, name: str) -> jinja2.Template:
    text = resources.files(package).joinpath(f"{name}.md").read_text(encoding="utf-8")
    return jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False).from_string(text)


def render(package: str, name: str, **variables: object) -> str:
    """Render the prompt `name` that lies in `package`; blank ends are stripped."""
    return _template(package, name).render(**variables).strip()


def prompt(name: str, **variables: object) -> str:
    """Render one of the harness's own."""
    return render(__name__, name, **variables)
