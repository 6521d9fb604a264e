"""The commands on a collection in object storage, as in a folder."""

from __future__ import annotations

import json

import pytest
from starlette.testclient import TestClient

import made
from command import lookalike
from lookalike.server.app import make_app
from lookalike.server.settings import API
from lookalike.store.table import Table


@pytest.fixture
def place(object_store, monkeypatch) -> str:
    """The address of a collection of twelve images, which lie in the same bucket."""
    for number in range(12):
        color = (20 * number, 200 - 10 * number, 40 * (number % 2))
        label = "cats" if number % 2 else "dogs"
        object_store.put(f"in/{label}/{number}.jpg", made.picture(color))
    place = object_store.uri("collections/pets")
    monkeypatch.setenv("LOOKALIKE_COLLECTION", place)
    done = lookalike("index", object_store.uri("in"), "--model", "pixels", "--json")
    assert json.loads(done.stdout)["added"] == 12
    return place


@pytest.mark.slow
def test_every_command_takes_the_address(place, object_store, tmp_path):
    query = tmp_path / "query.jpg"
    query.write_bytes(made.picture((0, 200, 0)))
    found = json.loads(lookalike("search", query, "-k", "3", "--json").stdout)
    assert object_store.uri("in/dogs/0.jpg") in json.dumps(found)
    assert "12" in lookalike("info").stdout
    assert "Sound" in lookalike("check").stdout
    page = tmp_path / "map.html"
    lookalike("map", "--method", "pca", "--output", page)
    assert page.stat().st_size > 10_000
    lookalike("evaluate", "--json")

    lookalike("remove", object_store.uri("in/cats"))
    assert "6 images" in lookalike("trash", "list").stdout
    lookalike("trash", "restore")
    lookalike("optimize")

    backup = object_store.uri("backups/pets")
    lookalike("backup", backup)
    lookalike("restore", backup, "-c", tmp_path / "copy")
    assert "Sound" in lookalike("check", "-c", tmp_path / "copy").stdout
    # Nothing was written to a folder of that name.
    assert not (tmp_path / "s3:").exists()


def test_a_server_answers_from_the_address_and_sees_new_versions(place, object_store):
    app = make_app([place])
    with TestClient(app, base_url="http://localhost") as client:
        assert served(client) == ("pets", 12)
        Table.open(place).remove([object_store.uri("in/cats/1.jpg")])
        app.state.lookalike.registry.collection("pets").refresh(force=True)
        assert served(client) == ("pets", 11)


def served(client) -> tuple[str, int]:
    """Return the name and the number of images of the only collection."""
    (collection,) = client.get(f"{API}/collections").json()["collections"]
    return collection["name"], collection["images"]
