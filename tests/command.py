"""Run the command line, in this process or in one of its own."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from forked import start_python

COMMAND = [sys.executable, "-m", "lookalike"]

# Wide enough for every line of help, and the same wherever the tests run.
ENVIRONMENT = {"COLUMNS": "200", "NO_COLOR": "1"}


def lookalike(
    *arguments: object,
    status: int = 0,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run ``lookalike ARGUMENTS`` in this process, and check its exit status.

    This is the real entry point, with its own standard streams: only the interpreter is shared.
    Warnings are errors, as in every test.

    Parameters
    ----------
    arguments
        The words after ``lookalike``.
    status
        The exit status expected.
    cwd
        The folder to run in.
    env
        Variables to set beside those of this process.
    """
    words = [str(argument) for argument in arguments]
    return _checked(_run_here(words, cwd, env), status)


def lookalike_process(
    *arguments: object, status: int = 0, by: Sequence[str] = (), **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run ``lookalike ARGUMENTS`` in a process, and check its exit status.

    Words in `by` come before the command; `options` are those of `subprocess.run`.
    """
    command = [*by, *COMMAND, *map(str, arguments)]
    options = {"env": {**os.environ, **ENVIRONMENT}, **options}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, **options
    )
    return _checked(done, status)


def lookalike_forked(
    *arguments: object, status: int = 0, env: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[str]:
    """Run ``lookalike ARGUMENTS`` in a process that need not import the library.

    `env` are all its variables.
    """
    words = [str(argument) for argument in arguments]
    variables = {**env, **ENVIRONMENT}
    with start_python(["-m", "lookalike", *words], env=variables) as process:
        stdout, stderr = process.communicate()
    done = subprocess.CompletedProcess(words, process.returncode, stdout, stderr)
    return _checked(done, status)


def lookalike_in_one_process(
    *commands: Sequence[object], by: Sequence[str] = ()
) -> list[subprocess.CompletedProcess[str]]:
    """Run several commands, one after the other, in a process that the words in `by` start."""
    words = [[str(word) for word in command] for command in commands]
    program = [*by, sys.executable, __file__, json.dumps(words)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    return [
        subprocess.CompletedProcess(command, *result)
        for command, result in zip(words, json.loads(done.stdout), strict=True)
    ]


def lookalike_json(*arguments: object, **options: Any) -> Any:
    """Run ``lookalike ARGUMENTS --json``, and return its output, which is JSON and nothing else."""
    return json.loads(lookalike(*arguments, "--json", **options).stdout)


def _checked(
    done: subprocess.CompletedProcess[str], status: int
) -> subprocess.CompletedProcess[str]:
    assert done.returncode == status, (
        f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
    )
    assert "Traceback" not in done.stderr
    return done


def _run_here(
    words: list[str], cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    with (
        _streams() as (stdout, stderr),
        _environment(words, cwd, env),
        _logger_restored(),
    ):
        code = _exit_status()
    return subprocess.CompletedProcess(words, code, _text(stdout), _text(stderr))


def _exit_status() -> int:
    from lookalike.cli import main

    try:
        main()
    except SystemExit as exit_:
        code = exit_.code
        if code is None:
            return 0
        return code if isinstance(code, int) else 1
    return 0


@contextlib.contextmanager
def _streams() -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    """Replace standard output and error with streams that are no terminals."""
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    stderr = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        yield stdout, stderr


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode("utf-8")


@contextlib.contextmanager
def _environment(
    words: list[str], cwd: Path | None, env: Mapping[str, str] | None
) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lookalike", *words])
        for name, value in {**ENVIRONMENT, **(env or {})}.items():
            patch.setenv(name, value)
        if cwd is not None:
            patch.chdir(cwd)
        yield


@contextlib.contextmanager
def _logger_restored() -> Iterator[None]:
    """Undo the command's changes to the library's logger."""
    logger = logging.getLogger("lookalike")
    before = list(logger.handlers)
    try:
        yield
    finally:
        logger.handlers = before


if __name__ == "__main__":
    finished = [_run_here(command) for command in json.loads(sys.argv[1])]
    results = [(done.returncode, done.stdout, done.stderr) for done in finished]
    sys.stdout.write(json.dumps(results))
