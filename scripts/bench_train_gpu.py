"""A full fine-tune of a randomly initialised Qwen3-4B on one GPU: tokens/s, MFU, memory: `make bench-train-gpu`.

    python -m scripts.bench_train_gpu                      # one GPU of 80 GB or more, under 8 minutes, no download
    python -m scripts.bench_train_gpu --device cpu --small # the same code with a shrunken model: whether it runs

The recipe's own trainer (fp32 weights, bf16 arithmetic, fused AdamW, packed rows of 8,192 tokens) takes some steps
over made rows of traces' lengths, of which 30% of the tokens are supervised. MFU is the arithmetic that the model needs
(`recipes/flops.py`) over the best rate of a bf16 matrix product that this very GPU reached just before; MFU by the
usual convention and over the data sheet's rate are beside it. Checkpointing is off where the memory allows it. Variants
run in turn (`--variants`), each in a process of its own, with a bound on its time; one that fails is reported with its
reason and the others go on. Under 45% a profile of one step is written. Writes train-gpu.json into --output.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # who imports this keeps an environment of their own
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

WANTED_MFU = 0.45
WARMING = 3
"""Steps that are not measured."""
BUDGET_S = 420.0
"""Seconds for all variants together."""
ROW = 8192
DATA_SHEET_TFLOPS = {"H100": 989.4, "H200": 989.4, "A100": 312.0}
"""Dense bf16 rates of NVIDIA's data sheets (SXM), for comparison only."""
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "compiled": {"compile": True},
    "checkpointed": {"checkpointing": True},
}


def qwen3_4b(small: bool) -> Any:
    """Qwen3-4B's shape, as in its config.json; or the same of a few thousand weights."""
    from transformers import Qwen3Config

    shape = {
        **{"vocab_size": 151_936, "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36},
        **{"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128},
    }
    if small:
        shape |= {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2}
        shape |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    rope = {"rope_type": "default", "rope_theta": 5_000_000.0}
    return Qwen3Config(
        **shape, tie_word_embeddings=True, max_position_embeddings=262_144, rms_norm_eps=1e-6, rope_parameters=rope
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="a shrunken model and short rows: whether it runs")
    parser.add_argument("--rows", type=int, help="packed rows a step, one after the other (4; small: 2)")
    parser.add_argument("--steps", type=int, help="measured steps, after 3 that are not (8; small: 2)")
    parser.add_argument("--attention", default="best", help="best, documents, flash_attention_3 or sdpa")
    parser.add_argument("--variants", default="plain,compiled", help=f"of {', '.join(VARIANTS)}")
    parser.add_argument("--profile", choices=["auto", "always", "never"], default="auto", help="auto: under 45% MFU")
    parser.add_argument("--output", type=Path, default=Path("results/runs/bench"))
    parser.add_argument("--only", choices=list(VARIANTS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.rows = arguments.rows or (2 if arguments.small else 4)
    arguments.steps = arguments.steps or (2 if arguments.small else 8)
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.only:
        print("RESULT " + json.dumps(measure(arguments, arguments.only)))
        return
    unknown = [name for name in arguments.variants.split(",") if name not in VARIANTS]
    if unknown:
        parser.error(f"--variants: no such {', '.join(unknown)}. There are {', '.join(VARIANTS)}.")
    in_turn(arguments)


def in_turn(arguments: argparse.Namespace) -> None:
    """Every variant in a process of its own, within the time; what is known so far is always on the disk."""
    begun = time.monotonic()
    results: dict[str, Any] = {}
    for name in arguments.variants.split(","):
        left = BUDGET_S - (time.monotonic() - begun)
        if left < 60:
            results[name] = {"failed": f"not begun: {left:.0f} s are left of {BUDGET_S:.0f}"}
            continue
        command = [sys.executable, "-m", "scripts.bench_train_gpu", *sys.argv[1:], "--only", name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=left)
            lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
            results[name] = json.loads(lines[-1][7:]) if lines else {"failed": (done.stderr or done.stdout)[-1500:]}
        except subprocess.TimeoutExpired:
            results[name] = {"failed": f"not done within {left:.0f} s"}
        print(name, json.dumps(results[name], indent=1), flush=True)
        partial = arguments.output / "train-gpu.json.partial"
        partial.write_text(json.dumps(results, indent=1))
        partial.replace(arguments.output / "train-gpu.json")
    sys.exit(0 if any("MFU" in result for result in results.values()) else 1)


def measure(arguments: argparse.Namespace, variant: str) -> dict[str, Any]:
    """One variant's figures, over all measured steps; times are wall seconds of whole optimizer steps."""
    import torch

    from recipes.flops import step_flops

    device, how = torch.device(arguments.device), VARIANTS[variant]
    ceiling = matrix_ceiling(device, arguments.small)
    torch.manual_seed(0)
    trainer, clock, length = make(arguments, how, device)
    trainer.train()
    first, last = (step * arguments.rows for step in (WARMING, WARMING + arguments.steps))
    measured = trainer.train_dataset[first:last]  # rows come in their order
    documents = [n for lengths in measured["seq_lengths"] for n in lengths]
    supervised = sum(label != -100 for labels in measured["labels"] for label in labels)
    needed, tokens = step_flops(trainer.model.config, documents, supervised), sum(documents)
    took_s = sum(clock.steps_s)
    from trl.trainer.utils import compute_flops_per_token

    rate, usual = needed / took_s, compute_flops_per_token(trainer.model.config, length) * tokens / took_s
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    sheet = next((value * 1e12 for key, value in DATA_SHEET_TFLOPS.items() if key in name), None)
    result = {
        "device": name,
        "variant": variant,
        "attention": trainer.model.config._attn_implementation,
        "checkpointing": trainer.args.gradient_checkpointing,
        "weights": sum(p.numel() for p in trainer.model.parameters()),
        "tokens": tokens,
        "rows a step": arguments.rows,
        "longest row": length,
        "documents": len(documents),
        "supervised share": round(supervised / tokens, 3),
        "steps, s": clock.steps_s,
        "tokens/s": tokens / took_s,
        "ceiling, TFLOP/s": ceiling / 1e12,
        "rate, TFLOP/s": rate / 1e12,
        "MFU": rate / ceiling,
        "MFU by PaLM's convention": usual / ceiling,
        "MFU of the data sheet": None if sheet is None else rate / sheet,
        "memory, GB": round(torch.cuda.max_memory_allocated() / 1e9, 1) if device.type == "cuda" else None,
        "loss": clock.losses,
    }
    if arguments.profile == "always" or (arguments.profile == "auto" and result["MFU"] < WANTED_MFU):
        result["profile"] = profile(trainer, arguments.output / f"train-gpu-profile-{variant}.txt", device)
    return result


def matrix_ceiling(device: Any, small: bool) -> float:
    """The best rate of a bf16 matrix product, operations a second, over some shapes."""
    import torch

    best = 0.0
    shapes = [(256, 256, 256)] if small else [(8192, 8192, 8192), (8192, 2560, 9728), (16384, 4096, 8192)]
    for m, k, n in shapes:
        a = torch.randn(m, k, device=device, dtype=torch.bfloat16)
        b = torch.randn(k, n, device=device, dtype=torch.bfloat16)
        for _ in range(3):
            a @ b
        for _ in range(5):
            _wait(device)
            begun = time.perf_counter()
            for _ in range(10):
                a @ b
            _wait(device)
            best = max(best, 10 * 2 * m * k * n / (time.perf_counter() - begun))
    return best


def _wait(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()


def make(arguments: argparse.Namespace, how: dict[str, Any], device: Any) -> tuple[Any, Any, int]:
    """The trainer, its clock, and the rows' length in tokens."""
    import torch
    from transformers import Qwen3ForCausalLM
    from trl import SFTConfig

    from recipes.attention import implementation
    from recipes.trainer import RecipeTrainer

    length, config = (256 if arguments.small else ROW), qwen3_4b(arguments.small)
    chosen = implementation(arguments.attention)
    with torch.device(device):
        model = Qwen3ForCausalLM._from_config(config, attn_implementation=chosen, dtype=torch.float32)
    clock = _clock(device)
    args = SFTConfig(
        output_dir=str(arguments.output / "train-gpu"),
        max_steps=WARMING + arguments.steps,
        gradient_accumulation_steps=arguments.rows,
        per_device_train_batch_size=1,
        gradient_checkpointing=checkpointing_needed(config, length, device, how),
        **{"packing": True, "max_length": length, "bf16": True, "optim": "adamw_torch_fused", "learning_rate": 1e-5},
        **{"use_cpu": device.type == "cpu", "report_to": "none", "save_strategy": "no", "disable_tqdm": True},
        **{
            "logging_steps": 1,
            "shuffle_dataset": True,
            "train_sampling_strategy": "sequential",
            "dataloader_pin_memory": False,
        },
    )
    trainer = RecipeTrainer(
        model=model,
        args=args,
        train_dataset=made_rows(config.vocab_size, length, arguments.rows * (WARMING + arguments.steps)),
        processing_class=made_tokenizer(),
        callbacks=[clock],
    )
    if how.get("compile"):
        for layer in trainer.model.model.layers:
            layer.compile(dynamic=device.type == "cpu")
    return trainer, clock, length


def checkpointing_needed(config: Any, length: int, device: Any, how: dict[str, Any]) -> bool:
    """Whether activations must be computed again: 18 bytes a weight, and what a token leaves behind in every layer.

    Beside weights, gradients and AdamW's moments in fp32 (16) there is a bf16 copy of the weights (2). A token leaves
    about 65 bytes a layer and unit of width: 6 MB in Qwen3-4B (estimated, to be measured).
    """
    import torch

    from recipes.flops import layer_weights

    if how.get("checkpointing") or device.type == "cpu":
        return bool(how.get("checkpointing", False))
    weights = layer_weights(config) + config.vocab_size * config.hidden_size
    activations = 65 * config.num_hidden_layers * config.hidden_size * length
    return bool(18 * weights + activations > 0.95 * torch.cuda.get_device_properties(0).total_memory)


def made_rows(vocabulary: int, length: int, rows: int) -> Any:
    """Enough documents of a trace's length, most of them a tenth of a row to a whole one, 30% of each supervised."""
    from datasets import Dataset

    draw, made, tokens = random.Random(0), [], 0
    while tokens < (rows + 1) * length:
        n = min(length, max(8, round(draw.lognormvariate(0, 0.6) * length * 0.3)))
        ids = [draw.randrange(10, vocabulary) for _ in range(n)]
        made.append({"input_ids": ids, "labels": [-100] * (n - n * 3 // 10) + ids[n - n * 3 // 10 :]})
        tokens += n
    return Dataset.from_list(made)


def made_tokenizer() -> Any:
    """A tokenizer of a few entries: the rows are tokens already, TRL only asks it for the padding token."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    entries = Tokenizer(models.WordLevel({"<pad>": 0, "<end>": 1}, unk_token="<end>"))
    return PreTrainedTokenizerFast(tokenizer_object=entries, pad_token="<pad>", eos_token="<end>")


def _clock(device: Any) -> Any:
    """A callback that takes each step's wall time behind the third, and the losses."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.steps_s: list[float] = []
            self.losses: list[float] = []
            self.begun = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            _wait(device)
            self.begun = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            _wait(device)
            if state.global_step > WARMING:
                self.steps_s.append(time.perf_counter() - self.begun)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                self.losses.append(round(float(logs["loss"]), 4))

    return Clock()


def profile(trainer: Any, file: Path, device: Any) -> str:
    """What one forward and backward pass spends its time on, most expensive operations first."""
    import torch
    from torch.profiler import ProfilerActivity

    batch = trainer._prepare_inputs(trainer.data_collator([trainer.train_dataset[0]]))
    cuda = device.type == "cuda"
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with torch.profiler.profile(activities=kinds) as taken:
        trainer.training_step(trainer.model_wrapped, batch, None)
        _wait(device)
    key = "self_cuda_time_total" if cuda else "self_cpu_time_total"
    file.write_text(taken.key_averages().table(sort_by=key, row_limit=40, max_name_column_width=80))
    return str(file)


if __name__ == "__main__":
    main()
