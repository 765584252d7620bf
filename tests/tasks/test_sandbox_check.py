"""The task that certifies a sandbox: bwrap passes; one that lets a cell out, or is not to be had, does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.log import EvalLog
from inspect_ai.util import SandboxEnvironment, sandboxenv

from harness.kernel.battery import LIMITS, battery_cells
from harness.kernel.bwrap import BwrapKernel
from harness.kernel.bwrap_sandbox import BwrapSandbox
from harness.kernel.protocol import CellResult
from tasks.sandbox_check import sandbox_check
from tests.stand_ins.e2b import E2B

pytestmark = pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning")


class WrongKernel(BwrapKernel):
    """A kernel that cannot reckon."""

    async def run(self, code: str, timeout: float | None = None) -> CellResult:
        return (await super().run(code, timeout)).model_copy(update={"result": "43"})


@sandboxenv(name="wrong-sandbox")
class WrongSandbox(BwrapSandbox):
    """It starts for every other sample."""

    started = 0

    @classmethod
    async def sample_init(cls, task_name: str, config: Any, metadata: dict[str, str]) -> dict[str, SandboxEnvironment]:
        WrongSandbox.started += 1
        if WrongSandbox.started % 2:
            raise RuntimeError("no sandbox today")
        return {"default": cls(await WrongKernel.create(dict(map(_pair, config.files)), config.kernel_limits()))}


def _pair(entry: tuple[str, str]) -> tuple[str, Path]:
    return entry[0], Path(entry[1])


def check(folder: Path, **arguments: Any) -> EvalLog:
    [log] = eval(sandbox_check(**arguments), model="none/none", log_dir=str(folder), display="none", max_samples=4)
    return log


def accuracy(log: EvalLog) -> float:
    assert log.results is not None
    [score] = log.results.scores
    return score.metrics["accuracy"].value


def test_bwrap_is_certified(tmp_path: Path) -> None:
    log = check(tmp_path, kinds="known good,answer key")
    assert (log.status, accuracy(log)) == ("success", 1.0), log.error
    cells = [cell for cell in battery_cells() if cell.kind in ("known good", "answer key")]
    assert {sample.id for sample in log.samples or []} == {cell.id for cell in cells}


def test_a_sandbox_that_fails_is_not(tmp_path: Path) -> None:
    """Neither by wrong results nor by samples that never ran, which no accuracy counts."""
    log = check(tmp_path, sandbox="wrong-sandbox", kinds="known good")
    assert log.status == "error"
    ran = [sample for sample in log.samples or [] if sample.error is None]
    assert 0 < len(ran) < len(log.samples or [])
    explanations = [score.explanation or "" for sample in ran for score in (sample.scores or {}).values()]
    assert all("afterwards 6 * 7 gave" in explanation for explanation in explanations)


def test_a_kind_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(PrerequisiteError, match=r"-T kinds=nonsense: no such cells\. There are: memory"):
        sandbox_check(kinds="nonsense")


def test_what_is_right_elsewhere_is_told_by_data_for_every_cell() -> None:
    in_e2b = {"output-gigabyte", "output-descriptor", "memory-deep-stack"}
    for name, changed in (("dabstep-bwrap", set()), ("dabstep-e2b", in_e2b)):
        cells = {cell.id: cell for cell in battery_cells(name)}
        assert cells.keys() == {cell.id for cell in battery_cells()}
        assert {cell.id for cell in cells.values() if cell.differs} == changed


def test_e2b_by_its_real_sdk_is_certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with E2B(replace(LIMITS, cell_s=3600, output_chars=1 << 20)) as service:
        for variable, value in service.environment.items():
            monkeypatch.setenv(variable, value)
        log = check(tmp_path, sandbox="dabstep-e2b", kinds="known good,file API")
        assert service.alive == []
    assert (log.status, accuracy(log)) == ("success", 1.0), log.error
    assert len(log.samples or []) == len(service.made) == 28


@pytest.mark.slow
def test_the_whole_battery_holds_in_e2b(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with E2B(replace(LIMITS, cell_s=3600, output_chars=1 << 20)) as service:
        for variable, value in service.environment.items():
            monkeypatch.setenv(variable, value)
        log = check(tmp_path, sandbox="dabstep-e2b")
        assert service.alive == []
    wrong = {
        sample.id: score.explanation
        for sample in log.samples or []
        for score in (sample.scores or {}).values()
        if score.value != "C"
    }
    assert (log.status, wrong) == ("success", {}), log.error
    assert len(log.samples or []) == len(battery_cells())
