"""The command: what it prints, its exit statuses, and the files that it writes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from command import lookalike, lookalike_json
from duplicate_files import state
from lookalike.duplicates.groups import Duplicates


@pytest.fixture
def run(table):
    """Return a function that runs ``lookalike duplicates`` on the collection."""

    def run(*words: object, status: int = 0) -> str:
        return lookalike("duplicates", *words, "-c", table.path, status=status).stdout

    return run


def test_the_command_shows_first_and_undoes(run, root, table):
    before = state(root)
    shown = run("--apply", "trash")
    assert "2 copies" in shown
    assert "Nothing was changed" in shown
    assert state(root) == before

    done = run("--apply", "trash", "--yes")
    assert "2 copies" in done
    assert len(state(root)) == 3
    assert "trash" in run("undo", "--list")
    assert "2 copies" in run("undo")
    assert state(root) == before
    assert "No run" in run("undo", "--list")
    assert lookalike_json("duplicates", "undo", "--list", "-c", table.path) == {
        "runs": []
    }


def test_limit_bounds_the_groups_that_are_printed(run):
    whole = run()
    assert whole.count("keep  ") == 2
    first = run("--limit", "1")
    assert first.count("keep  ") == 1
    assert "and 1 group more: --limit N, or --output duplicates.csv" in first
    assert first.splitlines()[-1] == whole.splitlines()[-1]
    assert run("--limit", "0").count("keep  ") == 0


def test_a_missing_file_is_named_and_is_status_1(run, root):
    (root / "kept" / "a.png").unlink()
    (root / "copies" / "a.png").rename(root / "copies" / "moved.png")
    shown = run("--apply", "trash", "--yes", status=1)
    assert "Not touched" in shown
    assert "a.png" in shown
    assert len(state(root)) == 3


def test_links_and_the_trash_of_the_command(run, root, table):
    run("--apply", "hardlink", "--yes")
    first, second = root / "kept" / "a.png", root / "copies" / "a.png"
    assert first.samefile(second)
    report = lookalike_json("duplicates", "--apply", "trash", "--yes", "-c", table.path)
    assert report["removed"] == []
    run("undo")
    run("--apply", "trash", "--yes")
    assert "2 copies deleted for good" in run("empty")


def test_nobody_is_told_to_delete_a_folder_with_removed_images(run, table):
    run("--apply", "trash", "--yes")
    for file in Path(table.path, "images.lance", "data").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    checked = lookalike("check", "-c", table.path, status=1).stdout
    assert "remove the folder" not in checked
    assert f"{table.path}/.Trash-lookalike has the images" in checked
    error = lookalike("search", "--random", "-c", table.path, status=2).stderr
    assert "remove the folder" not in error


@pytest.mark.parametrize(
    "words", [["--yes"], ["--apply", "move"], ["--output", "x.bmp"], ["dismiss", "a"]]
)
def test_options_that_do_not_fit_are_refused(run, root, words):
    before = state(root)
    run(*words, status=2)
    assert state(root) == before


def test_a_verdict_of_the_command(run, root):
    pair = (root / "kept" / "a.png", root / "kept" / "b.png")
    assert "No verdict" in run("dismiss", "--list")
    run("dismiss", *pair)
    assert "a.png" in run("dismiss", "--list")
    run("dismiss", "--forget", *reversed(pair))
    assert "No verdict" in run("dismiss", "--list")


def test_groups_are_written_as_table_page_figure_and_json(run, root, tmp_path):
    for ending in ("csv", "html", "png", "json"):
        run("--output", tmp_path / f"found.{ending}")
    with (tmp_path / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    roles = [(row["group"], row["role"]) for row in rows]
    assert roles == [("1", "keep"), ("1", "copy"), ("2", "keep"), ("2", "copy")]
    assert {row["uri"] for row in rows} == {
        str(root / folder / name)
        for folder in ("kept", "copies")
        for name in ("a.png", "b.png")
    }
    page = (tmp_path / "found.html").read_text()
    assert page.count("<figure") == 4
    assert page.count("data:image/jpeg") == 4
    assert "http" not in page.replace("http-equiv", "")
    with Image.open(tmp_path / "found.png") as figure:
        assert figure.width > figure.height / 2
    text = (tmp_path / "found.json").read_text()
    assert len(Duplicates.from_json(text)) == 2
    assert json.loads(text)["copies"] == 2
