"""Which code and which weights a result was measured with.

`code_commit()` names the code; `model_hash(model, date)` the model: a digest of the files where they are on disk, else
the name, provider and date, since what stands behind an API cannot be hashed.
It does not record the machine or the installed packages; the Inspect log does.
"""

from __future__ import annotations

import hashlib
import subprocess
from fnmatch import fnmatch
from importlib.metadata import version
from math import prod
from pathlib import Path

from harness.models.source import cached_folder

ROOT = Path(__file__).resolve().parents[1]

WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "adapter_model*.bin")
# What decides a model's answers besides its weights; the state of a training (optimizer and so on) is left out.
SETTINGS = (
    "*.safetensors.index.json",
    "*.bin.index.json",
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template*",
    "*.jinja",
)


class ProvenanceError(RuntimeError):
    """Code or weights that cannot be named; the message says which and what to do."""


def code_commit(root: Path = ROOT) -> str:
    """The commit of the checkout at `root`, with "-dirty" where its files differ; "wheel-VERSION" outside a checkout.

    Raises ProvenanceError when `root` is a checkout and git cannot name its commit.
    """
    if not (root / ".git").exists():
        return f"wheel-{version('dabstep')}"
    commit = git(root, "rev-parse", "HEAD").strip()
    return commit + ("-dirty" if git(root, "status", "--porcelain") else "")


def git(root: Path, *arguments: str) -> str:
    """What `git ARGUMENTS` prints in `root`. Raises ProvenanceError with git's own words when it fails."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise ProvenanceError("git is not installed, so the code's commit cannot be named. Install git.") from None
    except subprocess.CalledProcessError as error:
        raise ProvenanceError(
            f"git cannot name the commit of {root}: {error.stderr.strip()}. A row needs one: commit the code first."
        ) from None
    return done.stdout


def model_hash(model: str, date: str) -> str:
    """Name exactly what answered: "sha256:..." of a folder of weights, else "provider/name@date".

    Args:
        model: Inspect's name of the model, provider first: "checkpoint/FOLDER", "hf/FOLDER", "openai/gpt-5".
        date: The day of the run, such as "2026-01-31".

    Raises ProvenanceError for a checkpoint whose folder is gone or holds no weights.
    """
    provider, _, name = model.partition("/")
    folder = Path(name).expanduser()
    if provider == "checkpoint" or (name and folder.is_dir()):
        return folder_hash(cached_folder(name) or folder)
    return f"{model}@{date}"


def folder_hash(folder: Path) -> str:
    """The sha256 over the names and contents of a checkpoint's weights, configuration, tokenizer and chat template."""
    if not folder.is_dir():
        raise ProvenanceError(f"{folder}: no such checkpoint, so its weights cannot be hashed. Restore it.")
    files = sorted(f for f in folder.iterdir() if f.is_file() and any(fnmatch(f.name, p) for p in WEIGHTS + SETTINGS))
    if not any(fnmatch(file.name, pattern) for file in files for pattern in WEIGHTS):
        raise ProvenanceError(f"{folder}: holds no weights ({', '.join(WEIGHTS)}). Give the folder of one checkpoint.")
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            digest.update(f"{file.name}\0{hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def parameter_count(model: str) -> int | None:
    """How many parameters a checkpoint's safetensors files hold; None for a model that is not such a folder here."""
    folder = Path(model.partition("/")[2]).expanduser()
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() and model.partition("/")[2] else []
    if not files or (folder / "adapter_config.json").is_file():  # an adapter's size says nothing of its base's
        return None
    from safetensors import safe_open

    count = 0
    for file in files:
        with safe_open(file, framework="np") as tensors:
            count += sum(prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    return count
