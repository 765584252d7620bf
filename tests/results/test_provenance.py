"""Which code and which weights a row names."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from results.provenance import ProvenanceError, code_commit, folder_hash, model_hash


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "epoch-3"
    folder.mkdir()
    for name in ("model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "optimizer.pt"):
        (folder / name).write_text(f"what {name} holds")
    return folder


def test_a_checkpoint_is_named_by_what_it_holds_not_by_where_it_lies(checkpoint: Path) -> None:
    before = model_hash(f"checkpoint/{checkpoint}", "2026-01-31")
    moved = checkpoint.rename(checkpoint.with_name("elsewhere"))
    assert before.startswith("sha256:")
    assert model_hash(f"checkpoint/{moved}", "2026-02-01") == before
    assert model_hash(f"hf/{moved}", "2026-02-01") == before


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"])
def test_every_file_that_decides_its_answers_counts(name: str, checkpoint: Path) -> None:
    before = model_hash(f"checkpoint/{checkpoint}", "2026-01-31")
    (checkpoint / name).write_text("something else")
    assert model_hash(f"checkpoint/{checkpoint}", "2026-01-31") != before


def test_the_state_of_the_training_does_not_count(checkpoint: Path) -> None:
    before = model_hash(f"checkpoint/{checkpoint}", "2026-01-31")
    (checkpoint / "optimizer.pt").write_text("something else")
    (checkpoint / "training_args.bin").write_text("arguments")
    assert model_hash(f"checkpoint/{checkpoint}", "2026-01-31") == before


def test_a_model_behind_an_api_is_named_by_provider_name_and_date() -> None:
    assert model_hash("openai/gpt-5", "2026-01-31") == "openai/gpt-5@2026-01-31"


def test_a_checkpoint_that_is_gone_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProvenanceError, match="no such checkpoint"):
        model_hash(f"checkpoint/{tmp_path / 'epoch-9'}", "2026-01-31")
    with pytest.raises(ProvenanceError, match="holds no weights"):
        model_hash(f"checkpoint/{tmp_path}", "2026-01-31")


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True, text=True).stdout


def test_the_code_is_named_by_its_commit_and_marked_where_it_differs(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    assert code_commit(tmp_path) == commit
    (tmp_path / "code.py").write_text("2")
    assert code_commit(tmp_path) == f"{commit}-dirty"


def test_outside_a_checkout_the_code_is_named_by_its_version(tmp_path: Path) -> None:
    assert code_commit(tmp_path) == f"wheel-{version('dabstep')}"


def test_a_checkout_without_a_commit_is_refused_with_gits_own_words(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with pytest.raises(ProvenanceError, match="cannot name the commit"):
        code_commit(tmp_path)


def test_a_model_of_the_hub_is_hashed_where_its_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    cached = tmp_path / "models--owner--model"
    snapshot = cached / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("a" * 40, encoding="utf-8")
    (snapshot / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert model_hash("checkpoint/owner/model", "2026-01-31") == folder_hash(snapshot)
    with pytest.raises(ProvenanceError, match="no such checkpoint"):
        model_hash("checkpoint/owner/other", "2026-01-31")
