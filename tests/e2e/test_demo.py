"""``lookalike demo`` from start to end, with photographs and without."""

from __future__ import annotations

import html
import re
import shlex
import shutil
import subprocess

import pytest

from command import lookalike
from lookalike.datasets.sample import write_sample
from photographs import every

# Each test runs whole commands or networks; scripts/test --fast leaves them out.
pytestmark = pytest.mark.slow

OUTPUTS = (
    "report.html",
    "map.html",
    "map.png",
    "evaluation.png",
    "manifest.csv",
    "result-1.png",
    "result-4.png",
)


@pytest.fixture
def five_of_a_class(monkeypatch):
    """Draw five images of each class where the demo draws forty."""
    monkeypatch.setitem(write_sample.__kwdefaults__, "per_class", 5)


@pytest.fixture
def some_photographs(photographs, tmp_path):
    """A copy of Caltech 101 with every 32nd photograph of each class."""
    parent = tmp_path / "caltech101"
    for file in every(32, photographs):
        copy = parent / photographs.name / file.parent.name / file.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    return parent


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("LOOKALIKE_OFFLINE", "1")


def demo(output, *arguments) -> str:
    return lookalike("demo", "--output", output, *arguments).stdout


def check_outputs(output, printed, spaces):
    assert printed.rstrip().endswith(f"Read the report: {output / 'report.html'}")
    for name in OUTPUTS:
        assert (output / name).stat().st_size > 1000, name

    report = (output / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"<h3>(\S+) ", report) == spaces * 4
    assert "$" not in re.sub(r"<pre>.*?</pre>", "", report, flags=re.DOTALL)

    # The report is one file: it embeds everything but the map's page.
    outside = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', report)
    assert set(outside) == {"map.html"}


def check_commands(output, printed):
    """Run the commands that the report shows, and the one that the demo ends with."""
    report = (output / "report.html").read_text(encoding="utf-8")
    shown = re.findall(r"<pre>(.*?)</pre>", report, flags=re.DOTALL)[0]
    commands = html.unescape(shown).splitlines()
    assert len(commands) == 4
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "lookalike"
        lookalike(*words, cwd=output)

    *serve, opened = shlex.split(re.search(r"Search it in a browser: (.*)", printed)[1])
    assert opened == "--open"
    with subprocess.Popen(
        [*serve, "--port", "0"], stdout=subprocess.PIPE, text=True
    ) as served:
        try:
            assert any(line.startswith("Serving at http") for line in served.stdout)
        finally:
            served.terminate()


def test_without_photographs_and_network_it_draws_a_sample(
    offline, five_of_a_class, tmp_path
):
    output = tmp_path / "demo"
    printed = demo(output)
    assert "Drawing a sample instead" in printed
    assert "45 images, 45 of them new" in printed
    check_outputs(output, printed, ["efficientnet-lite0-int8", "pixels"])
    check_commands(output, printed)


def test_it_uses_a_copy_of_the_photographs(some_photographs, tmp_path):
    output = tmp_path / "demo"
    printed = demo(output, "--data", some_photographs)
    assert "nine classes of Caltech 101" in printed
    assert "100 images, 100 of them new, 0 failed" in printed
    check_outputs(output, printed, ["efficientnet-lite0-int8", "pixels"])


def test_it_uses_a_folder_of_one_class(sample, tmp_path):
    printed = demo(tmp_path / "demo", sample / "car")
    assert "No evaluation" in printed
    assert "5 images, 0 of them new" in demo(tmp_path / "demo", sample / "car")
    # Another folder gets a collection of its own in the same place.
    assert "5 images, 5 of them new" in demo(tmp_path / "demo", sample / "cat")
    assert (tmp_path / "demo" / "report.html").is_file()


def test_a_missing_folder_is_an_error(tmp_path):
    done = lookalike(
        "demo", "--output", tmp_path / "demo", tmp_path / "nowhere", status=2
    )
    assert done.stderr.startswith("Error: There is no file or folder")
