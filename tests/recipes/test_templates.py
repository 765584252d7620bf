"""Chat templates: what each renders and trains, byte for byte; and that it says what a server says.

A golden file is a conversation's text as it trains, what bears the loss between ⟦ and ⟧. As vLLM calls it, a template
is given tools as a list of objects, calls with their arguments as objects (it reads the JSON text that clients send),
text where there is none, and `add_generation_prompt` (vllm/entrypoints/chat_utils.py, read at commit 001eadc; vLLM
itself was not run).
"""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from harness.models.chat import parse_completion
from harness.models.tokens import ChatTemplate
from recipes.rows import chat_ids
from recipes.training_template import OURS, our_template, training_template
from tests.stand_ins.tokenizers import FAMILIES, stock_template, stock_tokenizer

GOLDEN = Path(__file__).parents[1] / "golden" / "templates"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Does {name}: <b> & \"quotes\" 'é'",
            "parameters": {"type": "object", "properties": {key: {"type": "string"}}, "required": [key]},
        },
    }
    for name, key in (("python", "code"), ("final_answer", "answer"))
]


def turn(content: str, *calls: tuple[str, dict[str, str]], thought: str = "") -> dict[str, Any]:
    said: dict[str, Any] = {"role": "assistant", "content": content}
    if thought:
        said["reasoning_content"] = thought
    if calls:
        said["tool_calls"] = [
            {"type": "function", "function": {"name": name, "arguments": json.dumps(given, ensure_ascii=False)}}
            for name, given in calls
        ]
    return said


def conversation(family: str) -> list[dict[str, Any]]:
    """A trace as a row holds it: two results in a row, text beside calls, a reminder, a turn without a call."""
    thought = "" if family in ("tiny", "qwen2_5", "qwen3_instruct_2507") else "What is it?\nLook."
    return [
        {"role": "system", "content": "You work in a notebook."},
        {"role": "user", "content": "How many rows?\n\nFiles: a.csv"},
        turn("", ("python", {"code": "df = pd.read_csv('a.csv')\nlen(df)"}), thought=thought),
        {"role": "tool", "content": "3"},
        turn("Twice.", ("python", {"code": "1 < 2"}), ("python", {"code": 'print("ü\\n")'}), thought=thought),
        {"role": "tool", "content": "True"},
        {"role": "tool", "content": "<b>ü</b>\n"},
        turn("It has 3, I think.", thought=thought),
        {"role": "user", "content": "No tool was called."},
        turn("", ("final_answer", {"answer": "3"}), thought=thought),
    ]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def tokenizers(family: str) -> tuple[Any, Any]:
    """The family's tokenizer as it comes, and as it trains."""
    stock, training = stock_tokenizer(family), stock_tokenizer(family)
    training.chat_template = training_template(training)
    return stock, training


def marked(tokenizer: Any, messages: list[dict[str, Any]]) -> str:
    """What TRL's trainers make of a row, as text, what bears the loss between ⟦ and ⟧."""
    made = chat_ids(tokenizer, messages, json.dumps(TOOLS, ensure_ascii=False), mask=True)
    pairs = zip(made["input_ids"], made["assistant_masks"], strict=True)
    stretches = [(trained, [i for i, _ in group]) for trained, group in groupby(pairs, key=lambda pair: pair[1])]
    texts = [(trained, tokenizer.decode(ids, clean_up_tokenization_spaces=False)) for trained, ids in stretches]
    return "".join(f"⟦{text}⟧" if trained else text for trained, text in texts)


def as_served(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages as vLLM hands them to a template."""
    served = []
    for message in messages:
        calls = [
            {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
            for call in message.get("tool_calls", [])
        ]
        thought = message.get("reasoning_content")
        thoughts = {"reasoning": thought, "reasoning_content": thought} if thought else {}
        served.append({**message, **thoughts, **({"tool_calls": calls} if calls else {})})
    return served


def test_a_family_trains_on_these_bytes_and_bears_the_loss_on_these(family: str, tokenizers: tuple[Any, Any]) -> None:
    _, training = tokenizers
    golden = (GOLDEN / f"{family}.txt").read_text(encoding="utf-8")
    assert marked(training, conversation(family)) == golden
    assert "⟦" not in training.apply_chat_template(conversation(family), tools=TOOLS, tokenize=False)


def test_a_server_prompts_every_turn_with_what_training_showed_before_it(
    family: str, tokenizers: tuple[Any, Any]
) -> None:
    _, training = tokenizers
    messages = conversation(family)
    whole = training.apply_chat_template(messages, tools=TOOLS, tokenize=False)
    mask = chat_ids(training, messages, json.dumps(TOOLS), mask=True)
    for place, message in enumerate(messages):
        if message["role"] == "assistant":
            before = {"tools": TOOLS, "tokenize": True, "return_dict": True, "add_generation_prompt": True}
            prompt = training.apply_chat_template(as_served(messages[:place]), **before)["input_ids"]
            assert mask["input_ids"][: len(prompt)] == prompt, f"prompt of turn {place}"
            assert mask["assistant_masks"][len(prompt) - 1 : len(prompt) + 1] == [0, 1], f"where turn {place} begins"
    assert training.apply_chat_template(as_served(messages), tools=TOOLS, tokenize=False) == whole


@pytest.mark.parametrize("name", ["qwen2_5", "qwen3_instruct_2507"])
@pytest.mark.parametrize("tools", [None, TOOLS])
def test_where_nobody_thinks_the_models_own_template_says_the_same_throughout(name: str, tools: Any) -> None:
    training = stock_tokenizer(name)
    training.chat_template = training_template(training)
    stock, messages = stock_tokenizer(name), as_served(conversation(name))
    for start in (0, 1):
        for end in range(start + 1, len(messages) + 1):
            given = {
                "tools": tools,
                "tokenize": False,
                "add_generation_prompt": messages[end - 1]["role"] != "assistant",
            }
            assert stock.apply_chat_template(messages[start:end], **given) == training.apply_chat_template(
                messages[start:end], **given
            )


def test_the_thinking_models_own_template_says_the_same_until_it_forgets_thoughts() -> None:
    stock, training = stock_tokenizer("qwen3_thinking_2507"), stock_tokenizer("qwen3_thinking_2507")
    training.chat_template = training_template(training)
    messages = as_served(conversation("qwen3_thinking_2507"))
    for end in (2, 4, 7, 8):
        given = {"tools": TOOLS, "tokenize": False, "add_generation_prompt": messages[end - 1]["role"] != "assistant"}
        assert stock.apply_chat_template(messages[:end], **given) == training.apply_chat_template(
            messages[:end], **given
        )
    after_the_reminder = stock.apply_chat_template(messages[:9], tools=TOOLS, tokenize=False)
    assert "What is it?" not in after_the_reminder


@pytest.mark.parametrize("name", OURS)
def test_ours_takes_the_place_of_the_models_own_only(name: str) -> None:
    changed = stock_template(name).replace("# Tools", "# Functions")
    tokenizer = stock_tokenizer(name)
    assert training_template(tokenizer) == our_template(name)
    tokenizer.chat_template = our_template(name)
    assert training_template(tokenizer) == our_template(name)
    tokenizer.chat_template = changed
    with pytest.raises(SystemExit):
        training_template(tokenizer)


def test_trls_own_qwen2_5_template_would_quote_a_rows_arguments_twice() -> None:
    import trl.chat_template_utils as trl_templates

    tokenizer = stock_tokenizer("qwen2_5")
    messages = conversation("qwen2_5")
    trls = tokenizer.apply_chat_template(
        messages, tokenize=False, chat_template=trl_templates.qwen2_5_training_chat_template
    )
    ours = tokenizer.apply_chat_template(messages, tokenize=False, chat_template=our_template("qwen2_5"))
    assert r'"arguments": "{\"code\"' in trls
    assert '"arguments": {"code"' in ours


@pytest.mark.parametrize("name", OURS)
def test_ours_serves_token_exact_rollouts(name: str) -> None:
    tokenizer = stock_tokenizer(name)
    tokenizer.chat_template = our_template(name)
    template = ChatTemplate(tokenizer)
    assert (template.closing, template.takes_text) == ("<|im_end|>", True)
    call = '<tool_call>\n{"name": "python", "arguments": {"code":"1"}}\n</tool_call>'
    thought = "Let me see.\n</think>\n\n" if name == "qwen3_thinking_2507" else ""
    assert template.rendering(parse_completion(f"{thought}Look.\n{call}")) == "structured"
    assert template.rendering(parse_completion(f"{thought}\n\n{call}{call}")) == "raw"


def test_a_template_that_nobody_marked_is_refused_with_the_mend(capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = stock_tokenizer("qwen2_5")
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    with pytest.raises(SystemExit):
        training_template(tokenizer)
    assert "put {% generation %} and {% endgeneration %} around" in capsys.readouterr().err
    tokenizer.chat_template = None
    with pytest.raises(SystemExit):
        training_template(tokenizer)
    assert "has no chat template. Give one by --chat_template_path" in capsys.readouterr().err
