"""A training small enough for a test: rows of different lengths, the tiny model, a trainer by `make_trainer`."""

import json
from pathlib import Path
from typing import Any

from recipes.tiny import make_tiny_model


def make_study(folder: Path, rows: int) -> Path:
    """Write a training set (`set`) and an untrained model with attention dropout (`model`) into `folder`."""
    made = [
        {
            "messages": [
                {"role": "user", "content": f"q {n} " * (1 + n % 7)},
                {"role": "assistant", "content": f"a {n * 7} " * (1 + n % 5)},
            ],
            "tools": "[]",
        }
        for n in range(rows)
    ]
    (folder / "set").mkdir(parents=True)
    (folder / "set" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    make_tiny_model(made, folder / "model", vocab_size=400, seed=0)
    return folder


def with_dropout(study: Path, share: float) -> Path:
    """Give the study's model attention dropout."""
    file = study / "model" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"attention_dropout": share}))
    return study


def trainer_of(
    study: Path, output: Path, optimizer: str = "config", attention: str | None = None, **settings: Any
) -> Any:
    """A trainer of the study's model on its rows; `settings` are TRL's."""
    from trl import ModelConfig, SFTConfig

    from recipes.sft import RecipeArguments, make_trainer

    given: dict[str, Any] = {"learning_rate": 0.01, "max_length": 512, "bf16": False, "gradient_checkpointing": False}
    given |= {"assistant_only_loss": True, "report_to": "none", "use_cpu": True, "disable_tqdm": True}
    args = SFTConfig(output_dir=str(output), **(given | settings))
    recipe = RecipeArguments(training_set=str(study / "set"), optimizer=optimizer, threads=1)
    model = ModelConfig(model_name_or_path=str(study / "model"), dtype="float32", attn_implementation=attention)
    return make_trainer(recipe, args, model)


def weights_of(trainer: Any) -> dict[str, Any]:
    """The model's tensors, by name."""
    return {name: value.detach().clone() for name, value in trainer.model.state_dict().items()}
