"""The command line, Python and the server answer the same query alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import lookalike
from command import lookalike_json
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


@pytest.fixture(scope="module")
def collection(sample, tmp_path_factory) -> lookalike.Collection:
    path = tmp_path_factory.mktemp("same") / "c"
    lookalike.index(sample, path, models=["pixels", "efficientnet-lite0-int8"])
    return lookalike.Collection.open(path)


@pytest.fixture(scope="module")
def client(collection) -> Iterator[TestClient]:
    app = make_app([collection.path])
    with TestClient(app, base_url="http://localhost") as running:
        yield running


@pytest.fixture(scope="module")
def cases(sample) -> list[Case]:
    """Queries with one and with two images, with and without each option."""
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
            )
        )
    return made


def ask_python(
    collection: lookalike.Collection, case: Case
) -> list[tuple[int, str, float]]:
    matches = collection.search(
        case.positive,
        negative=case.negative,
        k=case.k,
        space=case.space,
        where=case.where,
        exclude_self=case.exclude_self,
        exact=case.exact,
    )
    return [(match.id, match.uri, match.distance) for match in matches]


def ask_command(
    collection: lookalike.Collection, case: Case
) -> list[tuple[int, str, float]]:
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
    if case.where is not None:
        words += ["--where", case.where]
    words += ["--exclude-self"] * case.exclude_self + ["--exact"] * case.exact
    answer = lookalike_json(*words)
    return [
        (match["id"], match["uri"], match["distance"]) for match in answer["matches"]
    ]


def ask_server(client: TestClient, case: Case) -> list[tuple[int, str, float]]:
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
    }
    response = client.post(
        "/api/v1/search", files=files, data={"query": json.dumps(body)}
    )
    assert response.status_code == 200, response.text
    matches = response.json()["matches"]
    return [(match["id"], match["uri"], match["distance"]) for match in matches]


def test_command_python_and_server_answer_alike(collection, client, cases):
    compared = 0
    for case in cases:
        expected = ask_python(collection, case)
        assert ask_server(client, case) == expected, case
        assert ask_command(collection, case) == expected, case
        compared += len(expected)
    # The options do something: not every answer has k matches, and not all have the same number.
    assert compared > 3 * QUERIES
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
    assert len(without) == len(whole) - len(case.positive)
    assert away.ids.tolist() != whole.ids.tolist()
