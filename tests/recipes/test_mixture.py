"""Several training sets become one by weight: the draw is the seed's, and every row that came in is accounted for."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from recipes.mixture import Source, draw, sources_of, training_rows
from tests.recipes.test_rows import chat, write
from tests.stand_ins.tokenizers import stock_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return stock_tokenizer("tiny")


def test_sources_are_named_by_text_or_by_a_mapping(tmp_path: Path) -> None:
    assert sources_of("a") == (Source(Path("a")),)
    assert sources_of("a,b", "thinking") == (Source(Path("a"), None, "thinking"), Source(Path("b"), None, "thinking"))
    assert sources_of("a=1,b.jsonl=2") == (Source(Path("a"), 1.0), Source(Path("b.jsonl"), 2.0))
    mapping = {"a": {"weight": 1, "variant": "thinking"}, "b": 2}
    assert sources_of(mapping, "non_thinking") == (
        Source(Path("a"), 1.0, "thinking"),
        Source(Path("b"), 2.0, "non_thinking"),
    )
    odd = tmp_path / "a=1,b"
    odd.mkdir()
    assert sources_of(str(odd)) == (Source(odd),)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "no training set"),
        ("a=1,b", "give every source a weight, or none"),
        ("a=1,b=0", "weights are positive numbers"),
        ("a=1,b=two", "the weight 'two' is no number"),
        ("a=1,a=2", "named twice"),
        ({"a": {"wait": 1}}, "knows weight and variant, not wait"),
    ],
)
def test_a_mixture_that_cannot_be_is_refused_with_the_mend(
    given: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        sources_of(given)
    assert said in capsys.readouterr().err


def test_the_first_source_is_used_once_and_the_others_are_drawn_to_their_weight() -> None:
    lengths = [[10] * 20, [10] * 100, [10] * 7]
    agent, chats, few = draw([1, 2, 1], lengths, seed=0, mix_by="rows")
    assert agent == list(range(20))
    assert len(chats) == len(set(chats)) == 40
    assert len(few) == 20
    assert set(Counter(few).values()) == {2, 3}
    assert draw([1, 2, 1], lengths, 0, "rows") == [agent, chats, few]
    assert draw([1, 2, 1], lengths, 1, "rows")[1] != chats


def test_weights_may_count_tokens_and_are_met_as_nearly_as_may_be() -> None:
    lengths = [[100] * 10, [7, 13, 40] * 100]
    _, chats = draw([1, 2], lengths, seed=3, mix_by="tokens")
    assert abs(sum(lengths[1][row] for row in chats) - 2000) <= 20
    assert len(set(chats)) == len(chats)


def test_without_weights_every_row_is_used_once() -> None:
    assert draw([None, None], [[1] * 3, [1] * 2], 0, "rows") == [[0, 1, 2], [0, 1]]


def test_every_row_that_came_in_is_used_or_left_or_dropped_with_its_reason(tmp_path: Path, tokenizer: Any) -> None:
    agent = write(tmp_path / "agent", *(chat(f"a {n}") for n in range(6)), chat("long " * 500), {"messages": []})
    chats = write(tmp_path / "chat", *(chat(f"c {n}") for n in range(30)))
    rows, account = training_rows(sources_of(f"{agent}=1,{chats}=2"), tokenizer, 64, seed=0)
    said = Counter(row["messages"][1]["content"][0] for row in rows)
    assert said == {"a": 6, "c": 12}
    first, second = account.sources
    assert (first.read, first.kept, first.used, first.left) == (8, 6, 6, 0)
    assert first.dropped == {"no messages": 1, "longer than max_length=64 tokens": 1}
    assert (second.read, second.used, second.left, second.most_often) == (30, 12, 18, 1)
    assert first.tokens == sum(
        len(tokenizer.apply_chat_template(row["messages"], return_dict=True)["input_ids"])
        for row in rows
        if row["messages"][1]["content"][0] == "a"
    )
    assert 0 < first.trained < first.tokens
    lines = account.lines()
    assert (
        f"{agent} (weight 1): 8 rows read, 1 dropped as no messages, 1 dropped as longer than max_length=64" in lines[0]
    )
    assert f"{chats} (weight 2): 30 rows read, 12 used, 18 not drawn" in lines[1]
    assert lines[2].startswith("rows: 18 used, 2 dropped;")
    account.write(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "training-data.json").read_text())["sources"][1]["used"] == 12
    again, _ = training_rows(sources_of(f"{agent}=1,{chats}=2"), tokenizer, 64, seed=0)
    assert again.to_list() == rows.to_list()


def test_turns_without_thoughts_are_counted_where_thinking_is_trained(tmp_path: Path, tokenizer: Any) -> None:
    row = chat("a", "thought")
    row["messages"] += [{"role": "user", "content": "r"}, {"role": "assistant", "content": "b"}]
    _, account = training_rows(sources_of(str(write(tmp_path, row, chat("c"))), "thinking"), tokenizer, None, seed=0)
    assert "1 dropped as not in thinking: no thoughts in its first turn" in account.lines()[0]
    assert "1 of 2 turns have no thoughts" in account.lines()[0]


def test_a_source_without_a_row_left_is_refused_with_its_reasons(
    tmp_path: Path, tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        training_rows(sources_of(str(write(tmp_path, chat("long " * 500)))), tokenizer, 32, seed=0)
    assert "no row is left to train on: 1 longer than max_length=32 tokens" in capsys.readouterr().err
