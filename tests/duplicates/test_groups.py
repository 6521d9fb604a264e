"""The result of a search for duplicates, as data."""

from __future__ import annotations

import pytest

from lookalike.duplicates.groups import (
    Duplicate,
    DuplicateGroup,
    Duplicates,
    DuplicateSettings,
    Reason,
)
from lookalike.errors import InputError


def image(number, *, size=100, **values):
    sha256 = f"{number:064x}"
    uri = f"/photographs/{number}.jpg"
    return Duplicate(number, uri, sha256, 640, 480, size, "JPEG", None, **values)


@pytest.fixture
def found():
    reason = Reason("points", 80, inliers=40, correlation=0.97, is_mirrored=True)
    copy = image(2, size=70, tier="copy", reason=reason)
    twin = image(3, tier="identical", reason=Reason("content"), is_protected=True)
    group = DuplicateGroup(image(1), (twin, copy))
    settings = DuplicateSettings(protect=("/kept",), across=("train", "test"))
    return Duplicates((group,), 12, 7, settings, thresholds={"inliers": 15})


def test_json_keeps_everything(found):
    assert Duplicates.from_json(found.to_json()) == found


def test_protected_images_are_not_counted_as_savings(found):
    assert found.copies == 2
    assert found.removable_bytes == 70
    assert found.counts() == {"identical": 1, "copy": 1, "similar": 0}


@pytest.mark.parametrize("text", ["", "[]", '{"format": 99}', '{"format": 1}'])
def test_other_json_is_refused(text):
    with pytest.raises(InputError, match="lookalike duplicates --json"):
        Duplicates.from_json(text)
