"""Answers that come late do not undo what has happened since."""

from __future__ import annotations

from playwright.sync_api import expect

from browsing import HeldRequests, tiles


def running_job(number: int, kind: str, done: int) -> dict:
    """Return a job as the server lists it."""
    return {
        "id": f"{number:016x}",
        "kind": kind,
        "asked": {"collection": "drawn"},
        "state": "running",
        "done": done,
        "total": 100,
        "rate": 2.0,
        "seconds_left": 30.0,
        "result": None,
        "error": None,
    }


def test_a_search_that_begins_while_images_arrive_is_finished(open_page, server, query):
    page = open_page()
    grown = server.api.get("collections").json()
    grown["collections"][0]["version"] += 1
    jobs = [running_job(1, "index", done=10)]
    page.route("**/api/v1/jobs", lambda route: route.fulfill(json={"jobs": jobs}))
    page.reload()
    tiles(page, "#begin")

    # The job proceeds, and the page asks for the collections.
    collections = HeldRequests(page, "**/api/v1/collections")
    searches = HeldRequests(page, "**/api/v1/search", "POST")
    jobs[0] = running_job(1, "index", done=20)
    (asked,) = collections.first(1)
    page.set_input_files("#file", query)
    (search,) = searches.first(1)
    asked.fulfill(json=grown)
    page.wait_for_timeout(100)
    search.continue_()
    assert len(tiles(page)) > 10
    page.unroute_all(behavior="ignoreErrors")


def test_an_older_list_of_jobs_does_not_hide_a_job_that_has_begun(open_page):
    page = open_page("#health")
    first = running_job(1, "map", done=0)
    second = running_job(2, "evaluate", done=0)
    page.route("**/api/v1/jobs", lambda route: route.fulfill(json={"jobs": [first]}))
    page.reload()
    strip = page.locator("#jobs")
    expect(strip).to_contain_text("Making the map")

    lists = HeldRequests(page, "**/api/v1/jobs")
    (older,) = lists.first(1)
    starts = HeldRequests(page, "**/api/v1/jobs", "POST")
    page.get_by_role("button", name="Measure accuracy").click()
    (start,) = starts.first(1)
    start.fulfill(json=second)
    expect(strip).to_contain_text("Measuring the accuracy")
    older.fulfill(json={"jobs": [first]})
    page.wait_for_timeout(100)
    assert "Measuring the accuracy" in strip.inner_text()
    page.unroute_all(behavior="ignoreErrors")
