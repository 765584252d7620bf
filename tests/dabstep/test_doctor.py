"""`dabstep doctor` about sandboxes, and `dabstep docker-image`, with stand-ins for engine and key."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from dabstep.cli import app
from dabstep.doctor import Finding, findings
from harness.kernel.docker_engine import image_tag
from tests.stand_ins import docker as stand_in


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in stand_in.install(tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path


def found(name: str) -> Finding:
    [finding] = [finding for finding in findings() if finding.what.startswith(name)]
    return finding


def test_docker_is_told_of_before_and_after_its_image_is_built(docker: Path) -> None:
    before = found("Docker")
    assert not before.ok
    assert not before.needed
    assert before.detail == f"Docker has no image {image_tag()}. Build it, once: dabstep docker-image"
    built = CliRunner().invoke(app, ["docker-image"])
    assert built.exit_code == 0, built.output
    assert image_tag() in built.output
    after = found("Docker")
    assert after.ok
    assert image_tag() in after.detail


def test_an_image_without_an_engine_is_refused_in_one_line(docker: Path) -> None:
    stand_in.order(docker, engine=False)
    built = CliRunner().invoke(app, ["docker-image"])
    assert built.exit_code == 2
    assert "docker build ended with 1. It needs the engine" in built.output


def test_whether_a_key_of_e2b_is_set_is_told_and_the_key_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("E2B_API_KEY", raising=False)
    without = found("E2B")
    assert (without.ok, without.needed) == (False, False)
    assert "E2B_API_KEY is not set" in without.detail
    monkeypatch.setenv("E2B_API_KEY", "e2b_secret")
    assert found("E2B") == Finding(
        "E2B (only for dabstep-e2b)", True, "E2B_API_KEY is set; whether it is good is not asked"
    )
