"""The command line, Python and the server answer the same query alike."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import lookalike
from command import lookalike_json
from lookalike.retrieval.query import WeightedQuery
from lookalike.server.app import make_app

# Each test runs whole commands or networks; scripts/test --fast leaves them out.
pytestmark = pytest.mark.slow

QUERIES = 50
FILTERS = (
    None,
    "label != 'cat'",
    "label in ('car', 'teapot', 'butterfly')",
    "width > 10",
)


@dataclass(frozen=True)
class Case:
    """One query, in the words that the three share."""

    positive: list[Path]
    negative: list[Path]
    space: str
    k: int
    where: str | None
    exclude_self: bool
    exact: bool
    gamma: float
    unique: bool
    max_distance: float | None
    ranking: str


@pytest.fixture(scope="module")
def folder(sample, tmp_path_factory) -> Path:
    """The sample, and a copy of every third image."""
    folder = tmp_path_factory.mktemp("images") / "in"
    shutil.copytree(sample, folder)
    for image in sorted(sample.rglob("*.jpg"))[::3]:
        shutil.copy(image, folder / "cat" / f"copy of {image.name}")
    return folder


@pytest.fixture(scope="module")
def collection(folder, tmp_path_factory) -> lookalike.Collection:
    path = tmp_path_factory.mktemp("same") / "c"
    lookalike.index(folder, path, models=["pixels", "efficientnet-lite0-int8"])
    return lookalike.Collection.open(path)


@pytest.fixture(scope="module")
def client(collection) -> Iterator[TestClient]:
    app = make_app([collection.path])
    with TestClient(app, base_url="http://localhost") as running:
        yield running


@pytest.fixture(scope="module")
def cases(sample) -> list[Case]:
    """Queries with one and with two images, with and without each option.

    The images lie outside of the collection's folder: a server knows images by content alone.
    """
    images = sorted(sample.rglob("*.jpg"))
    made = []
    for number in range(QUERIES):
        count = 1 + number % 2
        chosen = [
            images[(7 * number + 11 * part) % len(images)] for part in range(count + 1)
        ]
        made.append(
            Case(
                positive=chosen[:count],
                negative=chosen[count:] if number % 3 == 0 else [],
                # Most in the Space whose model takes no time to load.
                space="efficientnet-lite0-int8" if number % 7 == 0 else "pixels",
                k=(1, 5, 12, 100)[number % 4],
                where=FILTERS[(number // 2) % len(FILTERS)],
                exclude_self=number % 5 in {1, 2},
                exact=number % 4 == 3,
                gamma=(0.1, 0.4, 0.0, 1.3)[number % 4],
                unique=number % 6 in {1, 2, 3},
                max_distance=(None, None, 1.1, 3000.0)[number % 4],
                ranking=("plain", "plain", "centered", "context", "plain")[number % 5],
            )
        )
    return made


def ask_python(
    collection: lookalike.Collection, case: Case
) -> list[tuple[int, str, float, int | None]]:
    matches = collection.search(
        case.positive,
        negative=case.negative,
        k=case.k,
        space=case.space,
        where=case.where,
        exclude_self=case.exclude_self,
        exact=case.exact,
        gamma=case.gamma,
        unique=case.unique,
        max_distance=case.max_distance,
        ranking=case.ranking,
    )
    return [(match.id, match.uri, match.distance, match.copies) for match in matches]


def ask_command(
    collection: lookalike.Collection, case: Case
) -> list[tuple[int, str, float, int | None]]:
    words = [
        "search",
        *case.positive,
        "-c",
        collection.path,
        "-k",
        case.k,
        "--space",
        case.space,
    ]
    for image in case.negative:
        words += ["--negative", image]
    if case.negative:
        words += ["--gamma", case.gamma]
    if case.where is not None:
        words += ["--where", case.where]
    words += ["--exclude-self"] * case.exclude_self + ["--exact"] * case.exact
    words += ["--unique"] * case.unique
    words += ["--rank", case.ranking]
    if case.max_distance is not None:
        words += ["--max-distance", case.max_distance]
    answer = lookalike_json(*words)
    return [
        (match["id"], match["uri"], match["distance"], match.get("copies"))
        for match in answer["matches"]
    ]


def ask_server(
    client: TestClient, case: Case
) -> list[tuple[int, str, float, int | None]]:
    images = [*case.positive, *case.negative]
    files = [("image", (image.name, image.read_bytes())) for image in images]
    positive = [{"image": number} for number in range(len(case.positive))]
    negative = [{"image": number} for number in range(len(case.positive), len(images))]
    body = {
        "positive": positive,
        "negative": negative,
        "k": case.k,
        "space": case.space,
        "where": case.where,
        "exclude_self": case.exclude_self,
        "exact": case.exact,
        "gamma": case.gamma,
        "unique": case.unique,
        "max_distance": case.max_distance,
        "ranking": case.ranking,
    }
    response = client.post(
        "/api/v1/search", files=files, data={"query": json.dumps(body)}
    )
    assert response.status_code == 200, response.text
    matches = response.json()["matches"]
    return [
        (match["id"], match["uri"], match["distance"], match["copies"])
        for match in matches
    ]


def test_weights_of_negatives_are_the_same_in_python_and_on_the_server(
    collection, client, folder
):
    """The command line has no weights."""
    images = sorted(folder.rglob("*.jpg"))[5:8]
    answers = []
    for weights in ((1.0, 1.0), (0.5, 0.25), (0.1, 0.1), (3.0, 0.5)):
        negative = [
            WeightedQuery(image, weight)
            for image, weight in zip(images[1:], weights, strict=True)
        ]
        found = collection.search(images[0], negative=negative, gamma=0.5)
        files = [("image", (image.name, image.read_bytes())) for image in images]
        body = {
            "positive": [{"image": 0}],
            "negative": [
                {"image": number, "weight": weight}
                for number, weight in enumerate(weights, start=1)
            ],
            "gamma": 0.5,
        }
        response = client.post(
            "/api/v1/search", files=files, data={"query": json.dumps(body)}
        )
        distances = [match["distance"] for match in response.json()["matches"]]
        assert distances == found.distances.tolist()
        assert distances not in answers
        answers.append(distances)


def test_command_python_and_server_answer_alike(collection, client, cases):
    compared = 0
    for case in cases:
        expected = ask_python(collection, case)
        assert ask_server(client, case) == expected, case
        assert ask_command(collection, case) == expected, case
        compared += len(expected)
    # The options do something: not every answer has k matches, and not all have the same number.
    assert compared > 3 * QUERIES
    assert any(case.unique and case.max_distance is not None for case in cases)
    assert (
        {case.exclude_self for case in cases}
        == {case.exact for case in cases}
        == {False, True}
    )


def test_each_option_changes_an_answer(collection, cases):
    """What is compared above would not show if an option were ignored by all three."""
    (case,) = [
        case for case in cases if case.where == FILTERS[2] and case.exclude_self
    ][:1]
    words = {"k": 100, "space": "pixels"}
    whole = collection.search(case.positive, **words)
    filtered = collection.search(case.positive, where=case.where, **words)
    without = collection.search(case.positive, exclude_self=True, **words)
    away = collection.search(case.positive, negative=cases[0].negative, **words)
    assert 0 < len(filtered) < len(whole)
    contents = {image.read_bytes() for image in case.positive}
    own = [uri for uri in whole.uris if Path(uri).read_bytes() in contents]
    assert len(without) == len(whole) - len(own) < len(whole)
    assert away.ids.tolist() != whole.ids.tolist()
    far = collection.search(
        case.positive, negative=cases[0].negative, gamma=0.6, **words
    )
    assert far.distances.tolist() != away.distances.tolist()
    assert len(collection.search(case.positive, unique=True, **words)) == 45
    near = collection.search(case.positive, max_distance=3000.0, **words)
    assert 0 < len(near) < len(whole)
