"""Token-exact conversations: a checkpoint's own chat template and tokenizer, and what each turn adds in token ids.

    template = ChatTemplate(tokenizer)                  # TemplateError where the template cannot serve
    prompt = template.prompt(messages, tools)
    prompt.ids                                          # what the model is given
    prompt.environment_ids                              # the part that was added since its last sampled token

The ids of a turn's prompt are those of the whole rollout so far (prompts and *sampled* ids, never re-tokenised) and the
tokenised text that the environment added since. That text is found by rendering: so the template must be
prefix-preserving, that is, render a turn alike wherever it stands; one that is not is refused by name.
A template that walks through a call's arguments (Qwen3-Coder's) is given them as an object, any other as the JSON
text that was written. It runs no model and needs no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from inspect_ai.model import ChatMessage
from inspect_ai.tool import ToolInfo

from harness.models.chat import Completion, chat_message, parse_completion, tool_schemas

Rendering = Literal["structured", "raw", "inexact"]
"""How a message can be rendered to the text that was sampled: from its parts, as raw content, or not at all."""

_CALL = '<tool_call>\n{"name": "python", "arguments": {"code": "1"}}\n</tool_call>'
_PROBE: list[dict[str, Any]] = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": "u"},
    parse_completion(f"<think>\nt\n</think>\n\n{_CALL}").chat(),
    {"role": "tool", "content": "r"},
    parse_completion("<think>\nt\n</think>\n\nanswer").chat(),
    {"role": "user", "content": "v"},
    parse_completion(f"<think>\nt\n</think>\n\n{_CALL}").chat(),
    {"role": "tool", "content": "r"},
]


class TemplateError(ValueError):
    """A chat template that cannot serve token-exact rollouts, or messages that it cannot render so."""


@dataclass(frozen=True)
class Prompt:
    """A turn's prompt: `rollout_ids` run up to the last sampled token, `environment_ids` were added since.

    `digest` fingerprints the prompt's text, so that a later turn can tell whether its history was changed.
    """

    rollout_ids: tuple[int, ...]
    environment_ids: tuple[int, ...]
    digest: str

    @property
    def ids(self) -> tuple[int, ...]:
        """All of it, as the model is given it."""
        return self.rollout_ids + self.environment_ids


class ChatTemplate:
    """A tokenizer with its chat template.

    `closing` is the text that ends an assistant's turn, one token; `takes_text`, whether arguments may be JSON text.
    """

    def __init__(self, tokenizer: Any, name: str = "") -> None:
        """Raises TemplateError for a missing template, one without a closing token, or not prefix-preserving."""
        self.tokenizer = tokenizer
        self.name = name or str(tokenizer.name_or_path)
        if not tokenizer.chat_template:
            raise TemplateError(f"{self.name} has no chat template. Save one with its tokenizer (chat_template.jinja).")
        self.takes_text = self._takes_text()
        self._check_prefixes()
        self.closing_id, self.closing = self._find_closing()

    def render(
        self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] = (), generation_prompt: bool = False
    ) -> str:
        """The template's own text for `messages`."""
        import jinja2

        given = list(messages) if self.takes_text else [_with_objects(message) for message in messages]
        try:
            text = self.tokenizer.apply_chat_template(
                given, tools=list(tools) or None, tokenize=False, add_generation_prompt=generation_prompt
            )
        except jinja2.TemplateError as error:
            raise TemplateError(f"the chat template of {self.name} cannot render this conversation: {error}") from error
        return str(text)

    def ids(self, text: str) -> tuple[int, ...]:
        """Token ids of a piece of rendered text; special tokens are recognised, none is added."""
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def text(self, ids: Sequence[int]) -> str:
        """The text of sampled ids, special tokens included."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def prompt(self, messages: Sequence[ChatMessage], tools: Sequence[ToolInfo]) -> Prompt:
        """The prompt of the next turn.

        Raises TemplateError where earlier turns would be rendered otherwise than they were when they were sampled:
        the template is not prefix-preserving for them, or somebody edited the history.
        """
        chats, schemas = [chat_message(message) for message in messages], tool_schemas(tools)
        text = self.render(chats, schemas, generation_prompt=True)
        digest = _digest(text)
        own = [i for i, message in enumerate(messages) if "completion_ids" in (message.metadata or {})]
        if not own:
            return Prompt((), self.ids(text), digest)
        records = [messages[i].metadata or {} for i in own]
        before = self.render(chats[: own[-1]], schemas, generation_prompt=True)
        through = self.render(chats[: own[-1] + 1], schemas)
        if _digest(before) != records[-1]["prompt_digest"]:
            raise TemplateError(self._not_preserving("the history of an earlier turn changed since it was sampled"))
        if not (through.startswith(before) and text.startswith(through)):
            raise TemplateError(self._not_preserving("an earlier turn is rendered otherwise once another follows it"))
        end = len(before) + through[len(before) :].rindex(self.closing)
        if records[-1]["completion_ids"][-1:] == [self.closing_id]:
            end += len(self.closing)
        rollout = [i for record in records for i in (*record["environment_ids"], *record["completion_ids"])]
        return Prompt(tuple(rollout), self.ids(text[end:]), digest)

    def rendering(self, completion: Completion) -> Rendering:
        """How `completion` can be rendered to exactly the text that was sampled."""
        before: list[dict[str, Any]] = [{"role": "user", "content": ""}]
        prompt = self.render(before, generation_prompt=True)
        ways: tuple[tuple[dict[str, Any], Rendering], ...] = (
            (completion.chat(), "structured"),
            (completion.raw_chat(), "raw"),
        )
        # A row of a training set holds arguments as JSON text, which only raw content spares such a template.
        for chat, rendering in ways if self.takes_text else reversed(ways):
            if self.render([*before, chat]).startswith(prompt + completion.text + self.closing):
                return rendering
        return "inexact"

    def sampled(self, prompt: Prompt, completion_ids: Sequence[int]) -> tuple[Completion, dict[str, Any]]:
        """A sampled turn: its parts, and the metadata that its message must carry for the next `prompt`."""
        closed = completion_ids[-1:] == [self.closing_id]
        completion = parse_completion(self.text(completion_ids[:-1] if closed else completion_ids))
        return completion, {
            "environment_ids": list(prompt.environment_ids),
            "completion_ids": list(completion_ids),
            "prompt_digest": prompt.digest,
            "rendering": self.rendering(completion),
        }

    def _takes_text(self) -> bool:
        import jinja2

        try:
            self.tokenizer.apply_chat_template(_PROBE[:3], tokenize=False)
        except (TypeError, jinja2.UndefinedError):  # what `arguments|items` and `arguments.items()` make of a text
            return False
        except jinja2.TemplateError:
            return True  # it refuses something else, and says so when it is rendered
        return True

    def _check_prefixes(self) -> None:
        for turn in (i for i, message in enumerate(_PROBE) if message["role"] == "assistant"):
            prompt = self.render(_PROBE[:turn], generation_prompt=True)
            through = self.render(_PROBE[: turn + 1])
            for later in range(turn + 1, len(_PROBE) + 1):
                if not (through.startswith(prompt) and self.render(_PROBE[:later]).startswith(through)):
                    raise TemplateError(
                        self._not_preserving(f"after {_PROBE[later - 1]['role']} turns, earlier turns are changed")
                    )

    def _find_closing(self) -> tuple[int, str]:
        answer = "answer"
        rendered = self.render([{"role": "user", "content": "u"}, {"role": "assistant", "content": answer}])
        ids = self.ids(rendered[rendered.rindex(answer) + len(answer) :])
        if not ids or ids[0] not in self.tokenizer.added_tokens_decoder:
            raise TemplateError(f"the chat template of {self.name} does not end an assistant's turn by a special token")
        return ids[0], self.text(ids[:1])

    def _not_preserving(self, reason: str) -> str:
        return (
            f"the chat template of {self.name} is not prefix-preserving ({reason}), so what was sampled would not be "
            "what is shown next, nor what training sees. Serve the template that trained: recipes/sft.py saves it with "
            "every checkpoint, and trl.chat_template_utils.get_training_chat_template gives it for known models."
        )


def _with_objects(message: dict[str, Any]) -> dict[str, Any]:
    """A chat message whose calls' arguments are objects; those of a malformed call, which are none, become empty."""
    if not message.get("tool_calls"):
        return message
    functions = [call["function"] for call in message["tool_calls"]]
    calls = [{"type": "function", "function": {**f, "arguments": _object(f["arguments"])}} for f in functions]
    return {**message, "tool_calls": calls}


def _object(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        read = json.loads(arguments)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def tools_json(tools: Sequence[ToolInfo]) -> list[str]:
    """Each tool's schema as JSON text."""
    return [json.dumps(schema, ensure_ascii=False) for schema in tool_schemas(tools)]
