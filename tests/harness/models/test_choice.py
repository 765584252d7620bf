"""Who serves a checkpoint, with whose parsers, and from which files: chosen by what is there, refused where unknown."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model import get_model

from harness.models import choice
from harness.models.checkpoint import CheckpointAPI
from harness.models.choice import choose_server, serving_of, vllm_settings
from harness.models.families import choose_parsers, known_families
from harness.models.served import ServedCheckpointAPI
from harness.models.source import Checkpoint, find_checkpoint

HERMES = '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'


def checkpoint(model_type: str, template: str) -> Checkpoint:
    return Checkpoint("m", Path("m"), None, Path("m"), template, None, model_type)


@pytest.mark.parametrize(
    ("model_type", "template", "parsers"),
    [
        ("qwen3", HERMES, ("hermes", None)),
        ("qwen2", HERMES, ("hermes", None)),
        ("qwen3", HERMES + "<think>", ("hermes", "qwen3")),
        ("qwen2", HERMES + "<think>", ("hermes", "deepseek_r1")),
        ("qwen3_moe", "<tool_call>\n<function=python>", ("qwen3_coder", None)),
        ("qwen3_5", "<tool_call>\n<function=python>\n<think>", ("qwen3_coder", "qwen3")),
        ("llama", "Environment: ipython", ("llama3_json", None)),
        ("gpt_oss", "", ("openai", "openai_gptoss")),
        ("mistral", "[TOOL_CALLS][THINK]", ("mistral", "mistral")),
    ],
)
def test_a_family_is_recognised_by_its_configuration_and_template(
    model_type: str, template: str, parsers: tuple[str, str | None]
) -> None:
    chosen = choose_parsers(checkpoint(model_type, template))
    assert (chosen.tool, chosen.reasoning) == parsers


@pytest.mark.parametrize(("model_type", "template"), [("llama", HERMES), ("qwen2", "no tools"), ("deepseek_v3", "x")])
def test_an_unknown_family_is_refused_with_the_flags_to_give(model_type: str, template: str) -> None:
    with pytest.raises(
        PrerequisiteError, match=rf"model_type {model_type}.*-M tool_call_parser=NAME.*reasoning_parser"
    ):
        choose_parsers(checkpoint(model_type, template))
    chosen = choose_parsers(checkpoint(model_type, template), tool="xlam", reasoning="none")
    assert (chosen.tool, chosen.reasoning) == ("xlam", None)


def test_flags_go_before_the_table() -> None:
    thinker = checkpoint("qwen3", HERMES + "<think>")
    assert choose_parsers(thinker, reasoning="none").reasoning is None
    assert choose_parsers(thinker, tool="qwen3_coder").reasoning == "qwen3"


def test_no_two_families_claim_the_same_files_and_only_tested_ones_say_so() -> None:
    for model_type in {name for family in known_families() for name in family.model_types}:
        for template in (HERMES, HERMES + "<think>", "<function=", "<function=<think>", "[TOOL_CALLS]", "<think>", ""):
            claims = [
                family.family for family in known_families() if family.recognises(checkpoint(model_type, template))
            ]
            assert len(claims) <= 1, (model_type, template, claims)
    assert {family.tool for family in known_families() if family.tested} == {"hermes", "qwen3_coder"}


def test_auto_takes_vllm_only_where_its_program_and_a_gpu_are(
    stand_in: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in()
    monkeypatch.setattr(choice, "cuda_is_here", lambda: True)
    assert choose_server("auto") == ("vllm", "a CUDA GPU is here")
    monkeypatch.setattr(choice, "cuda_is_here", lambda: False)
    assert choose_server("auto") == ("in-process", "there is no CUDA GPU")
    assert choose_server("vllm") == ("vllm", "as asked")


def test_without_the_program_auto_stays_in_the_process_and_vllm_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "vllm_program", lambda: None)
    assert choose_server("auto")[0] == "in-process"
    with pytest.raises(PrerequisiteError, match=r"no program `vllm`.*pip install 'dabstep\[gpu\]'"):
        choose_server("vllm")
    with pytest.raises(PrerequisiteError, match=r"server=gpu.*auto, vllm, in-process"):
        choose_server("gpu")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"batch_size": 8}, "batch_size=8 is for -M server=in-process"),
        ({"api_key": "x"}, "set by the provider"),
        ({"max_model_len": "long"}, "max_model_len=long: give a number"),
        ({"rope": {"a": 1}}, "plain values"),
    ],
)
def test_options_that_vllm_cannot_have_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(PrerequisiteError, match=reason):
        vllm_settings(options)


def test_the_model_is_served_as_chosen_and_the_choice_is_said_once(
    checkpoint_folder: Path, stand_in: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in()
    name = f"checkpoint/{checkpoint_folder}"
    choice.say_once.cache_clear()
    for _ in range(2):
        assert isinstance(get_model(name, memoize=False, server="in-process").api, CheckpointAPI)
    assert isinstance(get_model(name, memoize=False, server="vllm").api, ServedCheckpointAPI)
    said = capsys.readouterr().err
    assert said.count("served in this process (as asked)") == 1
    assert "served by vLLM; tool calls by hermes, thinking by none (Qwen3 Instruct, Qwen2.5); as asked." in said


def make_adapter(folder: Path, base: str) -> Path:
    folder.mkdir()
    written = {"base_model_name_or_path": base, "r": 12}
    (folder / "adapter_config.json").write_text(json.dumps(written), encoding="utf-8")
    return folder


def test_an_adapter_is_served_over_its_base_with_its_own_template(checkpoint_folder: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "lora", str(checkpoint_folder))
    plain, _ = serving_of(find_checkpoint(str(adapter)), vllm_settings({}))
    assert (plain.model, plain.adapter, plain.adapter_rank) == (str(checkpoint_folder), str(adapter), 12)
    assert (plain.tokenizer, plain.chat_template) == (None, str(checkpoint_folder / "chat_template.jinja"))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(checkpoint_folder / name, adapter)
    own, _ = serving_of(find_checkpoint(str(adapter)), vllm_settings({}))
    assert (own.tokenizer, own.chat_template) == (str(adapter), str(adapter / "chat_template.jinja"))


def test_an_adapter_whose_base_is_gone_is_refused_with_both_names(tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "lora", "/nowhere/at/all")
    with pytest.raises(PrerequisiteError, match=r"adapter of /nowhere/at/all.*no such folder"):
        find_checkpoint(str(adapter))


class Hub(BaseHTTPRequestHandler):
    """Answers every question as the Hub does that knows no such model, or keeps it for members."""

    status, code = 404, "RepoNotFound"

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("X-Error-Code", self.code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Hub]]:
    from huggingface_hub import constants

    class ThisHub(Hub):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), ThisHub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield ThisHub
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (404, "RepoNotFound", r"has no model owner/model, or none that you may see"),
        (403, "GatedRepo", r"accepted its terms.*hf auth login"),
        (404, "RevisionNotFound", r"no revision v9"),
        (500, "", r"owner/model"),
    ],
)
def test_what_the_hub_refuses_is_said_in_a_sentence(hub: type[Hub], status: int, code: str, reason: str) -> None:
    hub.status, hub.code = status, code
    with pytest.raises(PrerequisiteError, match=rf"^checkpoint/owner/model@v9: there is no such folder.*{reason}"):
        find_checkpoint("owner/model@v9")


def test_a_hub_that_cannot_be_reached_is_said_with_the_command_that_fetches(
    hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(PrerequisiteError, match=r"cannot be reached or HF_HUB_OFFLINE is set.*hf download owner/model"):
        find_checkpoint("owner/model")
