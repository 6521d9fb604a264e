"""The documents show commands and programs that run, and links that lead somewhere."""

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

import command
import lookalike
from forked import start_python
from lookalike.formats import FORMATS
from lookalike.models import registry

ROOT = Path(__file__).parents[1]
TRUST = ROOT / "docs" / "trust.md"
# The notebook draws five images of each class here instead of forty.
FEW_DRAWN_IMAGES = """
from lookalike.datasets.sample import write_sample
write_sample.__kwdefaults__["per_class"] = 5
"""
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EVERY_PAGE = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]


def name_of(path: Path) -> str:
    return path.name


def blocks(document: Path, language: str) -> list[str]:
    """Return the code blocks of a document that are in one language."""
    text = document.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def place(sample, tmp_path, monkeypatch):
    """The working folder of the examples: ``pictures``, ``query.jpg`` and ``facts.csv``."""
    shutil.copytree(sample, tmp_path / "pictures")
    shutil.copy(sample / "car" / "car_0001.jpg", tmp_path / "query.jpg")
    rows = ["filename,rating,shot by,taken"]
    for number in range(1, 6):
        rows.append(f"pictures/cat/cat_000{number}.jpg,{number},Ann,2024-05-0{number}")
    (tmp_path / "facts.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOOKALIKE_COLLECTION", str(tmp_path / "default"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run ``lookalike ...`` and check that it succeeds."""
    return command.lookalike(*words[1:], env={"COLUMNS": "100"})


def with_blocks(language: str) -> list[Path]:
    """Return the documents that have code blocks in a language."""
    return [document for document in DOCUMENTS if blocks(document, language)]


def run_program(program: str, name: str) -> None:
    """Run a program in a process of its own, and check that it succeeds."""
    with start_python(["-c", program], env=os.environ) as process:
        _, errors = process.communicate()
    assert process.returncode == 0, f"{name}:\n{program}\n{errors}"


@pytest.mark.slow
@pytest.mark.parametrize("document", with_blocks("python"), ids=name_of)
def test_python_examples_run(document, place):
    run_program("\n".join(blocks(document, "python")), document.name)


@pytest.mark.slow
@pytest.mark.parametrize("document", with_blocks("bash"), ids=name_of)
def test_commands_run(document, place, few_drawn_images):
    lines = [line for block in blocks(document, "bash") for line in block.splitlines()]
    for line in lines:
        words = shlex.split(line, comments=True)
        if words and words[0] == "lookalike":
            run(words)


@pytest.mark.slow
def test_the_readme_shows_real_output(place):
    """Each command prints the lines below it, whatever the numbers, up to a line of dots."""
    shown = re.split(
        r"^\$ ", "".join(blocks(ROOT / "README.md", "text")), flags=re.MULTILINE
    )
    for example in shown[1:]:
        line, *expected = example.rstrip().splitlines()
        words = shlex.split(line)
        if words[1] == "serve":
            continue  # it runs until Ctrl-C; tests/server starts it
        done = run(words)
        printed = without_numbers(done.stdout)
        wanted = without_numbers("\n".join(expected))
        if wanted and wanted[-1] == "...":
            wanted.pop()
            printed = printed[: len(wanted)]
        assert printed == wanted, line


def without_numbers(text: str) -> list[str]:
    """Return the lines of a text with every number replaced, and spaces folded."""
    lines = text.replace(str(Path.cwd()), "/home/you").strip().splitlines()
    return [" ".join(re.sub(r"-?\d[\d.,]*", "#", line).split()) for line in lines]


@pytest.mark.slow
def test_requests_of_the_rest_page_are_answered(place):
    """Each block runs as it stands in a shell, against a server of the indexed images."""
    from live import serving

    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    lookalike.index("pictures", "default")
    with serving("-c", "default") as live:
        for block in blocks(ROOT / "docs" / "api.md", "shell"):
            script = block.replace("http://127.0.0.1:8765/", live.address)
            words = ["bash", "-euo", "pipefail", "-c", script]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


def test_the_command_line_page_is_up_to_date():
    script = ROOT / "scripts" / "command_line.py"
    done = subprocess.run([sys.executable, script, "--check"], check=False)
    assert done.returncode == 0, "docs/command-line.md is out of date: run scripts/docs"


@pytest.mark.slow
def test_the_documentation_builds_without_a_warning(tmp_path):
    pytest.importorskip("sphinx", reason="needs Sphinx: scripts/docs installs it")
    words = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*words, ROOT / "docs", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").stat().st_size > 5_000


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_the_model_descriptions_of_the_recipes_are_valid(tmp_path):
    block, based = blocks(ROOT / "docs" / "how-to.md", "toml")
    (tmp_path / "net.toml").write_text(block)
    (tmp_path / "net.onnx").write_bytes(b"any")
    model = registry.resolve(tmp_path / "net.toml")
    assert (model.architecture, model.size, model.dim) == ("onnx", (224, 224), 512)
    assert model.weights.file == str(tmp_path / "net.onnx")
    assert model.weights.sha256 == hashlib.sha256(b"any").hexdigest()
    (tmp_path / "fast.toml").write_text(based)
    model = registry.resolve(tmp_path / "fast.toml")
    assert (model.precision, model.runtime, model.dim) == ("int8", "openvino", 1280)


def test_the_page_of_formats_lists_every_format_with_its_extensions():
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| (\w[\w ]*) \| (\.[\w. ]+) \| (.*)\|$", page, re.MULTILINE)
    listed = {name: extensions.split() for name, extensions, _ in table}
    assert listed == {each.name: list(each.extensions) for each in FORMATS}
    extras = {
        name: extra
        for name, _, needs in table
        for extra in re.findall(r"^`.*\[(\w+)\]", needs)
    }
    assert extras == {each.name: each.extra for each in FORMATS if each.extra}


def test_links_lead_somewhere():
    broken = []
    for document in EVERY_PAGE:
        for link in re.findall(
            r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")
        ):
            if not (document.parent / link).exists():
                broken.append(f"{document.relative_to(ROOT)}: {link}")
    assert broken == []


@pytest.mark.slow
def test_the_notebook_runs(place):
    notebook_path = ROOT / "examples" / "walkthrough.ipynb"
    notebook = json.loads(notebook_path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in cells]
    run_program("\n".join([FEW_DRAWN_IMAGES, *sources]), notebook_path.name)
    for name in ("answer.png", "evaluation.png", "map.png"):
        assert (place / "walkthrough" / name).stat().st_size > 10_000


def test_every_test_that_the_promises_name_exists():
    tests = {
        path: path.read_text(encoding="utf-8")
        for path in (ROOT / "tests").rglob("*.py")
    }
    everything = "\n".join(tests.values())
    functions = re.findall(r"\bdef (test_\w+)\(", everything)
    paths = {str(path.relative_to(ROOT)) for path in tests}
    missing = []
    for name in re.findall(
        r"`((?:tests/)?[\w/]*test_\w+(?:\.py|…)?)`", TRUST.read_text("utf-8")
    ):
        if name.endswith(".py"):
            exists = any(path.endswith(f"/{name}") or path == name for path in paths)
        else:
            # A name with an ellipsis is the start of a test's name.
            start = name.rstrip("…")
            is_start = start != name
            exists = any(
                function.startswith(start) if is_start else function == name
                for function in functions
            )
        if not exists:
            missing.append(name)
    assert missing == []
