"""An ablation's YAML, checked: what is trained, what is asked, and what is compared.

    settings = read_settings(Path("recipes/configs/epochs-tiny.yaml"))

Every key is a field of `Settings` or of what it holds; one that is not known is refused by its name. `{run}` and
`{seed}` in any text stand for the run's folder and a seed. Nothing is started or looked for here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

Value = str | int | float | bool | None
Epoch = Annotated[float, Field(ge=0)]
Work = Literal["training", "scoring"]


class AblationError(ValueError):
    """An ablation that cannot be run as asked; the message names the thing, the reason and the mend."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Step(_Part):
    """A command that makes a folder which trainings or evaluations need.

    `run`: as one would type it; `{seed}` in it makes it one step a seed. `makes`: the folder, within the run's; what a
    killed try left there is removed. `all_right`: it is an evaluation that must be right on every question.
    """

    run: str
    makes: str
    all_right: bool = False


class Evaluation(_Part):
    """What each checkpoint is asked: a task with its `-T` arguments, the model's `-M`, options of `inspect eval`."""

    task: str = "dabstep/generated_qa"
    task_args: dict[str, Any] = Field(default_factory=dict)
    model_args: dict[str, Any] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)


class Arm(_Part):
    """One thing that is tried.

    Attributes:
        train: Flags of the recipe, over those of all arms.
        config: Another YAML of the recipe.
        evaluate: Another way of asking (such as a scaffold), over that of all arms.
        score: Epochs whose checkpoints are scored, "each" whole one, or the "last". 0 is the model before training.
        line: Arms of the same line are joined in the plot; else an arm is a line of its own.
        checkpoints: A folder where somebody else's training leaves checkpoints: they are scored, nothing is trained.
    """

    train: dict[str, Value] = Field(default_factory=dict)
    config: str | None = None
    evaluate: Evaluation = Evaluation()
    score: list[Epoch] | Literal["each", "last"] = "last"
    line: str | None = None
    checkpoints: str | None = None


class Place(_Part):
    """A place where one child runs at a time: what for, and on which GPU ("" hides all of them)."""

    work: list[Work] = ["training", "scoring"]
    device: str | None = None


class Expected(_Part):
    """Seconds that an epoch of training and the scoring of a checkpoint take, for a first guess of the time."""

    an_epoch: float
    a_scoring: float


class Settings(_Part):
    """The whole ablation; see docs/training.md, "Ablate"."""

    study: str
    run: str
    recipe: str = "recipes/sft.py"
    config: str | None = None
    launch: dict[str, Value] = Field(default_factory=dict)
    train: dict[str, Value] = Field(default_factory=dict)
    evaluate: Evaluation = Evaluation()
    seeds: list[int] = [0]
    prepare: list[dict[str, Step]] = Field(default_factory=list)
    arms: dict[str, Arm]
    compare: list[tuple[str, str]] | Literal["first", "every pair"] = "first"
    slots: int | list[Place] = 1
    keep: Literal["best and last", "all"] = "best and last"
    environment: dict[str, str] = Field(default_factory=dict)
    wandb: bool = False
    seconds: Expected | None = None

    def places(self) -> list[Place]:
        """The slots, one by one."""
        return [Place() for _ in range(self.slots)] if isinstance(self.slots, int) else self.slots


def read_settings(path: Path, run: Path | None = None) -> Settings:
    """Read the YAML; `run` takes the place of its folder. Raises AblationError naming what is wrong with it."""
    if not path.is_file():
        raise AblationError(f"{path}: no such file. Give an ablation's YAML, such as recipes/configs/epochs-tiny.yaml.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise AblationError(f"{path}: is no YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(content, dict):
        raise AblationError(f"{path}: holds no settings.")
    try:
        settings = Settings.model_validate(content | ({"run": str(run)} if run is not None else {}))
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise AblationError(f"{path}: {reasons}.") from None
    if not settings.arms or not settings.seeds or not settings.places():
        raise AblationError(f"{path}: needs at least one arm, one seed and one slot.")
    if len(set(settings.seeds)) < len(settings.seeds):
        raise AblationError(f"{path}: a seed is there twice: {settings.seeds}.")
    return settings
