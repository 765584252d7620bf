"""The chat template that trains: it marks what the assistant wrote, and renders a turn alike wherever it stands.

    tokenizer.chat_template = training_template(tokenizer)      # saved with every checkpoint, and so served

A template that does both already is kept (the tiny model's, that of a checkpoint trained here). Else TRL has one for
most models; ours (`templates/*.jinja`) stand where TRL's does not do: Qwen3-*-Thinking-2507, which TRL does not know,
and Qwen2.5, whose calls' arguments TRL's would quote twice, since rows hold them as JSON text. A model's own template
is recognised by what it renders, not by its text: ours takes its place only where both say the same, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from recipes.command_line import RecipeError

OURS = ("qwen2_5", "qwen3_thinking_2507")

_TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "description": 'Says "what" & <where>',
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
    },
}


def training_template(tokenizer: Any) -> str:
    """The template that a model of `tokenizer` is to be trained and served with.

    Raises RecipeError where there is none: the tokenizer has no template, or one that nobody marked.
    """
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    stock = tokenizer.chat_template
    if not stock:
        raise RecipeError(
            f"{tokenizer.name_or_path} has no chat template. Give one by --chat_template_path FILE.jinja."
        )
    if not has_generation_markers(stock):
        for name in OURS:
            if _say_the_same(tokenizer, our_template(name)):
                return our_template(name)
    try:
        return str(get_training_chat_template(tokenizer) or (stock["default"] if isinstance(stock, dict) else stock))
    except ValueError:
        raise RecipeError(
            f"the chat template of {tokenizer.name_or_path} does not mark what the assistant writes, and neither TRL "
            "nor recipes/templates has one that says the same. Copy it, put {% generation %} and {% endgeneration %} "
            "around what an assistant turn samples, render every turn alike, and give it by --chat_template_path FILE."
        ) from None


@cache
def our_template(name: str) -> str:
    """The text of `templates/NAME.jinja`."""
    return files("recipes").joinpath("templates", f"{name}.jinja").read_text(encoding="utf-8")


def _say_the_same(tokenizer: Any, ours: str) -> bool:
    """Whether `ours` renders every probe as the tokenizer's own template does."""
    import jinja2

    try:
        for messages, tools, prompt in _probes():
            given = {"tools": tools, "tokenize": False, "add_generation_prompt": prompt}
            if tokenizer.apply_chat_template(messages, **given) != tokenizer.apply_chat_template(
                messages, chat_template=ours, **given
            ):
                return False
    except (jinja2.TemplateError, TypeError):
        return False
    return True


def _probes() -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]] | None, bool]]:
    """Conversations in which no known template leaves anything out; arguments are objects, as servers give them."""

    def turn(content: str, *where: str) -> dict[str, Any]:
        calls = [{"type": "function", "function": {"name": "look", "arguments": {"at": at, "n": 1}}} for at in where]
        calling = {"tool_calls": calls} if calls else {}
        return {"role": "assistant", "content": content, "reasoning_content": "thoughts\non it", **calling}

    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where?\n"}]
    seen = [{"role": "tool", "content": "one"}, {"role": "tool", "content": "two"}]
    whole = [*asked, turn("", "é"), seen[0], turn("Look.", "a", "b"), *seen, turn("There.")]
    for tools in (None, [_TOOL, _TOOL]):
        for messages, prompt in (
            (asked, True),
            (asked[1:], True),
            (whole[:4], True),
            (whole, False),
            (whole[1:], False),
        ):
            yield messages, tools, prompt
