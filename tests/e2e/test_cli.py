"""The command line as a user meets it: output, JSON, exit statuses, errors."""

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
from PIL import Image

from command import COMMAND, lookalike, lookalike_json

INDEX_KEYS = ["added", "updated", "unchanged", "moved", "removed", "failed", "images", "seconds"]


@pytest.fixture(scope="module")
def indexed(sample, tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "collection"
    lookalike("index", sample, "-c", path)
    return path


@pytest.fixture(scope="module")
def query(sample):
    return sample / "teapot" / "teapot_0003.jpg"


def test_index_json_is_the_contract(sample, tmp_path):
    done = lookalike("index", sample, "-c", tmp_path / "c", "--json")
    report = json.loads(done.stdout)
    assert list(report) == INDEX_KEYS
    assert (report["added"], report["images"], report["failed"]) == (45, 45, 0)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_search_json_is_the_contract(indexed, query):
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


def test_info_json_is_the_contract(indexed):
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
    }
    assert lookalike_json("info", "-c", indexed) == expected
    assert (
        "8 bits (int8, onnxruntime); 1280 numbers; 45 images"
        in lookalike("info", "-c", indexed).stdout
    )


def test_models_are_listed(indexed):
    listed = lookalike_json("models")
    precisions = {model["name"]: model["precision"] for model in listed["models"]}
    assert {"efficientnet-lite0", "efficientnet-lite2", "pixels"} <= set(precisions)
    assert (listed["default"], precisions[listed["default"]]) == ("efficientnet-lite0-int8", "int8")
    printed = lookalike("models").stdout
    assert "EfficientNet-Lite0" in printed
    assert printed.endswith(
        "A new collection gets efficientnet-lite0-int8, unless --model names another.\n"
    )


def test_search_prints_one_match_a_line(indexed, query):
    lines = lookalike("search", query, "-c", indexed, "-k", 4, "--not-self").stdout.splitlines()
    assert len(lines) == 4
    assert lines[0].split()[:1] == ["1"]
    assert "teapot" in lines[0]
    assert str(query) not in "".join(lines)


def test_search_draws_a_picture(indexed, query, tmp_path):
    done = lookalike("search", query, "-c", indexed, "--picture", tmp_path / "out.png")
    assert f"Drawn into {tmp_path / 'out.png'}" in done.stdout
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000


def test_the_collection_may_come_from_the_environment(indexed, query):
    environment = {**os.environ, "LOOKALIKE_COLLECTION": str(indexed)}
    assert len(lookalike_json("search", query, "-k", 2, env=environment)["matches"]) == 2


def test_remove_takes_out_and_index_puts_back(sample, tmp_path):
    lookalike("index", sample / "car", "-c", tmp_path / "c", "--model", "pixels")
    assert lookalike_json("remove", sample / "car" / "car_0001.jpg", "-c", tmp_path / "c") == {
        "removed": 1
    }
    assert "4 removed" in lookalike("remove", sample / "car", "-c", tmp_path / "c").stdout
    assert lookalike_json("index", sample / "car", "-c", tmp_path / "c")["added"] == 5


def test_two_spaces_in_one_pass(sample, query, tmp_path):
    lookalike(
        "index", sample, "-c", tmp_path / "c", "--model", "pixels", "--model", "efficientnet-lite0"
    )
    assert [space["name"] for space in lookalike_json("info", "-c", tmp_path / "c")["spaces"]] == [
        "pixels",
        "efficientnet-lite0",
    ]
    feature = lookalike_json(
        "search", query, "-c", tmp_path / "c", "-k", 5, "--space", "efficientnet-lite0"
    )
    pixels = lookalike_json("search", query, "-c", tmp_path / "c", "-k", 5, "--space", "pixels")
    alike = [
        [match["label"] for match in answer["matches"]].count("teapot")
        for answer in (feature, pixels)
    ]
    assert alike[0] > alike[1]


@pytest.fixture
def no_rights(monkeypatch):
    """A prefix that takes from root the right to read everything, so that file rights are felt."""
    if os.name != "posix":
        pytest.skip("needs POSIX file rights")
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("run as root without setpriv (util-linux), so no file is unreadable")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all", "--"]


@pytest.fixture
def difficult(sample, tmp_path):
    """A folder of good and bad files; returns it, the good names and the words of each bad one's reason."""
    folder = tmp_path / "difficult"
    folder.mkdir()
    source = Image.open(sample / "cat" / "cat_0001.jpg")
    data = (sample / "cat" / "cat_0001.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(data[: len(data) // 2])
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("I am a letter")
    Image.new("1", (30_000, 30_000)).save(folder / "huge.png")
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
    good = ["cmyk.jpg", "deep.png", 'it\'s a "naïve" näme 😀.webp', "moving.gif", "turned.jpg"]
    bad = {
        "empty.png": "the file is empty",
        "huge.png": "900 megapixels",
        "text.jpg": "not an image",
        "truncated.jpg": "truncated",
        "unreadable.jpg": "Permission denied",
    }
    return folder, good, bad


def test_bad_files_are_listed_and_the_good_are_indexed(difficult, tmp_path, no_rights):
    folder, good, bad = difficult

    def run(*arguments, status=0):
        command = [*no_rights, *COMMAND, *map(str, arguments), "-c", str(tmp_path / "c")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        return done.stdout

    printed = run("index", folder)
    for name, words in bad.items():
        assert any(name in line and words in line for line in printed.splitlines()), (name, printed)
    info = json.loads(run("info", "--failures", "--json"))
    assert (info["images"], info["failures"]) == (5, 5)
    assert {Path(f["uri"]).name: True for f in info["failed"]} == dict.fromkeys(bad, True)
    listed = run("info", "--failures")
    assert all(words in listed for words in bad.values())
    run("index", folder, "--strict", status=1)
    for name in good:
        answer = json.loads(run("search", folder / name, "-k", 1, "--json"))
        assert Path(answer["matches"][0]["uri"]).name == name
        assert answer["matches"][0]["distance"] < 0.01


def test_max_megapixels_is_an_option(sample, tmp_path):
    done = lookalike(
        "index",
        sample / "car",
        "-c",
        tmp_path / "c",
        "--max-megapixels",
        "0.01",
        "--model",
        "pixels",
    )
    assert "5 failed" in done.stdout
    assert "more than the limit" in done.stdout
    again = lookalike("index", sample / "car", "-c", tmp_path / "c", "--retry-failures")
    assert "5 added" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["index", "missing-folder"], ["no file or folder 'missing-folder'", "Check the spelling"]),
        (["index", "empty"], ["no images under", "empty", "Name another folder"]),
        (["index", "pictures", "--model", "efficientnet-lite1"], ["no model 'efficientnet-lite1'", "Did you mean"]),
        (["index", "pictures", "--model", "net.onnx"], ["no model file net.onnx"]),
        (["index", "pictures", "-c", "pictures"], ["pictures already holds something"]),
        (["search", "note.txt", "-c", "good"], ["no picture that can be searched by", "not an image"]),
        (["search", "missing.jpg", "-c", "good"], ["missing.jpg cannot be read", "No such file"]),
        (["search", "note.txt", "-c", "nowhere"], ["The collection nowhere does not exist", "lookalike index"]),
        (["search", "pictures/0.png", "-c", "good", "--space", "nope"], ["no Space 'nope'", "it has pixels"]),
        (["search", "pictures/0.png", "-c", "good", "--picture", "x.gif"], ["x.gif", ".png"]),
        (["search", "pictures/0.png", "-c", "corrupt"], ["The collection corrupt could not be opened", "index again"]),
        (["info", "-c", "pictures"], ["is a folder but no collection"]),
        (["remove", "nothing.jpg", "-c", "good"], ["no image 'nothing.jpg'", "nothing was removed"]),
    ],
)  # fmt: skip
def test_each_error_is_one_paragraph_that_says_what_to_do(place, arguments, words):
    done = lookalike(*arguments, status=2, cwd=place)
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with pictures, a good and a corrupt collection, an empty folder and a text."""
    place = tmp_path_factory.mktemp("place")
    (place / "empty").mkdir()
    (place / "note.txt").write_text("hello")
    (place / "pictures").mkdir()
    for number in range(3):
        Image.new("RGB", (20, 20), (number * 80, 10, 10)).save(place / "pictures" / f"{number}.png")
    for name in ("good", "corrupt"):
        lookalike("index", "pictures", "-c", name, "--model", "pixels", cwd=place)
    for file in (place / "corrupt" / "images.lance" / "_versions").iterdir():
        file.write_bytes(b"\0" * 100)
    return place


def test_wrong_words_are_a_usage_error():
    assert "No such option" in lookalike("index", "--nope", status=2).stderr
    assert "Missing argument" in lookalike("search", status=2).stderr


def test_help_has_an_example_and_version_is_told():
    for name in ("index", "search", "info", "models", "remove"):
        assert f"Example: lookalike {name}" in lookalike(name, "--help").stdout
    assert lookalike("--version").stdout.startswith("lookalike 0.")


def test_a_names_control_characters_do_not_reach_the_terminal(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "in" / "a\x1b[31m\nb.png")
    lookalike("index", tmp_path / "in", "-c", tmp_path / "c", "--model", "pixels")
    done = lookalike("search", tmp_path / "in" / "a\x1b[31m\nb.png", "-c", tmp_path / "c")
    assert "\x1b" not in done.stdout
    assert r"a\x1b[31m\nb.png" in done.stdout


def test_ctrl_c_is_clean_and_the_next_run_goes_on(sample, tmp_path):
    (tmp_path / "in").mkdir()
    for copy in range(40):
        for file in sample.glob("*/*_0001.jpg"):
            # A changed byte after the picture's end makes it a content of its own.
            (tmp_path / "in" / f"{copy}-{file.name}").write_bytes(file.read_bytes() + bytes([copy]))
    process = subprocess.Popen([*COMMAND, "index", str(tmp_path / "in"), "-c", str(tmp_path / "c")],
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    while not (tmp_path / "c" / "images.lance").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.startswith("Interrupted. What was committed stays")
    report = lookalike_json("index", tmp_path / "in", "-c", tmp_path / "c")
    assert report["images"] == 360
    assert report["added"] + report["unchanged"] == 360


def test_trace_prints_where_the_time_goes(indexed, query):
    done = lookalike(
        "search", query, "-c", indexed, "--json", env={**os.environ, "LOOKALIKE_TRACE": "1"}
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


def test_a_closed_pipe_is_no_error(indexed, query):
    command = " ".join([*COMMAND, "search", str(query), "-c", str(indexed), "-k", "45"])
    done = subprocess.run(
        ["sh", "-c", f"{command} | head -1"], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_progress_is_shown_on_a_terminal_only(sample, tmp_path):
    pty = pytest.importorskip("pty", reason="needs a pseudo-terminal")
    leader, follower = pty.openpty()
    command = [*COMMAND, "index", str(sample), "-c", str(tmp_path / "c"), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=follower)
    os.close(follower)
    output, _ = process.communicate(timeout=60)
    shown = os.read(leader, 1 << 16).decode()
    os.close(leader)
    assert json.loads(output)["added"] == 45
    assert "Indexing" in shown


def test_a_list_may_come_from_a_pipe(sample, tmp_path):
    listed = "\n".join(str(file) for file in sorted((sample / "car").iterdir()))
    command = [
        *COMMAND,
        "index",
        "@/dev/stdin",
        "-c",
        str(tmp_path / "c"),
        "--model",
        "pixels",
        "--json",
    ]
    done = subprocess.run(command, input=listed, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["added"] == 5
    empty = subprocess.run(command, input="", capture_output=True, text=True, check=False)
    assert empty.returncode == 2
    assert "no images under no path at all" in empty.stderr


def test_a_place_that_cannot_be_written_is_named(indexed, query, tmp_path):
    (tmp_path / "folder.png").mkdir()
    error = lookalike(
        "search", query, "-c", indexed, "--picture", tmp_path / "folder.png", status=2
    ).stderr
    assert error.startswith("Error: ")
    assert "folder.png" in error
    (tmp_path / "file").touch()
    assert (
        "file" in lookalike("dataset", "sample", "--to", tmp_path / "file" / "x", status=2).stderr
    )


def test_json_is_plain_ascii_whatever_the_terminal(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "in" / "写真.png")
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    lookalike("index", tmp_path / "in", "-c", tmp_path / "c", "--model", "pixels", env=environment)
    query = tmp_path / "in" / "写真.png"
    answer = lookalike_json("search", query, "-c", tmp_path / "c", env=environment)
    assert answer["matches"][0]["uri"] == str(query)
    assert "写" not in lookalike("search", query, "-c", tmp_path / "c", env=environment).stdout


def test_commands_do_without_pandas_where_it_is_installed(indexed, query):
    pytest.importorskip("pandas", reason="needs pandas: pip install lookalike[pandas]")
    for words in (["search", str(query), "-c", indexed], ["info", "-c", indexed]):
        done = subprocess.run([sys.executable, "-X", "importtime", "-m", "lookalike", *map(str, words)],
                              capture_output=True, text=True, check=True)  # fmt: skip
        assert "lance.dataset" in done.stderr
        assert "pandas.core" not in done.stderr
