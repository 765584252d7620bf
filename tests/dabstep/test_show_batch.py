"""`dabstep show-batch`: the trainer's own batches, what bears the loss marked, by the flags of recipes/sft.py."""

import subprocess
import sys
from pathlib import Path

import pytest

from dabstep.batches import described, shown
from recipes.batch_view import Batches, BatchRow, first_batches
from recipes.tiny import make_tiny_model
from tests.recipes.test_rows import chat, write

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("show")
    rows = [chat("answer " + "x" * n) for n in range(6)]
    write(folder / "set", *rows)
    make_tiny_model(rows, folder / "model", vocab_size=400, seed=0)
    return folder


def flags(study: Path, model: str = "model") -> list[str]:
    config = ["--config", str(ROOT / "recipes/configs/tiny.yaml"), "--per_device_train_batch_size", "3"]
    return [*config, "--training_set", str(study / "set"), "--model_name_or_path", str(study / model)]


def test_a_batch_is_the_trainers_own_padding_and_mask_included(study: Path) -> None:
    found = first_batches(flags(study), number=2)
    assert [len(batch) for batch in found.batches] == [3, 3]
    [longest] = {len(row.ids) for row in found.batches[0]}
    assert max(len(row.ids) - row.count("padding") for row in found.batches[0]) == longest
    answers = set()
    for row in (row for batch in found.batches for row in batch):
        said = [(state, text) for state, _, text in row.pieces(found.decode)]
        assert said[0] == ("given", "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n")
        state, text = said[1]
        assert state == "trained"
        assert text.endswith("<|im_end|>")
        answers.add(text.removesuffix("<|im_end|>"))
    assert answers == {"answer " + "x" * n for n in range(6)}
    assert not (study / "out").exists()


def test_packed_conversations_are_told_apart(study: Path) -> None:
    packed = first_batches([*flags(study), "--packing", "true", "--max_length", "64"]).batches[0]
    assert len(packed) == 1  # flattened
    assert "3 conversations" in described(packed[0]) or len(packed[0].starts) > 3
    assert packed[0].count("padding") == 0


def test_what_is_trained_stands_in_colour_or_between_marks() -> None:
    row = BatchRow((0, 1, 1, 2), ("given", "trained", "trained", "padding"), (0,))
    found = Batches(((row,),), lambda ids: "".join("abc"[i] for i in ids))
    assert shown(row, found, colour=False).plain == "a⟦bb⟧[1 x padding]"
    text = shown(row, found, colour=True)
    assert text.plain == "abb[1 x padding]"
    assert [(text.plain[span.start : span.end], span.style) for span in text.spans] == [
        ("bb", "black on green"),
        ("[1 x padding]", "dim"),
    ]
    assert described(row) == "3 tokens, 2 trained (67%), 1 padding"


def test_the_command_takes_the_recipes_flags_and_a_tokenizers_folder_will_do(study: Path) -> None:
    (study / "tokenizer").mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (study / "tokenizer" / name).write_bytes((study / "model" / name).read_bytes())
    command = [sys.executable, "-m", "dabstep", "show-batch", "--rows", "1", *flags(study, "tokenizer")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "6 rows read, 6 used" in done.stdout
    assert "<|im_start|>assistant\n⟦answer " in done.stdout
    assert "batch 1: 2 more rows (--rows)" in done.stdout


def test_without_a_model_the_mend_is_said(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        first_batches(["--config", str(ROOT / "recipes/configs/tiny.yaml"), "--training_set", str(study / "set")])
    assert "no tokenizer to show" in capsys.readouterr().err
