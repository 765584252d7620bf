"""Docker kernels by their command line, and what becomes of containers; the program docker is a stand-in's."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.kernel import docker_engine
from harness.kernel.container import command
from harness.kernel.docker import ContainerNamespace, DockerKernel
from harness.kernel.docker_engine import build_context, build_image, engine, image_tag, owner, remove_leftovers
from harness.kernel.docker_sandbox import DockerSandbox
from harness.kernel.guest.relay import Relay
from harness.kernel.protocol import KernelUnavailable, Limits
from tests.stand_ins import docker as stand_in

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[3]
LIMITS = Limits(cell_s=20, grace_s=2, output_chars=1000, memory_mb=512, disk_mb=16, processes=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The stand-in's, with a built image."""
    folder = tmp_path_factory.mktemp("docker")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stand_in.install(folder).items():
            patch.setenv(name, value)
        build_image("docker")
        yield folder


@pytest.fixture
def docker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same, behaving well at first."""
    monkeypatch.setattr(ContainerNamespace, "_ready", None)
    stand_in.order(folder)
    yield folder
    stand_in.order(folder)


def until(done: Callable[[], bool], within_s: float = 30) -> bool:
    deadline = time.monotonic() + within_s
    while not done() and time.monotonic() < deadline:
        time.sleep(0.05)
    return done()


def test_a_container_has_no_network_nothing_to_write_and_bounds_on_everything() -> None:
    program, run, *rest = command("docker", "image:1", "name", [("a.csv", "/data/a.csv")], LIMITS)
    options, image = stand_in.parsed(rest)
    assert (program, run, image) == ("docker", "run", "image:1")
    assert options["--network"] == "none"
    assert options["--read-only"]
    assert options["--cap-drop"] == "ALL"
    assert options["--security-opt"] == "no-new-privileges"
    assert options["--user"] == "1000:1000"
    assert options["--memory"] == options["--memory-swap"] == "592m", "memory, disk and a little to run on; no swap"
    assert options["--pids-limit"] == "32"
    assert options["--cpus"] == "1"
    assert options["--ulimit"] == ["core=0", "nofile=1024"]
    home, settings = options["--tmpfs"].split(":")
    assert (home, options["--shm-size"]) == ("/home/user", "4m")
    assert {"size=12m", "nosuid", "nodev"} <= set(settings.split(",")), "the two make up the 16 of the disk"
    assert options["--mount"] == ["type=bind,source=/data/a.csv,target=/home/user/input/a.csv,readonly"]
    assert options["--log-driver"] == "none", "stdout is the channel, not a log"
    assert options["--rm"]
    assert options["--interactive"]
    assert options["--pull"] == "never"
    assert f"dabstep.owner={owner()}" in options["--label"]


def test_only_what_is_said_goes_into_a_containers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "canary")
    assert "canary" not in " ".join(command("docker", "image:1", "name", [], LIMITS))


async def test_odd_names_of_files_arrive_as_they_are(docker: Path, tmp_path: Path) -> None:
    odd = tmp_path / 'a,"b" = c.csv'
    odd.write_text("x\n1\n")
    kernel = DockerKernel()
    await kernel.start({'in, "quotes".csv': odd, "deep/er/a.csv": odd}, LIMITS)
    shown = (await kernel.run("import os\nsorted(os.listdir('input')), open('input/deep/er/a.csv').read()")).result
    assert shown == str((["deep", 'in, "quotes".csv'], "x\n1\n"))
    await kernel.close()


def test_the_image_holds_what_runs_inside_and_nothing_else_of_ours() -> None:
    with build_context() as context:
        found = {str(path.relative_to(context)) for path in context.rglob("*") if path.is_file()}
        wanted = (context / "requirements.txt").read_text().split()
    guest = {f"guest/{path.name}" for path in (ROOT / "harness/kernel/guest").glob("*.py")}
    assert found == {"Dockerfile", "requirements.txt", *guest}
    assert all("==" in line for line in wanted)


def test_an_image_gets_another_name_when_anything_in_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {image_tag.__wrapped__()}
    parts = list(docker_engine._parts())
    for changed in range(len(parts)):
        other = [(name, data + b"#" * (at == changed)) for at, (name, data) in enumerate(parts)]
        monkeypatch.setattr(docker_engine, "_parts", lambda other=other: iter(other))
        names.add(image_tag.__wrapped__())
    assert len(names) == len(parts) + 1


async def test_what_is_missing_is_named_with_how_it_is_mended(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.order(docker, engine=False)
    with pytest.raises(KernelUnavailable, match=r"engine does not answer: Cannot connect .*systemctl start docker"):
        await DockerKernel.create()
    stand_in.order(docker, fails="no space left on device")
    with pytest.raises(KernelUnavailable, match=r"No container could be had for a kernel: .*: no space left"):
        await DockerKernel.create()
    monkeypatch.setattr(ContainerNamespace, "_ready", None)
    monkeypatch.setattr(docker_engine, "image_tag", lambda: "dabstep-kernel:other")
    with pytest.raises(KernelUnavailable, match=r"no image dabstep-kernel:other\. Build it.*: dabstep docker-image"):
        await DockerSandbox.check()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KernelUnavailable, match=r"docker is not installed\. Install Docker's engine, or use"):
        await engine()


async def test_what_a_cell_prints_arrives_with_its_result_however_much_and_whatever_else_writes(docker: Path) -> None:
    async with await DockerKernel.create(limits=LIMITS) as kernel:
        for n in range(100):
            result = await kernel.run(f"print('a' * {n * 5})\n{n}")
            assert (result.stdout, result.result) == ("a" * n * 5 + "\n", str(n))
        result = await kernel.run("print('b' * (20 << 20))\n'done'")
        assert (result.result, result.cut_chars) == ("'done'", (20 << 20) + 1 - 1000)
        await kernel.run("import subprocess\nnoise = subprocess.Popen(['yes'])")
        await asyncio.sleep(0.5)
        for n in range(5):
            assert (await kernel.run(f"{n}")).result == str(n)
        assert (await kernel.run("noise.kill()\n7")).result == "7"
        done = await kernel.exec(["head", "-c", "3000000", "/dev/zero"])
        assert len(done.stdout) == 3_000_000
        done = await kernel.exec(["cat"], input=b"fed" * 1_000_000)
        assert done.stdout == b"fed" * 1_000_000


async def test_nothing_of_ours_is_to_be_imported_in_a_cell(docker: Path) -> None:
    async with await DockerKernel.create(limits=LIMITS) as kernel:
        assert (await kernel.run("import harness.kernel")).status == "error"
        assert (await kernel.run("import sys\n[m for m in sys.modules if m.startswith('harness')]")).result == "[]"
        assert (
            await kernel.run("import os\n[f for f in os.listdir('/proc/self/fd') if int(f) > 9]")
        ).result == "['600']"


async def test_a_client_that_is_killed_ends_its_container_and_the_kernel_is_replaced(docker: Path) -> None:
    async with await DockerKernel.create(limits=LIMITS) as kernel:
        await kernel.run("x = 5")
        [(name, _)] = stand_in.containers(docker).items()
        [client] = [pid for pid in processes_with(name) if b"\0run\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(client, signal.SIGKILL)
        result = await kernel.run("x")
        assert result.status == "died"
        assert "died with its sandbox" in (result.note or "")
        assert (await kernel.run("1 + 1")).result == "2"
        assert await asyncio.to_thread(until, lambda: name not in stand_in.containers(docker))


async def test_a_container_that_does_not_end_by_itself_is_removed(
    docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.kernel.container.END_S", 0.5)
    stand_in.order(docker, stubborn=True)
    start = asyncio.create_task(DockerKernel.create(limits=LIMITS))
    while not stand_in.containers(docker):
        await asyncio.sleep(0.05)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert await asyncio.to_thread(until, lambda: stand_in.containers(docker) == {})
    assert any(call[:2] == ["rm", "--force"] for call in stand_in.calls(docker))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's stand-in has a container's user of its own")
async def test_a_file_that_the_containers_user_may_not_read_is_named(docker: Path, tmp_path: Path) -> None:
    (tmp_path / "private.csv").write_text("x")
    (tmp_path / "private.csv").chmod(0o600)
    with pytest.raises(PermissionError, match=r"private\.csv: not readable inside .* user 1000 .* chmod o\+r"):
        await DockerKernel().start({"private.csv": tmp_path / "private.csv"}, LIMITS)


def test_nothing_is_left_when_the_host_is_killed(docker: Path) -> None:
    script = (
        "import asyncio, sys\nfrom harness.kernel.docker import DockerKernel\n"
        "async def main():\n"
        "    kernel = await DockerKernel.create()\n"
        "    print('ready', flush=True)\n"
        "    await kernel.run('while True: pass')\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "ready\n"
        [(name, container)] = stand_in.containers(docker).items()
        host.kill()
    assert until(lambda: stand_in.containers(docker) == {})
    assert until(lambda: not Path(f"/proc/{container['pid']}").exists())
    assert until(lambda: processes_with(name) == [])


async def test_leftovers_of_dead_processes_are_removed_and_nobody_elses(docker: Path) -> None:
    host, boot, pid, started = owner().split("/")
    owners = {
        "mine": owner(),
        "dead": f"{host}/{boot}/{pid}/1",
        "before-the-boot": f"{host}/other/{pid}/{started}",
        "elsewhere": f"other-host/{boot}/1/1",
        "unknown": "",
    }
    sleeping = [subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in owners]
    for (name, label), process in zip(owners.items(), sleeping, strict=True):
        labels = {docker_engine.LABEL: "container", "dabstep.owner": label}
        (docker / "containers" / f"{name}.json").write_text(json.dumps({"pid": process.pid, "labels": labels}))
    assert await remove_leftovers("docker") == 2
    assert set(stand_in.containers(docker)) == {"mine", "elsewhere", "unknown"}
    for process in sleeping:
        process.kill()
        process.wait()
    for left in (docker / "containers").iterdir():
        left.unlink()


def test_bytes_that_no_relay_sends_end_it_and_do_no_harm() -> None:
    for nonsense in (
        b"\xff" * 100,
        b"\0\0\0\x02\0\0\0\0{]",
        b"\0\0\0\x0a\0\0\0\0" + b'{"over":9}',
        b"\0\0\0\1\0\0\0\7x",
    ):
        reader, writer = os.pipe()
        relay = Relay(reader, os.open(os.devnull, os.O_WRONLY), lambda *_: None, longest=1 << 20)
        os.write(writer, nonsense)
        os.close(writer)
        while not relay.is_over:
            relay.step(5)
        relay.close()


def processes_with(text: str) -> list[int]:
    """The processes that have `text` on their command line."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if text.encode() in Path("/proc", entry, "cmdline").read_bytes():
                found.append(int(entry))
        except OSError:  # it has just ended
            continue
    return found
