"""The Health view shows the collection's size, failures and evaluation."""

from __future__ import annotations

import shutil

import pytest
from playwright.sync_api import expect

import lookalike
from browsing import until
from live import serving


def test_an_evaluation_is_run_and_shown(open_page, own):
    page = open_page("#health", live=own)
    expect(page.locator(".figures")).to_contain_text("45")
    spaces = page.get_by_role("region", name="Spaces, a table")
    expect(spaces).to_contain_text("1,280")
    expect(spaces.locator("tbody tr").first.locator("td").last).to_have_text("none")
    expect(page.get_by_role("region", name="Failures")).to_contain_text(
        "Every file that was found"
    )
    page.get_by_role("button", name="Measure accuracy").click()
    table = page.get_by_role("region", name="Evaluation by space, a table")
    table.wait_for()
    measured = own.api.get("evaluation").json()["spaces"]
    cells = table.locator("tbody tr").first.locator("td").all_inner_texts()
    first = measured[0]
    low, high = first["intervals"]["map"]
    assert cells[0] == f"{first['map']:.3f} {low:.3f}\u2013{high:.3f}"
    assert cells[2:] == [
        f"{first['precision_at'][cut]:.3f}" for cut in ("1", "5", "10")
    ]
    description = page.get_by_role("img", name="of the first 10").get_attribute(
        "aria-label"
    )
    assert f"{round(100 * first['precision_at']['1'])} % of the first 1" in description
    cat = page.locator(".dots div[aria-label^='cat:']").get_attribute("aria-label")
    assert f"{first['classes']['cat']['map']:.3f}" in cat
    page.reload()
    page.get_by_role("region", name="Evaluation by space, a table").wait_for()


@pytest.fixture
def flawed(sample, tmp_path):
    """A collection of three images with one label, and a file that is no image."""
    folder = tmp_path / "pictures" / "cat"
    folder.mkdir(parents=True)
    for file in sorted((sample / "cat").iterdir())[:3]:
        shutil.copy(file, folder)
    (folder / "torn.jpg").write_text("not a picture")
    lookalike.index(tmp_path / "pictures", tmp_path / "kept", models=["pixels"])
    return tmp_path


def test_failures_are_listed_and_a_folder_can_be_updated(open_page, flawed, sample):
    with serving("-c", flawed / "kept", "--root", flawed / "pictures") as live:
        page = open_page("#health", live=live)
        failures = page.get_by_role("region", name="Failures")
        expect(failures).to_contain_text("torn.jpg")
        expect(failures).to_contain_text("not an image of a known format")
        expect(
            page.get_by_role("region", name="Evaluation", exact=True)
        ).to_contain_text("This collection has fewer than two labels.")
        shutil.copy(
            sample / "car" / "car_0001.jpg", flawed / "pictures" / "cat" / "torn.jpg"
        )
        page.get_by_role("button", name="Bring up to date").click()
        until(page, "document.querySelector('.figures dd').textContent === '4'")
        expect(page.get_by_role("region", name="Failures")).to_contain_text(
            "Every file that was found"
        )
        page.context.close()


def test_a_folder_is_added_only_after_a_question(open_page, flawed, sample):
    roots = ("--root", flawed / "pictures", "--root", sample / "car")
    with serving("-c", flawed / "kept", *roots) as live:
        page = open_page("#health", live=live)
        folders = page.get_by_role("region", name="Folders")
        buttons = folders.locator(".folder").get_by_role("button")
        expect(buttons).to_have_text(["Bring up to date", "Add this folder to kept"])

        buttons.nth(1).click()
        question = page.get_by_role("dialog")
        expect(question).to_contain_text(f"Add the images of {sample / 'car'} to kept?")
        expect(question).to_contain_text("3 images now, none of them from this folder")
        question.get_by_role("button", name="Cancel").click()
        assert live.api.get("jobs").json()["jobs"] == []
        expect(buttons.nth(1)).to_be_focused()

        buttons.nth(1).click()
        question.get_by_role("button", name="Add the images").click()
        until(page, "document.querySelector('.figures dd').textContent === '8'")
        expect(buttons).to_have_text(["Bring up to date", "Bring up to date"])
        page.context.close()


def test_images_of_an_empty_folder_stay_and_are_counted(open_page, flawed):
    with serving("-c", flawed / "kept", "--root", flawed / "pictures") as live:
        shutil.rmtree(flawed / "pictures" / "cat")
        page = open_page("#health", live=live)
        page.get_by_role("button", name="Bring up to date").click()
        jobs = page.get_by_role("region", name="Jobs")
        expect(jobs).to_contain_text("Kept, although the files are missing: 3 images.")
        expect(page.locator(".figures")).to_contain_text("3")
        page.context.close()


def test_a_new_collection_is_made_beside_the_others(
    open_page, flawed, sample, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with serving("-c", flawed / "kept", "--root", sample / "car") as live:
        page = open_page("#health", live=live)
        page.get_by_role("button", name="Make a new collection").click()
        page.get_by_role("dialog").get_by_role(
            "button", name="Make the collection"
        ).click()
        expect(page.get_by_role("dialog")).to_be_hidden()
        jobs = page.get_by_role("region", name="Jobs")
        expect(jobs).to_contain_text("car has 5 images: 5 added.")
        assert page.url.endswith("#health")
        jobs.get_by_role("button", name="Show it").click()
        until(page, "location.hash === '#search?collection=car'")
        expect(jobs.get_by_role("button", name="Show it")).to_have_count(0)
        expect(page.locator("#start-about")).to_contain_text("5 images in car")
        expect(page.locator("#collection")).to_have_value("car")
        page.context.close()
