"""A vLLM server of our own: its command line, its start, and an end with this process, however that ends.

    serving = Serving(model="results/runs/sft/epoch-3", name="epoch-3", tool_call_parser="hermes")
    command_line(serving, port=8000)          # what runs, as a pure function
    server = server_of(serving, log_folder=Path("logs/vllm"))    # one per model and process, not started yet
    server.start()                            # waits until it answers; ServerFailed names the log and its last lines
    server.url, server.key                    # an OpenAI-compatible endpoint
    release(server)                           # the last user stops it

The server listens on 127.0.0.1 alone and asks for a key that is made for it and given by its environment, since vLLM
writes its command line into its log. It was tested with a stand-in program named `vllm`, never with vLLM itself.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from inspect_ai._util.error import PrerequisiteError

from harness import lifeline

HOST = "127.0.0.1"
START_TIMEOUT_S = 1200.0
"""A large model on a cold disk, with its graphs compiled, takes this long at most."""
POLL_S = 0.2
SAY_EVERY_S = 15.0
LAST_LINES = 15
PORT_TRIES = 3
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The values that --max-lora-rank takes."""

Flag = str | int | float | bool | None
Say = Callable[[str], None]

_PORT_TAKEN = re.compile(r"address already in use|errno 98", re.IGNORECASE)
_POLL = re.compile(r"GET /(health|v1/models) HTTP")
_SECRET = re.compile(r"key|token|secret|password|credential", re.IGNORECASE)


class ServerFailed(PrerequisiteError):
    """The server could not be started or has ended; the message names its log and shows its last lines."""


@dataclass(frozen=True)
class Serving:
    """What vLLM serves and how: everything of its command line but the port.

    `name` is the model's name in requests; an adapter bears it where there is one. `flags` are (name, value) as -M gave
    them: true stands for --name, false for --no-name.
    """

    model: str
    name: str
    tool_call_parser: str
    program: str = "vllm"
    reasoning_parser: str | None = None
    chat_template: str | None = None
    tokenizer: str | None = None
    adapter: str | None = None
    adapter_rank: int | None = None
    max_model_len: int | None = None
    tensor_parallel_size: int = 1
    flags: tuple[tuple[str, Flag], ...] = ()


def command_line(serving: Serving, port: int) -> list[str]:
    """The command that serves it on `port`. Sampling follows requests alone: the model's own defaults are left out."""
    command = [serving.program, "serve", serving.model, "--host", HOST, "--port", str(port)]
    command += ["--served-model-name", f"{serving.name}-base" if serving.adapter else serving.name]
    command += ["--enable-auto-tool-choice", "--tool-call-parser", serving.tool_call_parser]
    command += ["--generation-config", "vllm"]
    values: list[tuple[str, Flag]] = [
        ("reasoning_parser", serving.reasoning_parser),
        ("chat_template", serving.chat_template),
        ("tokenizer", serving.tokenizer),
        ("max_model_len", serving.max_model_len),
        ("tensor_parallel_size", serving.tensor_parallel_size if serving.tensor_parallel_size > 1 else None),
    ]
    if serving.adapter:
        adapter = {"name": serving.name, "path": serving.adapter, "base_model_name": f"{serving.name}-base"}
        rank = min((rank for rank in LORA_RANKS if rank >= (serving.adapter_rank or 1)), default=LORA_RANKS[-1])
        values += [("enable_lora", True), ("lora_modules", json.dumps(adapter)), ("max_lora_rank", rank)]
    for name, value in [*((n, v) for n, v in values if v is not None), *serving.flags]:
        command += _flag(name, value)
    return command


def shown(command: list[str]) -> str:
    """The command as one would type it, without what may be secret in it."""
    return hide_secrets(shlex.join(command))


def hide_secrets(text: str) -> str:
    """`text` without the values of this process's environment variables that are named like secrets."""
    values = {value for name, value in os.environ.items() if _SECRET.search(name) and len(value) >= 8}
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, "[hidden]")
    return text


class VllmServer:
    """One server; see the module's text. Its methods may be called from any thread."""

    def __init__(
        self,
        serving: Serving,
        log_folder: Path,
        port: int | None = None,
        timeout_s: float = START_TIMEOUT_S,
        say: Say = print,
    ) -> None:
        """Nothing is started yet. `port` None: any that is free. `say` is given lines about what goes on."""
        self.serving, self.port, self.timeout_s, self.say = serving, port, timeout_s, say
        self.key = secrets.token_urlsafe(24)
        self.users = 0
        stamp = time.strftime("%Y%m%d-%H%M%S")
        self.log = (
            log_folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', serving.name)[-80:]}-{stamp}-{secrets.token_hex(2)}.log"
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._bound = 0
        self._failure: ServerFailed | None = None
        self._starting, self._ending = threading.Lock(), threading.Lock()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self._bound}/v1"

    def start(self) -> None:
        """Start it and wait until it answers; where it already does, nothing happens.

        Raises ServerFailed, and again at every later call: what failed once is not tried on.
        """
        with self._starting:
            if self._failure is not None:
                raise self._failure
            if self._process is not None:
                return
            try:
                self._start()
            except ServerFailed as error:
                self._failure = error
                raise

    def check(self) -> None:
        """Raises ServerFailed where the server was started and has ended since."""
        if self._process is not None and (status := self._process.poll()) is not None and self._failure is None:
            self._failure = self._failed(f"ended while it was in use (exit status {status})")
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End it with all that it started, also while it is being started, and wait until it is gone."""
        self._end()

    def _start(self) -> None:
        for tries_left in reversed(range(PORT_TRIES)):
            self._bound = self._free_port()
            process = self._launch()
            try:
                return self._wait(process)
            except ServerFailed:
                taken = self.port is None and _PORT_TAKEN.search("\n".join(self._last_lines())) is not None
                if not (taken and tries_left):
                    raise
                self.say(f"vLLM: port {self._bound} was taken meanwhile; trying another.")

    def _free_port(self) -> int:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self.port or 0))
            except OSError as error:
                raise ServerFailed(
                    f"vLLM cannot serve {self.serving.name} on port {self.port}: {error.strerror}. Leave -M port=... "
                    "out, and a free one is taken."
                ) from None
            return int(probe.getsockname()[1])

    def _launch(self) -> subprocess.Popen[bytes]:
        command = command_line(self.serving, self._bound)
        self.say(f"$ {shown(command)}")
        self.say(f"vLLM: starting {self.serving.name}; its log: {self.log}")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as log:
            self._process = subprocess.Popen(
                lifeline.command_held(command),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "VLLM_API_KEY": self.key},
                start_new_session=True,
            )
        return self._process

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        """Until it serves the model. Raises ServerFailed when it ends or takes too long; then it is gone."""
        started = said = time.monotonic()
        while not self._serves():
            now = time.monotonic()
            if (status := process.poll()) is not None:
                self._end()
                raise self._failed(f"ended before it was ready (exit status {status})")
            if now - started > self.timeout_s:
                failure = self._failed(
                    f"was not ready after {self.timeout_s:.0f} s. A larger model may need longer: "
                    f"-M start_timeout={max(self.timeout_s * 2, 60):.0f}"
                )
                self._end()
                raise failure
            if now - said > SAY_EVERY_S:
                said = now
                last = (self._last_lines() or ["(nothing yet)"])[-1]
                self.say(f"vLLM: loading, {now - started:.0f} s of at most {self.timeout_s:.0f} s; {last[:150]}")
            time.sleep(POLL_S)
        self.say(f"vLLM: {self.serving.name} is ready after {time.monotonic() - started:.0f} s, at {self.url}")

    def _serves(self) -> bool:
        """Whether it is this server that answers, by its key and the name of its model."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(f"{self.url}/models", headers={"Authorization": f"Bearer {self.key}"})
        try:
            with opener.open(f"http://{HOST}:{self._bound}/health", timeout=5):
                pass
            with opener.open(request, timeout=5) as answer:
                return self.serving.name in {model["id"] for model in json.load(answer)["data"]}
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _failed(self, what: str) -> ServerFailed:
        lines = "\n".join(self._last_lines()) or "(it is empty)"
        return ServerFailed(f"vLLM's server of {self.serving.name} {what}. The end of {self.log}:\n{lines}")

    def _last_lines(self) -> list[str]:
        try:
            text = self.log.read_bytes()[-20_000:].decode(errors="replace")
        except OSError:
            return []
        lines = [line for line in text.strip().splitlines() if not _POLL.search(line)][-LAST_LINES:]
        return [hide_secrets(line).replace(self.key, "[hidden]") for line in lines]

    def _end(self) -> None:
        with self._ending:
            process, self._process = self._process, None
            if process is not None:
                assert process.stdin is not None
                process.stdin.close()  # the lifeline: see harness/lifeline.py
                process.wait()


_servers: dict[Serving, VllmServer] = {}
_servers_lock = threading.Lock()


def server_of(
    serving: Serving,
    log_folder: Path,
    port: int | None = None,
    timeout_s: float = START_TIMEOUT_S,
    say: Say = print,
) -> VllmServer:
    """This process's server of exactly this, one for all who ask; each of them calls `release` once."""
    with _servers_lock:
        server = _servers.get(serving)
        if server is None:
            server = _servers[serving] = VllmServer(serving, log_folder, port, timeout_s, say)
        server.users += 1
        return server


def release(server: VllmServer) -> None:
    """Give a server back; the last one who does stops it."""
    with _servers_lock:
        server.users -= 1
        if server.users > 0:
            return
        _servers.pop(server.serving, None)
    server.stop()


def _flag(name: str, value: Flag) -> list[str]:
    flag = name.replace("_", "-")
    if value is True or value is None:
        return [f"--{flag}"]
    if value is False:
        return [f"--no-{flag}"]
    return [f"--{flag}", str(value)]
