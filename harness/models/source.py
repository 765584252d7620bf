"""Where a model's files are: a folder, a model of the Hugging Face Hub, or a LoRA adapter of either.

    checkpoint = find_checkpoint("results/runs/demo/model/trained")       # a folder
    checkpoint = find_checkpoint("Qwen/Qwen3-4B-Instruct-2507@main")      # fetched, unless it is in the Hub's cache
    checkpoint.folder, checkpoint.adapter, checkpoint.template

What exists as a folder is a folder; what cannot be a path (one slash, letters, digits and `._-` alone) is asked of the
Hub. An adapter's base is what its adapter_config.json names. It loads no model; the Hub's own client fetches, with its
cache, token and mirror settings (HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspect_ai._util.error import PrerequisiteError

ADAPTER = "adapter_config.json"
TEMPLATE = "chat_template.jinja"
HUB_FILES = ("*.json", "*.jinja", "*.safetensors", "*.txt", "*.model")
"""What is fetched of a Hub model: weights in one format only, no code."""

_HUB_ID = re.compile(r"(?P<id>[\w][\w.-]*/[\w][\w.-]*)(?:@(?P<revision>[\w][\w./-]*))?")


@dataclass(frozen=True)
class Checkpoint:
    """A model's files on this machine.

    `folder` holds the configuration and weights, the base's where there is an `adapter`; `voice` is the folder whose
    tokenizer and `template` (the text of the chat template) are used. `template_file` is that template's own file.
    """

    name: str
    folder: Path
    adapter: Path | None
    voice: Path
    template: str
    template_file: Path | None
    model_type: str

    def adapter_rank(self) -> int | None:
        """The rank of the adapter's matrices; None without an adapter."""
        if self.adapter is None:
            return None
        rank = _json(self.adapter / ADAPTER).get("r")
        if not isinstance(rank, int) or rank < 1:
            raise PrerequisiteError(f"checkpoint/{self.name}: {self.adapter / ADAPTER} names no rank (r).")
        return rank


def find_checkpoint(name: str) -> Checkpoint:
    """The files that `name` stands for. Raises PrerequisiteError with the mend where there are none or some lack."""
    folder = find_folder(name)
    adapter = folder if (folder / ADAPTER).is_file() else None
    base = _base_of(name, folder) if adapter else folder
    _require_model(name, base)
    voice = adapter if adapter and _has_tokenizer(adapter) and chat_template(adapter) else base
    if not _has_tokenizer(voice):
        raise PrerequisiteError(f"checkpoint/{name}: no tokenizer. Save it there: tokenizer.save_pretrained(folder).")
    template = chat_template(voice)
    if template is None:
        raise PrerequisiteError(
            f"checkpoint/{name}: its tokenizer has no chat template, so nobody knows how to talk to this model. "
            f"Put the template that it was trained with there, as {TEMPLATE}."
        )
    file = voice / TEMPLATE
    model_type = str(_json(base / "config.json").get("model_type") or "")
    return Checkpoint(name, base, adapter, voice, template, file if file.is_file() else None, model_type)


def find_folder(name: str) -> Path:
    """The folder of `name`; a Hub model that is not here yet is fetched. Raises PrerequisiteError."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if (hub := _HUB_ID.fullmatch(name)) is None:
        raise PrerequisiteError(
            f"checkpoint/{name}: there is no such folder (looked from {Path.cwd()}). Give the folder of a saved "
            "checkpoint, for instance the output_dir of recipes/sft.py, or a model of the Hub as OWNER/NAME."
        )
    return _fetch(name, hub["id"], hub["revision"])


def cached_folder(name: str) -> Path | None:
    """The folder of `name` if it is on this machine already; nothing is fetched."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    folder = Path(name).expanduser()
    if folder.is_dir() or (hub := _HUB_ID.fullmatch(name)) is None:
        return folder if folder.is_dir() else None
    try:
        return Path(snapshot_download(hub["id"], revision=hub["revision"], local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def chat_template(folder: Path) -> str | None:
    """The text of the chat template in `folder`, which may stand in the tokenizer's configuration; None without one."""
    if (folder / TEMPLATE).is_file():
        return (folder / TEMPLATE).read_text(encoding="utf-8")
    if not (folder / "tokenizer_config.json").is_file():
        return None
    found = _json(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(found, list):  # several, by name
        by_name = {entry.get("name"): entry.get("template") for entry in found if isinstance(entry, dict)}
        found = by_name.get("tool_use") or by_name.get("default")
    return found if isinstance(found, str) and found else None


def _require_model(name: str, folder: Path) -> None:
    if not (folder / "config.json").is_file():
        inside = sorted(child.name for child in folder.iterdir() if (child / "config.json").is_file())
        hint = f" Did you mean {', '.join(inside)} inside it?" if inside else ""
        raise PrerequisiteError(f"checkpoint/{name}: no config.json, so this is no saved model.{hint}")


def _base_of(name: str, adapter: Path) -> Path:
    """The folder of the model that an adapter was trained on: as it is named, or beside the adapter."""
    base = _json(adapter / ADAPTER).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise PrerequisiteError(f"checkpoint/{name}: {adapter / ADAPTER} does not name its base model.")
    if (adapter / base).is_dir():
        return adapter / base
    try:
        return find_folder(base)
    except PrerequisiteError as error:
        raise PrerequisiteError(f"checkpoint/{name} is an adapter of {base}, which was not found. {error}") from error


def _fetch(name: str, hub_id: str, revision: str | None) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    here = f"checkpoint/{name}: there is no such folder (looked from {Path.cwd()})"
    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=list(HUB_FILES)))
    except GatedRepoError:
        reason = (
            f"and the Hub gives {hub_id} only to those who accepted its terms. Accept them at "
            f"{constants.ENDPOINT}/{hub_id}, then log in: hf auth login (or set HF_TOKEN)."
        )
    except RepositoryNotFoundError:
        reason = (
            f"and the Hub ({constants.ENDPOINT}) has no model {hub_id}, or none that you may see. Check the name; for "
            "a private one log in: hf auth login (or set HF_TOKEN)."
        )
    except RevisionNotFoundError:
        reason = f"and {hub_id} has no revision {revision} on the Hub. Give a branch, a tag or a whole commit."
    except LocalEntryNotFoundError:
        reason = (
            f"the Hub ({constants.ENDPOINT}) cannot be reached or HF_HUB_OFFLINE is set, and {hub_id} is not whole in "
            f"its cache ({constants.HF_HUB_CACHE}). Fetch it where there is a network: hf download {hub_id}"
        )
    except Exception as error:  # a broken connection, a full disk: the client's own words say which
        words = str(error).strip() or type(error).__name__
        reason = f"and the Hub ({constants.ENDPOINT}) did not give {hub_id}: {words.splitlines()[0]}"
    raise PrerequisiteError(f"{here}, {reason}")


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))


def _json(file: Path) -> dict[str, Any]:
    """A JSON object from a checkpoint. Raises PrerequisiteError naming the file."""
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PrerequisiteError(f"{file} cannot be read: {error}. Restore it from where the model was saved.") from None
    if not isinstance(read, dict):
        raise PrerequisiteError(f"{file} is no JSON object. Restore it from where the model was saved.")
    return read
