"""The main job from start to end, on a folder of pictures or on the drawn sample: what ``scripts/demo`` runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lookalike import images
from lookalike.datasets import sample
from lookalike.errors import LookalikeError
from lookalike.indexing import index
from lookalike.pictures import draw_matches
from lookalike.searching import search
from lookalike.sources import from_uri
from lookalike.store.collection import Collection

__all__ = ["run"]

_QUERIES = 3


def run(folder: Path | None, output: Path) -> list[Path]:
    """Index a folder (None: the drawn sample), search it by some of its own pictures, draw the answers.

    Returns
    -------
    pictures
        The paths of the drawn answers.
    """
    if folder is None:
        _tell(f"Drawing the sample: {len(sample.CLASSES)} classes of pictures, into {output / 'sample'}")
        folder = sample.write_sample(output / "sample")
    path = output / "collection"
    _tell(f"Indexing {folder} into {path}")
    report = index(folder, path)
    _tell(f"  {report.images:,} images, {report.added:,} of them new, in {report.seconds:.1f} s")
    collection = Collection.open(path)
    return [_answer(collection, uri, output / f"result-{number}.png") for number, uri in _queries(collection)]


def _queries(collection: Collection) -> list[tuple[int, str]]:
    """Return a few of the collection's images, spread over it evenly."""
    uris = sorted(uri for batch in collection.scan(["uri"]) for uri in batch["uri"].to_pylist())
    count = min(_QUERIES, len(uris))
    return [(number + 1, uris[(2 * number + 1) * len(uris) // (2 * count)]) for number in range(count)]


def _answer(collection: Collection, uri: str, picture: Path) -> Path:
    path = from_uri(uri)
    matches = search(collection, path, k=10, not_self=True)
    _tell(f"Searching by {path}")
    for match in list(matches)[:3]:
        _tell(f"  {match.rank}. {match.distance:.3f}  {match.label}  {match.uri}")
    return draw_matches(images.decode(path.read_bytes()), [matches], collection, picture, label=path.parent.name)


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run the demo as ``scripts/demo [FOLDER]`` does."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="a folder of pictures (default: the drawn sample)")
    parser.add_argument("--output", type=Path, default=Path("demo"), help="where everything goes (default: demo)")
    arguments = parser.parse_args()
    try:
        pictures = run(arguments.folder, arguments.output)
    except LookalikeError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(2)
    _tell("\nThe answers, drawn:")
    for picture in pictures:
        _tell(f"  {picture}")


if __name__ == "__main__":
    main()
