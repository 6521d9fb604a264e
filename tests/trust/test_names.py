"""Unusual names, links and times: one name is one image with its own content."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import lookalike as library
from command import lookalike, lookalike_json
from lookalike.datasets.manifest import write_manifest
from lookalike.sources import LocalSource, to_uri
from lookalike.sources.uris import local_path
from lookalike.store.table import Table

# Each test runs whole commands or networks; scripts/test --fast leaves them out.
pytestmark = pytest.mark.slow

NAMES = [
    "new\nline.png", "carriage\rreturn.png", "tab\t.png", "\x1b[31mred.png", "quo'te\".png",
    "'); DROP TABLE.png", "back\\slash.png", "%41.png", "A.png", "a.png",
    "100%_like*?[a].png", "#a?b;c&d=e.png", "a,b.png", " lead.png",
    "trail .png", "-k.png", "@list.png", "~tilde.png", "$HOME `x`.png", "😀 猫.png",
    "caf\u00e9.png", "cafe\u0301.png",
    "\u202egnp.png", "\ufeffmark.png", "\ufffd.png", "CON.png", "file:.png", "<script>.png",
    "x" * 251 + ".png",
    os.fsdecode(b"caf\xe9.png"), os.fsdecode(b"caf\xe8.png"), os.fsdecode(b"\xff\xfe\x80.png"),
    os.fsdecode(b"line\n\xe9 '.png"),
]  # fmt: skip
FOLDERS = ["it's\na 猫", os.fsdecode(b"d\xe9j\xe0")]


def make_image(path: Path, seed: int) -> Path:
    """Write an image with a content of its own. All files have the same length."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(path, compress_level=0)
    return path


def indexed(folder: Path, collection: Path, **options) -> dict[str, int]:
    """Index in pixel space and return the counts that are not 0."""
    report = library.index(folder, collection, models=["pixels"], **options).to_dict()
    return {
        name: count for name, count in report.items() if count and name != "seconds"
    }


def contents(collection: Path) -> dict[str, bytes]:
    """Return the sha256 of each image of a collection by its uri."""
    table = Table.open(collection)
    rows = table.take(table.vectors("pixels")[0], ["uri", "sha256"])
    assert len(set(rows["uri"].to_pylist())) == rows.num_rows
    return dict(zip(rows["uri"].to_pylist(), rows["sha256"].to_pylist(), strict=True))


@pytest.fixture(scope="module")
def unusual(tmp_path_factory) -> list[Path]:
    """Return images with unusual names and folders, and one with a path of 4,000 characters."""
    root = tmp_path_factory.mktemp("unusual") / "pictures"
    paths = [root / folder / name for folder in FOLDERS for name in NAMES]
    deep = root
    while len(str(deep)) < 3700:
        deep /= "d" * 250
    for seed, path in enumerate(
        [*paths, deep / ("e" * (3990 - len(str(deep))) + ".png")]
    ):
        make_image(path, seed)
    return sorted(root.rglob("*.png"))


@pytest.fixture(scope="module")
def root(unusual) -> Path:
    return next(path for path in unusual if path.name == NAMES[0]).parents[1]


@pytest.fixture(scope="module")
def collection(unusual, root, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("collection") / "c"
    assert lookalike_json("index", root, "-c", path, "--model", "pixels")[
        "added"
    ] == len(unusual)
    return path


def test_every_name_is_one_image_in_each_run(unusual, root, collection):
    assert len(unusual) == 2 * len(NAMES) + 1
    assert max(len(str(path)) for path in unusual) > 3900
    assert contents(collection).keys() == {to_uri(path) for path in unusual}
    assert all(
        uri.encode() and local_path(uri) in unusual for uri in contents(collection)
    )
    assert indexed(root, collection) == {
        "unchanged": len(unusual),
        "images": len(unusual),
    }


def test_every_image_is_found_by_path_and_by_uri(unusual, collection):
    for path in unusual:
        for query in (path, to_uri(path)):
            assert library.search(collection, query, k=1).uris == [to_uri(path)]
            rest = library.search(
                collection, query, k=len(unusual), exclude_self=True
            ).uris
            assert sorted(rest) == sorted(
                to_uri(other) for other in unusual if other != path
            )


@pytest.mark.parametrize(
    "name",
    [
        "new\nline.png",
        "'); DROP TABLE.png",
        os.fsdecode(b"caf\xe9.png"),
        "cafe\u0301.png",
    ],
)
def test_the_command_line_accepts_and_prints_unusual_names(
    unusual, collection, name, tmp_path
):
    path = next(path for path in unusual if path.name == name)
    for query in (path, to_uri(path)):
        (match,) = lookalike_json("search", query, "-c", collection, "-k", 1)["matches"]
        assert (match["uri"], match["distance"]) == (to_uri(path), 0)
    drawn = lookalike(
        "search",
        to_uri(path),
        "-c",
        collection,
        "-k",
        3,
        "--save",
        tmp_path / "found.png",
    ).stdout
    assert drawn.count("\n") == 4
    assert (tmp_path / "found.png").exists()


def test_a_manifest_may_have_unusual_names(unusual, collection, tmp_path):
    deep = max(unusual, key=lambda path: len(str(path)))
    named = [path for path in unusual if path != deep]
    columns = {
        "uri": [to_uri(path) for path in named],
        "label": [
            str(local_path(to_uri(path)).parent == named[0].parent) for path in named
        ],
        "split": ["test" if path.name in NAMES[::3] else "train" for path in named],
    }
    for manifest in write_manifest(pa.table(columns), tmp_path):
        (space,) = lookalike_json("evaluate", "-c", collection, "--split", manifest)[
            "spaces"
        ]
        assert (space["queries"], space["gallery"]) == (
            2 * len(NAMES[::3]),
            2 * (len(NAMES) - len(NAMES[::3])),
        )


def test_a_map_links_to_every_name(unusual, collection, tmp_path):
    page = tmp_path / "map.html"
    assert lookalike_json("map", "-c", collection, "--method", "pca", "--output", page)[
        "rows"
    ] == len(unusual)
    text = page.read_text()
    start = text.index(">", text.index("<script")) + 1
    data = json.loads(text[start : text.index("</script>", start)])
    links = []
    for folder, name, end in zip(
        data["folder_index"], data["names"], data["link_ends"], strict=True
    ):
        folder_link = data["folders"][folder][1]
        links.append(folder_link + (end or name))
    assert sorted(local_path(link) for link in links) == unusual


def test_removing_an_image_leaves_similar_names(unusual, root, tmp_path):
    indexed(root, tmp_path / "c")
    for name in (
        "A.png",
        "caf\u00e9.png",
        "100%_like*?[a].png",
        os.fsdecode(b"caf\xe9.png"),
        "new\nline.png",
    ):
        path = next(path for path in unusual if path.name == name)
        before = contents(tmp_path / "c").keys()
        assert Table.open(tmp_path / "c").remove([str(path)]) == 1
        assert before - contents(tmp_path / "c").keys() == {to_uri(path)}
    name = os.fsdecode(b"\xff\xfe\x80.png")
    uris = [to_uri(path) for path in unusual if path.name == name]
    assert lookalike_json("remove", *uris, "-c", tmp_path / "c") == {"removed": 2}
    left = len(
        [
            uri
            for uri in contents(tmp_path / "c")
            if local_path(uri).parent.name == FOLDERS[1]
        ]
    )
    assert lookalike_json("remove", root / FOLDERS[1], "-c", tmp_path / "c") == {
        "removed": left
    }
    assert all(
        local_path(uri).parent.name != FOLDERS[1] for uri in contents(tmp_path / "c")
    )


def test_names_of_failures_cannot_control_the_terminal(tmp_path):
    (tmp_path / "in").mkdir()
    bad = [
        "new\nline.png",
        "\x1b[2J.png",
        os.fsdecode(b"\xe9.png"),
        "caf\u00e9.png",
        "cafe\u0301.png",
    ]
    for name in bad:
        (tmp_path / "in" / name).write_bytes(b"not an image")
    make_image(tmp_path / "in" / "good.png", 0)
    printed = lookalike(
        "index", tmp_path / "in", "-c", tmp_path / "c", "--model", "pixels"
    ).stdout
    failed = lookalike_json("info", "-c", tmp_path / "c", "--failures")["failed"]
    assert {local_path(row["uri"]).name for row in failed} == set(bad)
    for text in (printed, lookalike("info", "-c", tmp_path / "c", "--failures").stdout):
        assert "\x1b" not in text
        assert all(
            shown in text for shown in (r"new\nline.png:", r"\x1b[2J.png:", "%E9.png:")
        )


# Links


def test_each_hard_link_and_symbolic_link_is_its_own_image(tmp_path):
    first = make_image(tmp_path / "in" / "first.png", 0)
    (tmp_path / "in" / "hard.png").hardlink_to(first)
    (tmp_path / "in" / "soft.png").symlink_to("first.png")
    assert indexed(tmp_path / "in", tmp_path / "c") == {"added": 3, "images": 3}
    assert len(set(contents(tmp_path / "c").values())) == 1
    assert len(library.search(tmp_path / "c", first, exclude_self=True)) == 2
    first.unlink()
    # The hard link is still a file. The symbolic one leads nowhere, and keeps its vectors.
    assert indexed(tmp_path / "in", tmp_path / "c") == {
        "unchanged": 1,
        "removed": 1,
        "failed": 1,
        "images": 2,
    }
    make_image(first, 1)
    assert indexed(tmp_path / "in", tmp_path / "c") == {
        "added": 1,
        "updated": 1,
        "unchanged": 1,
        "images": 3,
    }
    sha256 = contents(tmp_path / "c")
    assert (
        sha256[str(tmp_path / "in" / "soft.png")]
        == sha256[str(first)]
        != sha256[str(tmp_path / "in" / "hard.png")]
    )


def test_images_below_a_linked_folder_have_its_name(tmp_path):
    real = make_image(tmp_path / "real" / "a.png", 0).parent
    (tmp_path / "link").symlink_to(real)
    assert indexed(tmp_path / "link", tmp_path / "c") == {"added": 1, "images": 1}
    assert contents(tmp_path / "c").keys() == {str(tmp_path / "link" / "a.png")}
    # The given name is the identity: the same file under another name is another image.
    assert indexed(real, tmp_path / "c") == {"added": 1, "images": 2}


# Time


def test_an_older_time_is_a_change(tmp_path):
    path = make_image(tmp_path / "in" / "a.png", 0)
    os.utime(path, ns=(2_000_000_000, 2_000_000_000))
    indexed(path.parent, tmp_path / "c")
    before, size = contents(tmp_path / "c"), path.stat().st_size
    for seed, time_ns in enumerate(
        (1_999_999_999, 1_000_000_000, 0, -1_000_000_000), 1
    ):
        make_image(path, seed)
        os.utime(path, ns=(time_ns, time_ns))
        assert path.stat().st_size == size
        assert indexed(path.parent, tmp_path / "c") == {"updated": 1, "images": 1}
        assert contents(tmp_path / "c") != before
        assert indexed(path.parent, tmp_path / "c") == {"unchanged": 1, "images": 1}
        before = contents(tmp_path / "c")


def test_extreme_times_are_stored(tmp_path):
    path = make_image(tmp_path / "in" / "a.png", 0)
    for time_ns in (-(2**31) * 10**9, 2**33 * 10**9):
        os.utime(path, ns=(time_ns, time_ns))
        indexed(path.parent, tmp_path / "c")
        assert indexed(path.parent, tmp_path / "c") == {"unchanged": 1, "images": 1}


@pytest.mark.parametrize(
    "when", ["before it is read", "while it is read", "after it was read"]
)
def test_a_change_during_a_run_is_found_by_the_next(tmp_path, when):
    path = make_image(tmp_path / "in" / "a.png", 0)
    old, new = path.read_bytes(), make_image(tmp_path / "new.png", 1).read_bytes()
    (item,) = source = LocalSource([path.parent])
    half = item.size // 2
    seen = {
        "before it is read": new,
        "while it is read": old[:half] + new[half:],
        "after it was read": old,
    }[when]

    def read() -> bytes:
        path.write_bytes(new)
        return seen

    source._item = lambda path, problem: replace(item, read=read)
    indexed(source, tmp_path / "c")
    assert indexed(path.parent, tmp_path / "c")["images"] == 1
    assert contents(tmp_path / "c") == contents_of(path)
    assert indexed(path.parent, tmp_path / "c") == {"unchanged": 1, "images": 1}


def contents_of(path: Path) -> dict[str, bytes]:
    return {to_uri(path): hashlib.sha256(path.read_bytes()).digest()}


def test_a_change_within_a_clock_step_is_read(tmp_path):
    """The stamp does not show such a change, so a new file is read a moment later."""
    path = tmp_path / "a.png"
    for _ in range(20):
        path.write_bytes(b"old")
        now = time.time_ns()
        os.utime(path, ns=(now, now))
        (item,) = LocalSource([tmp_path])
        read: list[bytes] = []
        reader = threading.Thread(
            target=lambda item=item, read=read: read.append(item.read())
        )
        reader.start()
        path.write_bytes(b"new")
        os.utime(path, ns=(now, now))
        in_time = time.time_ns() - now < 10_000_000
        reader.join()
        if in_time:
            assert (read, path.stat().st_mtime_ns) == ([b"new"], item.mtime_ns)
            return
    pytest.fail("this machine is too busy to change a file within 10 ms")


def test_a_file_with_a_future_time_is_read(tmp_path):
    path = make_image(tmp_path / "in" / "a.png", 0)
    tomorrow = time.time_ns() + 86_400 * 10**9
    os.utime(path, ns=(tomorrow, tomorrow))
    assert indexed(path.parent, tmp_path / "c") == {"added": 1, "images": 1}


def test_a_renamed_folder_of_files_keeps_every_content(tmp_path):
    for seed in range(6):
        make_image(tmp_path / "in" / f"{seed}.png", seed)
    indexed(tmp_path / "in", tmp_path / "c")
    for seed in range(6):
        shutil.copy2(
            tmp_path / "in" / f"{seed}.png", tmp_path / "in" / f"{5 - seed}-copy.png"
        )
        (tmp_path / "in" / f"{seed}.png").unlink()
    assert indexed(tmp_path / "in", tmp_path / "c") == {"moved": 6, "images": 6}
    table = contents(tmp_path / "c")
    assert {
        uri: sha
        for path in (tmp_path / "in").iterdir()
        for uri, sha in contents_of(path).items()
    } == table
