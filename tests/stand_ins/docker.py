"""A stand-in for the program `docker`: the same command line, no engine; a container is a bubblewrap sandbox of a test.

    environment = install(folder)            # PATH with `docker` on it, and where the stand-in keeps its state
    calls(folder)                            # every command line that it was given
    containers(folder)                       # what `docker ps --all` would show

It knows the options that our kernels use and refuses every other, so a misspelt one is found. `docker run` starts the
image's entry point for real: with the modules that `docker build` was given, with mounts, user and home directory of
the command line, without network; processes are counted where root runs it. What it does not do: limits of memory and
processors, the engine's own filter of system calls; so it is no place for cells that use up a machine. As with the real
one, the container is no child of the client: where the client is killed, its stdin closes, no more.

Orders in the folder's file `orders.json`: {"engine": false} (no answer), {"stubborn": true} (a container does not end
when its stdin closes), {"fails": MESSAGE} (`docker run` ends with 125).
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

STATE = "DOCKER_STAND_IN"
ROOT = Path(__file__).resolve().parents[2]
FLAGS = {"--rm", "--interactive", "--read-only", "--sig-proxy=false"}
ONCE = {
    *("--name", "--pull", "--network", "--hostname", "--user", "--workdir", "--cap-drop", "--security-opt", "--memory"),
    *("--memory-swap", "--pids-limit", "--cpus", "--shm-size", "--tmpfs", "--ipc", "--log-driver"),
}
MANY = {"--label", "--ulimit", "--env", "--mount"}
NAMESPACES = [f"--unshare-{name}" for name in ("pid", "ipc", "net", "uts", "cgroup-try")]
UNITS = {"m": 1 << 20, "g": 1 << 30}


def install(folder: Path) -> dict[str, str]:
    """Put `docker` into `folder`; the variables under which it is found."""
    for part in ("bin", "images", "containers"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    program = folder / "bin" / "docker"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -s {__file__} "$@"\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", STATE: str(folder)}


def order(folder: Path, **orders: Any) -> None:
    """How it is to behave from now on."""
    (folder / "orders.json").write_text(json.dumps(orders))


def calls(folder: Path) -> list[list[str]]:
    """Every command line, without the program's name."""
    path = folder / "calls.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def containers(folder: Path) -> dict[str, dict[str, Any]]:
    """The containers that have not been removed, by name."""
    return {path.stem: json.loads(path.read_text()) for path in (folder / "containers").glob("*.json")}


def main(state: Path, arguments: list[str]) -> int:
    with (state / "calls.jsonl").open("a") as file:
        file.write(json.dumps(arguments) + "\n")
    orders = json.loads((state / "orders.json").read_text()) if (state / "orders.json").exists() else {}
    if orders.get("engine", True) is False:
        return _fail("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is it running?", 1)
    match arguments:
        case ["version", "--format", "{{.Server.Version}}"]:
            print("28.0.0-stand-in")
        case ["image", "inspect", "--format", "{{.Id}}", tag]:
            if not (state / "images" / tag).exists():
                return _fail(f"Error response from daemon: No such image: {tag}", 1)
            print(tag)
        case ["build", "--tag", tag, "--build-arg", _, "--label", _, context]:
            shutil.copytree(context, state / "images" / tag, dirs_exist_ok=True)
        case ["ps", "--all", "--no-trunc", "--filter", wanted, "--format", '{{.ID}} {{.Label "dabstep.owner"}}']:
            for name, container in containers(state).items():
                if wanted.removeprefix("label=") in [f"{key}={value}" for key, value in container["labels"].items()]:
                    print(name, container["labels"].get("dabstep.owner", ""))
        case ["rm", "--force", *names]:
            for name in names:
                _remove(state, name)
        case ["run", *given]:
            return _run(state, given, orders)
        case _:
            return _fail(f"the stand-in does not know: docker {' '.join(arguments)}", 2)
    return 0


def _fail(message: str, status: int) -> int:
    print(message, file=sys.stderr)
    return status


def parsed(given: list[str]) -> tuple[dict[str, Any], str]:
    """The options of `docker run` and the image. Raises ValueError for one that our kernels should not use."""
    options: dict[str, Any] = {flag: False for flag in FLAGS} | {name: [] for name in MANY}
    words = iter(given)
    for word in words:
        if word in FLAGS:
            options[word] = True
        elif word in ONCE and word not in options:
            options[word] = next(words)
        elif word in MANY:
            options[word].append(next(words))
        elif word.startswith("-"):
            raise ValueError(f"unknown flag, or given twice: {word}")
        else:
            if rest := list(words):
                raise ValueError(f"a command after the image: {rest}")
            return options, word
    raise ValueError("no image")


def _run(state: Path, given: list[str], orders: dict[str, Any]) -> int:
    try:
        options, image = parsed(given)
    except ValueError as error:
        return _fail(f"docker: {error}", 125)
    if "fails" in orders:
        return _fail(f"docker: Error response from daemon: {orders['fails']}", 125)
    line = sandbox(state / "images" / image, options)
    if orders.get("stubborn"):
        line = ["sh", "-c", "trap '' TERM; sleep 600"]
    (into, feed), (take, out) = os.pipe(), os.pipe()
    engine = [sys.executable, "-s", __file__, "engine", json.dumps({"options": options, "line": line})]
    with subprocess.Popen(engine, stdin=into, stdout=out, start_new_session=True):
        os.close(into)
        os.close(out)
        threading.Thread(target=_pump, args=(0, feed), daemon=True).start()
        _pump(take, 1)
    return 0


def _pump(source: int, target: int) -> None:
    with contextlib.suppress(OSError):
        while data := os.read(source, 1 << 16):
            while data:
                data = data[os.write(target, data) :]
    os.close(target)


def _engine(state: Path, container: dict[str, Any]) -> int:
    """What lives as long as a container does."""
    options = container["options"]
    labels = dict(label.split("=", 1) for label in options["--label"])
    process = subprocess.Popen(container["line"], start_new_session=True)
    record = state / "containers" / f"{options['--name']}.json"
    record.with_suffix(".new").write_text(json.dumps({"pid": process.pid, "labels": labels}))
    record.with_suffix(".new").rename(record)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    status = process.wait()
    record.unlink(missing_ok=True)
    return status


def _remove(state: Path, name: str) -> None:
    record = state / "containers" / f"{name}.json"
    if record.exists():
        pid = json.loads(record.read_text())["pid"]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        record.unlink(missing_ok=True)


def sandbox(image: Path, options: dict[str, Any]) -> list[str]:
    """The line of bubblewrap that stands for this container: the image's Python is this one.

    Root's containers run as a user of their own on the host, so that they are nobody there and their processes are
    counted; an ordinary user's are in a user namespace, where nothing counts them.
    """
    sys.path.insert(0, str(ROOT))
    from harness.kernel.guest.confine import runtime_paths

    line = ["bwrap", *NAMESPACES, "--as-pid-1", "--new-session", "--clearenv", "--hostname", options["--hostname"]]
    uid, gid = options["--user"].split(":")
    if os.geteuid() == 0:
        uid = gid = str(61_000 + os.getpid() % 4_000)
        line += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        become = ["setpriv", "--reuid", uid, "--regid", gid, "--clear-groups", "--no-new-privs"]
        become += ["prlimit", f"--nproc={options['--pids-limit']}"]
    else:
        line += ["--unshare-user", "--uid", uid, "--gid", gid, "--cap-drop", "ALL"]
        become = []
    made: set[str] = set()
    for path in runtime_paths():
        line += _above(path, made)
        line += ["--symlink", os.readlink(path), path] if os.path.islink(path) else ["--ro-bind", path, path]
    (image / f"passwd-{uid}").write_text(f"user:x:{uid}:{gid}:user:/home/user:/bin/sh\n")
    for source, target in ((f"passwd-{uid}", "/etc/passwd"), ("guest", "/opt/dabstep/harness/kernel/guest")):
        line += [*_above(target, made), "--ro-bind", str(image / source), target]
    line += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"]
    line += _tmpfs("/dev/shm", options["--shm-size"], "1777")
    home, settings = options["--tmpfs"].split(":")
    known = dict(setting.split("=") for setting in settings.split(",") if "=" in setting)
    line += _above(home, made) + _tmpfs(home, known["size"], known["mode"])
    line += ["--symlink", f"{home}/.tmp", "/tmp", "--perms", "0755", "--tmpfs", f"{home}/input"]
    made.add(f"{home}/input")
    for mount in options["--mount"]:
        [fields] = csv.reader([mount])
        words = dict(field.split("=", 1) for field in fields if "=" in field)
        assert words["type"] == "bind"
        assert "readonly" in fields
        line += [*_above(words["target"], made), "--ro-bind", words["source"], words["target"]]
    for part in (f"{home}/input", "/dev", "/"):
        line += ["--remount-ro", part]
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"])
    for variable in (*options["--env"], f"PATH={path}"):
        line += ["--setenv", *variable.split("=", 1)]
    dockerfile = (image / "Dockerfile").read_text()
    [entry] = [rest for rest in dockerfile.splitlines() if rest.startswith("ENTRYPOINT ")]
    entry_point = json.loads(entry.removeprefix("ENTRYPOINT "))[1:]
    return [*line, "--chdir", options["--workdir"], "--", *become, sys.executable, *entry_point]


def _above(path: str, made: set[str]) -> list[str]:
    """The folders above a mount, which bubblewrap would make unreadable for others."""
    line = []
    for folder in reversed(Path(path).parents[:-1]):
        if str(folder) not in made:
            made.add(str(folder))
            line += ["--perms", "0755", "--dir", str(folder)]
    return line


def _tmpfs(path: str, size: str, mode: str) -> list[str]:
    return ["--perms", mode, "--size", str(int(size[:-1]) * UNITS[size[-1]]), "--tmpfs", path]


if __name__ == "__main__":
    if sys.argv[1:2] == ["engine"]:
        sys.exit(_engine(Path(os.environ[STATE]), json.loads(sys.argv[2])))
    sys.exit(main(Path(os.environ[STATE]), sys.argv[1:]))
