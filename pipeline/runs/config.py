"""A run's configuration: a YAML file into frozen dataclasses, with every key that nobody knows refused.

    config = read_config(Path("notebooks.yaml"), load_stages(), {"limit": 100, "stages.render.output_characters": 500})

The YAML names the run's folder, how it is executed, and the stages to run with their settings; a stage that is not
named is left out. Relative paths are taken from the current folder. Keys and tokens do not belong into it: stages name
the environment variable that holds one.

    run: results/runs/notebooks
    tasks: 16                      # ranks of each stage; fixed when the run begins
    executor: local                # or ray, slurm
    local: {workers: 4, memory_gb: 4}
    stages:
      load: {inputs: [notebooks.zip]}
      dedup: {}
      render: {output_characters: 1000}
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from pipeline.runs.stages import Stage

ExecutorName = Literal["local", "ray", "slurm"]
T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the key, the reason and the mend."""


@dataclass(frozen=True)
class LocalSettings:
    """Worker processes on this machine. Limits are those of one rank; `minutes` None: no limit."""

    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    attempts: int = 3
    memory_gb: float = 4.0
    minutes: float | None = None


@dataclass(frozen=True)
class RaySettings:
    """A Ray cluster; `address` None starts one on this machine. `minutes` is the limit of one rank.

    When no rank gives a sign of life for `stall_minutes`, what is missing is run again, `attempts` times in all.
    """

    address: str | None = None
    workers: int = 2
    cpus_per_task: int = 1
    memory_gb: float = 2.0
    attempts: int = 3
    minutes: float | None = None
    stall_minutes: float = 5.0


@dataclass(frozen=True)
class SlurmSettings:
    """A Slurm cluster. `venv` is the path of an activate script; `sbatch` are further options of sbatch,
    and `srun` says whether the job starts its rank with srun.

    `workers`: ranks at once, -1 for as many as the cluster gives. The command stays and waits; every `poll_s` seconds
    it looks which ranks are done, and hands in again, `attempts` times at most, those whose job ended without a result.
    """

    partition: str = ""
    time: str = "04:00:00"
    workers: int = -1
    cpus_per_task: int = 1
    memory_gb: int = 4
    max_array_size: int = 1001
    venv: str | None = None
    srun: bool = True
    sbatch: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 3
    poll_s: float = 15.0


@dataclass(frozen=True)
class CallSettings:
    """What calls of models may cost, over all stages, ranks and attempts of the run, and where they are kept.

    `ledger`: a file of SQLite's, in the run's folder unless the path is absolute. It must lie on a local disk: with
    ranks on several machines give a path there; `{host}` in it becomes the machine's name. `prices` is a YAML file of
    dollars per million tokens (`harness/calls/prices.py`); a bound in dollars needs one.
    """

    ledger: str = "calls.sqlite"
    dollars: float | None = None
    tokens: int | None = None
    prices: str | None = None


@dataclass(frozen=True)
class RunConfig:
    """One run. `stages` maps a stage's name to its settings, in the order they run; `limit` is for a first try.

    `endpoints` are the models that stages ask, by name (see `pipeline/asking/models.py`); they are checked where they
    are used.
    """

    run: Path
    stages: Mapping[str, Any]
    tasks: int = 16
    limit: int | None = None
    executor: ExecutorName = "local"
    local: LocalSettings = field(default_factory=LocalSettings)
    ray: RaySettings = field(default_factory=RaySettings)
    slurm: SlurmSettings = field(default_factory=SlurmSettings)
    endpoints: Mapping[str, Any] = field(default_factory=dict)
    calls: CallSettings = field(default_factory=CallSettings)

    def __post_init__(self) -> None:
        """Refuse figures that make no sense."""
        positive = {
            "tasks": self.tasks,
            "limit": self.limit,
            "local.workers": self.local.workers,
            "local.attempts": self.local.attempts,
            "local.memory_gb": self.local.memory_gb,
            "local.minutes": self.local.minutes,
            "ray.workers": self.ray.workers,
            "ray.attempts": self.ray.attempts,
            "slurm.attempts": self.slurm.attempts,
        }
        for name, value in positive.items():
            if value is not None and value <= 0:
                raise ValueError(f"{name} is {value}, and must be more than 0")
        if self.tasks > 99_999:
            raise ValueError("tasks is more than 99999, which the names of shards have no room for")


def read_config(path: Path, known: Sequence[Stage[Any]], overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Read the YAML, lay `overrides` (dotted key to value; None: not given) over it, and check all of it.

    `known` are the stages there are. Raises ConfigError.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Give the YAML file of a run.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: holds no mapping. It needs at least `run:` and `stages:`.")
    for key, value in (overrides or {}).items():
        if value is not None:
            _lay_over(raw, key, value)
    return make_config(raw, known, str(path))


def make_config(raw: Mapping[str, Any], known: Sequence[Stage[Any]], where: str = "configuration") -> RunConfig:
    """The same from a mapping. Raises ConfigError."""
    by_name = {stage.name: stage for stage in known}
    given = raw.get("stages") or {}
    if not isinstance(given, Mapping) or not given:
        raise ConfigError(f"{where}: `stages` names no stage. There are {', '.join(by_name)}.")
    for name in given:
        if name not in by_name:
            raise ConfigError(f"{where}: stages.{name}: there is no such stage{_near(name, by_name)}.")
    settings = {
        name: read_dataclass(stage.settings, given[name] or {}, f"{where}: stages.{name}")
        for name, stage in by_name.items()
        if name in given
    }
    for name in settings:
        missing = [needed for needed in by_name[name].needs if needed not in settings]
        if missing:
            raise ConfigError(f"{where}: the stage {name} needs {', '.join(missing)}. Add it to `stages`.")
    return read_dataclass(RunConfig, {**raw, "stages": settings}, where)


def read_dataclass(kind: type[T], raw: object, where: str) -> T:
    """A frozen dataclass from a mapping, its types checked. Raises ConfigError naming the key."""
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where}: is {raw!r}, and must be a mapping of settings.")
    _refuse_unknown(kind, raw, where)
    try:
        return TypeAdapter(kind).validate_python(dict(raw))
    except ValidationError as error:
        faults = "; ".join(f"{_dotted(fault['loc'])}{fault['msg']}" for fault in error.errors())
        raise ConfigError(f"{where}: {faults}.") from None


def resolved(config: RunConfig) -> dict[str, Any]:
    """Every value of the run, defaults included, as plain data: what is printed once and kept with the run."""
    return typing.cast(dict[str, Any], TypeAdapter(Any).dump_python(plain(config), mode="json"))


def plain(value: Any) -> Any:
    """Dataclasses, mappings and sequences as dictionaries and lists, to the bottom."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return value


def _refuse_unknown(kind: type, raw: Mapping[str, Any], where: str) -> None:
    """Unknown keys of this dataclass and of those in its fields."""
    if not dataclasses.is_dataclass(kind):
        return
    types = typing.get_type_hints(kind)
    names = [item.name for item in dataclasses.fields(kind)]
    for key, value in raw.items():
        if key not in names:
            raise ConfigError(f"{where}: there is no setting {key!r}{_near(str(key), names)}.")
        if isinstance(value, Mapping) and dataclasses.is_dataclass(types[key]):
            _refuse_unknown(typing.cast(type, types[key]), value, f"{where}: {key}")


def _near(name: str, known: typing.Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known) or 'none'}"


def _dotted(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) + ": " if location else ""


def _lay_over(raw: dict[str, Any], key: str, value: Any) -> None:
    *folders, last = key.split(".")
    place = raw
    for folder in folders:
        inner = place.get(folder)
        place[folder] = inner if isinstance(inner, dict) else {}
        place = place[folder]
    place[last] = value
