"""Large JPEGs are decoded at a reduced scale, with nearly the same vectors."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lookalike
from lookalike import imaging
from lookalike.collection import Collection
from lookalike.errors import ImageError
from lookalike.models import embedder
from lookalike.models.registry import resolve
from lookalike.store.table import Table

MIN_SIDE = imaging.min_decoded_side(resolve("auto"))
TURNED = {
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_270,
    8: Image.Transpose.ROTATE_90,
}


def scene(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return an image like a photograph: shapes of all sizes with edges, shades and noise."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for cells in (3, 9, 40, 200):
        coarse = random.uniform(0, 1, (cells * height // width + 1, cells, 3))
        layer = Image.fromarray((coarse * 255).astype(np.uint8)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        total += np.asarray(layer) / cells**0.6
    total += random.normal(0, 3, (height, width, 1))
    return Image.fromarray(
        np.interp(total, (total.min(), total.max()), (0, 255)).astype(np.uint8)
    )


def encode(
    image: Image.Image, kind: str = "JPEG", orientation: int = 1, **options
) -> bytes:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    image.save(
        file,
        kind,
        exif=exif,
        **{"quality": 92, **options} if kind in {"JPEG", "MPO"} else options,
    )
    return file.getvalue()


@pytest.fixture(scope="module")
def large() -> Image.Image:
    return scene(4000, 3000)


@pytest.fixture(scope="module")
def file(large, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.jpg"
    path.write_bytes(encode(large))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("min_side", "scaled"),
    [
        (640, (1000, 750)),
        (800, (2000, 1500)),
        (1500, (2000, 1500)),
        (1501, (4000, 3000)),
    ],
)
def test_a_large_jpeg_is_decoded_at_a_power_of_two_with_its_full_size(
    file, large, min_side, scaled
):
    small, size = imaging.decode_small(file.read_bytes(), min_side=min_side)
    assert (small.size, size) == (scaled, (4000, 3000))
    expected = np.asarray(large.resize((40, 30), Image.Resampling.BOX)).astype(float)
    assert (
        np.abs(
            np.asarray(small.resize((40, 30), Image.Resampling.BOX)) - expected
        ).mean()
        < 2
    )


@pytest.mark.parametrize("shape", [(500, 410), (401, 403), (403, 401)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_images_and_their_sizes_are_upright(shape, orientation):
    """Scaled, 401 x 403 is a square: its sides do not show how it was turned."""
    stored = scene(40, 30, seed=1).resize(shape)
    data = encode(stored, orientation=orientation)
    small, size = imaging.decode_small(data, min_side=100)
    whole = imaging.decode(data)
    assert size == whole.size
    assert small.width < whole.width / 3
    near = [np.asarray(image.resize((8, 6))).astype(int) for image in (small, whole)]
    assert np.abs(near[0] - near[1]).max() <= 4


def test_progressive_jpegs_and_mpos_are_decoded_small_too(large):
    for data in (
        encode(large, progressive=True),
        encode(large, "MPO", save_all=True, append_images=[large]),
    ):
        small, size = imaging.decode_small(data, min_side=MIN_SIDE)
        assert (small.size, size) == ((1000, 750), (4000, 3000))


@pytest.mark.parametrize("shape", [(1, 1), (300, 200), (1279, 2000), (2000, 1279)])
def test_a_small_jpeg_is_decoded_in_full(shape):
    data = encode(scene(*shape))
    small, size = imaging.decode_small(data, min_side=MIN_SIDE)
    assert small.tobytes() == imaging.decode(data).tobytes()
    assert size == small.size == shape


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_other_formats_are_decoded_in_full(kind, large):
    data = encode(large.resize((1500, 1400)), kind)
    small, size = imaging.decode_small(data, min_side=MIN_SIDE)
    assert small.tobytes() == imaging.decode(data).tobytes()
    assert size == (1500, 1400)


def test_small_decoding_refuses_the_same_files(file):
    data = file.read_bytes()
    for broken in (b"", b"text", data[: len(data) // 2]):
        with pytest.raises(ImageError) as whole:
            imaging.decode(broken)
        with pytest.raises(ImageError) as small:
            imaging.decode_small(broken, min_side=MIN_SIDE)
        assert str(small.value) == str(whole.value)
    with pytest.raises(ImageError, match="12 megapixels, more than the limit of 11"):
        imaging.decode_small(data, min_side=MIN_SIDE, max_pixels=11_000_000)


@pytest.mark.parametrize(
    ("name", "least"),
    [("efficientnet-lite0", 0.999), ("efficientnet-lite0-int8", 0.998)],
)
def test_small_decoding_hardly_changes_vectors(name, least, file):
    model = resolve(name)
    whole = imaging.decode(file.read_bytes())
    small, _ = imaging.decode_small(
        file.read_bytes(), min_side=imaging.min_decoded_side(model)
    )
    one, other = embedder.load(model).embed(
        np.stack([imaging.prepare(image, model) for image in (whole, small)])
    )
    assert float(one @ other) >= least


@pytest.mark.slow
def test_a_large_image_finds_itself_and_keeps_its_size(file, tmp_path):
    for number in (1, 2):
        (file.parent / f"other{number}.jpg").write_bytes(
            encode(scene(1600, 1400, seed=number))
        )
    models = ["efficientnet-lite0", "efficientnet-lite0-int8", "pixels"]
    lookalike.index(file.parent, tmp_path / "c", models=models)
    table = Table.open(tmp_path / "c")
    for space in models:
        first = next(iter(Collection(table).search(file, space=space)))
        assert (first.uri, first.distance) == (str(file), 0)
    row = table.take(
        Collection(table).search(file, k=1).ids, ["width", "height", "thumbnail"]
    ).to_pylist()[0]
    assert (row["width"], row["height"]) == (4000, 3000)
    with Image.open(io.BytesIO(row["thumbnail"])) as thumbnail:
        assert thumbnail.size == (160, 120)


def test_a_model_with_a_large_input_does_not_change_other_vectors(file, tmp_path):
    """With one decode for all, the larger input would give other models other pixels."""
    (tmp_path / "vast.toml").write_text(
        'architecture = "pixels"\nsize = [1, 1700]\ndim = 5100\nfilter = "nearest"\n'
        "unit_length = false\n"
    )
    models = ["efficientnet-lite0-int8", "pixels"]
    lookalike.index(file, tmp_path / "alone", models=models)
    lookalike.index(file, tmp_path / "beside", models=[*models, tmp_path / "vast.toml"])
    alone, beside = Table.open(tmp_path / "alone"), Table.open(tmp_path / "beside")
    for space in models:
        assert (alone.vectors(space)[1] == beside.vectors(space)[1]).all()
    whole = imaging.prepare(
        imaging.decode(file.read_bytes()), resolve(tmp_path / "vast.toml")
    )
    assert (beside.vectors("vast")[1] == whole.ravel()).all()
