"""Another project uses our sandboxes alone: docs/kernels.md's own task, in a folder that knows nothing of this one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.kernel.docker_engine import build_image
from tests.stand_ins import docker
from tests.stand_ins.e2b import E2B

ROOT = Path(__file__).parents[2]
RUN = """
from inspect_ai import eval
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from parcels import parcels


def call(name, argument, text):
    return ModelOutput.for_tool_call("mockllm", name, {argument: text})


code = "import pandas as pd\\nparcels = pd.read_csv('input/parcels.csv')"
turns = [
    call("bash", "command", "head -1 input/parcels.csv"),
    call("cell", "code", code),
    call("cell", "code", "parcels.weight.mean()"),
    ModelOutput.from_content("mockllm", "It is 2.5."),
]
for turn in turns:
    turn.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
model = get_model("mockllm/model", custom_outputs=turns)
[log] = eval(parcels("SANDBOX"), model=model, log_dir="logs", display="none")
print(log.status, log.results.scores[0].metrics["accuracy"].value)
print([message.text for message in log.samples[0].messages if message.role == "tool"])
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the docs' task and its data."""
    page = (ROOT / "docs/kernels.md").read_text(encoding="utf-8")
    [task] = re.findall(r"```python\n(# parcels\.py.*?)```", page, flags=re.S)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "parcels.py").write_text(task)
    (folder / "parcels.csv").write_text("id,weight\n1,2\n2,3\n")
    return folder


@pytest.fixture
def services(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """What a sandbox needs, as variables."""
    if request.param == "dabstep-docker":
        with pytest.MonkeyPatch.context() as patch:
            variables = docker.install(tmp_path / "docker")
            for name, value in variables.items():
                patch.setenv(name, value)
            build_image("docker")
            yield variables
    elif request.param == "dabstep-e2b":
        with E2B() as service:
            yield service.environment
            assert len(service.made) == 1
            assert service.alive == []
    else:
        yield {}


@pytest.mark.parametrize(
    ("services", "sandbox"),
    [
        ("dabstep-bwrap", "dabstep-bwrap"),
        *(pytest.param(name, name, marks=pytest.mark.slow) for name in ("dabstep-docker", "dabstep-e2b")),
    ],
    indirect=["services"],
)
def test_the_readmes_task_runs_in_a_project_of_its_own(project: Path, services: dict[str, str], sandbox: str) -> None:
    (project / "run.py").write_text(RUN.replace("SANDBOX", sandbox))
    environment = {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **services}
    done = subprocess.run(
        [sys.executable, "run.py"], capture_output=True, text=True, cwd=project, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *_, verdict, told = done.stdout.strip().splitlines()
    assert verdict == "success 1.0"
    assert told == str(["id,weight\n", "(no output)", "np.float64(2.5)"])
