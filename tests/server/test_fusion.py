"""The server fuses the answers of several Spaces."""

from __future__ import annotations

import json

import pytest

from lookalike import Collection

SPACES = ["efficientnet-lite0-int8", "pixels"]


def test_the_answer_equals_that_of_python(server, collection, query):
    fields = json.dumps({"spaces": SPACES, "k": 12, "unique": True})
    with query.open("rb") as image:
        files = {"image": image}
        answer = server.api.post("search", files=files, data={"query": fields}).json()
    opened = Collection.open(collection)
    expected = opened.search(query, k=12, space=SPACES, unique=True)
    matches = answer["matches"]
    assert [match["id"] for match in matches] == expected.ids.tolist()
    assert [match["distance"] for match in matches] == expected.distances.tolist()
    assert [match["copies"] for match in matches] == expected.copies
    assert (answer["space"], answer["metric"]) == (" + ".join(SPACES), "rank fusion")
    # The upload is known, and now a later query needs no network.
    body = {"positive": [{"upload": answer["uploads"][0]}], "spaces": SPACES, "k": 12}
    again = server.search(**body).json()["matches"]
    assert {match["id"] for match in again} == {match["id"] for match in matches}


def test_pages_share_no_match_and_end(server):
    body = {"positive": [{"id": 3}], "spaces": SPACES}
    whole = server.search(**body, k=45).json()
    assert whole["next"] is None
    first = server.search(**body, k=20).json()
    second = server.search(**body, k=20, cursor=first["next"]).json()
    third = server.search(**body, k=20, cursor=second["next"]).json()
    assert third["next"] is None
    pages = [*first["matches"], *second["matches"], *third["matches"]]
    assert pages == whole["matches"]
    assert len(pages) == 45
    other = server.search(positive=[{"id": 3}], k=20, cursor=first["next"])
    assert other.status_code == 422


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"spaces": SPACES, "space": "pixels"}, "Give one of the two"),
        ({"spaces": ["pixels", "pixels"]}, "several different ones"),
        ({"spaces": ["pixels", "nothing"]}, "nothing"),
        ({"spaces": []}, "at least 1"),
        ({"spaces": SPACES, "min_confidence": 0.1}, "different units"),
        ({"spaces": SPACES, "max_distance": 1.0}, "different units"),
    ],
)
def test_requests_that_cannot_be_fused(server, fields, detail):
    refused = server.search(positive=[{"id": 3}], **fields)
    assert refused.status_code in {404, 422}
    assert detail in json.dumps(refused.json())


def test_one_of_several_spaces_that_knows_no_words_is_named(server):
    refused = server.search(positive=[{"text": "car"}], spaces=SPACES)
    assert refused.status_code == 422
    assert "'pixels' knows no words" in refused.json()["detail"]


def test_the_description_has_several_spaces(server):
    schemas = server.api.get("openapi.json").json()["components"]["schemas"]
    assert (
        "fused by rank" in schemas["SearchBody"]["properties"]["spaces"]["description"]
    )
    metric = schemas["SearchResponse"]["properties"]["metric"]
    assert metric["enum"] == ["euclidean", "rank fusion"]
