"""A checkpoint whose choice of the next id is scripted, and all else real: Inspect, the agent, a kernel, our provider.

rollout = roll_out(tokenizer, [[*ids_of_a_turn, end], ...], folder)    # its trace, and every prompt it was given
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspect_ai import eval
from inspect_ai.log import EvalLog
from inspect_ai.model import ModelAPI, get_model, modelapi

import harness.kernel.bwrap_sandbox  # noqa: F401  (registers the sandbox)
from harness.models.checkpoint import CheckpointAPI
from harness.models.decoding import Decoder, Row
from harness.models.server import CheckpointServer
from harness.records import Question, Trace
from harness.trace import read_traces
from tasks.notebook_task import NotebookSettings, notebook_task


def untrained(tokenizer: Any) -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    small: Any = Qwen3ForCausalLM
    return small(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            intermediate_size=16,
            max_position_embeddings=8192,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
        )
    )


class ScriptedDecoder(Decoder):
    """Decodes as ever, but what is chosen was written before. Keeps every prompt that it was given."""

    def __init__(self, model: Any, stop_ids: set[int], script: Iterator[Sequence[int]]) -> None:
        super().__init__(model, stop_ids)
        self.script, self.now, self.prompts = script, (), list[tuple[int, ...]]()

    now: Sequence[int]

    def choose(self, logits: Any, rows: Sequence[Row]) -> list[int]:
        [row] = rows
        if not row.sampled:
            self.now = next(self.script)
            self.prompts.append(row.prompt)
        return [self.now[len(row.sampled)]]


class ScriptedServer(CheckpointServer):
    script: Sequence[Sequence[int]] = ()
    decoder: ScriptedDecoder

    def make_decoder(self, model: Any, stop_ids: set[int]) -> Decoder:
        self.decoder = ScriptedDecoder(model, stop_ids, iter(self.script))
        return self.decoder


class ScriptedAPI(CheckpointAPI):
    """The provider, on a scripted decoder."""

    def make_server(self) -> CheckpointServer:
        server = ScriptedServer(self.folder, self.options.batch_size, self.options.device)
        server.script = self.script
        return server

    script: Sequence[Sequence[int]] = ()


@modelapi(name="scripted_checkpoint")
def scripted_checkpoint() -> type[ModelAPI]:
    return ScriptedAPI


@dataclass(frozen=True)
class Rollout:
    """A trace, and every prompt as the model was given it."""

    trace: Trace
    prompts: list[tuple[int, ...]]


def evaluate(
    tokenizer: Any, script: Sequence[Sequence[int]], folder: Path, max_tokens: int = 400
) -> tuple[EvalLog, ScriptedServer]:
    """One sample of a notebook task in a real kernel, answered by `script` through the checkpoint provider."""
    untrained(tokenizer).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    (folder / "a.csv").write_text("x\n1\n2\n3\n", encoding="utf-8")
    question = Question(
        id="rows",
        question="How many rows does `df` have?",
        guidelines="A number.",
        level="primer",
        answer="3",
        source="test",
        source_id="test-1",
        licence="CC0-1.0",
        checked="by hand",
    )
    task = notebook_task(
        [question], {"rows": {"a.csv": folder / "a.csv"}}, {}, NotebookSettings(split="test", data_hash="test")
    )
    model = get_model(f"scripted_checkpoint/{folder / 'model'}", memoize=False)
    assert isinstance(model.api, ScriptedAPI)
    model.api.script = script
    [log] = eval(task, model=model, max_tokens=max_tokens, log_dir=str(folder / "logs"), display="none")
    server = model.api.server
    assert isinstance(server, ScriptedServer)
    model.api.close()
    return log, server


def roll_out(tokenizer: Any, script: Sequence[Sequence[int]], folder: Path, max_tokens: int = 400) -> Rollout:
    log, server = evaluate(tokenizer, script, folder, max_tokens)
    assert log.status == "success"
    [trace] = read_traces(log.location)
    return Rollout(trace, server.decoder.prompts)
