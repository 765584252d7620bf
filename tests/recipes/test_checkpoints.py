"""An output folder belongs to the run that began it; another's settings, data or checkpoints are refused by name."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from datasets import Dataset

from recipes.checkpoints import checkpoint_to_go_on_from, claim, publish, rows_hash, save_final, seal, settings_of
from recipes.command_line import RecipeError
from recipes.sft import RecipeArguments

ROWS = Dataset.from_dict({"input_ids": [[1, 2, 3], [4]], "labels": [[-100, 2, 3], [4]]})


class Arguments(SimpleNamespace):
    world_size = 1

    def to_dict(self) -> dict[str, Any]:
        return vars(self)


def settings(rows: Dataset = ROWS, weights: str = "sha256:a", threads: int = 1, **trl: Any) -> dict[str, Any]:
    arguments = Arguments(**({"learning_rate": 0.1, "logging_steps": 5, "output_dir": "x", "save_steps": 1} | trl))
    return settings_of(RecipeArguments("somewhere", threads=threads), arguments, {"weights": weights}, rows)


def whole(folder: Path, step: int) -> Path:
    partial = folder / "partial" / f"checkpoint-{step}"
    partial.mkdir(parents=True)
    (partial / "optimizer.pt").write_bytes(b"state")
    seal(partial, resumable=True)
    publish(partial, folder / f"checkpoint-{step}")
    return folder / f"checkpoint-{step}"


def test_the_same_settings_go_on_and_how_it_is_logged_or_saved_may_change(tmp_path: Path) -> None:
    claim(tmp_path, settings())
    claim(tmp_path, settings(logging_steps=1, save_steps=9, output_dir="y", threads=2))


def test_other_settings_or_rows_are_refused_with_what_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claim(tmp_path, settings())
    other = Dataset.from_dict({"input_ids": [[1, 2, 3], [5]], "labels": [[-100, 2, 3], [5]]})
    with pytest.raises(RecipeError):
        claim(tmp_path, settings(rows=other, weights="sha256:b", learning_rate=0.2))
    said = capsys.readouterr().err
    assert "begun with other settings or data" in said
    assert "learning_rate: 0.1 -> 0.2" in said
    assert "model: weights: sha256:a -> sha256:b" in said
    assert "rows' hash: " in said
    assert "give another --output_dir" in said


def test_checkpoints_without_a_record_of_their_settings_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "checkpoint-3").mkdir()
    with pytest.raises(RecipeError):
        claim(tmp_path, settings())
    assert "holds checkpoints (checkpoint-3) but no run.json" in capsys.readouterr().err


def test_what_an_earlier_try_left_half_written_is_removed(tmp_path: Path) -> None:
    claim(tmp_path, settings())
    (tmp_path / "partial" / "checkpoint-4").mkdir(parents=True)
    claim(tmp_path, settings())
    assert not (tmp_path / "partial").exists()


def test_the_rows_hash_sees_tokens_labels_bounds_and_order_and_nothing_else() -> None:
    first = rows_hash(ROWS)
    assert rows_hash(ROWS.add_column("other", ["a", "b"])) == first
    assert rows_hash(ROWS.select([1, 0])) != first
    assert rows_hash(ROWS.select([0, 1])) == first
    for ids, labels in (
        ([[1, 2, 3], [5]], [[-100, 2, 3], [4]]),
        ([[1, 2, 3], [4]], [[1, 2, 3], [4]]),
        ([[1, 2], [3, 4]], [[-100, 2], [3, 4]]),
    ):
        assert rows_hash(Dataset.from_dict({"input_ids": ids, "labels": labels})) != first


def test_the_newest_is_found_by_itself_and_what_is_torn_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checkpoint_to_go_on_from(tmp_path, None) is None
    two, ten = whole(tmp_path, 2), whole(tmp_path, 10)
    assert checkpoint_to_go_on_from(tmp_path, None) == str(ten)
    (ten / "optimizer.pt").write_bytes(b"st")
    assert checkpoint_to_go_on_from(tmp_path, "newest") == str(two)
    assert f"passed over {ten}: optimizer.pt has 2 bytes of 5" in capsys.readouterr().out


def test_a_checkpoint_asked_for_by_name_must_be_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = whole(tmp_path, 2)
    assert checkpoint_to_go_on_from(tmp_path, str(two)) == str(two)
    for name, reason in ((tmp_path / "checkpoint-3", "there is no such folder"), (tmp_path, "it has no whole.json")):
        with pytest.raises(RecipeError):
            checkpoint_to_go_on_from(tmp_path, str(name))
        assert f"{name} cannot be gone on from: {reason}" in capsys.readouterr().err


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claim(tmp_path / "one", settings())
    claim(tmp_path / "other", settings(learning_rate=0.2))
    with pytest.raises(RecipeError):
        checkpoint_to_go_on_from(tmp_path / "other", str(whole(tmp_path / "one", 2)))
    assert "is of a run with other settings or data" in capsys.readouterr().err


def test_a_checkpoint_written_again_replaces_the_one_of_its_name(tmp_path: Path) -> None:
    (whole(tmp_path, 2) / "stale").touch()
    assert sorted(path.name for path in whole(tmp_path, 2).iterdir()) == ["optimizer.pt", "whole.json"]
    assert not list((tmp_path / "partial").iterdir())


def test_the_trained_model_appears_file_by_file_config_last(tmp_path: Path) -> None:
    class Trainer:
        args = SimpleNamespace(should_save=True)
        accelerator = SimpleNamespace(wait_for_everyone=lambda: None)

        def save_model(self, folder: str) -> None:
            assert not (tmp_path / "config.json").exists()
            Path(folder).mkdir(parents=True)
            for name in ("config.json", "model.safetensors", "tokenizer.json"):
                (Path(folder) / name).write_text(name)

    save_final(Trainer(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
