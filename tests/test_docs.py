"""What the documents say is run as they say it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lookalike
from live import serving
from lookalike.models import registry

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```",
        document.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )


@pytest.fixture
def place(sample, tmp_path, monkeypatch):
    """A folder with what the documents' examples name: ``pictures``, ``query.jpg`` and ``facts.csv``."""
    shutil.copytree(sample, tmp_path / "pictures")
    shutil.copy(sample / "teapot" / "teapot_0001.jpg", tmp_path / "query.jpg")
    rows = [
        f"pictures/cat/cat_000{number}.jpg,{number},Ann,2024-05-0{number}\n"
        for number in range(1, 6)
    ]
    (tmp_path / "facts.csv").write_text("filename,rating,shot by,taken\n" + "".join(rows))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOOKALIKE_COLLECTION", str(tmp_path / "default"))
    return tmp_path


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_python_examples_run(document, place):
    program = "\n".join(blocks(document, "python"))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{document.name}:\n{program}\n{done.stderr}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_run(document, place):
    commands = [line for block in blocks(document, "bash") for line in block.splitlines()]
    for command in commands:
        words = shlex.split(command, comments=True)
        if not words or words[0] != "lookalike":
            continue
        done = subprocess.run(
            [sys.executable, "-m", *words],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"


@pytest.mark.parametrize("document", [ROOT / "docs" / "api.md"], ids=lambda path: path.name)
def test_requests_are_answered(document, place):
    """Each block runs as it stands in a shell, against a server of the indexed pictures."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    lookalike.index("pictures", "default")
    with serving("-c", "default") as live:
        for block in blocks(document, "shell"):
            script = block.replace("http://127.0.0.1:8765/", live.address)
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


def test_every_command_is_in_the_readme():
    from lookalike.cli import app

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert [name for name in names if f"lookalike {name}" not in text] == []


def test_the_readmes_descriptions_are_some(tmp_path):
    block, based = blocks(ROOT / "README.md", "toml")
    (tmp_path / "net.toml").write_text(block)
    (tmp_path / "net.onnx").write_bytes(b"any")
    model = registry.resolve(tmp_path / "net.toml")
    assert (model.architecture, model.size, model.dim) == ("onnx", (224, 224), 512)
    assert model.weights.file == str(tmp_path / "net.onnx")
    assert model.weights.sha256 == hashlib.sha256(b"any").hexdigest()
    (tmp_path / "fast.toml").write_text(based)
    model = registry.resolve(tmp_path / "fast.toml")
    assert (model.precision, model.runtime, model.dim) == ("int8", "openvino", 1280)


@pytest.mark.parametrize(
    "document", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md")), ids=str
)
def test_links_lead_somewhere(document):
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_notebook_runs(place):
    cells = json.loads((ROOT / "examples" / "walkthrough.ipynb").read_text(encoding="utf-8"))[
        "cells"
    ]
    program = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in ("answer.png", "evaluation.png", "map.png"):
        assert (place / "walkthrough" / name).stat().st_size > 10_000
