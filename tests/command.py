"""Run the real command line in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

COMMAND = [sys.executable, "-m", "lookalike"]


def lookalike(
    *arguments: object, status: int = 0, by: Sequence[str] = (), **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run ``lookalike ARGUMENTS`` and check its exit status; `by` runs it, and `options` go to `subprocess.run`."""
    options = {"env": {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}, **options}
    done = subprocess.run(
        [*by, *COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == status, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def lookalike_json(*arguments: object, **options: Any) -> Any:
    """Run ``lookalike ARGUMENTS --json`` and return what it printed, which is JSON and nothing else."""
    return json.loads(lookalike(*arguments, "--json", **options).stdout)
