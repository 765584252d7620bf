"""From the YAML to what there is to do: nothing is trained or asked twice, and mistakes are named with their mend."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from recipes.ablation.plan import Plan, make_plan
from recipes.ablation.settings import AblationError, Settings, read_settings
from recipes.ablation.work import step_command, training_command

ROOT = Path(__file__).parents[3]
SMALL: dict[str, Any] = {
    "study": "noise",
    "run": "results/runs/noise",
    "train": {"model_name_or_path": "{run}/models/{seed}", "training_set": "{run}/set", "num_train_epochs": 2},
    "evaluate": {"task_args": {"questions": "{run}/q"}, "options": {"temperature": 0, "no_score": False}},
    "seeds": [0, 1],
}


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    def read(**changes: Any) -> Settings:
        path = tmp_path / "ablation.yaml"
        path.write_text(yaml.safe_dump({**SMALL, **changes}, sort_keys=False))
        return read_settings(path)

    return read


def plan_of(settings: Settings) -> Plan:
    return make_plan(settings)


def test_each_arm_is_trained_once_a_seed_and_scored_at_its_end(settings: Callable[..., Settings]) -> None:
    plan = plan_of(settings(arms={"quiet": {}, "noisy": {"train": {"neftune_noise_alpha": 7}}}))
    assert list(plan.trainings) == ["quiet-seed-0", "quiet-seed-1", "noisy-seed-0", "noisy-seed-1"]
    assert plan.trainings["noisy-seed-1"].flags["neftune_noise_alpha"] == 7
    assert plan.trainings["noisy-seed-1"].flags["seed"] == 1
    assert plan.trainings["noisy-seed-1"].base == "results/runs/noise/models/1"
    assert [(run.label, run.epoch, len(run.scorings)) for run in plan.runs] == [("quiet", 2, 2), ("noisy", 2, 2)]
    words = plan.scorings["quiet-seed-0-epoch-2"].words
    assert words == ("dabstep/generated_qa", "-T", "questions=results/runs/noise/q", "--temperature", "0")


def test_arms_that_differ_in_asking_share_their_training(settings: Callable[..., Settings]) -> None:
    arms = {"ours": {}, "baseline": {"evaluate": {"task_args": {"scaffold": "baseline"}}}}
    plan = plan_of(settings(arms=arms, seeds=[0]))
    assert list(plan.trainings) == ["ours-seed-0"]
    assert [scoring.training for scoring in plan.scorings.values()] == ["ours-seed-0", "ours-seed-0"]
    assert "scaffold=baseline" in plan.scorings["baseline-seed-0-epoch-2"].words
    assert "questions=results/runs/noise/q" in plan.scorings["baseline-seed-0-epoch-2"].words


def test_the_last_epoch_of_one_training_and_a_training_of_that_length_are_asked_once(
    settings: Callable[..., Settings],
) -> None:
    plan = plan_of(settings(arms={"within": {"score": [0, 1, 2]}, "2 epochs": {}, "1 epoch": _epochs(1)}))
    assert list(plan.trainings) == ["within-seed-0", "within-seed-1", "1-epoch-seed-0", "1-epoch-seed-1"]
    assert len(plan.scorings) == 2 * 4
    by_label = {run.label: run.scorings for run in plan.runs}
    assert by_label["within, epoch 2"] == by_label["2 epochs"]


def test_a_base_model_that_no_seed_changes_is_asked_once_and_an_arm_of_epoch_0_trains_nothing(
    settings: Callable[..., Settings],
) -> None:
    train = {**SMALL["train"], "model_name_or_path": "Qwen/Qwen3-4B-Instruct-2507"}
    plan = plan_of(settings(arms={"base": {"score": [0]}}, train=train))
    assert plan.trainings == {}
    assert [(scoring.base, scoring.training) for scoring in plan.scorings.values()] == [
        (train["model_name_or_path"], "")
    ]
    assert len(plan.runs[0].scorings) == 1


def test_a_training_of_somebody_else_is_watched_and_not_started(settings: Callable[..., Settings]) -> None:
    plan = plan_of(settings(arms={"theirs": {"checkpoints": "/data/theirs-{seed}", "score": "each"}}))
    assert [(each.ours, str(each.folder)) for each in plan.trainings.values()] == [
        (False, "/data/theirs-0"),
        (False, "/data/theirs-1"),
    ]
    assert [run.epoch for run in plan.runs] == [1, 2]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"arms": {"a": {"epoch": 3}}}, r"arms\.a\.epoch: Extra inputs are not permitted"),
        ({"arms": {}}, "needs at least one arm"),
        ({"arms": {"a": {}}, "seeds": [1, 1]}, "a seed is there twice"),
        ({"arms": {"a": {"score": [3]}}}, "arm 'a': epoch 3 is to be scored, but it trains for 2"),
        ({"arms": {"a": {}}, "train": {}}, "arm 'a': no model to start from"),
        ({"arms": {"a": {}}, "compare": [["a", "b"]]}, "compare: there is no run 'b'; the runs are a"),
        ({"arms": {"a": {"train": {"max_steps": 9}, "score": "each"}}}, "with max_steps its epochs are not known"),
        ({"arms": {"a": {}}, "config": "nowhere.yaml"}, "nowhere.yaml: cannot be read"),
    ],
)
def test_a_mistake_is_named(settings: Callable[..., Settings], changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(AblationError, match=reason):
        plan_of(settings(**changes))


def test_a_missing_or_broken_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(AblationError, match="no such file"):
        read_settings(tmp_path / "nowhere.yaml")
    (tmp_path / "broken.yaml").write_text("arms: [")
    with pytest.raises(AblationError, match="is no YAML"):
        read_settings(tmp_path / "broken.yaml")


@pytest.mark.parametrize("path", sorted((ROOT / "recipes/configs").glob("epochs*.yaml")), ids=lambda path: path.name)
def test_the_ablations_that_come_with_the_sources_can_be_planned(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    settings = read_settings(path)
    plan = make_plan(settings)
    epochs = sorted({run.epoch for run in plan.runs if run.epoch is not None})
    assert {0, 2, 3, 5, 7} <= set(epochs)
    command = training_command(next(iter(plan.trainings.values())), settings)
    assert str(ROOT / "recipes/sft.py") in command or "recipes/sft.py" in command


def test_the_readmes_yaml_is_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    section = (ROOT / "docs/training.md").read_text(encoding="utf-8").split("\n## Ablate\n")[1].split("\n## ")[0]
    [block] = re.findall(r"```yaml\n(.*?)```", section, flags=re.S)
    (tmp_path / "ablation.yaml").write_text(block)
    settings = read_settings(tmp_path / "ablation.yaml")
    plan = make_plan(settings)
    assert sorted({training.flags["neftune_noise_alpha"] for training in plan.trainings.values()}) == [0, 7]
    assert len(plan.trainings) == 2 * 3, "two arms share their training, a seed each"
    assert len(plan.runs) == 1 + 3 + 1


def test_a_steps_programs_are_those_of_this_environment_and_patterns_are_filled_in(tmp_path: Path) -> None:
    for name in ("b.eval", "a.eval"):
        (tmp_path / name).touch()
    command = step_command(f"dabstep training-set {tmp_path}/*.eval --output 'a folder'")
    assert command[-5:] == ["training-set", f"{tmp_path}/a.eval", f"{tmp_path}/b.eval", "--output", "a folder"]
    assert command[:4] == [*command[:1], "-P", "-m", "dabstep"]


def _epochs(number: int) -> dict[str, Any]:
    return {"train": {"num_train_epochs": number}}
