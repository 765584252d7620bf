"""`--model checkpoint/PATH`: a local folder as an Inspect model, batched, greedy, token-exact, with clear refusals."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessage, ChatMessageUser, GenerateConfig, Model, ModelOutput, get_model
from inspect_ai.solver import generate

import harness.models.checkpoint  # noqa: F401  (registers the provider)
from harness.models.checkpoint import CheckpointAPI
from harness.models.decoding import Decoder, Row
from harness.models.server import CheckpointServer, Request
from harness.models.source import find_checkpoint
from harness.models.tokens import ChatTemplate


@pytest.fixture
def served(checkpoint_folder: Path) -> Any:
    """The checkpoint as Inspect's own `get_model` gives it, closed afterwards."""
    model = get_model(f"checkpoint/{checkpoint_folder}", memoize=False)
    yield model
    model.api.close()


def ask(model: Model, *questions: str, **config: Any) -> list[ModelOutput]:
    """All questions at once."""

    async def together() -> list[ModelOutput]:
        return await asyncio.gather(*(model.generate(q, config=GenerateConfig(**config)) for q in questions))

    return asyncio.run(together())


def ids(output: ModelOutput) -> list[int]:
    completion: list[int] = (output.message.metadata or {})["completion_ids"]
    return completion


def test_importing_the_provider_loads_neither_torch_nor_transformers() -> None:
    code = "import harness.models.checkpoint, sys; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_one_turn_carries_its_ids_usage_and_text(served: Model, tokenizer: Any) -> None:
    [output] = ask(served, "How many?", max_tokens=9)
    metadata = output.message.metadata or {}
    prompt = "<|im_start|>user\nHow many?<|im_end|>\n<|im_start|>assistant\n"
    assert metadata["environment_ids"] == tokenizer(prompt)["input_ids"]
    assert metadata["raw"] == tokenizer.decode(ids(output))
    assert output.usage is not None
    assert (output.usage.input_tokens, output.usage.output_tokens) == (
        len(metadata["environment_ids"]),
        len(ids(output)),
    )
    assert (output.stop_reason, len(ids(output))) == ("max_tokens", 9)


def test_calls_at_the_same_time_get_what_each_gets_alone(served: Model) -> None:
    questions = [f"How many {'heavy ' * i}parcels?" for i in range(20)]
    together = [ids(output) for output in ask(served, *questions, max_tokens=24)]
    alone = [ids(ask(served, question, max_tokens=24)[0]) for question in questions]
    assert together == alone
    assert len(set(map(tuple, together))) > 10


def test_more_calls_than_a_batch_holds_are_all_answered(checkpoint_folder: Path) -> None:
    model = get_model(f"checkpoint/{checkpoint_folder}", memoize=False, batch_size=2)
    assert model.api.max_connections() == 2
    api = model.api
    assert isinstance(api, CheckpointAPI)

    async def flood() -> list[ModelOutput]:
        one: list[ChatMessage] = [ChatMessageUser(content="How many?")]
        return await asyncio.gather(*(api.generate(one, [], "none", GenerateConfig(max_tokens=5)) for _ in range(7)))

    assert {tuple(ids(output)) for output in asyncio.run(flood())} == {
        tuple(ids(ask(model, "How many?", max_tokens=5)[0]))
    }
    api.close()


def test_temperature_and_seed_are_honoured(served: Model) -> None:
    hot = {"max_tokens": 16, "temperature": 1.0}
    first, again, other = (ids(ask(served, "How many?", seed=seed, **hot)[0]) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first != ids(ask(served, "How many?", max_tokens=16)[0])


def test_a_full_context_ends_the_turn_and_then_gives_no_text(served: Model) -> None:
    [filled] = ask(served, "many " * 60, max_tokens=500)
    assert filled.stop_reason == "model_length"
    assert filled.usage is not None
    assert filled.usage.total_tokens == 256
    [full] = ask(served, "many " * 300, max_tokens=5)
    assert (full.stop_reason, full.completion, ids(full)) == ("model_length", "", [])


def test_the_closing_token_ends_a_turn_and_is_kept_among_its_ids(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    import torch

    with torch.no_grad():
        before = model.lm_head.weight[tokenizer.eos_token_id].clone()
        model.lm_head.weight[tokenizer.eos_token_id] = model.lm_head.weight.abs().max() * 100
        model.save_pretrained(tmp_path)
        model.lm_head.weight[tokenizer.eos_token_id] = before
    tokenizer.save_pretrained(tmp_path)
    with get_model(f"checkpoint/{tmp_path}", memoize=False) as closer:
        outputs = ask(closer, *(f"{i} parcels?" for i in range(30)), max_tokens=64)
    stopped = [output for output in outputs if output.stop_reason == "stop"]
    assert stopped
    assert all(ids(output)[-1] == tokenizer.eos_token_id for output in stopped)
    assert all("<|im_end|>" not in output.completion for output in stopped)


def test_a_closed_model_loads_again_when_asked_again(served: Model) -> None:
    before = ids(ask(served, "How many?", max_tokens=5)[0])
    served.api.close()
    served.api.close()
    assert ids(ask(served, "How many?", max_tokens=5)[0]) == before


class CountingDecoder(Decoder):
    steps = 0

    def step(self) -> list[Row]:
        self.steps += 1
        return super().step()


class CountingServer(CheckpointServer):
    decoder: CountingDecoder

    def make_decoder(self, model: Any, stop_ids: set[int]) -> Decoder:
        self.decoder = CountingDecoder(model, stop_ids)
        return self.decoder


def test_a_cancelled_call_leaves_the_batch_at_once(checkpoint_folder: Path) -> None:
    def request(tokens: int) -> Request:
        return Request(messages=(ChatMessageUser(content="How many?"),), tools=(), max_tokens=tokens)

    server = CountingServer(checkpoint_folder, batch_size=1)
    expected = server.submit(request(5)).result()
    lost = server.submit(request(10_000))
    while not server.decoder.rows:
        time.sleep(0.001)
    assert lost.cancel()
    assert server.submit(request(5)).result() == expected
    assert server.decoder.steps < 150
    server.close()


def test_closing_gives_up_what_runs_and_what_waits(checkpoint_folder: Path) -> None:
    server = CountingServer(checkpoint_folder, batch_size=1)
    request = Request(messages=(ChatMessageUser(content="How many?"),), tools=(), max_tokens=10_000)
    futures = [server.submit(request) for _ in range(20)]
    while not hasattr(server, "decoder") or not server.decoder.rows:
        time.sleep(0.001)
    server.close()
    assert all(future.cancelled() for future in futures[1:])


def test_a_cancelled_task_does_not_hold_up_the_others(served: Model) -> None:
    async def impatient() -> ModelOutput:
        lost = asyncio.create_task(served.generate("How heavy?", config=GenerateConfig(max_tokens=200)))
        await asyncio.sleep(0.01)
        lost.cancel()
        return await served.generate("How many?", config=GenerateConfig(max_tokens=5))

    assert ids(asyncio.run(impatient())) == ids(ask(served, "How many?", max_tokens=5)[0])


def test_two_checkpoints_in_one_process_do_not_mix(
    checkpoint_folder: Path, model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    import copy

    import torch

    other = copy.deepcopy(model)
    with torch.no_grad():
        other.lm_head.weight.neg_()
    other.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    one, two = (get_model(f"checkpoint/{folder}", memoize=False) for folder in (checkpoint_folder, tmp_path))

    async def both() -> list[ModelOutput]:
        return await asyncio.gather(
            *(m.generate("How many?", config=GenerateConfig(max_tokens=8)) for m in (one, two, one))
        )

    first, second, third = map(ids, asyncio.run(both()))
    assert first == third != second
    for served in (one, two):
        served.api.close()


def test_a_relative_path_is_taken_from_the_working_directory(
    checkpoint_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkpoint_folder.parent)
    with get_model(f"checkpoint/{checkpoint_folder.name}", memoize=False) as model:
        assert ask(model, "How many?", max_tokens=2)[0].usage is not None


def test_an_evaluation_keeps_the_ids_in_its_log(checkpoint_folder: Path, tokenizer: Any, tmp_path: Path) -> None:
    from inspect_ai.log import read_eval_log

    task = Task(dataset=[Sample(input=f"{i} parcels?") for i in range(3)], solver=generate())
    [log] = eval(task, model=f"checkpoint/{checkpoint_folder}", max_tokens=6, log_dir=str(tmp_path), display="none")
    assert log.status == "success"
    for sample in read_eval_log(log.location).samples or []:
        metadata = sample.messages[1].metadata or {}
        assert tokenizer.decode(metadata["completion_ids"]) == metadata["raw"]
        assert str(sample.input) in tokenizer.decode(metadata["environment_ids"])


def damaged(folder: Path, tmp_path: Path, *removed: str) -> Path:
    """A copy of a checkpoint without some of its files."""
    import shutil

    copy = tmp_path / "damaged"
    shutil.copytree(folder, copy)
    for name in removed:
        (copy / name).unlink()
    return copy


@pytest.mark.parametrize(
    ("removed", "reason"),
    [
        (("config.json",), "no config.json"),
        (("tokenizer.json", "tokenizer_config.json"), "no tokenizer"),
        (("chat_template.jinja",), "no chat template"),
    ],
)
def test_a_folder_that_is_no_checkpoint_is_refused_before_anything_is_loaded(
    checkpoint_folder: Path, tmp_path: Path, removed: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(PrerequisiteError, match=reason):
        get_model(f"checkpoint/{damaged(checkpoint_folder, tmp_path, *removed)}", memoize=False)


def test_a_missing_folder_is_named_and_one_level_too_high_is_guessed(checkpoint_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PrerequisiteError, match="no such folder"):
        find_checkpoint(str(tmp_path / "epoch-9"))
    with pytest.raises(PrerequisiteError, match=f"Did you mean .*{checkpoint_folder.name}"):
        find_checkpoint(str(checkpoint_folder.parent))


def test_a_template_inside_the_tokenizers_configuration_will_do(checkpoint_folder: Path, tmp_path: Path) -> None:
    folder = damaged(checkpoint_folder, tmp_path)
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": template}), encoding="utf-8")
    assert find_checkpoint(str(folder)).template == template


def test_an_unknown_option_is_refused_with_the_known_ones(checkpoint_folder: Path) -> None:
    with pytest.raises(PrerequisiteError, match=r"bach_size.*batch_size, device"):
        get_model(f"checkpoint/{checkpoint_folder}", memoize=False, bach_size=3)


def test_a_setting_that_would_change_nothing_is_refused(served: Model) -> None:
    with pytest.raises(PrerequisiteError, match="stop_seqs"):
        ask(served, "How many?", stop_seqs=["\n"])


def test_a_template_that_cannot_serve_is_refused_with_the_mend(checkpoint_folder: Path, tmp_path: Path) -> None:
    folder = damaged(checkpoint_folder, tmp_path)
    (folder / "chat_template.jinja").write_text("{{ messages[-1].content }}<|im_end|>", encoding="utf-8")
    with (
        get_model(f"checkpoint/{folder}", memoize=False) as model,
        pytest.raises(PrerequisiteError, match=r"not prefix-preserving.*Serve the template that trained"),
    ):
        ask(model, "How many?", "How heavy?")


def test_missing_weights_are_reported_by_every_call(checkpoint_folder: Path, tmp_path: Path) -> None:
    folder = damaged(checkpoint_folder, tmp_path, "model.safetensors")
    with get_model(f"checkpoint/{folder}", memoize=False) as model:
        for _ in range(2):
            with pytest.raises(OSError, match=r"model\.safetensors"):
                ask(model, "How many?")


def test_the_served_template_is_the_checkpoints_own(checkpoint_folder: Path, tokenizer: Any) -> None:
    assert (checkpoint_folder / "chat_template.jinja").read_text(encoding="utf-8") == tokenizer.chat_template
    assert ChatTemplate(tokenizer).closing == "<|im_end|>"
