"""Every JSON response is valid JSON, whatever numbers a collection holds."""

import json

from lookalike.server.responses import json_response


def refuse(constant: str):
    raise ValueError(f"{constant} is no JSON")


def test_infinite_numbers_are_texts():
    values = {"high": float("inf"), "low": [float("-inf")], "rating": 4.5}
    body = json_response({"metadata": values}).body
    read = json.loads(body, parse_constant=refuse)
    assert read == {
        "metadata": {"high": "Infinity", "low": ["-Infinity"], "rating": 4.5}
    }
