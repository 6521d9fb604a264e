"""A network of two towers, from the first download to answers by command and by REST."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import two_towers as made
from command import lookalike_process
from hub_server import hub_of
from live import serving

pytestmark = pytest.mark.slow

RED_CARS = {f"red-car-{index}.png" for index in made.RED["car"]}


@pytest.fixture(scope="module")
def mirror(two_towers):
    with hub_of(two_towers.hub_files()) as hub:
        yield hub


@pytest.fixture(scope="module")
def environment(mirror, tmp_path_factory):
    """Variables of a user whose hub is the mirror, with empty caches."""
    home = tmp_path_factory.mktemp("home")
    return {
        "HF_ENDPOINT": mirror.url,
        "HF_HOME": str(home / "hub"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_DATA_HOME": str(home / "data"),
    }


@pytest.fixture(scope="module")
def collection(two_towers, environment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("towers")
    (folder / "made.toml").write_text(two_towers.describe(), "utf-8")
    path = folder / "c"
    model = folder / "made.toml"
    images = two_towers.images
    words = ("index", images, "-c", path, "--model", model)
    done = lookalike_process(*words, env=environment)
    assert "which is downloaded now. License: MIT. Made for tests." in done.stderr
    return path


def names(matches: list[dict]) -> set[str]:
    return {Path(match["uri"]).name for match in matches}


def test_command_answers_words_and_then_without_a_network(
    collection, environment, mirror
):
    words = ("search", "--text", "a red car", "-k", 3, "-c", collection, "--json")
    offline = {**environment, "HF_HUB_OFFLINE": "1", "LOOKALIKE_OFFLINE": "1"}
    refused = lookalike_process(*words, env=offline, status=2)
    assert "The tokenizer of the model 'made'" in refused.stderr
    assert "LOOKALIKE_OFFLINE" in refused.stderr
    assert not any(made.TEXT in request for request in mirror.asked)

    answer = lookalike_process(*words, env=environment)
    assert "made-text_model_int8.onnx" in answer.stderr
    again = lookalike_process(*words, env=offline)
    for done in (answer, again):
        data = json.loads(done.stdout)
        assert names(data["matches"]) == RED_CARS
        assert data["understood"][0]["words"] == ["a red car"]


def test_server_answers_words_beside_images(
    collection, two_towers, tmp_path, monkeypatch
):
    for name in (made.VISION, made.TEXT, made.TOKENIZER):
        file = tmp_path / f"made-{Path(name).name}"
        file.write_bytes(two_towers.read(name))
    monkeypatch.setenv("LOOKALIKE_WEIGHTS", str(tmp_path))
    with serving("-c", collection) as live:
        answer = live.search(positive=[{"text": "a red car"}], k=3).json()
        unsure = live.search(positive=[{"text": "a red car"}], min_confidence=0.5)
        assert "does not say how sure it is of a text" in unsure.json()["detail"]
        assert names(answer["matches"]) == RED_CARS
        (sailboat,) = live.search(positive=[{"text": "sailboat"}], k=1).json()[
            "matches"
        ]
        positive = [{"id": sailboat["id"]}, {"text": "red"}]
        mixed = live.search(positive=positive, k=2).json()
        assert all("red-sailboat" in name for name in names(mixed["matches"]))
        unknown = live.search(positive=[{"text": "xyzzy"}])
        assert (unknown.status_code, unknown.json()["title"]) == (422, "Unknown words")
