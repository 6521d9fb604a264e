"""How often each ranking finds the photograph that an image was edited from.

Families of edited photographs are searched for in two tasks. In the first, the collection holds
the photographs, and the edited images are queries. In the second, it holds the edited ones too, and
each of these is a query that is left out of everything but the mean.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import lookalike
from edits import EDITS
from lookalike.imaging import decode
from lookalike.retrieval.ranking import Gallery, rankings, resolve_ranking
from lookalike.sources import read_uri
from lookalike.store.table import Table
from lookalike.vectors.exact import ExactIndex
from measuring import Report

RESAMPLES = 2000
# With fewer, a gain means little.
ENOUGH_FAMILIES = 150


@dataclass(frozen=True)
class Copies:
    """The vectors of a collection's images, and of the edited ones.

    Attributes
    ----------
    photographs
        float16 ``[n, dim]``.
    edited
        float16 ``[m, dim]``.
    origins
        intp ``[m]``, the photograph that each was edited from.
    edits
        The name of the edit of each.
    """

    photographs: np.ndarray
    edited: np.ndarray
    origins: np.ndarray
    edits: list[str]


def make_copies(table: Table, families: int, place: Path, seed: int) -> Copies:
    """Edit some photographs of a collection in every way, and embed the results."""
    space = table.space(None)
    ids, photographs = table.vectors(space)
    chosen = sorted(random.Random(seed).sample(range(len(ids)), families))
    uris = table.uris(ids[chosen].tolist())
    folder = place / "edited"
    folder.mkdir()
    for origin in chosen:
        content = read_uri(uris[int(ids[origin])])
        image = decode(content)
        for number, edit in enumerate(EDITS.values()):
            edit(image).save(folder / f"{origin}-{number}.png")

    path = place / "collection"
    lookalike.index(folder, path, models=[table.models[space]])
    copies = Table.open(path)
    copy_ids, edited = copies.vectors(space)
    names = [
        Path(uri).stem for uri in copies.take(copy_ids, ["uri"])["uri"].to_pylist()
    ]
    pairs = [name.split("-") for name in names]
    names_of_edits = list(EDITS)
    return Copies(
        photographs,
        edited,
        np.array([int(origin) for origin, _ in pairs]),
        [names_of_edits[int(number)] for _, number in pairs],
    )


def hits_of_photographs(copies: Copies, ranking: str) -> np.ndarray:
    """Return whether each edited image finds its photograph first among all photographs."""
    stored = ExactIndex(np.arange(len(copies.photographs)), copies.photographs)
    first = _first_matches(ranking, stored, copies.edited, None)
    return first == copies.origins


def hits_of_families(copies: Copies, ranking: str) -> np.ndarray:
    """Return whether each edited image finds one of its family first among all other images."""
    rows = np.concatenate([copies.photographs, copies.edited])
    own_family = np.arange(len(copies.photographs))
    families = np.concatenate([own_family, copies.origins])
    stored = ExactIndex(np.arange(len(rows)), rows)
    own = np.arange(len(own_family), len(rows))
    first = _first_matches(ranking, stored, copies.edited, own)
    return families[first] == copies.origins


def _first_matches(
    ranking: str, stored: ExactIndex, queries: np.ndarray, own: np.ndarray | None
) -> np.ndarray:
    """Return the place of each query's first match, intp ``[m]``."""
    resolved = resolve_ranking(ranking)
    gallery = Gallery(stored.ids, stored.matrix)
    first = np.empty(len(queries), np.intp)
    for part, squares in resolved.fit(stored).distance_blocks(queries, own):
        order = resolved.order_gallery(queries[part], gallery, squares, k=1)
        first[part] = order[:, 0]
    return first


def interval(differences: np.ndarray, origins: np.ndarray, seed: int) -> list[float]:
    """Return the mean of differences and its 95 % interval, by a bootstrap over families."""
    _, families = np.unique(origins, return_inverse=True)
    sums = np.bincount(families, differences)
    counts = np.bincount(families)
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return [float(differences.mean()), float(low), float(high)]


def measure_copies(report: Report, name: str, copies: Copies, seed: int) -> None:
    """Print the precision at 1 of each ranking, its gain over the plain one, and each edit's."""
    tasks = {"photographs": hits_of_photographs, "families": hits_of_families}
    hits = {
        task: {ranking: measure(copies, ranking) for ranking in rankings()}
        for task, measure in tasks.items()
    }
    count = len(np.unique(copies.origins))
    rows = []
    for ranking in rankings():
        row: list[object] = [ranking]
        for task, found in hits.items():
            gain = found[ranking].astype(float) - found["plain"]
            mean, low, high = interval(gain, copies.origins, seed)
            precision = float(found[ranking].mean())
            report.figures[f"{name}, {task}, {ranking}"] = {
                "precision_at_1": precision,
                "gain": [mean, low, high],
            }
            row += [f"{precision:.4f}", f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]"]
            if ranking == "context" and count >= ENOUGH_FAMILIES:
                report.aim(f"{name}, {task}: gain of context", mean, least=0)
        rows.append(row)
    headers = ["ranking", "the photograph first", "gain", "a relative first", "gain"]
    report.print_table(
        f"{name}: {count:,} families of {len(EDITS)} edits", headers, rows
    )

    edits = np.array(copies.edits)
    by_edit = []
    for edit in EDITS:
        is_edit = edits == edit
        found = hits["photographs"].values()
        by_edit.append([edit, *(float(one[is_edit].mean()) for one in found)])
    report.print_table("the photograph first, by edit", ["edit", *rankings()], by_edit)
