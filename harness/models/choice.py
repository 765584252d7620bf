"""Who serves a checkpoint on this machine, vLLM or this process, and with which options. It starts nothing.

chosen, why = choose_server("auto")
settings = vllm_settings(options)                  # -M, told apart: ours, and flags for `vllm serve`
serving = serving_of(checkpoint, settings)
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

from inspect_ai._util.error import PrerequisiteError

from harness.models.families import choose_parsers
from harness.models.source import Checkpoint
from harness.models.vllm_server import START_TIMEOUT_S, Flag, Serving

Server = Literal["vllm", "in-process"]
SERVERS = ("auto", "vllm", "in-process")
IN_PROCESS_ONLY = ("batch_size", "device", "threads")
OURS = ("host", "api_key", "served_model_name", "model", "enable_lora", "lora_modules")
"""Flags of `vllm serve` that are set here: another value would cut the server off from us."""


@dataclass(frozen=True)
class VllmSettings:
    """What `-M` may set for vLLM; `flags` are all that vLLM itself is to understand."""

    tool_call_parser: str | None = None
    reasoning_parser: str | None = None
    max_model_len: int | None = None
    tensor_parallel_size: int = 1
    port: int | None = None
    start_timeout: float = START_TIMEOUT_S
    max_tokens: int | None = None
    strict_tools: bool = False
    flags: tuple[tuple[str, Flag], ...] = ()


def choose_server(wanted: str) -> tuple[Server, str]:
    """Which server it is, and why, in words. Raises PrerequisiteError for one that cannot be had."""
    if wanted not in SERVERS:
        raise PrerequisiteError(f"-M server={wanted}: there is no such server. Give one of {', '.join(SERVERS)}.")
    if wanted == "in-process":
        return "in-process", "as asked"
    if vllm_program() is None:
        missing = "there is no program `vllm` in PATH or beside this Python"
        if wanted == "auto":
            return "in-process", missing
        raise PrerequisiteError(
            f"-M server=vllm: {missing}. On a machine with a CUDA GPU: pip install 'dabstep[gpu]'. Without one: "
            "-M server=in-process."
        )
    if wanted == "vllm":
        return "vllm", "as asked"
    return ("vllm", "a CUDA GPU is here") if cuda_is_here() else ("in-process", "there is no CUDA GPU")


def vllm_program() -> str | None:
    """The program `vllm`: in PATH, or beside this Python, whose environment may not be activated."""
    return shutil.which("vllm") or shutil.which("vllm", path=str(Path(sys.executable).parent))


def cuda_is_here() -> bool:
    """Whether torch sees a CUDA device."""
    import torch

    return torch.cuda.is_available()


def vllm_settings(options: Mapping[str, Any]) -> VllmSettings:
    """The options of `-M`, checked. Raises PrerequisiteError naming the one that cannot be."""
    ours = {field.name for field in fields(VllmSettings)} - {"flags"}
    for name, value in options.items():
        if name in IN_PROCESS_ONLY:
            raise PrerequisiteError(f"-M {name}={value} is for -M server=in-process; here vLLM serves.")
        if name in OURS:
            raise PrerequisiteError(f"-M {name}={value}: this flag of vLLM is set by the provider. Leave it out.")
        if not isinstance(value, str | int | float | bool | None):
            raise PrerequisiteError(f"-M {name}={value}: give vLLM's flags plain values (JSON in quotes).")
    settings = VllmSettings(
        **{name: value for name, value in options.items() if name in ours},
        flags=tuple(sorted((name, value) for name, value in options.items() if name not in ours)),
    )
    for name in ("max_model_len", "tensor_parallel_size", "port", "start_timeout", "max_tokens"):
        value = getattr(settings, name)
        number = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        if value is not None and not number:
            raise PrerequisiteError(f"-M {name}={value}: give a number above 0.")
    return settings


def serving_of(checkpoint: Checkpoint, settings: VllmSettings) -> tuple[Serving, str]:
    """What vLLM is to serve, and a line that says how it was understood."""
    parsers = choose_parsers(checkpoint, settings.tool_call_parser, settings.reasoning_parser)
    own_voice = checkpoint.adapter is not None and checkpoint.voice == checkpoint.adapter
    serving = Serving(
        model=str(checkpoint.folder),
        name=checkpoint.name,
        program=vllm_program() or "vllm",
        tool_call_parser=parsers.tool,
        reasoning_parser=parsers.reasoning,
        chat_template=str(checkpoint.template_file) if checkpoint.template_file else None,
        tokenizer=str(checkpoint.voice) if own_voice else None,
        adapter=str(checkpoint.adapter) if checkpoint.adapter else None,
        adapter_rank=checkpoint.adapter_rank(),
        max_model_len=settings.max_model_len,
        tensor_parallel_size=settings.tensor_parallel_size,
        flags=settings.flags,
    )
    heard = f"tool calls by {parsers.tool}, thinking by {parsers.reasoning or 'none'} ({parsers.why})"
    return serving, f"served by vLLM; {heard}"


def say(line: str) -> None:
    """Print a line to standard error, where Inspect's displays let it stand."""
    from rich.console import Console

    Console(stderr=True).print(line, highlight=False, markup=False, soft_wrap=True)


@cache
def say_once(line: str) -> None:
    """The same, and the same line only once a process."""
    say(line)
