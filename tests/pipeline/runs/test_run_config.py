"""A run's YAML: what is wrong in it is named with its place and the nearest right name, before anything runs."""

from pathlib import Path

import pytest

from pipeline.runs.config import ConfigError, make_config, read_config, resolved
from pipeline.runs.stages import load_stages
from tests.pipeline.runs.toys import ORDER

TOYS = load_stages(ORDER)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run: r\nstages: {numbers: {}}\nexecuter: ray", "there is no setting 'executer'; did you mean 'executor'?"),
        ("run: r\nstages: {number: {}}", "stages.number: there is no such stage; did you mean 'numbers'?"),
        ("run: r\nstages: {numbers: {row: 3}}", "stages.numbers: there is no setting 'row'; did you mean 'rows'?"),
        ("run: r\nstages: {numbers: {rows: many}}", "rows: Input should be a valid integer"),
        ("run: r\nlocal: {worker: 2}\nstages: {numbers: {}}", "did you mean 'workers'?"),
        ("run: r\ntasks: 0\nstages: {numbers: {}}", "tasks is 0, and must be more than 0"),
        ("run: r\nexecutor: cloud\nstages: {numbers: {}}", "executor: Input should be 'local', 'ray' or 'slurm'"),
        ("stages: {numbers: {}}", "run: Field required"),
        ("run: r\nstages: {sorted: {}}", "the stage sorted needs numbers"),
        ("run: r", "`stages` names no stage. There are numbers, cluster"),
        ("[1, 2]", "holds no mapping"),
        ("run: [", "not YAML"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        read_config(write(tmp_path, text), TOYS)
    assert said in str(refused.value)
    assert "run.yaml" in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing.yaml: cannot be read"):
        read_config(tmp_path / "nothing.yaml", TOYS)


def test_flags_lie_over_the_yaml_and_defaults_under_it(tmp_path: Path) -> None:
    path = write(tmp_path, "run: r\ntasks: 8\nstages: {numbers: {rows: 3}, paid: }")
    config = read_config(path, TOYS, {"tasks": 2, "limit": None, "stages.numbers.rows": 5, "local.workers": 1})
    assert (config.tasks, config.limit, config.local.workers, config.local.attempts) == (2, None, 1, 3)
    assert config.stages["numbers"].rows == 5
    assert config.stages["paid"].word == "paid"


def test_resolved_values_read_back_as_the_same_configuration(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, "run: r\nstages: {numbers: {same_id_for: [1]}, sorted: {}}"), TOYS)
    assert make_config(resolved(config), TOYS) == config
