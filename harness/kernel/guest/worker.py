"""Executes cells with IPython's semantics and tells the host what came of them.

`make_shell` builds the shell once, in the zygote; each worker is a fork that owns its copy and calls `serve`. A cell
arrives as {"cell": number, "code", "limit"}; the reply has the same number and `result`, `error`, `execution_count`,
`cut`. stdout and stderr are pipes to the host and no business of this module. Rich output (HTML, images) is not sent:
`text/plain` stands for it.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

from IPython.core.displayhook import DisplayHook
from IPython.core.error import StdinNotImplementedError
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from harness.kernel.guest import wire
from harness.kernel.guest.excerpt import excerpt
from harness.kernel.guest.tracebacks import format_error, message_of


class TextDisplayHook(DisplayHook):
    """Keeps the text form of a cell's last value instead of printing it."""

    text: str | None = None

    def write_output_prompt(self) -> None:
        """No prompt."""

    def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
        """Keep the text, whatever an object gave as such."""
        text = format_dict.get("text/plain")
        self.text = text if text is None or isinstance(text, str) else repr(text)

    def finish_displayhook(self) -> None:
        """Print nothing."""
        self._is_active = False


class CellShell(InteractiveShell):
    """An IPython shell without terminal, history file or colours, whose errors are told and not printed."""

    displayhook_class = TextDisplayHook
    shown_errors: ClassVar[list[BaseException]] = []

    def cell_name(self, filename: str) -> str | None:
        """A file name's cell, None for other files."""
        name = self.compile.format_code_name(filename)
        return f"{name[0]} {name[1]}" if name else None

    def showtraceback(self, exc_tuple: Any = None, *_: Any, running_compiled_code: bool = False, **__: Any) -> None:
        """A cell's own error is told in the reply; what a magic or a callback wants to show goes to stderr."""
        error = exc_tuple[1] if exc_tuple else sys.exc_info()[1]
        if error is not None and not running_compiled_code and not isinstance(error, SystemExit):
            self.shown_errors.append(error)

    def showsyntaxerror(self, filename: str | None = None, running_compiled_code: bool = False) -> None:
        """As `showtraceback`."""
        self.showtraceback(running_compiled_code=running_compiled_code)

    def _format_exception_for_storage(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Nothing: a notebook is made of the log, not by the shell."""
        return {}

    def system(self, cmd: str) -> None:
        """What `!command` does: its output goes where the cell's goes, without a terminal."""
        self.system_raw(cmd)  # type: ignore[no-untyped-call]

    def ask_exit(self) -> None:
        """What `exit` and `quit` do here: say that there is nothing to leave."""
        raise RuntimeError("exit() does not end this kernel; there is nothing to leave.")

    def enable_gui(self, gui: str | None = None) -> None:
        """There is no screen: `%matplotlib` may be used and changes nothing."""


class CellStream(io.TextIOWrapper):
    """An output stream that passes on every line at once, so that a killed cell's last words are known.

    After `EAGER` characters of a cell it passes on blocks: a flood would cost a system call a line.
    """

    EAGER = 1 << 16

    def __init__(self, descriptor: int) -> None:
        binary = open(descriptor, "wb", buffering=1 << 16, closefd=False)  # noqa: SIM115 - stays open
        super().__init__(binary, encoding="utf-8", errors="backslashreplace")
        self.begin_cell()

    def begin_cell(self) -> None:
        """Pass on every line again."""
        self._eager = self.EAGER
        self.reconfigure(line_buffering=True)

    def write(self, text: str, /) -> int:
        """As any text stream does."""
        if self._eager > 0:
            self._eager -= len(text)
            if self._eager <= 0:
                self.reconfigure(line_buffering=False)
        return super().write(text)


def make_shell() -> CellShell:
    """The shell, with its magics; to be built once and inherited by forks."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.xmode = "Plain"
    config.InteractiveShell.history_load_length = 0
    config.InteractiveShell.banner1 = ""
    shell = CellShell.instance(config=config)
    assert isinstance(shell, CellShell)
    shell.display_formatter.active_types = ["text/plain"]  # type: ignore[union-attr]
    return shell


def _no_input(prompt: object = "", *_: object) -> NoReturn:
    raise StdinNotImplementedError("input() is not available here: nobody can answer. Write the value into the cell.")


def furnish(exists: Callable[[str], bool]) -> None:
    """Make this process, the zygote, what a cell should find: no module of ours, no path that is not there.

    To be called when nothing will be imported from this package any more; `exists` tells of paths inside a kernel.
    """
    for name in [name for name in sys.modules if name.split(".")[0] == "harness"]:
        del sys.modules[name]
    sys.path[:] = ["", *filter(exists, sys.path)]
    sys.path_importer_cache.clear()
    builtins.input = _no_input
    for noise in ("To exit: use 'exit'", "FigureCanvasAgg is non-interactive"):
        warnings.filterwarnings("ignore", message=noise)


def serve(shell: CellShell, cells: socket.socket) -> NoReturn:
    """Run cells until the host's end closes."""
    streams = _open_streams()
    for ignored in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):  # the last two as Python starts with
        signal.signal(ignored, signal.SIG_IGN)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # or all forks would draw the same numbers
    pid = os.getpid()
    wire.send(cells, {"ready": True})
    while (received := wire.receive(cells)) is not None:
        frame, _ = received
        if any(stream.closed for stream in streams):  # a cell closed them
            streams = _open_streams()
        for stream in streams:
            stream.begin_cell()
        reply = _interruptible(shell, frame)
        if os.getpid() != pid:  # a fork that the cell made and let run on
            os._exit(0)
        wire.send(cells, {"cell": frame["cell"], **reply})
    os._exit(0)


def _open_streams() -> tuple[CellStream, CellStream]:
    """Streams on descriptors 0, 1 and 2, whatever was there."""
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - stays open
    sys.stdout, sys.stderr = CellStream(1), CellStream(2)
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, f"__{name}__", getattr(sys, name))
    return sys.stdout, sys.stderr


def _interruptible(shell: CellShell, frame: wire.Frame) -> wire.Frame:
    """Run a cell; outside of it an interrupt has no effect."""
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            reply = _execute(shell, frame["code"], frame["limit"])
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt as interrupt:  # it came between the cell's end and here
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        reply = _reply(shell, interrupt, None, frame["limit"])
    return reply


def _execute(shell: CellShell, code: str, limit: int) -> wire.Frame:
    hook = shell.displayhook
    assert isinstance(hook, TextDisplayHook)
    hook.text = None
    shell.shown_errors.clear()
    error: BaseException | None
    try:
        outcome = shell.run_cell(code, store_history=True)  # type: ignore[no-untyped-call]
        error = outcome.error_before_exec or outcome.error_in_exec
    except Exception as failure:  # IPython itself failed, for example on a hostile __repr__
        error = failure
    with contextlib.suppress(Exception):  # whatever the cell did to its streams
        for shown in shell.shown_errors:
            if shown is not error:
                print(format_error(shown, shell.cell_name), file=sys.stderr)
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            if stream is not None:
                stream.flush()
    return _reply(shell, error, hook.text, limit)


def _reply(shell: CellShell, error: BaseException | None, text: str | None, limit: int) -> wire.Frame:
    result, cut = (None, 0) if text is None else excerpt(text, limit)
    reply: wire.Frame = {"result": result, "error": None, "execution_count": shell.execution_count - 1, "cut": cut}
    if error is not None:
        message, _ = excerpt(message_of(error), limit)
        shown, cut = excerpt(format_error(error, shell.cell_name), limit)
        reply["error"] = {"name": type(error).__name__[:200], "message": message, "traceback": shown}
        reply["cut"] += cut
    return reply
