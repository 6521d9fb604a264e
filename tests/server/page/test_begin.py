"""Without a collection, or with an empty one, the page shows how to begin and follows the jobs."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

import lookalike
from browsing import tiles, until
from live import serving


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    """The user's data folder, without any collection yet."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "lookalike"


@pytest.fixture
def photos(sample, tmp_path):
    """A folder of five images, and a file that is no image."""
    folder = tmp_path / "My photos"
    shutil.copytree(sample / "cat", folder / "cat")
    (folder / "torn.jpg").write_text("not an image")
    return folder


# From the fortieth image on, each takes half a second, until a file is there.
SLOW = """
import itertools, pathlib, time
from lookalike.indexing.worker import Worker

gate = pathlib.Path({gate!r})
numbers = itertools.count()
load = Worker.load

def load_slowly(*arguments):
    end = time.monotonic() + 0.5 * (next(numbers) >= 40)
    while time.monotonic() < end and not gate.exists():
        time.sleep(0.01)
    return load(*arguments)

Worker.load = load_slowly
"""


@pytest.fixture
def gate(tmp_path):
    """A file; once it is there, a server that ran `SLOW` is as quick as usual."""
    return tmp_path / "gate"


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A folder of 160 images."""
    folder = tmp_path_factory.mktemp("many") / "noise"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    for number in range(160):
        # Trailing zeros make the content of each file unique.
        data = file.getvalue() + bytes(number)
        (folder / f"{number:03}.png").write_bytes(data)
    return folder


def test_without_a_collection_every_view_shows_how_to_begin(open_page, data_folder):
    with serving() as live:
        page = open_page(live=live)
        for view in ("", "#search?positive=3", "#map", "#health"):
            page.goto("about:blank")
            page.goto(f"{live.address}{view}")
            heading = page.get_by_role("heading", name="No collection yet")
            expect(heading).to_be_visible()
            setup = page.locator("#setup")
            expect(setup).to_contain_text("lookalike serve --root FOLDER")
            expect(page.locator("main > section:visible")).to_have_count(1)
        page.context.close()


def test_a_collection_made_in_a_terminal_appears(open_page, data_folder, sample):
    with serving() as live:
        page = open_page(live=live)
        expect(page.locator("#setup")).to_contain_text("lookalike index FOLDER")
        lookalike.index(sample / "cat", data_folder / "default", models=["pixels"])
        assert len(tiles(page, "#begin")) == 5
        expect(page.locator("#start-about")).to_have_text("5 images in default")
        page.context.close()


def test_a_collection_is_made_of_a_root_and_its_failures_are_shown(
    open_page, data_folder, photos, sample
):
    with serving("--root", sample, "--root", photos) as live:
        page = open_page(live=live)
        page.get_by_label(str(photos)).check()
        name = page.get_by_label("Name of the collection")
        expect(name).to_have_value("My photos")
        name.fill("../mine")
        page.get_by_role("button", name="Make the collection").click()
        expect(page.locator("#setup .wrong")).to_contain_text(
            "'../mine' cannot be used"
        )
        name.fill("Mine 1")
        page.get_by_role("button", name="Make the collection").click()

        assert len(tiles(page, "#begin")) == 5
        outcome = "Mine 1 has 5 images: 5 added, 1 failed."
        expect(page.locator("#jobs")).to_contain_text(outcome)
        assert (data_folder / "Mine 1").is_dir()
        page.get_by_role("button", name="See what failed").click()
        expect(page.get_by_role("region", name="Failures")).to_contain_text("torn.jpg")
        page.get_by_role("button", name="Dismiss").click()
        expect(page.locator("#jobs")).to_be_hidden()
        page.context.close()


def test_images_are_seen_to_arrive_and_the_job_is_followed_in_every_view(
    open_page, data_folder, many, gate
):
    with serving("--root", many, before=SLOW.format(gate=str(gate))) as live:
        page = open_page(live=live)
        page.get_by_role("button", name="Make the collection").click()
        job = page.locator("#jobs .running")
        expect(job).to_contain_text("Adding images to noise")
        expect(job).to_contain_text("of 160 \u00b7")
        expect(job).to_contain_text("a second")
        expect(job).to_contain_text("left")
        page.locator("#to-map").wait_for()
        for view in ("map", "health", "search"):
            page.locator(f"#to-{view}").click()
            until(page, f"document.body.dataset.view === '{view}'")
            expect(page.locator("#jobs")).to_contain_text("noise")
        # A reload, or another visitor, sees the job too.
        page.reload()
        expect(page.locator("#jobs")).to_contain_text("noise")
        gate.touch()
        expect(page.locator("#start-about")).to_contain_text("160 images")
        page.context.close()


def test_a_job_is_cancelled_and_its_images_stay(open_page, data_folder, many, gate):
    with serving("--root", many, before=SLOW.format(gate=str(gate))) as live:
        page = open_page(live=live)
        page.get_by_role("button", name="Make the collection").click()
        expect(page.locator("#jobs .running")).to_contain_text("a second")
        with page.expect_response(lambda answer: answer.request.method == "DELETE"):
            page.get_by_role("button", name="Cancel").click()
        gate.touch()
        expect(page.locator("#jobs")).to_contain_text("was cancelled")
        (served,) = live.api.get("collections").json()["collections"]
        assert 0 < served["images"] < 160
        expect(page.locator("#jobs")).to_contain_text(
            f"Kept: {served['images']} added image"
        )
        expect(page.locator("#start-about")).to_contain_text(
            f"{served['images']} images"
        )
        page.context.close()


def test_an_empty_collection_takes_a_folder(open_page, sample, tmp_path):
    lookalike.Collection.create(tmp_path / "bare", ["pixels"])
    with serving("-c", tmp_path / "bare", "--root", sample / "cat") as live:
        page = open_page(live=live)
        heading = page.get_by_role("heading", name="bare has no images yet")
        expect(heading).to_be_visible()
        page.get_by_role("button", name="Add the images").click()
        assert len(tiles(page, "#begin")) == 5
        expect(heading).to_be_hidden()
        page.context.close()


def test_a_job_that_fails_says_why(open_page, data_folder, tmp_path):
    (tmp_path / "hollow").mkdir()
    with serving("--root", tmp_path / "hollow") as live:
        page = open_page(live=live)
        page.get_by_role("button", name="Make the collection").click()
        expect(page.locator("#jobs")).to_contain_text("There are no images under")
        expect(page.get_by_role("heading", name="No collection yet")).to_be_visible()
        page.context.close()
