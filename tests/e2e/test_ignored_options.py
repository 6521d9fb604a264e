"""An option that a command would ignore is refused, and the error names it and what to do."""

from __future__ import annotations

import pytest
from PIL import Image
from typer.testing import CliRunner

import lookalike
from lookalike.cli import app
from lookalike.models import licenses

CASES = {
    "models --accept-license dinov3-vits16 --benchmark x":
        ["--benchmark was given with --accept-license", "one command after the other"],
    "models --accept-license dinov3-vits16 --model pixels --images 9":
        ["--model and --images were given with --accept-license"],
    "models --images 9": ["--images was given without --benchmark", "--benchmark FOLDER"],
    "search a.jpg --gamma 0.5": ["--gamma was given without --negative"],
    "search --text dog --gamma 0": ["--gamma was given without --negative"],
    "demo pictures --data caltech": ["--data was given with a folder"],
    "duplicates --tier similar undo": ["--tier was given before undo", "undo -h"],
    "duplicates -c mine dismiss --list": ["-c was given before dismiss"],
    "duplicates --limit 5 --json": ["--limit was given with --json"],
    "duplicates --limit 5 --apply trash": ["--limit was given with --json or --apply"],
    "duplicates undo 2026 --list": ["RUN was given with --list"],
    "duplicates dismiss a b --list --forget": ["URI and --forget were given with --list"],
    "review labels outliers --clusters 4": ["--clusters was given with the parts labels, outliers"],
    "review clusters --diverse 4 --outliers 2": ["--outliers and --diverse were given"],
}  # fmt: skip


@pytest.mark.parametrize("line", CASES)
def test_an_ignored_option_is_refused(line):
    result = CliRunner().invoke(app, line.split())
    assert result.exit_code == 2
    text = " ".join(result.output.split())
    for words in CASES[line]:
        assert words in text


def test_index_accepts_the_licenses_of_the_collections_own_models(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (20, 20)).save(pictures / "0.png")
    description = tmp_path / "licensed.toml"
    description.write_text(
        'base = "pixels"\n[weights]\nfile = "none.bin"\nlicense = "Strict"\n'
        'terms = "https://example.org/terms"\n'
    )
    path = tmp_path / "collection"
    lookalike.index(pictures, path, models=[description])
    (model,) = lookalike.Collection.open(path).models.values()

    line = ["index", str(pictures), "-c", str(path), "--accept-license"]
    assert CliRunner().invoke(app, line).exit_code == 0
    licenses.check_accepted(model, model.weights)
