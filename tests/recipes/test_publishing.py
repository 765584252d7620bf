"""`--push_to_hub` of a recipe: a real training goes to a stand-in of the Hub, and what its card says can be run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from recipes.publishing import command_typed, training_data
from recipes.tiny import make_tiny_model
from tests.stand_ins.hub import hub_stand_in

ROOT = Path(__file__).parents[2]


def test_the_command_of_a_card_has_no_token_and_no_path_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [str(ROOT / "recipes/sft.py"), "--config", "recipes/configs/tiny.yaml", "--training_set", "/home/me/set"]
    words += ["--push_to_hub", "true", "--hub_token", "hf_secret", "--hub_model_id=a/b", "--seed", "1"]
    monkeypatch.setattr(sys, "argv", words)
    assert command_typed() == (
        "accelerate launch recipes/sft.py --config recipes/configs/tiny.yaml --training_set set --seed 1"
    )


def test_training_data_are_named_by_the_hash_of_their_rows_also_in_a_mixture(tmp_path: Path) -> None:
    for name, text in (("agent", "{}\n{}\n"), ("chat", "{}\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows.jsonl").write_text(text)
    (tmp_path / "agent" / "card.json").write_text(json.dumps({"rows": 2}))
    agent, chat = training_data(f"{tmp_path}/agent=1,{tmp_path}/chat=2")
    assert (agent.name, agent.rows, chat.name, chat.rows) == ("agent", 2, "chat", None)
    assert agent.sha256 != chat.sha256
    assert training_data(None) == []


@pytest.fixture(scope="module")
def hub() -> Iterator[Any]:
    with hub_stand_in() as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a user works: a training set, an untrained model, and the recipes."""
    made = tmp_path_factory.mktemp("publishing")
    rows = [
        {"messages": [{"role": "user", "content": f"q {n}"}, {"role": "assistant", "content": f"a {n}"}], "tools": "[]"}
        for n in range(32)
    ]
    (made / "set").mkdir()
    (made / "set" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    make_tiny_model(rows, made / "untrained", vocab_size=400, seed=0)
    (made / "recipes").symlink_to(ROOT / "recipes")
    return made


@pytest.fixture(scope="module")
def card(folder: Path, hub: Any) -> str:
    """The card of a model that one command has trained and published."""
    flags = ["--config", "recipes/configs/tiny.yaml", "--training_set", "set", "--model_name_or_path", "untrained"]
    flags += ["--output_dir", "trained", "--num_train_epochs", "1", "--push_to_hub", "--hub_model_id", "my-lab/tiny"]
    done = shell(folder, hub, sys.executable, "recipes/sft.py", *flags)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"published: {hub.url}/my-lab/tiny" in done.stdout
    text: str = hub.files["my-lab/tiny"]["README.md"].decode()
    return text


def shell(folder: Path, hub: Any, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token, "HF_HOME": str(folder / "hf")}
    environment |= {"HF_HUB_DISABLE_XET": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(words, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)


@pytest.mark.slow
def test_a_training_is_published_once_whole_with_our_card(card: str, hub: Any) -> None:
    files = hub.files["my-lab/tiny"]
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= set(files)
    assert not [path for path in files if "checkpoint" in path or "training_args" in path]
    assert sum(request.startswith("POST /api/models/my-lab/tiny/commit") for request in hub.requests) == 1
    assert ModelCard(card).data.tags == ["notebook-agent", "dabstep", "trl", "sft"]
    assert "Not scored yet" in card
    assert str(ROOT) not in card


@pytest.mark.slow
def test_the_cards_python_loads_the_model_from_the_hub_and_its_command_trains_it_again(
    card: str, folder: Path, hub: Any
) -> None:
    [python] = re.findall(r"```python\n(.*?)```", card, flags=re.S)
    done = shell(folder, hub, sys.executable, "-c", python)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"GET /my-lab/tiny/resolve/{'c' * 40}/model.safetensors" in hub.requests
    [command] = re.findall(r"^accelerate launch .*$", card, flags=re.M)
    before = (folder / "trained/model.safetensors").read_bytes()
    (folder / "trained").rename(folder / "before")
    done = shell(folder, hub, "bash", "-c", command)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (folder / "trained/model.safetensors").read_bytes() == before


def test_a_name_is_asked_for_before_anything_is_trained(folder: Path, hub: Any) -> None:
    flags = ["--config", "recipes/configs/tiny.yaml", "--training_set", "set", "--model_name_or_path", "untrained"]
    flags += ["--output_dir", "none", "--push_to_hub"]
    done = shell(folder, hub, sys.executable, "recipes/sft.py", *flags)
    assert done.returncode == 2
    assert "--push_to_hub needs --hub_model_id OWNER/NAME" in done.stderr
    assert not (folder / "none").exists()
