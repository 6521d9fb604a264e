"""Measure a review on labeled images: wrong labels, clusters, outliers and diverse images.

Wrong labels are made: each round gives a share of the images the label of another class. Outliers
are made by removing all but a few images of some labels. Clusters are compared with the labels,
which they do not see. Each figure stands beside those of simpler methods.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score, roc_auc_score

from lookalike.review.clusters import find_clusters
from lookalike.review.components import principal_components
from lookalike.review.diverse import choose_diverse
from lookalike.review.labels import VOTERS, find_doubtful_labels
from lookalike.review.outliers import find_outliers
from lookalike.review.rows import ReviewedRows, unit_rows
from lookalike.review.run import review
from lookalike.store.table import Table
from lookalike.types import Model, VectorsF32
from lookalike.vectors.neighbors import NeighborGraph, neighbor_graph
from measuring import Report, add_merge_option, label_merges, parser

NEIGHBORS = 10
ROUNDS = 20
DRAWS = 30
ABSENT = 3
DIVERSE = 20
MADE_DIM = 1280
MADE_CLUSTERS = 200

Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.intp]


class Data(NamedTuple):
    """The labeled rows of a collection, and what each review needs."""

    rows: ReviewedRows
    graph: NeighborGraph
    components: VectorsF32


def main() -> int:
    options = parser("review", "Measure a review beside simpler methods.")
    options.add_argument("collections", nargs="*", metavar="COLLECTION")
    add_merge_option(options)
    options.add_argument(
        "--share", type=float, default=0.05, help="the share of wrong labels"
    )
    options.add_argument(
        "--rounds", type=int, default=ROUNDS, help=f"rounds (default: {ROUNDS})"
    )
    options.add_argument(
        "--rows", type=int, default=0, help="also review so many made vectors"
    )
    arguments = options.parse_args()
    report = Report("review", arguments, ["scikit-learn"])
    merges = label_merges(arguments)
    for path in arguments.collections:
        rows = read(path)
        measure(report, path, rows, arguments)
        if merges and set(merges) & set(rows.labels):
            labels = [merges.get(str(label), label) for label in rows.labels]
            measure(report, f"{path}, merged", replace(rows, labels=labels), arguments)
    if arguments.rows:
        measure_cost(report, arguments.rows)
    return report.close()


def read(path: str) -> ReviewedRows:
    table = Table.open(path)
    ids, vectors = table.vectors(table.space(None))
    stored = table.take(ids, ["uri", "label"])
    rows = ReviewedRows(
        ids, vectors, stored["uri"].to_pylist(), stored["label"].to_pylist()
    )
    if len(rows.label_codes.names) < 2:
        sys.exit(f"A review of labels needs two labels; {path} has fewer.")
    return rows


def prepare(rows: ReviewedRows) -> Data:
    graph = neighbor_graph(rows.vectors, VOTERS, prepare=unit_rows)
    components = principal_components(rows.vectors, np.random.default_rng(0))
    return Data(rows, graph, components)


def measure(
    report: Report, name: str, rows: ReviewedRows, arguments: argparse.Namespace
) -> None:
    data = prepare(rows)
    random = np.random.default_rng(arguments.seed)
    figures = {
        "labels": measure_labels(data, arguments.share, arguments.rounds, random),
        "clusters": measure_clusters(data),
        "outliers": measure_outliers(rows, random),
        "diverse": measure_diverse(data, random),
    }
    report.figures[name] = figures
    count = f"{len(rows):,} images"
    report.print_table(
        f"{name}: {arguments.share:.0%} wrong labels, {count}, {arguments.rounds} rounds "
        "(mean, and 95 % interval over the rounds)",
        ["", "precision", "", "recall", "", "suggestion right"],
        figures["labels"],
    )
    report.print_table(
        f"{name}: clusters",
        ["", "clusters", "in none", "purity", "NMI"],
        figures["clusters"],
    )
    report.print_table(
        f"{name}: outliers, few images of {ABSENT} labels, {DRAWS} draws",
        ["", "found", "others", "precision", "ranked above"],
        figures["outliers"],
    )
    report.print_table(
        f"{name}: {DIVERSE} diverse images",
        ["", "largest distance", "mean distance", "labels"],
        figures["diverse"],
    )


# ---- labels -------------------------------------------------------------------------------------


class Suspects(NamedTuple):
    """The rows whose label is doubtful, and the label suggested for each row."""

    flags: Flags
    suggested: Codes


def by_review(data: Data, codes: Codes) -> Suspects:
    names = data.rows.label_codes.names
    labels: list[str | None] = [names[code] for code in codes]
    rows = replace(data.rows, labels=labels)
    found = find_doubtful_labels(rows, data.graph, data.components)
    # A label that no row has any more is not among the names of the rows.
    place_of = {int(row_id): place for place, row_id in enumerate(rows.ids)}
    code_of = {name: code for code, name in enumerate(names)}
    flags = np.zeros(len(codes), bool)
    suggested = codes.copy()
    for image in found.images:
        place = place_of[image.id]
        flags[place] = True
        suggested[place] = code_of[image.suggested]
    return Suspects(flags, suggested)


def by_nearest(data: Data, codes: Codes) -> Suspects:
    suggested = codes[data.graph.places[:, 0]]
    return Suspects(suggested != codes, suggested)


def shares(data: Data, codes: Codes) -> npt.NDArray[np.float64]:
    neighbors = codes[data.graph.places[:, :NEIGHBORS]]
    count = codes.max() + 1
    return np.stack([(neighbors == code).mean(axis=1) for code in range(count)], axis=1)


def by_majority(data: Data, codes: Codes) -> Suspects:
    suggested = shares(data, codes).argmax(axis=1)
    return Suspects(suggested != codes, suggested)


def by_confident_learning(data: Data, codes: Codes) -> Suspects:
    """Northcutt, Jiang, Chuang 2021, with the shares of neighbors as probabilities."""
    found = shares(data, codes)
    label_means = [found[codes == code, code].mean() for code in range(found.shape[1])]
    confident = np.where(found >= np.array(label_means), found, -1.0)
    suggested = confident.argmax(axis=1)
    is_confident = confident.max(axis=1) > 0
    return Suspects(is_confident & (suggested != codes), suggested)


METHODS: dict[str, Callable[[Data, Codes], Suspects]] = {
    "review": by_review,
    "the nearest image has another label": by_nearest,
    f"most of {NEIGHBORS} nearest have another": by_majority,
    f"confident learning on {NEIGHBORS} nearest": by_confident_learning,
}


def measure_labels(
    data: Data, share: float, rounds: int, random: np.random.Generator
) -> list[list[object]]:
    true_codes = data.rows.label_codes.codes
    label_count = len(data.rows.label_codes.names)
    count = len(true_codes)
    figures: dict[str, list[list[float]]] = {name: [] for name in METHODS}
    for _ in range(rounds):
        wrong = random.choice(count, round(share * count), replace=False)
        codes = true_codes.copy()
        codes[wrong] += random.integers(1, label_count, len(wrong))
        codes %= label_count
        is_wrong = codes != true_codes
        for name, method in METHODS.items():
            suspects = method(data, codes)
            found = suspects.flags & is_wrong
            right = suspects.suggested[found] == true_codes[found]
            precision = found.sum() / max(1, suspects.flags.sum())
            recall = found.sum() / is_wrong.sum()
            figures[name].append(
                [precision, recall, right.mean() if found.any() else 0]
            )
    table: list[list[object]] = []
    for name, rows in figures.items():
        as_array = np.array(rows)
        precision, recall, right = as_array.mean(axis=0)
        low, high = np.percentile(as_array[:, :2], [2.5, 97.5], axis=0)
        table.append(
            [
                name,
                f"{precision:.3f}",
                f"[{low[0]:.3f}, {high[0]:.3f}]",
                f"{recall:.3f}",
                f"[{low[1]:.3f}, {high[1]:.3f}]",
                f"{right:.3f}",
            ]
        )
    return table


# ---- clusters -----------------------------------------------------------------------------------


def measure_clusters(data: Data) -> list[list[object]]:
    codes = data.rows.label_codes.codes
    place_of = {int(row_id): place for place, row_id in enumerate(data.rows.ids)}
    found = find_clusters(
        data.rows, data.components, None, np.random.default_rng(0)
    ).groups
    numbers = np.full(len(codes), -1)
    for number, cluster in enumerate(found):
        numbers[[place_of[image.id] for image in cluster.images]] = number
    vectors = unit_rows(data.rows.vectors)
    table = [cluster_scores("review", numbers, codes)]
    counts = {
        "as many by k-means": max(1, len(found)),
        "one a label by k-means": codes.max() + 1,
    }
    for name, count in counts.items():
        means = KMeans(count, n_init=4, random_state=0)
        table.append(cluster_scores(name, means.fit_predict(vectors), codes))
    return table


def cluster_scores(name: str, numbers: Codes, codes: Codes) -> list[object]:
    """Return the purity, and the NMI with rows of no cluster as a cluster each."""
    is_in = numbers >= 0
    largest = 0
    for number in np.unique(numbers[is_in]):
        largest += np.bincount(codes[numbers == number]).max()
    alone = numbers.copy()
    alone[~is_in] = numbers.max() + 1 + np.arange((~is_in).sum())
    purity = largest / max(1, is_in.sum())
    nmi = normalized_mutual_info_score(codes, alone)
    in_none = 1 - is_in.mean()
    return [
        name,
        len(np.unique(numbers[is_in])),
        f"{in_none:.3f}",
        f"{purity:.3f}",
        f"{nmi:.3f}",
    ]


# ---- outliers -----------------------------------------------------------------------------------


def measure_outliers(
    rows: ReviewedRows, random: np.random.Generator
) -> list[list[object]]:
    names, codes = rows.label_codes
    table: list[list[object]] = []
    if len(names) <= ABSENT + 1:
        return table
    for few in (1, 4, 8):
        scores = []
        for _ in range(DRAWS):
            absent = random.choice(len(names), ABSENT, replace=False)
            is_absent = np.isin(codes, absent)
            strangers = []
            for code in absent:
                places = np.flatnonzero(codes == code)
                size = min(few, len(places))
                strangers.append(random.choice(places, size, replace=False))
            planted = np.concatenate(strangers)
            kept = np.concatenate([np.flatnonzero(~is_absent), planted])
            kept.sort()
            some = ReviewedRows(
                rows.ids[kept],
                rows.vectors[kept],
                [rows.uris[place] for place in kept],
                [rows.labels[place] for place in kept],
            )
            graph = neighbor_graph(some.vectors, VOTERS, prepare=unit_rows)
            outliers = find_outliers(some, graph)
            found = {image.id for image in outliers.images}
            right = found & set(rows.ids[planted].tolist())
            others = (len(found) - len(right)) / (len(kept) - len(planted))
            precision = len(right) / max(1, len(found))
            # The share of pairs of a stranger and another image in which the stranger is farther.
            cosines = graph.cosines[:, outliers.neighbor - 1]
            ranked = roc_auc_score(np.isin(kept, planted), -cosines)
            scores.append([len(right) / len(planted), others, precision, ranked])
        means = np.mean(scores, axis=0)
        table.append(
            [
                f"{few} of each",
                f"{means[0]:.3f}",
                f"{means[1]:.4f}",
                f"{means[2]:.3f}",
                f"{means[3]:.3f}",
            ]
        )
    return table


# ---- diverse ------------------------------------------------------------------------------------


def measure_diverse(data: Data, random: np.random.Generator) -> list[list[object]]:
    rows = data.rows
    chosen = choose_diverse(rows, DIVERSE)
    table: list[list[object]] = [
        ["review", f"{chosen.radius:.3f}", f"{chosen.mean:.3f}", chosen.labels]
    ]
    vectors = unit_rows(rows.vectors)
    codes = rows.label_codes.codes

    def coverage(places: Codes) -> list[float]:
        cosines = (vectors @ vectors[places].T).max(axis=1)
        distances = np.sqrt(np.maximum(2 - 2 * cosines, 0))
        return [distances.max(), distances.mean(), len(np.unique(codes[places]))]

    drawn = []
    for _ in range(DRAWS):
        drawn.append(coverage(random.choice(len(rows), DIVERSE, replace=False)))
    means = KMeans(DIVERSE, n_init=4, random_state=0).fit(vectors)
    central = (vectors @ means.cluster_centers_.T).argmax(axis=0)
    for name, figures in (
        ("drawn at random", np.mean(drawn, axis=0)),
        ("nearest to the means of k-means", coverage(central)),
    ):
        table.append(
            [name, f"{figures[0]:.3f}", f"{figures[1]:.3f}", f"{figures[2]:.1f}"]
        )
    return table


# ---- cost ---------------------------------------------------------------------------------------


def measure_cost(report: Report, count: int) -> None:
    """Review made vectors around some corners, and print the time of each step."""
    random = np.random.default_rng(0)
    corners = random.normal(size=(MADE_CLUSTERS, MADE_DIM)).astype(np.float32)
    of = random.integers(0, MADE_CLUSTERS, count)
    with tempfile.TemporaryDirectory() as folder:
        model = Model("made", "made", "pixels", (1, 1), MADE_DIM)
        table = Table.create(Path(folder, "c"), [model])
        for first in range(0, count, 10_000):
            part = of[first : first + 10_000]
            noise = random.normal(size=(len(part), MADE_DIM)).astype(np.float32)
            vectors = corners[part] + 1.5 * noise
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            numbers = range(first, first + len(part))
            columns = {
                "uri": [f"/made/{number}.jpg" for number in numbers],
                "sha256": [number.to_bytes(32, "big") for number in numbers],
                "label": [f"label {corner}" for corner in part],
                "spaces": [["made"]] * len(part),
                "made": vectors,
            }
            table.upsert(columns, replace=True)
        del corners, vectors, noise
        steps = Steps()
        review(Table.open(table.path), progress=steps.note)
        steps.note("", 0, None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rows = [[step, f"{cpu:.1f}", f"{wall:.1f}"] for step, cpu, wall in steps.times]
    report.print_table(
        f"{count:,} made vectors of {MADE_DIM} numbers; peak memory of the process {peak:.1f} GiB",
        ["", "processor s", "s"],
        rows,
    )
    report.figures[f"{count} rows"] = {"memory_gib": peak, "steps": steps.times}
    report.aim("memory of a review, GiB", peak, most=4)


class Steps:
    """Times the steps of a review by its reports."""

    def __init__(self) -> None:
        self.times: list[tuple[str, float, float]] = []
        self._step = "Reading"
        self._begun = (time.process_time(), time.perf_counter())

    def note(self, step: str, _done: int, _total: int | None) -> None:
        if step == self._step:
            return
        now = (time.process_time(), time.perf_counter())
        cpu, wall = (now[0] - self._begun[0], now[1] - self._begun[1])
        self.times.append((self._step, cpu, wall))
        self._step, self._begun = step, now


if __name__ == "__main__":
    sys.exit(main())
