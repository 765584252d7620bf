"""Launch files are accelerate's own: its classes read every key, and a launch sets up what the file says.

FSDP2 runs for real on two CPU processes (slow). accelerate itself offers it on accelerators only: the test's script
calls two gloo processes a kind of accelerator, and all else is accelerate's and torch's own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "recipes" / "launch"
FILES = sorted(path.name for path in LAUNCH.glob("*.yaml"))


def launched(name: str, *flags: str) -> Any:
    """The arguments of `accelerate launch --config_file NAME FLAGS`, after accelerate has merged the file in."""
    parsed = launch_command_parser().parse_args(["--config_file", str(LAUNCH / name), *flags, "recipes/sft.py"])
    parsed, _, _ = _validate_launch_command(parsed)
    return parsed


@pytest.mark.parametrize("name", FILES)
def test_accelerate_knows_every_key_and_the_file_says_how_it_is_run(name: str) -> None:
    config = load_config_from_file(str(LAUNCH / name))
    assert config.num_processes >= 1
    head = (LAUNCH / name).read_text(encoding="utf-8").split("compute_environment")[0]
    assert f"accelerate launch --config_file recipes/launch/{name}" in head


@pytest.mark.parametrize(
    ("name", "kind", "machines", "processes"),
    [
        ("cpu.yaml", "none", 1, 1),
        ("gpu.yaml", "none", 1, 1),
        ("gpus.yaml", "fsdp", 1, 8),
        ("gpus-zero2.yaml", "deepspeed", 1, 8),
        ("nodes-fsdp2.yaml", "fsdp", 2, 16),
        ("nodes-zero3.yaml", "deepspeed", 2, 16),
    ],
)
def test_a_launch_is_what_the_file_says(name: str, kind: str, machines: int, processes: int) -> None:
    flags = ["--machine_rank", "1", "--main_process_ip", "10.0.0.1", "--main_process_port", "29500"]
    args = launched(name, *(flags if machines > 1 else []))
    assert (args.num_machines, args.num_processes) == (machines, processes)
    assert (args.use_fsdp, args.use_deepspeed) == (kind == "fsdp", kind == "deepspeed")
    if machines > 1:
        assert (args.machine_rank, args.main_process_ip) == (1, "10.0.0.1")
    if kind == "fsdp":
        assert str(args.fsdp_version) == "2"
        assert args.fsdp_state_dict_type == "FULL_STATE_DICT"
    if kind == "deepspeed":
        assert args.zero_stage == (3 if "zero3" in name else 2)
    if name != "cpu.yaml":
        assert args.mixed_precision == "bf16"


FSDP_ON_CPUS = """
import sys
import accelerate.state as state
from accelerate.state import DistributedType

prepare = state.PartialState._prepare_backend
def as_accelerator(self, cpu, sagemaker_dp=False, backend=None):
    backend, kind = prepare(self, cpu, sagemaker_dp, backend)
    return backend, kind
state.PartialState._prepare_backend = as_accelerator

begin = state.AcceleratorState.__init__
def sharded(self, *args, **kwargs):
    shared = state.PartialState(kwargs.get("cpu", False))
    if shared.distributed_type == DistributedType.MULTI_CPU:
        state.PartialState._shared_state["distributed_type"] = DistributedType.MULTI_XPU
    begin(self, *args, **kwargs)
state.AcceleratorState.__init__ = sharded

import torch.distributed.fsdp as fsdp

shard, sharded_modules = fsdp.fully_shard, []
def counted(module, *args, **kwargs):
    sharded_modules.append(type(module).__name__)
    return shard(module, *args, **kwargs)
fsdp.fully_shard = counted

sys.argv = ["sft.py", *sys.argv[1:]]
from recipes.sft import main
main()
if state.PartialState().is_main_process:
    print("sharded:", *sharded_modules)
"""


@pytest.mark.slow
def test_fsdp2_takes_two_steps_on_two_processes_and_leaves_a_whole_model(tmp_path: Path) -> None:
    import json

    from safetensors.torch import load_file

    from recipes.tiny import make_tiny_model
    from tests.recipes.test_rows import chat, write

    rows = [chat(f"a {n}") for n in range(32)]
    write(tmp_path / "set", *rows)
    make_tiny_model(rows, tmp_path / "model", vocab_size=400, seed=0)
    settings = yaml.safe_load((LAUNCH / "gpus.yaml").read_text())
    settings |= {"num_processes": 2, "use_cpu": True, "mixed_precision": "no"}
    (tmp_path / "launch.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "script.py").write_text(FSDP_ON_CPUS)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(tmp_path / "launch.yaml")]
    command += [str(tmp_path / "script.py"), "--config", "recipes/configs/tiny.yaml", "--max_steps", "2"]
    command += ["--optimizer", "config", "--training_set", str(tmp_path / "set"), "--output_dir", str(tmp_path / "out")]
    command += ["--model_name_or_path", str(tmp_path / "model"), "--logging_steps", "1", "--save_strategy", "no"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("32 rows read, 32 used") == 1
    assert "sharded: " + "Qwen3DecoderLayer " * 4 in done.stdout
    before, after = (load_file(tmp_path / folder / "model.safetensors") for folder in ("model", "out"))
    head = after.pop("lm_head.weight", after["model.embed_tokens.weight"])  # tied, and then written twice
    assert head.equal(after["model.embed_tokens.weight"])
    assert {name: weight.shape for name, weight in after.items()} == {
        name: weight.shape for name, weight in before.items()
    }
    assert not any(after[name].equal(before[name]) for name in after if "proj" in name)
    assert json.loads((tmp_path / "out" / "training-data.json").read_text())["sources"][0]["used"] == 32
