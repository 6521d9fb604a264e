"""Edited copies are found, other images are not, and every odd collection has an answer."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageEnhance, ImageOps

import lookalike
from edits import EDITS
from lookalike.duplicates import comparison, features, find, grouping
from lookalike.duplicates.groups import Reason
from lookalike.duplicates.pdq import hash_image, pdq_distances
from lookalike.duplicates.points import align, find_points
from lookalike.duplicates.workers import run_chunks
from lookalike.errors import InputError
from lookalike.imaging import decode
from lookalike.store.table import Table

FOUND_EDITS = ["JPEG 30", "crop 25 %", "flip", "rotation 90", "mirrored crop"]
PHOTOGRAPHS = 3


def photograph(seed):
    """Return an image with smooth colors and sharp shapes, as photographs have."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((360, 270), Image.Resampling.BICUBIC)
    for _ in range(90):
        left, top = random.integers(0, [330, 240])
        size = tuple(random.integers(6, 45, 2).tolist())
        color = tuple(random.integers(0, 256, 3).tolist())
        shape = Image.new("RGB", size, color).rotate(
            int(random.integers(0, 90)), expand=True
        )
        mask = Image.new("L", size, 255).rotate(0)
        smooth.paste(shape.resize(size), (int(left), int(top)), mask)
    return smooth


@pytest.fixture(scope="module")
def copied(build_once):
    """A collection of photographs in `originals`, and of their edits in `edits`."""

    def build(folder):
        originals, edited = folder / "originals", folder / "edits"
        originals.mkdir(parents=True)
        edited.mkdir()
        for number in range(PHOTOGRAPHS):
            image = photograph(number)
            image.save(originals / f"{number}.png")
            if number == 0:
                continue
            for name in FOUND_EDITS:
                EDITS[name](image).save(edited / f"{number} {name}.jpg", quality=92)
        lookalike.index([originals, edited], folder / "c")

    return build_once("copied-photographs", build)


@pytest.fixture
def collection(copied, tmp_path):
    shutil.copytree(copied / "c", tmp_path / "c")
    return lookalike.Collection.open(tmp_path / "c")


def test_every_edit_is_in_the_group_of_its_original(collection, copied):
    found = collection.duplicates()
    assert len(found) == PHOTOGRAPHS - 1
    for group in found:
        number = group.keeper.uri.rsplit("/", 1)[1].removesuffix(".png")
        assert group.keeper.uri == str(copied / "originals" / f"{number}.png")
        names = {copy.uri.rsplit("/", 1)[1] for copy in group.copies}
        assert names == {f"{number} {name}.jpg" for name in FOUND_EDITS}
        assert {copy.tier for copy in group.copies} == {"copy"}
    assert found.images == PHOTOGRAPHS + (PHOTOGRAPHS - 1) * len(FOUND_EDITS)
    mirrored = [copy for copy in found.groups[0].copies if "mirrored" in copy.uri]
    assert mirrored[0].reason.evidence == "points"
    assert mirrored[0].reason.is_mirrored


def test_a_second_search_compares_nothing_again(collection, monkeypatch):
    first = collection.duplicates()

    def fail(pairs):
        raise AssertionError(f"{len(pairs)} pairs were compared again")

    monkeypatch.setattr(comparison, "align_pairs", fail)
    monkeypatch.setattr(features, "locate_points", fail)
    assert collection.duplicates() == first


def test_a_new_image_is_the_only_one_whose_points_are_looked_for(
    collection, tmp_path, monkeypatch
):
    collection.duplicates()
    photograph(20).save(tmp_path / "new.png")
    collection.index(tmp_path / "new.png")
    located = []

    def note(images):
        located.append(len(images))
        return [None] * len(images)

    monkeypatch.setattr(features, "locate_points", note)
    collection.duplicates()
    assert located[0] == 1


def test_turned_copies_are_found_that_no_vector_finds(tmp_path):
    images = tmp_path / "images"
    originals, edited = images / "originals", images / "edits"
    originals.mkdir(parents=True)
    edited.mkdir()
    for number in range(12):
        photograph(number).save(originals / f"{number}.png")
    image = photograph(0)
    turned = {
        "turned": image.rotate(25, Image.Resampling.BICUBIC, expand=True),
        "mirrored": ImageOps.mirror(image).rotate(140, expand=True),
    }
    for name, copy in turned.items():
        copy.resize((240, 200)).save(edited / f"{name}.jpg")
    # The vectors of this model are the pixels, which turn with the image.
    lookalike.index(images, tmp_path / "c", models=["pixels"])
    collection = lookalike.Collection.open(tmp_path / "c")
    (group,) = collection.duplicates()
    names = {str(edited / f"{name}.jpg") for name in turned}
    assert {copy.uri for copy in group.copies} == names
    (group,) = collection.duplicates(across=(str(originals), str(edited)))
    assert {copy.uri for copy in group.copies} == names


def test_squashed_pixels_lie_upon_their_original():
    image = photograph(8).resize((160, 120))
    squashed = image.resize((160, 80))
    alignment = align(find_points(image), find_points(squashed))
    assert alignment.is_copy
    assert alignment.correlation > 0.9


def test_an_interrupted_search_keeps_what_it_compared(collection, monkeypatch):
    monkeypatch.setattr(comparison, "_PAIRS_PER_CHUNK", 8)
    total = []

    def stop(step, done, count):
        if step == "Comparing images":
            total.append(count)
            if done:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collection.duplicates(progress=stop, processes=1)
    interrupted = total[0]
    total.clear()
    collection.duplicates(progress=lambda *report: total.append(report), processes=1)
    remaining = [count for step, _, count in total if step == "Comparing images"]
    assert remaining[0] < interrupted


def test_without_opencv_copies_by_hash_are_found(collection, monkeypatch):
    monkeypatch.setattr(find, "is_installed", lambda package: False)
    found = collection.duplicates()
    assert {copy.reason.evidence for group in found for copy in group.copies} == {"pdq"}
    assert "lookalike[duplicates]" in found.notes[0]


def test_parts_are_compared_with_each_other_only(collection, copied, tmp_path):
    originals, edited = copied / "originals", copied / "edits"
    found = collection.duplicates(across=(str(originals), str(edited)))
    assert found.copies == (PHOTOGRAPHS - 1) * len(FOUND_EDITS)
    for group in found:
        assert group.keeper.uri.startswith(str(originals))
    # Copies of one photograph in the same part are no leak.
    manifest = tmp_path / "split.csv"
    rows = [f"{path},x,train" for path in sorted(edited.iterdir())]
    rows.append(f"{originals / '0.png'},x,test")
    manifest.write_text("\n".join(["uri,label,split", *rows]))
    assert len(collection.duplicates(split=str(manifest))) == 0


def test_protected_images_are_not_removable(collection, copied):
    found = collection.duplicates(protect=(str(copied / "edits"),))
    assert found.copies > 0
    assert found.removable_bytes == 0


def test_rejected_pairs_are_not_grouped(collection):
    found = collection.duplicates()
    group = found.groups[0]
    pairs = {tuple(sorted((group.keeper.sha256, copy.sha256))) for copy in group.copies}
    again = find.find_duplicates(collection.table, rejected=frozenset(pairs))
    members = [each for other in again for each in (other.keeper, *other.copies)]
    assert group.keeper.sha256 not in {each.sha256 for each in members}


@pytest.mark.parametrize(
    "settings",
    [
        {"protect": ("/nowhere",)},
        {"across": ("/nowhere", "/elsewhere")},
        {"across": ("/", "/")},
    ],
)
def test_names_without_images_are_refused(collection, settings):
    with pytest.raises(InputError):
        collection.duplicates(**settings)


def test_a_manifest_that_names_nothing_is_refused(collection, tmp_path):
    manifest = tmp_path / "split.csv"
    manifest.write_text("uri,label,split\n/a.jpg,x,train\n/b.jpg,x,test\n")
    with pytest.raises(InputError, match="0 of train and 0 of test"):
        collection.duplicates(split=str(manifest))


@pytest.mark.parametrize("count", [1, 2, 11])
def test_equal_images_are_one_group(tmp_path, count):
    for number in range(count):
        folder = tmp_path / "images" / str(number)
        folder.mkdir(parents=True)
        Image.new("RGB", (40, 30), "red").save(folder / "a.png")
    lookalike.index(tmp_path / "images", tmp_path / "c", models=["pixels"])
    found = lookalike.Collection.open(tmp_path / "c").duplicates(tier="similar")
    assert [len(group.copies) for group in found] == ([count - 1] if count > 1 else [])
    assert all(copy.tier == "identical" for group in found for copy in group.copies)


def test_the_same_pixels_in_other_files_are_identical(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    photograph(3).save(images / "a.png")
    photograph(3).save(images / "b.bmp")
    # Two flat images are alike to every hash.
    Image.new("RGB", (360, 270), "black").save(images / "black.png")
    Image.new("RGB", (360, 270), "white").save(images / "white.png")
    lookalike.index(images, tmp_path / "c", models=["pixels"])
    collection = lookalike.Collection.open(tmp_path / "c")
    for tier in ("identical", "copy"):
        (group,) = collection.duplicates(tier=tier)
        assert group.copies[0].tier == "identical"
        assert group.copies[0].reason == Reason("pixels")


def test_frames_of_a_burst_are_no_copies(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    image = photograph(4)
    for second, brightness in enumerate((1.0, 1.05)):
        exif = Image.Exif()
        details = exif.get_ifd(0x8769)
        details[0x9003] = f"2024:05:01 10:00:0{second}"
        frame = ImageEnhance.Brightness(image).enhance(brightness)
        frame.save(images / f"{second}.jpg", quality=90, exif=exif)
    lookalike.index(images, tmp_path / "c")
    collection = lookalike.Collection.open(tmp_path / "c")
    assert len(collection.duplicates()) == 0
    (group,) = collection.duplicates(tier="similar")
    assert group.copies[0].tier == "similar"
    assert group.copies[0].reason.relation == "burst"


def test_near_hashes_of_unlike_images_are_no_copies(tmp_path, monkeypatch):
    """Their vectors are so far apart that points would not be compared for their sake."""

    def no_pairs(*_):
        """Among many images others share rarer words, so that words do not name the pair."""
        return np.empty((0, 2), np.intp)

    monkeypatch.setattr(find, "candidates_by_words", no_pairs)
    random = np.random.default_rng(0)

    def smooth(rows, columns):
        values = random.integers(0, 256, (rows, columns), dtype=np.uint8)
        resized = Image.fromarray(values).resize((360, 270), Image.Resampling.BICUBIC)
        return np.asarray(resized, np.float32)

    # One layout of light and dark, in gray, and in red with details.
    layout = smooth(15, 20)
    details = smooth(45, 60)
    black = np.zeros_like(layout)
    gray = np.stack([layout, layout, layout], axis=2)
    red = np.stack([0.6 * layout + 0.4 * details, black, black], axis=2)
    folder = tmp_path / "images"
    folder.mkdir()
    hashes = []
    for name, pixels in (("gray", gray), ("red", red)):
        image = Image.fromarray(pixels.astype(np.uint8))
        image.save(folder / f"{name}.png")
        hashes.append(hash_image(image).hashes[None])
    distance = int(pdq_distances(*hashes)[0])
    assert comparison.CERTAIN_PDQ_DISTANCE < distance <= comparison.MAX_PDQ_DISTANCE

    lookalike.index(folder, tmp_path / "c")
    _, vectors = Table.open(tmp_path / "c").vectors("efficientnet-lite0-int8")
    one, other = vectors.astype(np.float32)
    assert one @ other < comparison.MIN_COSINE
    assert not lookalike.Collection.open(tmp_path / "c").duplicates()


def test_a_raw_file_and_its_jpeg_belong_together(collection, monkeypatch):
    # The names alone decide: the decoder of camera files is not needed here.
    monkeypatch.setattr(
        grouping.ImageRow, "stem", property(lambda row: ("folder", "name"))
    )
    monkeypatch.setattr(
        grouping.ImageRow, "is_raw", property(lambda row: row.uri.endswith(".png"))
    )
    found = collection.duplicates(tier="similar")
    raw = [copy for group in found for copy in group.copies if ".png" in copy.uri]
    assert {copy.tier for copy in raw} == {"similar"}
    assert "raw and developed" in {copy.reason.relation for copy in raw}


def test_chunks_give_the_same_in_processes_of_their_own():
    mirrored = [ImageOps.mirror(photograph(1)), photograph(1)]
    chunks = [[image.size[0]] for image in mirrored] * 5
    alone = list(run_chunks(sum, iter(chunks), len(chunks), 1))
    assert list(run_chunks(sum, iter(chunks), len(chunks), 2)) == alone


def test_the_better_image_is_kept(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    image = photograph(5)
    image.save(images / "large.jpg", quality=80)
    image.resize((180, 135)).save(images / "small.png")
    image.save(images / "large (1).jpg", quality=60)
    lookalike.index(images, tmp_path / "c", models=["pixels"])
    (group,) = lookalike.Collection.open(tmp_path / "c").duplicates()
    assert group.keeper.uri == str(images / "large.jpg")
    assert len(group.copies) == 2


def save_animation(folder):
    frames = [photograph(6).quantize(), photograph(7).quantize()]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].convert("RGB").save(folder / "frame.png")


def save_pages(folder):
    image = photograph(6)
    image.save(folder / "a.tiff", save_all=True, append_images=[photograph(7)])
    image.save(folder / "page.png")


def save_transparency(folder):
    clear = photograph(6).convert("RGBA")
    clear.paste((255, 255, 255, 0), (0, 0, 90, 60))
    clear.save(folder / "a.png")
    white = Image.new("RGBA", clear.size, "white")
    Image.alpha_composite(white, clear).convert("RGB").save(folder / "white.bmp")


def save_depth(folder):
    gray = np.asarray(photograph(6).convert("L"))
    deep = gray.astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "a.png")
    Image.fromarray(gray).save(folder / "gray.png")


def save_deep_colors(folder):
    colors = np.asarray(photograph(6))
    deep = colors.astype(np.uint16) * 257
    tifffile.imwrite(folder / "a.tiff", deep, photometric="rgb")
    Image.fromarray(colors).save(folder / "colors.png")


def save_decoded(path):
    """Write what is decoded of a file beside it."""
    decoded = decode(path.read_bytes())
    decoded.save(path.with_name("decoded.png"))


def save_deep_jpeg2000(folder):
    cv2 = pytest.importorskip("cv2")
    colors = np.asarray(photograph(6))
    path = folder / "a.jp2"
    assert cv2.imwrite(str(path), colors.astype(np.uint16) * 257)
    save_decoded(path)


def save_deep_heic(folder):
    pillow_heif = pytest.importorskip("pillow_heif")
    colors = np.asarray(photograph(6))
    height, width, _ = colors.shape
    deep = colors.astype(np.uint16) * 257
    image = pillow_heif.from_bytes("RGB;16", (width, height), deep.tobytes())
    path = folder / "a.heic"
    image.save(path, quality=90)
    save_decoded(path)


@pytest.mark.parametrize(
    "save",
    [
        save_animation,
        save_pages,
        save_transparency,
        save_depth,
        save_deep_colors,
        save_deep_jpeg2000,
        save_deep_heic,
    ],
)
def test_a_file_that_shows_more_is_not_identical(tmp_path, save):
    images = tmp_path / "images"
    images.mkdir()
    save(images)
    lookalike.index(images, tmp_path / "c", models=["pixels"])
    collection = lookalike.Collection.open(tmp_path / "c")
    assert len(collection.duplicates(tier="identical")) == 0
    (group,) = collection.duplicates()
    assert group.copies[0].tier == "copy"


def test_transparency_and_frames_may_be_identical_too(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    clear = photograph(6).convert("RGBA")
    clear.putalpha(90)
    clear.save(images / "a.png")
    clear.save(images / "b.tiff")
    # Alpha that hides nothing is not part of an image.
    opaque = photograph(7)
    opaque.save(images / "c.bmp")
    opaque.convert("RGBA").save(images / "d.png")
    lookalike.index(images, tmp_path / "c", models=["pixels"])
    found = lookalike.Collection.open(tmp_path / "c").duplicates(tier="identical")
    assert len(found) == 2


# A row of the BMP has 2160 bytes.
@pytest.mark.parametrize("width", [100, 720])
def test_the_length_of_a_row_is_not_a_depth_of_colors(tmp_path, width):
    images = tmp_path / "images"
    images.mkdir()
    image = photograph(6).resize((width, 90))
    image.save(images / "a.bmp")
    image.save(images / "b.png")
    lookalike.index(images, tmp_path / "c", models=["pixels"])
    found = lookalike.Collection.open(tmp_path / "c").duplicates(tier="identical")
    assert len(found) == 1
