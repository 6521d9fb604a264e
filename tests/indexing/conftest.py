"""A folder of images, a function that indexes it, and its collection with ratings."""

from __future__ import annotations

import pytest

import lookalike
from rated_images import make_image


@pytest.fixture
def root(tmp_path):
    """A folder with ten images: four on ``usb``, four in an album, two at the top."""
    for number in range(10):
        folder = ("usb", "usb", "album", "album", ".")[number // 2]
        make_image(tmp_path / "root" / folder / f"{number}.png", number)
    return tmp_path / "root"


@pytest.fixture
def run(root, tmp_path):
    """Return a function that indexes the folder in pixel space, which needs no network."""

    def run(*paths, **options):
        options = {"models": ["pixels"], **options}
        return lookalike.index(list(paths) or root, tmp_path / "c", **options)

    return run


@pytest.fixture
def rated(run, root, tmp_path):
    """A collection in which each image has a rating."""
    lines = ["filename,rating"]
    for path in sorted(root.rglob("*.png")):
        lines.append(f"{path},{path.stem}")
    (tmp_path / "ratings.csv").write_text("\n".join(lines) + "\n")
    run(metadata=tmp_path / "ratings.csv")
    return tmp_path / "c"


@pytest.fixture
def no_decoding(monkeypatch):
    """Make it an error to decode an image."""

    def forbid():
        monkeypatch.setattr(
            "lookalike.imaging.decode_small", lambda *_, **__: pytest.fail("decoded")
        )

    return forbid
