"""The command line as a user sees it: output, JSON, exit statuses, and errors."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from command import COMMAND, lookalike, lookalike_json, lookalike_process
from command import lookalike_in_one_process as in_one_process
from lookalike.cli import app
from lookalike.cli.command import command
from lookalike.errors import InputError
from trust.crafted import huge_png

INDEX_KEYS = [
    "added",
    "updated",
    "unchanged",
    "moved",
    "restored",
    "removed",
    "failed",
    "other_kinds",
    "excluded_files",
    "excluded_folders",
    "null_images",
    "images",
    "seconds",
    "withheld",
    "incomplete",
    "relocations",
]


@pytest.fixture(scope="module")
def indexed(sample, tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "collection"
    lookalike("index", sample, "-c", path)
    return path


@pytest.fixture(scope="module")
def query(sample):
    return sample / "teapot" / "teapot_0003.jpg"


def test_index_prints_its_json_contract(sample, tmp_path):
    done = lookalike_process("index", sample, "-c", tmp_path / "c", "--json")
    report = json.loads(done.stdout)
    assert list(report) == INDEX_KEYS
    assert (report["added"], report["images"], report["failed"]) == (45, 45, 0)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_search_prints_its_json_contract(indexed, query):
    answer = lookalike_json("search", query, "-c", indexed, "-k", 3)
    assert list(answer) == ["space", "metric", "exact", "recall", "matches"]
    assert (answer["space"], answer["metric"], answer["exact"]) == (
        "efficientnet-lite0-int8",
        "euclidean",
        True,
    )
    assert [list(match) for match in answer["matches"]] == [
        ["rank", "id", "uri", "label", "distance"]
    ] * 3
    first = answer["matches"][0]
    assert (first["rank"], first["uri"], first["label"]) == (1, str(query), "teapot")


def test_info_prints_its_json_contract(indexed):
    expected = {
        "images": 45,
        "spaces": [
            {
                "name": "efficientnet-lite0-int8",
                "model": "efficientnet-lite0-int8",
                "dim": 1280,
                "precision": "int8",
                "runtime": "onnxruntime",
            }
        ],
        "columns": [],
        "failures": 0,
        "trash": 0,
    }
    assert lookalike_json("info", "-c", indexed) == expected
    assert (
        "8 bits (int8, onnxruntime); 1280 dimensions; 45 images"
        in lookalike("info", "-c", indexed).stdout
    )


def test_models_are_listed(indexed):
    listed = lookalike_json("models")
    precisions = {model["name"]: model["precision"] for model in listed["models"]}
    assert {"efficientnet-lite0", "efficientnet-lite2", "pixels"} <= set(precisions)
    assert (listed["default"], precisions[listed["default"]]) == (
        "efficientnet-lite0-int8",
        "int8",
    )
    reads_text = {model["name"]: model["text"] for model in listed["models"]}
    assert reads_text["efficientnet-lite0"], "it knows nouns by its classifier"
    assert reads_text["clip-vit-b32"]
    assert not reads_text["inception-v3-keras"]
    printed = lookalike("models").stdout
    assert "EfficientNet-Lite0" in printed
    assert (
        "A new collection uses efficientnet-lite0-int8 unless --model names another model.\n"
        in printed
    )


def test_search_prints_one_match_per_line(indexed, query):
    lines = lookalike(
        "search", query, "-c", indexed, "-k", 4, "--exclude-self"
    ).stdout.splitlines()
    assert len(lines) == 4
    assert lines[0].split()[:1] == ["1"]
    assert "teapot" in lines[0]
    assert str(query) not in "".join(lines)


@pytest.mark.slow
def test_search_saves_an_image_of_the_result(indexed, query, tmp_path):
    done = lookalike("search", query, "-c", indexed, "--save", tmp_path / "out.png")
    assert f"Saved to {tmp_path / 'out.png'}" in done.stdout
    with Image.open(tmp_path / "out.png") as image:
        assert image.format == "PNG"
        assert image.width > 1000


def test_the_environment_names_the_default_collection(indexed, query):
    environment = {**os.environ, "LOOKALIKE_COLLECTION": str(indexed)}
    assert (
        len(lookalike_json("search", query, "-k", 2, env=environment)["matches"]) == 2
    )


def test_removed_images_are_in_the_trash_until_they_are_indexed(sample, tmp_path):
    car, path = sample / "car", tmp_path / "c"
    lookalike("index", car, "-c", path, "--model", "pixels")
    assert lookalike_json("remove", car / "car_0001.jpg", "-c", path) == {"removed": 1}
    printed = lookalike("remove", car, "-c", path).stdout
    assert "4 images moved into the trash" in printed
    listed = lookalike_json("trash", "list", "-c", path)
    assert listed["days"] == 30
    assert len(listed["images"]) == 5
    first = listed["images"][0]
    assert list(first) == ["uri", "label", "removed_at", "reason"]
    assert (first["uri"], first["label"]) == (str(car / "car_0001.jpg"), "car")
    assert first["reason"] == "removed"
    report = lookalike_json("index", car, "-c", path)
    assert (report["restored"], report["added"]) == (5, 0)
    printed = lookalike("trash", "list", "-c", path).stdout
    assert printed == f"The trash of {path} is empty.\n"


@pytest.mark.slow
def test_the_trash_is_listed_restored_and_emptied(sample, tmp_path):
    path = tmp_path / "c"
    lookalike("index", sample, "-c", path, "--model", "pixels")
    lookalike("remove", sample / "car", sample / "cat", "-c", path)
    heading, first, second, summary = lookalike(
        "trash", "list", "-c", path
    ).stdout.splitlines()
    assert heading.split() == ["Images", "Removed", "Kept", "until", "Reason", "Folder"]
    assert first.split()[-2:] == ["removed", str(sample / "car")]
    assert second.split()[-2:] == ["removed", str(sample / "cat")]
    assert summary.startswith("10 images. Put them back with:")

    printed = lookalike("trash", "restore", sample / "car", "-c", path).stdout
    assert printed == "5 images restored.\n"
    wrong = lookalike("trash", "restore", sample / "car", "-c", path, status=2)
    assert "has no image" in wrong.stderr
    printed = lookalike("trash", "empty", "-c", path).stdout
    assert printed == "5 images deleted for good.\n"
    assert lookalike_json("info", "-c", path)["images"] == 40


def test_a_withheld_sweep_is_reported_with_status_1(sample, tmp_path):
    images = shutil.copytree(sample, tmp_path / "images")
    path = tmp_path / "c"
    lookalike("index", images, "-c", path, "--model", "pixels")
    for image in (images / "car").iterdir():
        image.unlink()
    printed = lookalike("index", images, "-c", path, status=1).stdout
    assert f"45 images in {path}: 40 unchanged." in printed
    assert "Kept, although their files are missing: 5 images" in printed
    assert f"  {images / 'car'}: 5 of 5; the folder is empty" in printed
    assert "index again with --prune." in printed
    report = lookalike_json("index", images, "-c", path, status=1)
    assert report["withheld"][0]["missing"] == 5
    printed = lookalike("index", images, "-c", path, "--prune").stdout
    assert f"40 images in {path}: 5 removed, 40 unchanged." in printed
    assert "List them with: lookalike trash list" in printed


def test_a_moved_folder_is_reported_and_carried_over(sample, tmp_path):
    old = shutil.copytree(sample / "car", tmp_path / "old one")
    path = tmp_path / "c"
    lookalike("index", old, "-c", path, "--model", "pixels")
    new = old.rename(tmp_path / "new")
    printed = lookalike("index", new, "-c", path).stdout
    assert f"5 images of {old} have no file any more." in printed
    assert f"  lookalike move '{old}' {new}\n" in printed
    printed = lookalike("move", old, new, "-c", path).stdout
    assert printed == (
        f"5 images carried over from {old} to {new}.\n"
        "5 of them were already indexed there.\n"
    )
    report = lookalike_json("move", new, new.rename(tmp_path / "newer"), "-c", path)
    assert (report["moved"], report["merged"]) == (5, 0)


@pytest.mark.slow
def test_one_run_fills_two_spaces(sample, query, tmp_path):
    lookalike(
        "index",
        sample,
        "-c",
        tmp_path / "c",
        "--model",
        "pixels",
        "--model",
        "efficientnet-lite0",
    )
    assert [
        space["name"]
        for space in lookalike_json("info", "-c", tmp_path / "c")["spaces"]
    ] == ["pixels", "efficientnet-lite0"]
    feature = lookalike_json(
        "search", query, "-c", tmp_path / "c", "-k", 5, "--space", "efficientnet-lite0"
    )
    pixels = lookalike_json(
        "search", query, "-c", tmp_path / "c", "-k", 5, "--space", "pixels"
    )
    teapots = [
        [match["label"] for match in answer["matches"]].count("teapot")
        for answer in (feature, pixels)
    ]
    assert teapots[0] > teapots[1]


@pytest.fixture
def no_rights(monkeypatch):
    """A command prefix under which file permissions apply to root too."""
    if os.name != "posix":
        pytest.skip("needs POSIX file permissions")
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip(
            "runs as root without setpriv (util-linux), so every file is readable"
        )
    return [
        "setpriv",
        "--bounding-set=-dac_override,-dac_read_search",
        "--inh-caps=-all",
        "--",
    ]


@pytest.fixture
def difficult(sample, tmp_path):
    """A folder of good and bad files, the good names, and words from each bad file's reason."""
    folder = tmp_path / "difficult"
    folder.mkdir()
    source = Image.open(sample / "cat" / "cat_0001.jpg")
    data = (sample / "cat" / "cat_0001.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(data[: len(data) // 2])
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("I am a letter")
    (folder / "huge.png").write_bytes(huge_png(30_000, 30_000))
    (folder / "unreadable.jpg").write_bytes(data)
    (folder / "unreadable.jpg").chmod(0)
    source.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(np.full((40, 50), 40_000, np.uint16)).save(folder / "deep.png")
    frames = [source.convert("P"), Image.new("P", source.size, 1)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    exif[0x0112] = 6
    source.save(folder / "turned.jpg", exif=exif)
    source.save(folder / 'it\'s a "naïve" näme 😀.webp')
    good = [
        "cmyk.jpg",
        "deep.png",
        'it\'s a "naïve" näme 😀.webp',
        "moving.gif",
        "turned.jpg",
    ]
    bad = {
        "empty.png": "the file is empty",
        "huge.png": "900 megapixels",
        "text.jpg": "not an image",
        "truncated.jpg": "truncated",
        "unreadable.jpg": "Permission denied",
    }
    return folder, good, bad


@pytest.mark.slow
def test_the_summary_counts_what_was_left_out(tmp_path):
    folder = tmp_path / "photos"
    for name in ("a", "b", "@eaDir/a", "drafts/c", "draft-d"):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (len(name) * 20, 90, 30)).save(path)
    for name in ("scan.xcf", "more.XCF", "notes.txt", "README"):
        (folder / name).write_text("no image")
    words = ["index", folder, "-c", tmp_path / "c", "--model", "pixels"]
    words += ["--exclude", "drafts/", "--exclude", "draft-*"]

    printed = lookalike(*words).stdout
    assert "2 added" in printed
    assert "Excluded: 2 folders, 1 image." in printed
    assert (
        "Passed over 4 files of other kinds: xcf 2, without extension 1, txt 1."
        in printed
    )
    report = lookalike_json(*words)
    assert report["other_kinds"] == {"xcf": 2, "": 1, "txt": 1}
    assert (report["excluded_folders"], report["excluded_files"]) == (2, 1)


@pytest.mark.slow
def test_bad_files_are_listed_and_good_files_are_indexed(
    difficult, tmp_path, no_rights
):
    folder, good, bad = difficult

    collection = tmp_path / "c"
    index = ("index", folder, "-c", collection)
    indexed, repeated = in_one_process(index, [*index, "--strict"], by=no_rights)
    assert (indexed.returncode, repeated.returncode) == (0, 1)
    printed = indexed.stdout
    for name, words in bad.items():
        assert any(name in line and words in line for line in printed.splitlines()), (
            name,
            printed,
        )
    info = lookalike_json("info", "--failures", "-c", collection)
    assert (info["images"], info["failures"]) == (5, 5)
    assert {Path(f["uri"]).name: True for f in info["failed"]} == dict.fromkeys(
        bad, True
    )
    listed = lookalike("info", "--failures", "-c", collection).stdout
    assert all(words in listed for words in bad.values())
    for name in good:
        answer = lookalike_json("search", folder / name, "-k", 1, "-c", collection)
        assert Path(answer["matches"][0]["uri"]).name == name
        assert answer["matches"][0]["distance"] < 0.01


def test_max_megapixels_limits_the_image_size(sample, tmp_path):
    options = ("--max-megapixels", "0.01", "--model", "pixels")
    done = lookalike("index", sample / "car", "-c", tmp_path / "c", *options)
    assert "5 failed" in done.stdout
    assert "more than the limit" in done.stdout
    again = lookalike("index", sample / "car", "-c", tmp_path / "c", "--retry-failures")
    assert "5 added" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["index", "missing-folder"], ["no file or folder 'missing-folder'", "Check the spelling"]),
        (["index", "empty"], ["no images under", "empty", "Name another folder"]),
        (["index", "pictures", "--model", "efficientnet-lite1"],
         ["no model 'efficientnet-lite1'", "Did you mean"]),
        (["index", "pictures", "--model", "net.onnx"], ["no model file net.onnx"]),
        (["index", "pictures", "-c", "pictures"], ["pictures is not empty"]),
        (["search", "note.txt", "-c", "good"], ["cannot be decoded as an image", "not an image"]),
        (["search", "missing.jpg", "-c", "good"], ["missing.jpg cannot be read", "No such file"]),
        (["search", "note.txt", "-c", "nowhere"],
         ["The collection nowhere does not exist", "lookalike index"]),
        (["search", "pictures/0.png", "-c", "good", "--space", "nope"],
         ["no Space 'nope'", "it has pixels"]),
        (["search", "pictures/0.png", "-c", "good", "--save", "x.gif"], ["x.gif", ".png"]),
        (["search", "pictures/0.png", "-c", "corrupt"],
         ["The collection corrupt could not be opened", "index again"]),
        (["info", "-c", "pictures"], ["is a folder without a collection"]),
        (["remove", "nothing.jpg", "-c", "good"],
         ["no image 'nothing.jpg'", "Nothing was removed"]),
    ],
)  # fmt: skip
def test_each_error_is_one_paragraph_with_a_remedy(place, arguments, words):
    done = lookalike(*arguments, status=2, cwd=place)
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of images, a good and a corrupt collection, an empty folder, and a text file."""
    place = tmp_path_factory.mktemp("place")
    (place / "empty").mkdir()
    (place / "note.txt").write_text("hello")
    (place / "pictures").mkdir()
    for number in range(3):
        Image.new("RGB", (20, 20), (number * 80, 10, 10)).save(
            place / "pictures" / f"{number}.png"
        )
    for name in ("good", "corrupt"):
        lookalike("index", "pictures", "-c", name, "--model", "pixels", cwd=place)
    for file in (place / "corrupt" / "images.lance" / "_versions").iterdir():
        file.write_bytes(b"\0" * 100)
    return place


def test_unknown_options_and_missing_arguments_are_usage_errors():
    assert "No such option" in lookalike("index", "--nope", status=2).stderr
    assert "Missing argument" in lookalike("search", status=2).stderr


def test_every_help_text_ends_with_examples():
    for registered in app.registered_commands:
        _, examples = lookalike(registered.name, "--help").stdout.split("Examples:")
        assert f"• lookalike {registered.name}" in examples


def test_version_is_printed():
    assert lookalike("--version").stdout.startswith("lookalike 0.")


def test_control_characters_in_a_file_name_are_escaped(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "in" / "a\x1b[31m\nb.png")
    lookalike("index", tmp_path / "in", "-c", tmp_path / "c", "--model", "pixels")
    done = lookalike(
        "search", tmp_path / "in" / "a\x1b[31m\nb.png", "-c", tmp_path / "c"
    )
    assert "\x1b" not in done.stdout
    assert r"a\x1b[31m\nb.png" in done.stdout


@pytest.mark.slow
def test_ctrl_c_keeps_committed_work_and_the_next_run_continues(sample, tmp_path):
    (tmp_path / "in").mkdir()
    for copy in range(40):
        for file in sample.glob("*/*_0001.jpg"):
            # An extra byte after the image data makes the content unique.
            (tmp_path / "in" / f"{copy}-{file.name}").write_bytes(
                file.read_bytes() + bytes([copy])
            )
    process = subprocess.Popen([*COMMAND, "index", str(tmp_path / "in"), "-c", str(tmp_path / "c")],
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    while not (tmp_path / "c" / "images.lance").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert errors.startswith("Interrupted. Committed work is kept.")
    report = lookalike_json("index", tmp_path / "in", "-c", tmp_path / "c")
    assert report["images"] == 360
    assert report["added"] + report["unchanged"] == 360


def test_trace_prints_the_time_of_each_step(indexed, query):
    done = lookalike(
        "search",
        query,
        "-c",
        indexed,
        "--json",
        env={**os.environ, "LOOKALIKE_TRACE": "1"},
    )
    json.loads(done.stdout)
    for step in (
        "open collection",
        "load efficientnet-lite0-int8",
        "embed query",
        "read vectors",
        "compare",
    ):
        assert step in done.stderr


@pytest.mark.slow
def test_a_closed_pipe_is_not_an_error(indexed, query):
    command = " ".join([*COMMAND, "search", str(query), "-c", str(indexed), "-k", "45"])
    done = subprocess.run(
        ["sh", "-c", f"{command} | head -1"], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_progress_is_shown_only_on_a_terminal(sample, tmp_path):
    pty = pytest.importorskip("pty", reason="needs a pseudo-terminal")
    leader, follower = pty.openpty()
    command = [*COMMAND, "index", str(sample), "-c", str(tmp_path / "c"), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=follower)
    os.close(follower)
    output, _ = process.communicate(timeout=300)
    shown = os.read(leader, 1 << 16).decode(errors="ignore")
    os.close(leader)
    assert json.loads(output)["added"] == 45
    assert "Indexing" in shown


@pytest.mark.slow
def test_index_reads_a_list_of_paths_from_a_pipe(sample, tmp_path):
    listed = "\n".join(str(file) for file in sorted((sample / "car").iterdir()))
    command = [*COMMAND, "index", "@/dev/stdin", "-c", str(tmp_path / "c")]
    command += ["--model", "pixels", "--json"]
    done = subprocess.run(
        command, input=listed, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["added"] == 5
    empty = subprocess.run(
        command, input="", capture_output=True, text=True, check=False
    )
    assert empty.returncode == 2
    assert "no images under no path at all" in empty.stderr


@pytest.mark.slow
def test_a_path_that_cannot_be_written_is_named(indexed, query, tmp_path):
    (tmp_path / "folder.png").mkdir()
    error = lookalike(
        "search", query, "-c", indexed, "--save", tmp_path / "folder.png", status=2
    ).stderr
    assert error.startswith("Error: ")
    assert "folder.png" in error
    (tmp_path / "file").touch()
    assert (
        "file"
        in lookalike(
            "dataset", "sample", "--to", tmp_path / "file" / "x", status=2
        ).stderr
    )


@pytest.mark.slow
def test_json_is_ascii_in_any_terminal_encoding(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "in" / "写真.png")
    lookalike("index", tmp_path / "in", "-c", tmp_path / "c", "--model", "pixels")
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    search = ["search", tmp_path / "in" / "写真.png", "-c", tmp_path / "c"]
    answer = json.loads(lookalike_process(*search, "--json", env=environment).stdout)
    assert answer["matches"][0]["uri"] == str(tmp_path / "in" / "写真.png")
    assert "写" not in lookalike_process(*search, env=environment).stdout


@pytest.mark.slow
def test_commands_do_not_import_an_installed_pandas(indexed, query):
    pytest.importorskip("pandas", reason="needs pandas: pip install lookalike[pandas]")
    for words in (["search", str(query), "-c", indexed], ["info", "-c", indexed]):
        done = subprocess.run([sys.executable, "-X", "importtime", "-m", "lookalike",
                               *map(str, words)],
                              capture_output=True, text=True, check=True)  # fmt: skip
        assert "lance.dataset" in done.stderr
        assert "pandas.core" not in done.stderr


def test_a_new_command_needs_one_function_and_no_other_change():
    @command("dummy", examples=["lookalike dummy 7"])
    def dummy(number: int) -> None:
        """Print a number."""
        if number < 0:
            raise InputError(f"{number} is negative. Give 0 or more.")
        typer.echo(f"number {number}")

    try:
        assert "Print a number." in lookalike("--help").stdout
        assert "• lookalike dummy 7" in lookalike("dummy", "--help").stdout
        assert lookalike("dummy", 7).stdout == "number 7\n"
        error = lookalike("dummy", "--", -1, status=2).stderr
        assert error == "Error: -1 is negative. Give 0 or more.\n"
    finally:
        app.registered_commands.pop()
