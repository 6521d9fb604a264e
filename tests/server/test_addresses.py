"""A server of images from the web sends no request to the web, whatever a visitor writes."""

from __future__ import annotations

import pytest

import lookalike
from live import problem, serving
from local_server import local_server
from made import picture


@pytest.fixture(scope="module")
def web():
    with local_server() as web:
        yield web


@pytest.fixture(scope="module")
def live(web, tmp_path_factory):
    """A server of two images from the web, which is allowed to read them."""
    folder = tmp_path_factory.mktemp("web")
    for number in range(2):
        web.serve(f"/{number}.png", picture((90 * number, 0, 0), (900, 700)))
    addresses = [web.url("/0.png"), web.url("/1.png")]
    lookalike.index(addresses, folder / "c", models=["pixels"], allow_private=True)
    web.asked.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOKALIKE_ALLOW_PRIVATE", "1")
        with serving("-c", folder / "c", "--root", folder) as live:
            yield live


@pytest.fixture(autouse=True)
def _asks_nothing(web):
    yield
    assert web.asked == []


def test_an_address_is_refused_as_an_example(live, web):
    address = web.url("/0.png")
    for example in (
        address,
        {"uri": address},
        {"id": address},
        {"upload": address},
        {"image": address},
        {"url": address},
    ):
        query = {"positive": [example]}
        for route in ("search", "distances"):
            response = live.api.post(route, json=query)
            problem(response, 422)
        batch = live.api.post("search/batch", json={"searches": [query]})
        (result,) = batch.json()["results"]
        assert result["problem"]["status"] == 422
        assert "matches" not in batch.text


def test_an_address_is_refused_in_a_job(live, web):
    address = web.url("/0.png")
    for fields in (
        {"root": address},
        {"paths": [address]},
        {"root": 0, "uri": address},
    ):
        response = live.api.post("jobs", json={"kind": "index", **fields})
        problem(response, 422)
    response = live.api.post("jobs", json={"kind": address})
    problem(response, 422)


def test_rows_are_found_and_their_images_are_stored_thumbnails(live):
    matches = live.search(positive=[{"id": 0}]).json()["matches"]
    assert [match["uri"][-6:] for match in matches] == ["/0.png", "/1.png"]
    for row in (0, 1):
        detail = problem(live.api.get(f"rows/{row}/original"), 404)
        assert "on the web, and this server does not fetch it" in detail
        for size in (256, 512):
            response = live.api.get(f"rows/{row}/thumbnail", params={"size": size})
            assert response.headers["content-type"] == "image/jpeg"
