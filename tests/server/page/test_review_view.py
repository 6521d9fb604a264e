"""Reviews in their view, and spaces that are learned in the Health view."""

from __future__ import annotations

import csv
import shutil
from itertools import chain

import pytest
from playwright.sync_api import expect

from browsing import tiles, until
from labeled import labeled_collection
from live import serving
from lookalike.store.table import Table
from server.page.test_accessibility import serious


@pytest.fixture(scope="module")
def doubted(collection, tmp_path_factory):
    """A server of the drawn sample with a wrong label, of two images of it, and of vectors."""
    folder = tmp_path_factory.mktemp("review")
    for name in ("wrong", "two"):
        shutil.copytree(collection, folder / name)
    wrong = Table.open(folder / "wrong")
    ids, _ = wrong.vectors("efficientnet-lite0-int8")
    rows = wrong.take(ids, ["uri", "label"])
    uris = rows["uri"].to_pylist()
    [cat, *_] = [uri for uri in uris if "/cat/" in uri]
    wrong.update({"uri": [cat], "label": ["teapot"]})
    Table.open(folder / "two").remove(uris[2:])
    labeled_collection(folder / "vectors")
    options = [("-c", folder / name) for name in ("wrong", "two", "vectors")]
    with serving(*chain(*options)) as live:
        yield live


def test_a_review_is_made_read_and_saved(open_page, doubted, tmp_path):
    page = open_page("#start", live=doubted)
    page.keyboard.press("5")
    page.get_by_label("Clusters", exact=True).last.fill("2")
    page.get_by_role("button", name="Review the images").click()
    expect(page.locator("#jobs")).to_contain_text("The review of wrong is ready.")
    cluster = page.locator(".clusters > li").first
    first = cluster.locator(".image")
    expect(first).to_have_count(12)
    cluster.get_by_role("button", name="Show all").click()
    expect(first.nth(12)).to_be_focused()
    cluster.get_by_role("button", name="Show fewer").click()
    expect(first).to_have_count(12)
    first.first.focus()
    page.keyboard.press("ArrowRight")
    expect(first.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Next").click()
    page.keyboard.press("Escape")
    expect(first.nth(2)).to_be_focused()

    page.get_by_role("button", name="Doubtful labels 1").click()
    card = page.locator(".cards > li")
    expect(card).to_have_count(1)
    expect(card).to_contain_text("teapot")
    expect(card).to_contain_text("cat")
    card.get_by_role("checkbox").check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the selected as CSV").click()
    saved = tmp_path / "labels.csv"
    download.value.save_as(saved)
    with saved.open(newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["part"], row["label"], row["suggested"]) == ("labels", "teapot", "cat")
    assert "/cat/" in row["uri"]

    page.get_by_role("button", name="Compare both").click()
    shown = tiles(page)
    rows = doubted.api.get("rows", params={"limit": 100}).json()["rows"]
    labels = {one["id"]: one["label"] for one in rows}
    assert {labels[one] for one in shown} == {"teapot", "cat"}


def test_the_view_fits_a_phone_and_says_what_is_missing(open_page, doubted):
    for name in ("wrong", "two"):
        job = doubted.api.post("jobs", json={"kind": "review", "collection": name})
        doubted.api.get(f"jobs/{job.json()['id']}/events")
    address = "#review?collection=two"
    page = open_page(address, live=doubted)
    expect(page.locator(".note").first).to_contain_text(
        "from 10 images on; there are 2"
    )
    expect(page.get_by_role("button", name="Doubtful labels 0")).to_be_visible()
    page.get_by_role("button", name="Diverse images 2").click()
    expect(page.locator(".cards > li")).to_have_count(2)

    for part in ("clusters", "labels"):
        page.evaluate(f"location.hash = '#review?collection=wrong&part={part}'")
        page.locator(".clusters" if part == "clusters" else ".cards").wait_for()
        for width in (390, 320):
            page.set_viewport_size({"width": width, "height": 700})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert serious(page) == []
    until(
        page,
        "[...document.querySelectorAll('.cards img')].every((i) => i.naturalWidth)",
    )


def test_a_space_is_learned_and_then_offered(open_page, doubted):
    # The labels of the drawn sample have five images each.
    page = open_page("#health", live=doubted)
    section = page.get_by_label("Learn from labels")
    expect(section).to_contain_text("It needs two labels with 6 different images each.")

    page.locator("#collection").select_option("vectors")
    section.get_by_label("These labels").check()
    section.get_by_role("button", name="Learn a space").click()
    expect(page.locator("#jobs")).to_contain_text("Better for new images")
    expect(section.locator("article")).to_contain_text("New images of these labels")
    page.set_viewport_size({"width": 320, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert serious(page) == []

    section.get_by_role("button", name="Search in").click()
    page.evaluate("location.hash += '&positive=3'")
    tiles(page)
    chosen = page.locator("#spaces [aria-pressed=true]")
    expect(chosen).to_have_text("Tuned for these labels")
