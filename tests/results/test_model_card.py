"""A model card holds its scores with k, n and interval, in words and as metadata, and goes to the Hub with its model.

The Hub is a stand-in over real HTTP on loopback (`tests/stand_ins/hub.py`), spoken to by huggingface_hub in a process
of its own, since that reads HF_ENDPOINT when it is imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from harness.records import Result
from results.hub import HubError, Measured
from results.model_card import Trained, TrainingData, write_model_card
from tests.stand_ins.hub import hub_stand_in

ROOT = Path(__file__).parents[2]
TRAINED = Trained(
    "Qwen/Qwen3-4B-Instruct-2507",
    "sft",
    ("accelerate launch recipes/sft.py --config recipes/configs/qwen3-4b-instruct.yaml",),
    (TrainingData("agent", "ab" * 32, 2400),),
    "c" * 40,
    licence="apache-2.0",
)


@pytest.fixture
def measured(row: Callable[..., Result]) -> Measured:
    command = "inspect eval dabstep/dabstep_easy --model checkpoint/epoch-3"
    return Measured(row(exposure="in-domain"), command, "2026-01-31", "adyen/DABstep", "abc123")


def test_a_card_says_how_it_was_made_from_what_and_what_it_scored(measured: Measured, tmp_path: Path) -> None:
    text = write_model_card(tmp_path, "my-lab/agent", TRAINED, [measured], "### The ablation\n").read_text()
    assert "| dabstep_easy (easy) | 54/72 | 75.0 | 63.9 to 83.6 | 0 | notebook | in-domain |" in text
    assert f"| agent | 2400 | `{'ab' * 32}` |" in text
    assert "Exposure: **in-domain**" in text
    assert measured.command in text
    assert TRAINED.commands[0] in text
    assert "### The ablation" in text


def test_the_hubs_own_classes_read_its_metadata_back(measured: Measured, tmp_path: Path) -> None:
    data = ModelCard.load(write_model_card(tmp_path, "my-lab/agent", TRAINED, [measured])).data
    assert (data.base_model, data.license, data.model_name) == (TRAINED.base_model, "apache-2.0", "agent")
    [score] = data.eval_results
    assert (score.dataset_type, score.dataset_split, score.dataset_revision) == ("adyen/DABstep", "easy", "abc123")
    assert (score.metric_type, score.metric_value) == ("accuracy", 75.0)
    assert {key: score.metric_args[key] for key in ("k", "n", "errors")} == {"k": 54, "n": 72, "errors": 0}
    assert score.metric_args["low"] == pytest.approx(0.639, abs=1e-3)
    name, [again] = model_index_to_eval_results(eval_results_to_model_index("agent", [score]))
    assert (name, again) == ("agent", score)


def test_a_card_without_scores_says_so_and_scores_come_in_its_place(measured: Measured, tmp_path: Path) -> None:
    assert "Not scored yet" in write_model_card(tmp_path, "my-lab/agent", TRAINED).read_text()
    for _ in range(2):
        text = write_model_card(tmp_path, "my-lab/agent", None, [measured]).read_text()
        assert "Not scored yet" not in text
        assert text.count("## Results as a notebook agent") == 1
        assert TRAINED.commands[0] in text


def test_a_card_by_hand_keeps_its_words_and_metadata(measured: Measured, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: mit\nlanguage: en\n---\n\n# Ours\n\nBy hand.\n")
    card = ModelCard.load(write_model_card(tmp_path, "my-lab/agent", None, [measured]))
    assert (card.data.license, card.data.language, len(card.data.eval_results)) == ("mit", "en", 1)
    assert "By hand." in card.text


@pytest.mark.parametrize("name", ["agent", "my lab/agent", "a/b/c", "my-lab/-agent"])
def test_a_name_the_hub_would_not_take_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(HubError, match="Give OWNER/NAME"):
        write_model_card(tmp_path, name, TRAINED)


@pytest.fixture
def hub() -> Iterator[Any]:
    with hub_stand_in() as stand_in:
        yield stand_in


def publish(folder: Path, hub: Any, **changes: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from pathlib import Path; from results.publishing import publish\n"
    code += "try: print(publish(Path(sys.argv[1]), 'my-lab/agent', private=True))\n"
    code += "except ValueError as error: sys.exit(f'refused: {error}')"
    environment = {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token, "HF_HOME": str(folder.parent / "hf")}
    environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", **changes}
    return subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env={key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"} | environment,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )


@pytest.fixture
def model(measured: Measured, tmp_path: Path) -> Path:
    """A folder as a training leaves it."""
    folder = tmp_path / "model"
    (folder / "checkpoint-2").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "training_args.bin", "checkpoint-2/model.safetensors"):
        (folder / name).write_bytes(b"{}")
    write_model_card(folder, "my-lab/agent", TRAINED, [measured])
    return folder


def test_a_model_goes_to_the_hub_with_its_card_and_without_what_is_of_this_machine(model: Path, hub: Any) -> None:
    done = publish(model, hub)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{hub.url}/my-lab/agent"
    assert sorted(hub.files["my-lab/agent"]) == ["README.md", "config.json", "model.safetensors"]
    assert hub.files["my-lab/agent"]["README.md"] == (model / "README.md").read_bytes()
    assert hub.private == {"my-lab/agent": True}


@pytest.mark.parametrize("how", ["token", "card", "no card", "nobody there"])
def test_an_upload_that_is_refused_says_why_in_a_line(model: Path, hub: Any, how: str) -> None:
    hub.refuse_cards = how == "card"
    if how == "no card":
        (model / "README.md").unlink()
    changes = {"token": {"HF_TOKEN": "hf_wrong"}, "nobody there": {"HF_ENDPOINT": "http://127.0.0.1:9"}}.get(how, {})
    done = publish(model, hub, **changes)
    assert done.returncode == 1
    said = {"token": "401", "card": "metadata are not valid", "no card": "no README.md", "nobody there": "could not be"}
    assert said[how] in done.stderr
    assert "Traceback" not in done.stderr
