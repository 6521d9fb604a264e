"""The server calibrates a collection, and its answers have confidences."""

from __future__ import annotations

import pytest


def search(live, **fields):
    body = {"positive": [{"id": 0}], "space": "pixels", **fields}
    return live.api.post("search", json=body)


def test_job_returns_rates_and_answers_have_confidences(calibrated):
    (space,) = calibrated.calibration["spaces"]
    assert 0.9 < space["kept"]["value"] <= 1

    answer = search(calibrated, k=45).json()
    confidences = [match["confidence"] for match in answer["matches"]]
    assert confidences == sorted(confidences, reverse=True)
    assert confidences[0] == answer["answer"]["confidence"] == 1
    assert answer["answer"]["match"]
    assert confidences[-1] < 0.03

    cut = search(calibrated, k=45, min_confidence=0.03).json()
    assert cut["answer"]["hidden"] == 45 - len(cut["matches"])
    assert [match["confidence"] for match in cut["matches"]] == [
        confidence for confidence in confidences if confidence >= 0.03
    ]
    assert cut["next"] is None


def test_pages_of_one_search_share_their_confidences(calibrated):
    whole = search(calibrated, k=20).json()["matches"]
    first = search(calibrated, k=10).json()
    second = search(calibrated, k=10, cursor=first["next"]).json()
    assert [*first["matches"], *second["matches"]] == whole


def test_a_collection_states_its_calibration(calibrated, server):
    (collection,) = calibrated.api.get("collections").json()["collections"]
    (space,) = [one for one in collection["spaces"] if one["name"] == "pixels"]
    info = space["calibration"]
    assert (info["rows"], info["added"], info["removed"]) == (45, 0, 0)
    assert info["usable"]
    assert info["kept"] == calibrated.calibration["spaces"][0]["kept"]["value"]
    (collection,) = server.api.get("collections").json()["collections"]
    assert all(one["calibration"] is None for one in collection["spaces"])


def test_confidence_is_null_without_a_calibration(server):
    answer = search(server).json()
    assert answer["answer"] is None
    assert answer["matches"][0]["confidence"] is None
    refused = search(server, min_confidence=0.5)
    assert refused.status_code == 422
    assert "lookalike calibrate" in refused.json()["detail"]


@pytest.mark.parametrize("value", [-1, 1.5, "half"])
def test_min_confidence_outside_zero_to_one_is_refused(calibrated, value):
    assert search(calibrated, min_confidence=value).status_code == 422
