"""Processes that are forked from one that has already imported the library."""

from __future__ import annotations

import io
import multiprocessing
import os
import resource
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# `multiprocessing` states it where the process that others are forked from was killed.
_UNKNOWN_STATUS = 255
# Coverage is measured in processes that end as usual, and other systems cannot fork safely.
CAN_FORK = sys.platform == "linux" and "COVERAGE_PROCESS_CONFIG" not in os.environ
CONTEXT = multiprocessing.get_context("forkserver")
# The module must not be imported here: it is for the process from which others are forked.
CONTEXT.set_forkserver_preload(["preloaded"])


def start_python(
    words: Sequence[str],
    *,
    env: Mapping[str, str],
    new_session: bool = False,
    file_size: int | None = None,
) -> Process:
    """Start ``python WORDS`` with pipes for its output.

    Parameters
    ----------
    words
        They begin with ``-m``, ``-c`` or the path of a program.
    env
        All its variables.
    new_session
        Whether it leads a process group.
    file_size
        Writes beyond this size in bytes fail.
    """
    prepare = partial(_prepare, Path.cwd(), new_session, file_size)
    if CAN_FORK:
        return ForkedProcess(words, env=env, prepare=prepare)
    return subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        preexec_fn=prepare,  # noqa: PLW1509  # this process starts no threads in it
    )


def _prepare(folder: Path, new_session: bool, file_size: int | None) -> None:
    os.chdir(folder)
    if new_session:
        os.setsid()
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))


class ForkedProcess:
    """``python WORDS`` without the start of an interpreter, which takes most of a short run.

    It has the interface of `subprocess.Popen`. Its output, beyond what the caller reads, must fit
    into a pipe: 64 KB.

    Attributes
    ----------
    pid
        Its number.
    stdout, stderr
        Its output, as text.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        env: Mapping[str, str],
        prepare: Callable[[], None],
    ) -> None:
        _start_fork_server()
        output, child_output = CONTEXT.Pipe(duplex=False)
        errors, child_errors = CONTEXT.Pipe(duplex=False)
        started, child_started = CONTEXT.Pipe(duplex=False)
        pipes = (child_output, child_errors, child_started)
        self._process = CONTEXT.Process(
            target=_run, args=(words, dict(env), prepare, *pipes)
        )
        self._process.start()
        for pipe in pipes:
            pipe.close()
        # Signals are for the command, and not for its preparation.
        started.recv()
        started.close()
        self.stdout = _text(output)
        self.stderr = _text(errors)
        self.pid = self._process.pid

    def __enter__(self) -> ForkedProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.join()
        self.stdout.close()
        self.stderr.close()

    @property
    def returncode(self) -> int | None:
        status = self._process.exitcode
        if status == _UNKNOWN_STATUS:
            raise RuntimeError(
                "The process that the tests are forked from has ended, so the status of a forked "
                "one is unknown. That is a fault of the tests, or of what killed it."
            )
        return status

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        status = self.returncode
        if status is None:
            raise subprocess.TimeoutExpired("python", timeout or 0)
        return status

    def send_signal(self, how: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, how)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end, and return the rest of standard output and standard error."""
        self.wait(timeout)
        return self.stdout.read(), self.stderr.read()


Process = subprocess.Popen[str] | ForkedProcess


def _start_fork_server() -> None:
    """Start the process that others are forked from, unless it runs."""
    paths = [str(TESTS), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        forkserver.ensure_running()


def _text(connection: Connection) -> io.TextIOWrapper:
    """Return the text of a pipe, as it comes."""
    file = os.fdopen(os.dup(connection.fileno()), encoding="utf-8")
    connection.close()
    return file


def _run(
    words: Sequence[str],
    env: Mapping[str, str],
    prepare: Callable[[], None],
    output: Connection,
    errors: Connection,
    started: Connection,
) -> None:
    """Prepare the forked process, and run the words as an interpreter does."""
    prepare()
    os.dup2(output.fileno(), 1)
    os.dup2(errors.fileno(), 2)
    output.close()
    errors.close()
    sys.stdout = _stream(1)
    sys.stderr = _stream(2)
    os.environ.clear()
    os.environ.update(env)
    started.send(True)
    started.close()

    kind, *arguments = words
    sys.argv = [kind, *arguments]
    if kind == "-c":
        program = arguments.pop(0)
        sys.argv = ["-c", *arguments]
        exec(program, {"__name__": "__main__"})
    elif kind == "-m":
        sys.argv = arguments
        runpy.run_module(arguments[0], run_name="__main__")
    else:
        sys.path.insert(0, str(Path(kind).parent))
        runpy.run_path(kind, run_name="__main__")


def _stream(number: int) -> io.TextIOWrapper:
    file = io.FileIO(number, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(file), "utf-8", line_buffering=True)
