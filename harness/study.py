"""The W&B runs of a study: its data, its trainings and its evaluations share one group, linked by what they hold.

    DABSTEP_STUDY=five-epochs inspect eval dabstep/generated_qa -T questions=data/practice --model ...
    DABSTEP_STUDY=five-epochs accelerate launch recipes/sft.py ...
    DABSTEP_STUDY=five-epochs dabstep training-set logs/*.eval --output data/training

Off, and W&B never imported, unless `DABSTEP_STUDY` names the study. The rest is said by W&B's own variables:
WANDB_PROJECT ("dabstep" unless set), WANDB_ENTITY, WANDB_DIR, WANDB_MODE. Without a key for W&B the runs are kept
offline in `wandb/` (`wandb sync` uploads them later), as they are where W&B cannot be reached; without the `wandb`
package nothing is logged. Each is said once.

A dashboard must not cost what it shows: `harmless()` turns every failure of it into one warning a process. No command
line, no code, no output of the terminal and no name of the machine is sent.

What a run made or used is an artifact named after the hash of its contents (`Content`), so that equal contents are one
artifact wherever they were seen, and W&B's graph leads from data over models to evaluations. Weights are never
uploaded by this module (TRL's WANDB_LOG_MODEL does that); a model's artifact holds the hash of its weights.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from wandb import Artifact
    from wandb import Run as WandbRun

VARIABLE = "DABSTEP_STUDY"
PROJECT = "dabstep"
INIT_TIMEOUT_S = 20.0
FLUSH_S = 1.0  # what a kill may take from an offline run (W&B's own: 15)
LONGEST_GROUP = 128
LONGEST_NAME = 128

Job = Literal["data", "train", "eval", "ablation"]
Kind = Literal["dataset", "training-set", "model", "evaluation"]

_log = logging.getLogger(__name__)
_said: set[str] = set()


@dataclass(frozen=True)
class Content:
    """Something that a run made or used. `digest` tells it from all others of its kind; `file` is stored with it."""

    kind: Kind
    digest: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None

    @property
    def name(self) -> str:
        """The artifact's name: its kind and the beginning of the digest."""
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", self.digest.removeprefix("sha256:"))
        short = plain[:16] if re.fullmatch("[0-9a-f]{32,}", plain) else plain
        return f"{self.kind}-{short}"[:LONGEST_NAME]


class StudyRun:
    """One W&B run of a study. Only W&B's own process reaches the network, and only for what is logged here."""

    def __init__(self, run: WandbRun) -> None:
        self._run = run

    @property
    def id(self) -> str:
        """W&B's id of the run."""
        return str(self._run.id)

    @property
    def place(self) -> str:
        """Where the run is: its address, or its folder where it is kept offline."""
        return str(Path(self._run.dir).parent if self._run.offline else self._run.url)

    def progress(self, figures: Mapping[str, float]) -> None:
        """Add a point to the run's history."""
        self._run.log(dict(figures))

    def summarise(self, figures: Mapping[str, Any]) -> None:
        """Set figures of the run's summary; those that are None are left out."""
        self._run.summary.update({name: value for name, value in figures.items() if value is not None})

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Log a table. W&B wants one type a column: cells are strings, numbers, booleans or None."""
        import wandb

        self._run.log({name: wandb.Table(columns=list(columns), data=[list(row) for row in rows])})

    def used(self, content: Content) -> None:
        """Say that the run used `content`: an edge into the run in W&B's graph."""
        # The public use_artifact() refuses to work offline; this is the call it makes for an artifact that is not yet
        # known to the server, which is stored, and then marked as used by this run.
        self._run._log_artifact(_artifact(content), is_user_created=True, use_after_commit=True)

    def made(self, content: Content, aliases: Sequence[str] = ()) -> None:
        """Say that the run made `content`: an edge out of the run in W&B's graph."""
        self._run.log_artifact(_artifact(content), aliases=["latest", *aliases])

    def finish(self, *, failed: bool = False) -> None:
        """Wait until everything is stored (online: uploaded) and close the run."""
        self._run.finish(exit_code=int(failed))


def asked_for() -> bool:
    """Whether the environment names a study."""
    return bool(os.environ.get(VARIABLE, "").strip())


def start_run(
    job: Job, name: str, config: Mapping[str, Any], *, run_id: str | None = None, only: bool = False
) -> StudyRun | None:
    """Start a run of the study, or None where none is asked for or none can be had (said once).

    Args:
        job: What kind of run; W&B's job type.
        name: What the run is called.
        config: Its settings, W&B's config.
        run_id: A run with this id is gone on with where there is one (see `id_of`).
        only: The process has no other run, and libraries in it (TRL) log to this one.
    """
    run = None
    with harmless("start a run"):
        if asked_for():
            run = _start(job, name, config, run_id, only)
    return run


@contextmanager
def harmless(what: str) -> Iterator[None]:
    """Turn a failure to log into one warning a process; what is being logged goes on."""
    try:
        yield
    except Exception as error:
        say_once(f"could not {what} ({type(error).__name__}: {error}); going on without")


def say_once(message: str) -> None:
    """Warn of something, once a process: in Inspect's display and log, or on stderr."""
    if message not in _said:
        _said.add(message)
        _log.warning(f"{VARIABLE}={os.environ.get(VARIABLE)}: {message}")


def id_of(*parts: str) -> str:
    """A run id that is the same wherever the study and the parts are: what is resumed goes on in its run."""
    study = os.environ.get(VARIABLE, "")
    return hashlib.sha256(json.dumps([study, *parts]).encode()).hexdigest()[:16]


def _start(job: Job, name: str, config: Mapping[str, Any], run_id: str | None, only: bool) -> StudyRun | None:
    try:
        import wandb
    except ImportError:
        say_once("the package wandb is not installed, so nothing is logged: pip install 'dabstep[wandb]'")
        return None
    mode = _mode(wandb)
    try:
        run = _init(wandb, mode, job, name, config, run_id, only)
    except wandb.Error as error:
        if mode == "offline":
            raise
        say_once(f"W&B cannot be reached ({type(error).__name__}), so the run is kept offline in wandb/")
        run = _init(wandb, "offline", job, name, config, run_id, only)
    return StudyRun(run)


def _init(
    wandb: Any, mode: str, job: Job, name: str, config: Mapping[str, Any], run_id: str | None, only: bool
) -> WandbRun:
    settings = wandb.Settings(
        console="off",
        silent=True,
        disable_git=True,
        save_code=False,
        x_disable_meta=True,
        init_timeout=INIT_TIMEOUT_S,
        x_transaction_log_flush_interval=FLUSH_S,
    )
    study = os.environ[VARIABLE].strip()
    run: WandbRun = wandb.init(
        project=os.environ.get("WANDB_PROJECT") or PROJECT,
        group=study[:LONGEST_GROUP],
        job_type=job,
        name=name[:LONGEST_NAME],
        config={"study": study, **config},
        id=run_id,
        resume="allow" if run_id and mode != "offline" else None,
        mode=mode,
        reinit="finish_previous" if only else "create_new",
        settings=settings,
    )
    return run


def _mode(wandb: Any) -> str:
    """W&B's own mode, but "offline" where it would ask for a key."""
    from wandb.sdk.lib.wbauth import read_netrc_auth

    settings = wandb.setup().settings
    mode = str(settings.mode)
    if mode != "online":
        return mode
    if settings.api_key or settings.identity_token_file or read_netrc_auth(host=settings.base_url):
        return mode
    say_once("there is no W&B key, so the runs are kept offline in wandb/ (later: `wandb login`, `wandb sync`)")
    return "offline"


def _artifact(content: Content) -> Artifact:
    import wandb

    artifact = wandb.Artifact(content.name, type=content.kind, metadata={"digest": content.digest, **content.metadata})
    if content.file is not None:
        # Not copied: a log is the only record of its rollouts.
        artifact.add_file(str(content.file), name=content.file.name, policy="immutable", skip_cache=True)
    else:
        with artifact.new_file("digest.txt", mode="w") as file:
            file.write(content.digest + "\n")
    return artifact
