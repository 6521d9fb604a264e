"""Find edited copies of photographs among many others, beside hashes and vectors alone.

Each edit is searched for among all originals, as `Collection.duplicates(across=...)` does it. The
other methods answer with the nearest original by one distance. The threshold of each is the best
one for these very images at the required precision, which favors them.

Caltech 101 holds some photographs twice: Faces_easy are crops of Faces, and the second hundred
Leopards mirrors the first. An edit of one is a copy of both, so either answer is right. The row
"twins apart" takes only the very file that was edited for right.

With ``--rows``, the time and the memory of a search among many images are measured instead.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.fft import dctn

import lookalike
from duplicate_cost import measure_cost
from edits import EDITS, Edit
from lookalike.duplicates.find import find_duplicates
from lookalike.duplicates.groups import Duplicates, DuplicateSettings
from lookalike.duplicates.pdq import hash_image, nearest_hashes
from lookalike.imaging.preprocess import open_thumbnail
from lookalike.sources import resolve_uri
from lookalike.store.table import Table
from lookalike.vectors import to_float32
from measuring import Report, parser

JPEG_QUALITY = 90
PUBLISHED_PHOTOGRAPHS = 1_800
SHOWN_WRONG = 30

# For each edit, the place of the nearest original and the distance to it.
Answers = tuple[np.ndarray, np.ndarray]


def crop(image: Image.Image) -> Image.Image:
    left, top = image.width // 8, image.height // 8
    return image.crop((left, top, image.width - left, image.height - top))


def vertical_flip(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)


def rotate_25(image: Image.Image) -> Image.Image:
    return image.rotate(25, Image.Resampling.BICUBIC, expand=True)


def squash(image: Image.Image) -> Image.Image:
    return image.resize((image.width, round(0.7 * image.height)))


PUBLISHED: dict[str, Edit] = {
    "crop": crop,
    "horizontal flip": EDITS["flip"],
    "vertical flip": vertical_flip,
    "rotation 25": rotate_25,
    "squash": squash,
}


def main() -> int:
    arguments = _arguments()
    report = Report("duplicates", arguments, ["opencv-python-headless", "scipy"])
    with tempfile.TemporaryDirectory() as place:
        work = arguments.work or Path(place)
        if arguments.rows:
            photographs = _photographs(arguments.folders)
            measure_cost(report, photographs, arguments.rows, work, arguments.seed)
        else:
            _measure_quality(report, arguments, work)
    return report.close()


def _arguments() -> argparse.Namespace:
    options = parser("duplicates", "Measure the search for duplicates.")
    options.add_argument("folders", nargs="+", metavar="FOLDER", help="photographs")
    options.add_argument("--families", type=int, default=300)
    options.add_argument(
        "--published", action="store_true", help="five edits of 1,800 photographs"
    )
    options.add_argument(
        "--rows", type=int, default=0, help="measure time and memory of as many images"
    )
    options.add_argument(
        "--work", type=Path, metavar="FOLDER", help="keep the collection for a next run"
    )
    return options.parse_args()


def _measure_quality(report: Report, arguments: argparse.Namespace, work: Path) -> None:
    edits = PUBLISHED if arguments.published else EDITS
    families = PUBLISHED_PHOTOGRAPHS if arguments.published else arguments.families
    precision = 0.999 if arguments.published else 0.99
    photographs = _photographs(arguments.folders)
    chosen = random.Random(arguments.seed).sample(photographs, families)
    edited = work / "edits"
    if not edited.exists():
        _write_edits(chosen, edits, edited)
    lookalike.index([*arguments.folders, edited], work / "c")
    table = Table.open(work / "c")
    original_of = {f"{number:04d}": str(path) for number, path in enumerate(chosen)}

    # The search, in two parts: the originals and the edits.
    manifest = work / "split.csv"
    _write_split(photographs, edited, manifest)
    start = time.perf_counter()
    found = find_duplicates(table, DuplicateSettings(split=str(manifest)))
    seconds = time.perf_counter() - start
    right, apart, wrong = set(), set(), []
    for uri, answer in _pairs(found):
        original = original_of[uri_key(uri)]
        if answer == original:
            apart.add(uri)
        if photograph(answer) == photograph(original):
            right.add(uri)
        else:
            wrong.append([Path(uri).name, original, answer])
    total = families * len(edits)
    outcomes = {"duplicates": right}
    rows: list[list[object]] = [
        ["duplicates", len(right) / found.copies, len(right) / total],
        ["the same, twins apart", len(apart) / found.copies, len(apart) / total],
    ]

    # The others, on the same images.
    uris, parts = _uris(table, edited)
    for name, answers in _rivals(table, parts).items():
        answered, right = _at_precision(answers, uris, parts, original_of, precision)
        outcomes[name] = right
        share = len(right) / answered if answered else 1.0
        rows.append([name, share, len(right) / total])

    title = f"{total:,} edits among {len(photographs):,} photographs ({seconds:,.0f} s)"
    report.print_table(title, ["method", "precision", "recall"], rows)
    by_edit: list[list[object]] = []
    for edit in edits:
        counts = [
            sum(uri.endswith(f" {edit}.jpg") for uri in found_uris)
            for found_uris in outcomes.values()
        ]
        by_edit.append([edit, *[count / families for count in counts]])
    report.print_table("Recall by edit", ["edit", *outcomes], by_edit)
    report.figures["methods"] = rows
    report.figures["edits"] = by_edit
    report.figures["wrong"] = wrong
    if wrong:
        shown = [[edit, *map(_short, paths)] for edit, *paths in wrong[:SHOWN_WRONG]]
        title = f"The first of {len(wrong):,} wrong answers"
        report.print_table(title, ["edit", "of", "found"], shown)
    report.aim(
        "recall",
        len(outcomes["duplicates"]) / total,
        least=0.95 if arguments.published else 0.98,
    )
    report.aim("precision", len(outcomes["duplicates"]) / found.copies, least=precision)
    _measure_whole(report, table, original_of, total)


def _measure_whole(
    report: Report, table: Table, original_of: Mapping[str, str], total: int
) -> None:
    """Print how an edited photograph is grouped where all its edits are in one collection."""
    found = find_duplicates(table)
    number_of = {path: number for number, path in original_of.items()}
    grouped, right = 0, 0
    for uri, keeper in _pairs(found):
        numbers = [number_of.get(each) or uri_key(each) for each in (uri, keeper)]
        if any(number in original_of for number in numbers):
            grouped += 1
            right += numbers[0] == numbers[1]
    keepers = sum(uri_key(group.keeper.uri) in original_of for group in found)
    rows = [
        [
            len(found),
            grouped,
            right / grouped,
            (right + keepers) / (total + len(original_of)),
        ]
    ]
    headers = ["groups", "copies", "precision", "share of all images grouped"]
    report.print_table("All in one collection", headers, rows)
    report.figures["whole"] = rows


def photograph(path: str) -> str:
    """Return a name that is the same for images of one photograph in Caltech 101.

    Faces_easy holds crops of Faces, and the second hundred Leopards mirrors the first.
    """
    path = path.replace("Faces_easy", "Faces")
    leopard = re.search(r"Leopards/image_(\d+)", path)
    return f"Leopards {int(leopard[1]) % 100}" if leopard else path


def _short(path: str) -> str:
    """Return the last folder and the name of a path."""
    return "/".join(Path(path).parts[-2:])


def uri_key(uri: str) -> str:
    """Return the number of the photograph of an edit; other names for other images."""
    return Path(uri).name.split(" ")[0]


def _pairs(found: Duplicates) -> list[tuple[str, str]]:
    """Return the uri of each copy, and that of the image to keep."""
    return [(copy.uri, group.keeper.uri) for group in found for copy in group.copies]


def _photographs(folders: list[str]) -> list[Path]:
    found: list[Path] = []
    for folder in folders:
        # As the collection names them: a link to a folder stays one.
        path = Path(resolve_uri(folder))
        found += sorted(path.rglob("*.jpg"))
    return found


def _write_edits(chosen: list[Path], edits: Mapping[str, Edit], folder: Path) -> None:
    folder.mkdir(parents=True)
    for number, path in enumerate(chosen):
        with Image.open(path) as file:
            image = file.convert("RGB")
        for name, edit in edits.items():
            edited = edit(image)
            edited.save(folder / f"{number:04d} {name}.jpg", quality=JPEG_QUALITY)


def _write_split(photographs: list[Path], edited: Path, manifest: Path) -> None:
    rows = [f"{path},x,train" for path in photographs]
    rows += [f"{path},x,test" for path in sorted(edited.iterdir())]
    manifest.write_text("\n".join(["uri,label,split", *rows]))


def _uris(table: Table, edited: Path) -> tuple[list[str], np.ndarray]:
    """Return the uri of each image with a vector, by its row, and whether it is an edit."""
    ids, _ = table.vectors(table.space(None))
    uris = table.take(ids, ["uri"])["uri"].to_pylist()
    is_edit = [uri.startswith(str(edited)) for uri in uris]
    return uris, np.array(is_edit)


def _rivals(table: Table, is_edit: np.ndarray) -> dict[str, Answers]:
    """Return the answers of hashes, and of the vectors alone."""
    ids, vectors = table.vectors(table.space(None))
    gallery, queries = np.flatnonzero(~is_edit), np.flatnonzero(is_edit)
    answers = {}
    vectors_f32 = to_float32(vectors)
    cosines = vectors_f32[queries] @ vectors_f32[gallery].T
    answers["embedding"] = (cosines.argmax(axis=1), 1 - cosines.max(axis=1))

    thumbnails = []
    for start in range(0, len(ids), 1_000):
        rows = table.take(ids[start : start + 1_000], ["thumbnail"])
        thumbnails += [open_thumbnail(data) for data in rows["thumbnail"].to_pylist()]
    hashes = np.stack([hash_image(image).hashes for image in thumbnails])
    found = nearest_hashes(hashes[queries, 0], hashes[gallery], 1)
    answers["PDQ8"] = (found.places[:, 0], found.distances[:, 0])
    upright = np.repeat(hashes[gallery, :1], 8, axis=1)
    found = nearest_hashes(hashes[queries, 0], upright, 1)
    answers["PDQ"] = (found.places[:, 0], found.distances[:, 0])
    bits = np.stack([perceptual_hash(image) for image in thumbnails])
    distances = bits[queries] @ -bits[gallery].T
    answers["pHash"] = (distances.argmin(axis=1), distances.min(axis=1))
    return answers


def perceptual_hash(image: Image.Image) -> np.ndarray:
    """Return pHash as the package imagehash computes it, 64 bits as 1 and -1."""
    gray = image.convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    low = dctn(np.asarray(gray, np.float32))[:8, :8]
    return np.where(low > np.median(low), 1, -1).ravel().astype(np.float32)


def _at_precision(
    answers: Answers,
    uris: list[str],
    is_edit: np.ndarray,
    original_of: Mapping[str, str],
    precision: float,
) -> tuple[int, set[str]]:
    """Return the number of answers at the best threshold, and the edits with the right one."""
    places, distances = answers
    gallery, queries = np.flatnonzero(~is_edit), np.flatnonzero(is_edit)
    is_right = []
    for query, place in zip(queries, places, strict=True):
        original = original_of[uri_key(uris[query])]
        is_right.append(photograph(original) == photograph(uris[gallery[place]]))
    order = np.argsort(distances, kind="stable")
    right_so_far = np.cumsum(np.array(is_right)[order])
    shares = right_so_far / np.arange(1, len(order) + 1)
    # A threshold takes all answers of one distance.
    sorted_distances = distances[order]
    is_last = np.append(sorted_distances[1:] != sorted_distances[:-1], True)
    fits = np.flatnonzero((shares >= precision) & is_last)
    answered = int(fits[-1]) + 1 if len(fits) else 0
    right = {uris[queries[place]] for place in order[:answered] if is_right[place]}
    return answered, right


if __name__ == "__main__":
    sys.exit(main())
