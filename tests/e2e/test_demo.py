"""The demo tells its whole story, with the photographs and without."""

from __future__ import annotations

import html
import os
import re
import shlex
import subprocess
import sys

import pytest


def demo(output, *arguments, **environment):
    command = [
        sys.executable,
        "-m",
        "lookalike.demo.run",
        "--output",
        str(output),
        *map(str, arguments),
    ]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **environment}
    ).stdout


def check(output, printed, spaces):
    assert printed.rstrip().endswith(str(output / "report.html"))
    for name in (
        "report.html",
        "map.html",
        "map.png",
        "evaluation.png",
        "manifest.csv",
        "result-1.png",
        "result-4.png",
    ):
        assert (output / name).stat().st_size > 1000, name
    report = (output / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"<h3>(\S+) ", report) == spaces * 4
    assert "$" not in re.sub(r"<pre>.*?</pre>", "", report, flags=re.DOTALL)
    # Its commands run as they are written.
    for command in html.unescape(
        re.findall(r"<pre>(.*?)</pre>", report, flags=re.DOTALL)[0]
    ).splitlines():
        subprocess.run(
            [sys.executable, "-m", *shlex.split(command)],
            cwd=output,
            capture_output=True,
            check=True,
        )
    # So does the one that it ends with.
    *serve, opened = shlex.split(re.search(r"look around in it: (.*)", printed)[1])
    assert opened == "--open"
    with subprocess.Popen([*serve, "--port", "0"], stdout=subprocess.PIPE, text=True) as served:
        try:
            assert any(line.startswith("Serving at http") for line in served.stdout)
        finally:
            served.terminate()
    # It is one file: all that it shows is in it, but for the map's page.
    outside = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', report)
    assert set(outside) == {"map.html"}


def test_without_network_and_photographs_it_draws_a_sample(tmp_path):
    output = tmp_path / "demo"
    printed = demo(output, LOOKALIKE_OFFLINE="1")
    assert "Drawing a sample instead" in printed
    assert "360 images, 360 of them new" in printed
    check(output, printed, ["efficientnet-lite0-int8", "pixels"])
    assert "360 images, 0 of them new" in demo(output, LOOKALIKE_OFFLINE="1")


def test_with_the_photographs(photographs, tmp_path):
    output = tmp_path / "demo"
    printed = demo(output, "--data", photographs.parent)
    assert "nine classes of Caltech 101" in printed
    assert "3,079 images, 3,079 of them new, 0 failed" in printed
    check(output, printed, ["efficientnet-lite0-int8", "pixels"])


def test_with_a_users_folder_of_one_class(sample, tmp_path):
    printed = demo(tmp_path / "demo", sample / "car")
    assert "No evaluation" in printed
    # Another folder in the same place is another story.
    assert "5 images, 5 of them new" in demo(tmp_path / "demo", sample / "cat")
    assert (tmp_path / "demo" / "report.html").is_file()


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(subprocess.CalledProcessError) as error:
        demo(tmp_path / "demo", tmp_path / "nowhere")
    assert error.value.returncode == 2
    assert error.value.stderr.startswith("Error: There is no file or folder")
