"""Run the pipeline, small and real, without network, keys or GPU: `make pipeline-demo`.

The notebooks of `tests/pipeline/corpus` (made and run here, on first use), all stages of `pipeline/configs/demo.yaml`,
models played by `tests/stand_ins/teacher_rules.py` and Kaggle by `tests/stand_ins/kaggle.py`, both over HTTP, solvers'
and teacher's code run in real kernels. Ends with the funnel and a data set, `results/runs/pipeline-demo/run/dataset`.
Started again it goes on where it was broken off; `--anew` begins again.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONFIG = "pipeline/configs/demo.yaml"
PLACE = Path("results/runs/pipeline-demo")
DIRECT = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
"""Kaggle's stand-in is a proxy for the name localhost; the models' stand-in is asked without one."""


def main() -> int:
    """The exit status of `dabstep pipeline run`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anew", action="store_true", help="remove what an earlier run left")
    parser.add_argument("--stage", action="append", default=[], help="only this stage; may be given several times")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    from tests.pipeline.corpus.make import corpus, put_on
    from tests.stand_ins.endpoint import StandIn
    from tests.stand_ins.kaggle import Kaggle
    from tests.stand_ins.teacher_rules import teacher

    if arguments.anew:
        shutil.rmtree(PLACE, ignore_errors=True)
    print("corpus: made on first use, half a minute", flush=True)
    made = corpus().relative_to(ROOT)
    with StandIn(teacher) as there, Kaggle() as kaggle:
        put_on(kaggle, made)
        command = run_command(made, there.base_url) + [part for stage in arguments.stage for part in ("--stage", stage)]
        print(f"$ {shlex.join(['dabstep', *command[2:]])}", flush=True)
        environment = run_environment(there.base_url, kaggle.environment, PLACE / "kaggle")
        return subprocess.run([sys.executable, *command], env=environment).returncode


def run_command(made: Path, base_url: str, settings: Mapping[str, str] | None = None) -> list[str]:
    """The command (after the interpreter's name) that runs the demo's YAML on the corpus `made`; `settings` lie over
    it, by dotted keys, as YAML."""
    filled = {
        "stages.load.inputs": f"[{made}/archives/*.zip]",
        "stages.load.meta_kaggle": f"{made}/meta-kaggle",
        "stages.link.meta_kaggle": f"{made}/meta-kaggle",
        **{f"endpoints.{name}.base_url": base_url for name in ("judge", "writer", "checker")},
        **(settings or {}),
    }
    command = ["-m", "dabstep", "pipeline", "run", CONFIG]
    return command + [part for key, value in filled.items() for part in ("--set", f"{key}={value}")]


def run_environment(base_url: str, kaggle: Mapping[str, str], credentials: Path) -> dict[str, str]:
    """This environment with both stand-ins, in which nobody is logged in at Kaggle: `credentials` holds none."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KAGGLE")}
    models = {"STANDIN_API_KEY": "none", "STANDIN_BASE_URL": base_url}
    return kept | {"KAGGLE_CONFIG_DIR": str(credentials.resolve())} | dict(kaggle) | DIRECT | models


if __name__ == "__main__":
    raise SystemExit(main())
