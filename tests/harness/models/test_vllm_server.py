"""A vLLM server of our own: its command line, its start in fair and foul weather, its end. `vllm` is a stand-in."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.models.vllm_server import (
    ServerFailed,
    Serving,
    VllmServer,
    command_line,
    hide_secrets,
    release,
    server_of,
)

PLAIN = Serving(model="models/epoch-3", name="epoch-3", tool_call_parser="hermes")
StandIn = Callable[..., Path]


def entries(record: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids: list[int], within_s: float) -> bool:
    end = time.monotonic() + within_s
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(alive, pids))


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[..., VllmServer]]:
    """Makes servers whose lines are kept in `lines`, and stops them."""
    servers: list[VllmServer] = []

    def make(serving: Serving = PLAIN, **options: Any) -> VllmServer:
        lines: list[str] = []
        server = VllmServer(serving, tmp_path / "logs", say=lines.append, **options)
        server.lines = lines  # type: ignore[attr-defined]
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.stop()


def test_the_command_line_names_the_model_its_parsers_and_a_loopback_port() -> None:
    assert command_line(PLAIN, 8123) == [
        *("vllm", "serve", "models/epoch-3", "--host", "127.0.0.1", "--port", "8123"),
        *("--served-model-name", "epoch-3", "--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
        *("--generation-config", "vllm"),
    ]


def test_the_command_line_of_a_thinking_model_with_its_own_template_on_two_gpus() -> None:
    serving = Serving(
        model="Qwen/Qwen3-4B-Thinking-2507",
        name="thinker",
        tool_call_parser="hermes",
        reasoning_parser="qwen3",
        chat_template="t/chat_template.jinja",
        max_model_len=32768,
        tensor_parallel_size=2,
        flags=(("enable_prefix_caching", False), ("enforce_eager", True), ("gpu_memory_utilization", 0.8)),
    )
    assert command_line(serving, 1)[14:] == [
        *("--reasoning-parser", "qwen3", "--chat-template", "t/chat_template.jinja", "--max-model-len", "32768"),
        *("--tensor-parallel-size", "2", "--no-enable-prefix-caching", "--enforce-eager"),
        *("--gpu-memory-utilization", "0.8"),
    ]


@pytest.mark.parametrize(("rank", "most"), [(8, "8"), (12, "16"), (64, "64"), (500, "512")])
def test_an_adapter_bears_the_name_and_its_rank_is_rounded_up_to_one_that_vllm_takes(rank: int, most: str) -> None:
    serving = Serving(
        model="base",
        name="mine",
        tool_call_parser="hermes",
        adapter="out/lora",
        adapter_rank=rank,
        tokenizer="out/lora",
    )
    command = command_line(serving, 1)
    assert command[command.index("--served-model-name") + 1] == "mine-base"
    assert json.loads(command[command.index("--lora-modules") + 1]) == {
        "name": "mine",
        "path": "out/lora",
        "base_model_name": "mine-base",
    }
    assert command[command.index("--tokenizer") + 1] == "out/lora"
    assert "--enable-lora" in command
    assert command[command.index("--max-lora-rank") + 1] == most


def test_it_waits_until_the_server_is_ready_and_says_what_it_does(stand_in: StandIn, made: Any) -> None:
    record = stand_in(ready_after=1.0)
    server = made()
    started = time.monotonic()
    server.start()
    assert time.monotonic() - started >= 1.0
    [first] = entries(record)
    port = server.url.removeprefix("http://127.0.0.1:").removesuffix("/v1")
    assert first["argv"] == command_line(PLAIN, int(port))[1:]
    assert server.lines[0] == "$ vllm " + " ".join(first["argv"])
    assert str(server.log) in server.lines[1]
    assert server.lines[2].startswith("vLLM: epoch-3 is ready after ")


def test_it_asks_for_its_own_key_which_is_on_no_command_line(stand_in: StandIn, made: Any) -> None:
    record = stand_in()
    server = made()
    server.start()
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        urllib.request.urlopen(f"{server.url}/models")
    refused.value.close()
    assert server.key not in record.read_text(encoding="utf-8") + server.log.read_text(encoding="utf-8")
    assert server.key not in "".join(server.lines)
    assert server.log.stat().st_mode & 0o077 == 0


def test_a_server_that_dies_at_the_start_is_reported_with_the_end_of_its_log(stand_in: StandIn, made: Any) -> None:
    stand_in(prints=[f"line {i}" for i in range(50)], die="ValueError: unknown architecture")
    server = made()
    for _ in range(2):  # and it is not tried on
        with pytest.raises(ServerFailed, match=r"ended before it was ready \(exit status 1\)") as failed:
            server.start()
    message = str(failed.value)
    assert str(server.log) in message
    assert message.endswith("line 49\nValueError: unknown architecture")
    assert "line 30\n" not in message


def test_a_server_that_is_never_ready_is_ended_after_the_limit(stand_in: StandIn, made: Any, tmp_path: Path) -> None:
    stand_in(ready_after=None, child=str(tmp_path / "pids"), prints=["loading shards"])
    server = made(timeout_s=4.0)
    with pytest.raises(ServerFailed, match=r"not ready after 4 s.*-M start_timeout=60(.|\n)*loading shards") as failed:
        server.start()
    assert str(server.log) in str(failed.value)
    assert gone([int(pid) for pid in (tmp_path / "pids").read_text(encoding="utf-8").split()], within_s=0)


def test_secrets_of_the_environment_are_not_repeated(
    stand_in: StandIn, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh123")
    stand_in(prints=["401 for token hf_abcdefgh123"], die="Gated.")
    with pytest.raises(ServerFailed, match=r"401 for token \[hidden\]"):
        made(Serving("m", "m", "hermes", flags=(("hf_token", "hf_abcdefgh123"),))).start()
    assert hide_secrets("--hf-token hf_abcdefgh123") == "--hf-token [hidden]"


def test_a_port_that_was_taken_meanwhile_is_replaced(stand_in: StandIn, made: Any, tmp_path: Path) -> None:
    record = stand_in(port_taken_once=str(tmp_path / "taken"))
    server = made()
    server.start()
    first, second = (entry["argv"][entry["argv"].index("--port") + 1] for entry in entries(record))
    assert f"vLLM: port {first} was taken meanwhile; trying another." in server.lines
    assert server.url == f"http://127.0.0.1:{second}/v1"


def test_a_port_that_was_asked_for_and_is_in_use_is_refused(stand_in: StandIn, made: Any) -> None:
    stand_in()
    with socket.socket() as occupant:
        occupant.bind(("127.0.0.1", 0))
        occupant.listen()
        port = occupant.getsockname()[1]
        with pytest.raises(ServerFailed, match=f"port {port}.*in use.*Leave -M port"):
            made(port=port).start()


def test_a_server_that_ends_later_is_reported_by_the_next_check(stand_in: StandIn, made: Any, tmp_path: Path) -> None:
    stand_in(child=str(tmp_path / "pids"))
    server = made()
    server.start()
    server.check()
    pid, child = map(int, (tmp_path / "pids").read_text(encoding="utf-8").split())
    os.kill(pid, signal.SIGKILL)
    assert gone([pid, child], within_s=5)
    assert server._process is not None
    server._process.wait(5)
    with pytest.raises(ServerFailed, match=r"ended while it was in use \(exit status 137\)"):
        server.check()


def test_stopping_ends_what_the_server_started_too(stand_in: StandIn, made: Any, tmp_path: Path) -> None:
    stand_in(child=str(tmp_path / "pids"))
    server = made()
    server.start()
    pids = [int(pid) for pid in (tmp_path / "pids").read_text(encoding="utf-8").split()]
    assert all(map(alive, pids))
    server.stop()
    assert gone(pids, within_s=0.5)


def test_all_who_ask_for_the_same_share_one_server_and_the_last_stops_it(stand_in: StandIn, tmp_path: Path) -> None:
    record = stand_in()
    one, two = (server_of(PLAIN, tmp_path / "logs", say=lambda line: None) for _ in range(2))
    other = server_of(Serving("m", "m", "hermes"), tmp_path / "logs", say=lambda line: None)
    assert one is two is not other
    one.start()
    two.start()
    assert len(entries(record)) == 1
    release(one)
    two.check()
    urllib.request.urlopen(two.url.replace("/v1", "/health")).close()
    release(two)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(two.url.replace("/v1", "/health"))
    release(other)


HOST = """
import sys, time
from pathlib import Path
from harness.models.vllm_server import Serving, VllmServer
VllmServer(Serving("m", "m", "hermes"), Path(sys.argv[1])).start()
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.slow  # it imports Inspect anew
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_when_this_process_is_ended_from_outside(
    stand_in: StandIn, tmp_path: Path, ending: signal.Signals
) -> None:
    stand_in(child=str(tmp_path / "pids"))
    command = [sys.executable, "-c", HOST, str(tmp_path / "logs")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as host:
        assert host.stdout is not None
        assert any(line.strip() == "ready" for line in host.stdout)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text(encoding="utf-8").split()]
        assert all(map(alive, pids))
        host.send_signal(ending)
    assert gone(pids, within_s=5)
