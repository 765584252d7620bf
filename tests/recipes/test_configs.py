"""Every YAML of supervised fine-tuning takes two steps: a shrunken random model of its architecture, on this CPU.

The tokenizers' vocabularies are trained here; class, special tokens and chat templates are the models' own. Nothing of
a YAML is changed but the model's folder, the training set, `max_length` and the number of steps and processes, and no
gradient is accumulated. QLoRA is really quantised: bitsandbytes has a CPU backend.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from recipes.rows import chat_ids
from recipes.sft import make_trainer, parse
from recipes.shrunken import shrunken
from recipes.tiny import tiny_config
from recipes.training_template import training_template
from tests.recipes.test_templates import TOOLS, conversation
from tests.stand_ins.tokenizers import stock_tokenizer

CONFIGS = Path(__file__).parents[2] / "recipes" / "configs"
SFT = sorted(
    path.name
    for path in CONFIGS.glob("*.yaml")
    if re.search(rf"^#.*recipes/sft\.py(?s:.*)--config recipes/configs/{path.name}", path.read_text("utf-8"), re.M)
)
FAMILY = {
    None: "tiny",
    "Qwen/Qwen3-4B-Instruct-2507": "qwen3_instruct_2507",
    "Qwen/Qwen3-4B-Thinking-2507": "qwen3_thinking_2507",
    "Qwen/Qwen2.5-7B-Instruct": "qwen2_5",
}


def architecture(family: str) -> Any:
    """The real model's configuration, as far as it tells architectures apart."""
    from transformers import Qwen2Config, Qwen3Config

    if family == "tiny":
        return tiny_config(400)
    if family == "qwen2_5":
        return Qwen2Config(hidden_size=3584, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4)
    return Qwen3Config(
        hidden_size=2560, num_hidden_layers=36, num_attention_heads=32, num_key_value_heads=8, tie_word_embeddings=True
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A family's shrunken model with its stock tokenizer in FOLDER/model, and a training set in FOLDER/set."""
    made: dict[str, Path] = {}

    def prepare(family: str) -> Path:
        if family not in made:
            folder = made[family] = tmp_path_factory.mktemp(family)
            tokenizer = stock_tokenizer(family)
            shrunken(architecture(family), len(tokenizer)).save_pretrained(folder / "model")
            tokenizer.save_pretrained(folder / "model")
            row = {"messages": conversation(family)[1:], "tools": json.dumps(TOOLS)}
            (folder / "set").mkdir()
            (folder / "set" / "rows.jsonl").write_text((json.dumps(row) + "\n") * 16, encoding="utf-8")
        return made[family]

    return prepare


def two_steps(name: str, folder: Path, output: Path) -> Any:
    command = ["--config", str(CONFIGS / name), "--model_name_or_path", str(folder / "model")]
    command += ["--training_set", str(folder / "set"), "--output_dir", str(output), "--max_steps", "2"]
    command += ["--use_cpu", "true", "--dataset_num_proc", "1", "--logging_steps", "1", "--max_length", "4096"]
    command += ["--gradient_accumulation_steps", "1"]
    recipe, args, model_config = parse(command)
    trainer = make_trainer(recipe, args, model_config)
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}  # type: ignore[union-attr]
    trainer.train()
    trainer.save_model(str(output))
    return trainer, before


def test_every_yaml_says_what_it_is_where_it_runs_and_what_to_expect() -> None:
    assert len(SFT) >= 6
    for name in SFT:
        lines = (CONFIGS / name).read_text(encoding="utf-8").splitlines()
        assert any(line.startswith("#") and "Expected:" in line for line in lines), name


@pytest.mark.filterwarnings("ignore")  # bitsandbytes and torch on CPUs: what is slow there, what a GPU would have
@pytest.mark.parametrize("name", SFT)
def test_a_yaml_takes_two_steps_and_leaves_what_serves(
    name: str, prepared: Callable[[str], Path], tmp_path: Path
) -> None:
    settings = yaml.safe_load((CONFIGS / name).read_text(encoding="utf-8"))
    if settings.get("load_in_4bit") and find_spec("bitsandbytes") is None:
        pytest.skip("bitsandbytes is not installed: pip install 'dabstep[qlora]'")
    family = FAMILY[settings.get("model_name_or_path")]
    folder = prepared(family)
    trainer, before = two_steps(name, folder, tmp_path)

    losses = [point["loss"] for point in trainer.state.log_history if "loss" in point]
    assert len(losses) == 2
    assert all(0 < loss < 20 for loss in losses)
    changed = {name for name, weight in trainer.model.named_parameters() if not weight.equal(before[name])}
    trainable = {name for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    assert changed
    assert changed <= trainable
    assert all("lora_" in name for name in trainable) == bool(settings.get("use_peft"))

    tokenizer = stock_tokenizer(family)
    template = (tmp_path / "chat_template.jinja").read_text(encoding="utf-8")
    assert template == training_template(tokenizer)
    saved = "adapter_model.safetensors" if settings.get("use_peft") else "model.safetensors"
    assert (tmp_path / saved).is_file()
    tokenizer.chat_template = template
    thoughts = family == "qwen3_thinking_2507"
    row = conversation(family)[1:] if thoughts else [dict(m, reasoning_content=None) for m in conversation(family)[1:]]
    ids = chat_ids(tokenizer, row, json.dumps(TOOLS), mask=True)
    trained = [label for label in trainer.train_dataset[0]["labels"] if label != -100]
    assert trained == [i for i, mask in zip(ids["input_ids"], ids["assistant_masks"], strict=True) if mask]


def test_qlora_asks_transformers_for_nf4_with_nested_constants(prepared: Callable[[str], Path]) -> None:
    pytest.importorskip("bitsandbytes", reason="pip install 'dabstep[qlora]'")
    import torch

    from recipes.loading import quantization

    folder = prepared("qwen2_5")
    command = ["--config", str(CONFIGS / "qwen2.5-7b-qlora.yaml"), "--training_set", str(folder / "set")]
    _, _, model_config = parse([*command, "--output_dir", "unused", "--use_cpu", "true"])
    asked = quantization(model_config)
    assert asked is not None
    assert (asked.load_in_4bit, asked.bnb_4bit_quant_type, asked.bnb_4bit_use_double_quant) == (True, "nf4", True)
    assert asked.bnb_4bit_compute_dtype == torch.bfloat16


def test_quantised_weights_are_not_trained_themselves(
    prepared: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    from recipes.loading import quantization

    folder = prepared("qwen2_5")
    command = ["--config", str(CONFIGS / "qwen2.5-7b-qlora.yaml"), "--training_set", str(folder / "set")]
    _, _, model_config = parse([*command, "--output_dir", "unused", "--use_cpu", "true", "--use_peft", "false"])
    with pytest.raises(SystemExit):
        quantization(model_config)
    assert "Add --use_peft" in capsys.readouterr().err
