"""Rollouts for reinforcement learning: the agent's own loop in real kernels, in the very ids that were sampled."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import GenerateConfig

from harness.models.decoding import Decoder, Row
from harness.models.live import LiveAPI, LiveServer
from harness.models.server import CheckpointServer
from harness.models.tokens import ChatTemplate
from harness.reward import reward_of
from harness.rollouts import Asked, Rollout, RolloutRunner, RolloutSettings
from recipes.tiny import tiny_config, train_tokenizer

SECRET = "73219"
"""The right answer: nothing that a kernel can reach holds it."""


def call(name: str, **arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {json.dumps(arguments)}}}\n</tool_call>'


LOOK = (
    "import glob, os, subprocess\n"
    "print(os.environ, glob.glob('/home/user/**', recursive=True), open('/proc/self/environ').read()[:2000])\n"
    "for path in ['questions.jsonl', 'input/questions.jsonl', 'input/../questions.jsonl', '/proc/1/environ']:\n"
    "    try: print(open(path).read())\n"
    "    except OSError as error: print(error)"
)
SCRIPTS: dict[str, tuple[str, ...]] = {
    "counts": (call("python", code="n = 3\nprint(n)"), call("final_answer", answer="3")),
    "recalls": ("Let me think.", call("python", code="print(n)"), call("final_answer", answer="3")),
    "stumbles": ('<tool_call>\n{"name": "python"', call("python", code="1 / 0"), call("final_answer", answer="4")),
    "never ends": (call("python", code="print(1)"),) * 9,
    "answers twice": (
        call("python", code="print(3)"),
        call("final_answer", answer="7") + "\n" + call("final_answer", answer="3"),
    ),
    "looks for the key": (call("python", code=LOOK), call("final_answer", answer="not found")),
    "prints at length": (call("python", code="print('9' * 100000)"), call("final_answer", answer="9" * 2000)),
    "answers at once": (call("final_answer", answer="3"),),
}


class ScriptedDecoder(Decoder):
    """Decodes as ever, but chooses what the conversation's script says."""

    def __init__(self, model: Any, stop_ids: set[int], tokenizer: Any) -> None:
        super().__init__(model, stop_ids)
        self.tokenizer = tokenizer

    def choose(self, logits: Any, rows: Sequence[Row]) -> list[int]:
        return [self._next(row) for row in rows]

    def _next(self, row: Row) -> int:
        said = self.tokenizer.decode(row.prompt)
        script = next(turns for name, turns in SCRIPTS.items() if f"It {name}." in said)
        turn = said.count("<|im_start|>assistant") - 1
        ids = [*self.tokenizer(script[turn])["input_ids"], self.tokenizer.eos_token_id]
        return int(ids[len(row.sampled)])


class ScriptedServer(LiveServer):
    def make_decoder(self, model: Any, stop_ids: set[int]) -> Decoder:
        return ScriptedDecoder(model, stop_ids, self.template.tokenizer)


class ScriptedAPI(LiveAPI):
    def make_server(self) -> CheckpointServer:
        return ScriptedServer(*self._live, self.options.batch_size)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    texts = [text for turns in SCRIPTS.values() for text in turns] + [f"It {name}." for name in SCRIPTS]
    return train_tokenizer([*texts, "user\n", "tool\n", "assistant\n"], 600)


@pytest.fixture(scope="module")
def model(tokenizer: Any) -> Any:
    import torch
    from transformers import Qwen3ForCausalLM

    torch.manual_seed(0)
    made: Any = Qwen3ForCausalLM
    config = tiny_config(len(tokenizer))
    config.max_position_embeddings = 16_384
    return made(config).eval()


@pytest.fixture(scope="module")
def runner() -> Iterator[RolloutRunner]:
    runner = RolloutRunner(RolloutSettings(turns=5, cell_s=20.0, at_once=4))
    yield runner
    runner.close()


@pytest.fixture(scope="module")
def rollouts(
    tokenizer: Any, model: Any, runner: RolloutRunner, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Rollout]:
    """One rollout of each script, all at once, the questions' file beside a table with the answers."""
    folder = tmp_path_factory.mktemp("questions")
    (folder / "questions.jsonl").write_text(json.dumps({"answer": SECRET}))
    (folder / "a.csv").write_text("x\n1\n")
    asked = [Asked(name, "system", f"It {name}.", {"a.csv": folder / "a.csv"}) for name in SCRIPTS]
    api = ScriptedAPI(model, ChatTemplate(tokenizer), 8)
    try:
        found = runner.run(api, GenerateConfig(max_tokens=4000), asked, seed=1)
    finally:
        api.close()
    return {rollout.id: rollout for rollout in found}


def test_a_rollout_is_the_loop_of_an_evaluation_in_the_ids_that_were_sampled(
    rollouts: Mapping[str, Rollout], tokenizer: Any
) -> None:
    rollout = rollouts["counts"]
    assert (rollout.answer, rollout.answer_calls, rollout.turns, rollout.stop_reason) == ("3", 1, 2, "answered")
    assert [cell.stdout for cell in rollout.cells] == ["3\n"]
    first, last = SCRIPTS["counts"]
    assert tokenizer.decode(rollout.prompt_ids).endswith("It counts.<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.decode(rollout.completion_ids) == (
        f"{first}<|im_end|>\n<|im_start|>tool\n3<|im_end|>\n<|im_start|>assistant\n{last}<|im_end|>"
    )
    sampled = [i for i, mask in zip(rollout.completion_ids, rollout.mask, strict=True) if mask]
    assert sampled == [i for turn in (first, last) for i in [*tokenizer(turn)["input_ids"], tokenizer.eos_token_id]]


def test_every_rollout_has_a_kernel_of_its_own_and_a_reminder_is_the_environments(
    rollouts: Mapping[str, Rollout], tokenizer: Any
) -> None:
    rollout = rollouts["recalls"]
    assert rollout.cells[0].error is not None
    assert rollout.cells[0].error.name == "NameError"  # `n` is another rollout's
    environment = [i for i, mask in zip(rollout.completion_ids, rollout.mask, strict=True) if not mask]
    assert "No tool was called." in tokenizer.decode(environment)


def test_a_malformed_call_and_a_cell_that_raises_are_told_to_the_model(rollouts: Mapping[str, Rollout]) -> None:
    rollout = rollouts["stumbles"]
    assert (rollout.stop_reason, rollout.answer, len(rollout.cells)) == ("answered", "4", 1)


def test_a_rollout_that_does_not_end_is_ended_and_keeps_what_it_did(rollouts: Mapping[str, Rollout]) -> None:
    rollout = rollouts["never ends"]
    assert (rollout.stop_reason, rollout.answer, rollout.turns) == ("turn", None, 5)


@pytest.mark.parametrize(
    ("name", "target", "reason"),
    [
        ("answers twice", "3", "several calls of final_answer"),
        ("looks for the key", SECRET, "wrong"),
        ("prints at length", "9" * 2000, "right"),
        ("prints at length", "9", "an answer that is too long"),
        ("answers at once", "3", "no cell ran and showed something"),
        ("never ends", "1", "no answer"),
    ],
)
def test_tricks_win_nothing(rollouts: Mapping[str, Rollout], name: str, target: str, reason: str) -> None:
    rollout = rollouts[name]
    reward = reward_of(rollout.answer, rollout.answer_calls, rollout.cells, target)
    assert (reward.value, reward.reason) == (float(reason == "right"), reason)


def test_the_answer_is_nowhere_that_a_cell_can_look(rollouts: Mapping[str, Rollout]) -> None:
    [cell] = rollouts["looks for the key"].cells
    assert "a.csv" in cell.stdout
    assert SECRET not in cell.text()


def test_the_same_seed_gives_the_same_rollouts_and_turns_draw_from_streams_of_their_own(
    tokenizer: Any, model: Any, runner: RolloutRunner
) -> None:
    asked = [Asked(str(n), "system", "It counts.", {}) for n in range(3)]
    config = GenerateConfig(temperature=1.0, max_tokens=6)

    def sampled(seed: int, how_many: int) -> list[tuple[int, ...]]:
        api = LiveAPI(model, ChatTemplate(tokenizer), how_many)
        try:
            return [rollout.completion_ids for rollout in runner.run(api, config, asked[:how_many], seed)]
        finally:
            api.close()

    three = sampled(1, 3)
    assert sampled(1, 2) == three[:2]
    assert len(set(three)) == 3
    assert sampled(2, 3) != three
    [turns] = [rollout for rollout in three[:1]]
    assert turns[:6] != turns[-6:]


def test_a_file_that_is_not_there_stops_everything_and_is_named(model: Any, tokenizer: Any, tmp_path: Path) -> None:
    runner = RolloutRunner(RolloutSettings())
    asked = [Asked("q", "s", "u", {"a.csv": tmp_path / "gone.csv"})]
    with pytest.raises(FileNotFoundError, match=r"gone.csv: a question's file is not there"):
        runner.run(LiveAPI(model, ChatTemplate(tokenizer)), GenerateConfig(), asked, seed=None)
    runner.close()
