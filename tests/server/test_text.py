"""The server searches by words, and says what it understood."""

from __future__ import annotations

import pytest


def search(live, *positive, **fields):
    return live.api.post("search", json={"positive": list(positive), **fields})


def test_words_find_images_and_say_what_was_understood(server):
    answer = search(server, {"text": "a photo of two airplanes"}, k=3).json()
    assert [match["label"] for match in answer["matches"]] == ["airplane"] * 3
    (understood,) = answer["understood"]
    assert 0 < understood.pop("confidence") < 1
    assert understood == {
        "text": "a photo of two airplanes",
        "words": ["airliner"],
        "unknown": ["two"],
    }
    assert answer["answer"] is None


def test_pages_of_a_broad_word_share_no_image(server):
    fields = {"k": 20}
    whole = search(server, {"text": "vehicle"}, k=40).json()["matches"]
    first = search(server, {"text": "vehicle"}, **fields).json()
    second = search(server, {"text": "vehicle"}, cursor=first["next"], **fields).json()
    assert [*first["matches"], *second["matches"]] == whole
    other = search(server, {"text": "car"}, cursor=first["next"], **fields)
    assert other.status_code == 422


def test_words_and_rows_mix_in_a_batch(server):
    car = {"text": "car", "weight": 20}
    searches = [
        {"positive": [{"id": 0}, car], "k": 3},
        {"positive": [{"text": "asdfgh"}]},
    ]
    mixed, unknown = server.api.post(
        "search/batch", json={"searches": searches}
    ).json()["results"]
    assert [match["label"] for match in mixed["answer"]["matches"]] == ["car"] * 3
    assert unknown["problem"]["title"] == "Unknown words"


def test_an_unknown_word_is_a_problem_with_suggestions(server):
    refused = search(server, {"text": "Steinway"})
    assert refused.status_code == 422
    problem = refused.json()
    assert "No word of 'Steinway' is known" in problem["detail"]
    assert len(problem["suggestions"]) == 3


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"text": ""}, "at least 1"),
        ({"text": " "}, "is empty"),
        ({"text": "piano " * 10_000}, "at most 1000"),
        ({"text": "a\0b"}, "U+0000"),
        ({"text": "\N{GUITAR}"}, "The known words are 3,217 English nouns"),
        ({"text": "\u05db\u05dc\u05d1"}, "No word of '\u05db\u05dc\u05d1' is known"),
        ({"text": 7}, "expected a string"),
        ({"text": "car", "region": [0, 0, 1, 1]}, "no such field"),
    ],
)
def test_invalid_texts_are_refused(server, fields, detail):
    refused = search(server, fields)
    assert refused.status_code == 422
    assert detail in refused.json()["detail"]


def test_matches_of_a_word_have_a_confidence_on_request(server):
    every = search(server, {"text": "guitar"}).json()
    assert {match["confidence"] for match in every["matches"]} == {None}
    cut = search(server, {"text": "guitar"}, min_confidence=0.5).json()
    confidences = [match["confidence"] for match in cut["matches"]]
    assert confidences
    assert min(confidences) >= 0.5
    assert len(confidences) <= len(every["matches"])
    refused = search(server, {"text": "car and butterfly"}, min_confidence=0.5)
    assert refused.status_code == 422
    assert "Search by one word" in refused.json()["detail"]


def test_a_space_without_words_is_refused(server):
    refused = search(server, {"text": "car"}, space="pixels")
    assert refused.status_code == 422
    assert "efficientnet-lite0-int8" in refused.json()["detail"]


def test_a_text_cannot_be_explained(server):
    body = {"query": {"text": "car"}, "match": 0}
    assert server.api.post("explain", json=body).status_code == 422
