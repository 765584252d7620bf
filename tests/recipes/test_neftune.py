"""NEFTune's noise is the same on a token whether its conversation is packed with others or stands alone."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from recipes.neftune import packed_alpha
from recipes.sft import make_trainer, parse
from recipes.tiny import make_tiny_model
from tests.recipes.test_rows import chat, write

ALPHA = 5.0


def test_alpha_grows_by_the_root_of_row_by_conversation() -> None:
    assert packed_alpha(5.0, [[100]], batch=1) == 5.0
    assert packed_alpha(5.0, [[25, 25, 25, 25]] * 3, batch=1) == pytest.approx(10.0)
    assert packed_alpha(5.0, [[100], [100]], batch=4) == pytest.approx(10.0)
    assert packed_alpha(5.0, [[30, 10], [20]], batch=2) == pytest.approx(5.0 * math.sqrt(60 / 20))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("neftune")
    rows = [chat(f"{n:04d}") for n in range(64)]  # of one length each
    write(folder / "set", *rows)
    make_tiny_model(rows, folder / "model", vocab_size=400, seed=0)
    return folder


def noise(study: Path, *flags: str) -> float:
    """The largest noise that one step of real training puts on an embedding."""
    command = ["--config", "recipes/configs/tiny.yaml", "--training_set", str(study / "set"), "--max_steps", "1"]
    command += [
        "--model_name_or_path",
        str(study / "model"),
        "--output_dir",
        str(study / "out"),
        "--optimizer",
        "config",
    ]
    command += ["--neftune_noise_alpha", str(ALPHA), "--save_strategy", "no", *flags]
    recipe, args, model_config = parse(command)
    trainer = make_trainer(recipe, args, model_config)
    found: list[float] = []
    embedding = trainer.model.get_input_embeddings()  # type: ignore[union-attr,operator]

    @torch.no_grad()
    def look(module: Any, given: Any, output: torch.Tensor) -> None:
        plain = torch.nn.functional.embedding(given[0], module.weight)
        found.append(float((output - plain).abs().max()))

    train = trainer.training_step

    def watched(*of: Any, **more: Any) -> Any:
        handle = embedding.register_forward_hook(look)  # after NEFTune's own
        try:
            return train(*of, **more)
        finally:
            handle.remove()

    trainer.training_step = watched  # type: ignore[method-assign]
    trainer.train()
    return found[0]


def test_packed_rows_get_the_noise_that_their_conversations_would_get_alone(study: Path) -> None:
    alone = noise(study)
    packed = noise(study, "--packing", "true", "--max_length", "128", "--per_device_train_batch_size", "2")
    assert packed == pytest.approx(alone, rel=0.02)
