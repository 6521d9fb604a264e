"""The benchmarks' small forms write what they should, and what they share is right; no time is tested."""

from __future__ import annotations

import json
import mmap
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import measuring
import vectors_made
from browsing import BROWSER
from engines import Queries
from grow import Rows, Truth
from lookalike import index
from lookalike.store.table import Table
from lookalike.vectors import k_nearest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NAMES = ("embed", "search", "map", "start", "memory", "grow", "serve")


@pytest.fixture(scope="module")
def collection(sample, tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("benchmarks") / "collection")
    index(sample, path)
    return path


@pytest.fixture
def bench(tmp_path):
    """Run a benchmark and return the figures it wrote, and what it printed."""

    def run(name: str, *options: object, status: int = 0) -> SimpleNamespace:
        file = tmp_path / f"{name}.json"
        command = [sys.executable, BENCHMARKS / f"{name}.py", *options, "--json", file]
        done = subprocess.run(
            [*map(str, command)], capture_output=True, text=True, check=False
        )
        assert done.returncode == status, (
            f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        written = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        return SimpleNamespace(**written, told=done.stdout, errors=done.stderr)

    return run


def test_serve(bench, sample):
    found = bench(
        "serve", "--data", sample, "--images", 20, "--requests", 60, "--uploads", 20
    )
    by_rows, by_pictures = found.figures["by_rows"], found.figures["by_pictures"]
    assert 0 < by_rows["p50_ms"] <= by_rows["p99_ms"]
    assert by_rows["requests"] == 60
    for name in ("efficientnet-lite0-int8", "efficientnet-lite0"):
        served, alone, share = (
            by_pictures[name][part] for part in ("per_second", "alone", "share")
        )
        assert 0 < served[1] / alone[2] <= share[1] <= share[2] <= served[2] / alone[1]
    if BROWSER is None:
        assert "Chromium" in found.skipped["the page"]
    else:
        first, whole = (
            found.figures["page"]["first_ms"],
            found.figures["page"]["all_ms"],
        )
        assert 0 < first[1] <= first[0] <= first[2] <= whole[2]
    assert len(found.aims) == 5 + (BROWSER is not None)


def test_search(bench, collection):
    exact = [
        "Lookalike",
        "Lookalike search",
        "NumPy",
        "scikit-learn",
        "Lance flat scan",
    ]
    sizes = ("--rows", 2000, "--queries", 20, "--many", 10)
    found = bench("search", "--collection", collection, *sizes, "--engines", *exact)
    assert (found.benchmark, found.figures["rows"], found.figures["dim"]) == (
        "search",
        2000,
        1280,
    )
    assert list(found.figures["engines"]) == exact
    for figures in found.figures["engines"].values():
        assert figures["kind"] == "exact"
        assert figures["recall"] == 1
        assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert set(found.figures["many"]) == {"Lookalike", "NumPy"}
    assert found.figures["filtered"]["kept"] == 20
    assert all(
        figures["recall"] == 1
        for figures in found.figures["filtered"]["engines"].values()
    )
    assert min(found.figures["limits"].values()) > 0
    assert {"cpu", "cores", "memory_gib", "system"} <= found.machine.keys()
    assert {"lookalike", "numpy", "scikit-learn"} <= found.versions.keys()
    assert "scikit-learn" in found.told


def test_start(bench, sample):
    found = bench("start", "--data", sample, "--images", 9, "--rounds", 2)
    assert [*found.figures["seconds"]] == [
        "python alone",
        "import lookalike",
        "lookalike --help",
        "lookalike search, 9 images",
    ]
    for figures in found.figures["seconds"].values():
        assert len(figures["runs"]) == 2
        assert 0 < figures["low"] <= figures["median"] <= figures["high"]
    assert {"open collection", "embed query", "compare"} <= found.figures[
        "parts_ms"
    ].keys()
    assert [aim["what"].partition(",")[0] for aim in found.aims] == [
        "import lookalike",
        "lookalike --help",
        "lookalike search",
    ]


def test_memory(bench, sample):
    found = bench("memory", "--data", sample, "--images", 60, "--level", 20)
    assert (
        found.figures["images"] == 60
    )  # more than there are pictures, each of a content of its own
    assert (
        min(found.figures[name] for name in ("highest_mb", "level_mb", "samples")) > 0
    )
    assert [images for images, _ in found.figures["curve"]] == [
        0,
        6,
        12,
        18,
        20,
        24,
        30,
        36,
        42,
        48,
        54,
        60,
    ]


def test_memory_refuses_a_level_beyond_the_images(bench, sample):
    assert (
        "--level 60"
        in bench(
            "memory", "--data", sample, "--images", 60, "--level", 60, status=2
        ).errors
    )


def test_grow(bench, collection):
    sizes = (
        "--sizes",
        400,
        1200,
        9000,
        "--most",
        2000,
        "--append",
        100,
        "--queries",
        10,
        "--dim",
        32,
    )
    found = bench("grow", "--collection", collection, *sizes)
    runs = found.figures["sizes"]
    assert [run["rows"] for run in runs] == [400, 1200]
    for run in runs:
        assert run["recall"] >= 0.95
        assert (
            min(
                run[name]
                for name in (
                    "fill_s",
                    "open_ms",
                    "search_p50_ms",
                    "append_ms",
                    "peak_mib",
                    "disk_mib",
                )
            )
            > 0
        )
    assert runs[1]["disk_mib"] > runs[0]["disk_mib"]
    assert found.figures["exponents"]["disk_mib"] > 0


def test_embed(bench, sample):
    options = (
        "--data",
        sample,
        "--images",
        18,
        "--rounds",
        1,
        "--parts",
        9,
        "--no-keras",
    )
    found = bench(
        "embed", *options, "--model", "efficientnet-lite0", "pixels", "nothing"
    )
    assert [*found.figures["runs"]] == ["plain loop", "efficientnet-lite0", "pixels"]
    assert found.figures["images"] == 18
    assert "nothing" in found.skipped
    network = found.figures["runs"]["efficientnet-lite0"]
    assert (
        min(
            network[name]
            for name in ("median", "loading_cpu_s", "inference_cpu_s", "allowed")
        )
        > 0
    )
    assert network["share"] == pytest.approx(network["median"] / network["allowed"])
    assert found.figures["runs"]["pixels"]["map_difference"] < 0 < network["map"] <= 1


def test_map(bench):
    found = bench("map", "--rows", 300)
    assert [run["name"] for run in found.figures["runs"]] == [
        "Lookalike",
        "scikit-learn",
    ]
    assert found.figures["ratio"] > 0


@pytest.mark.parametrize("name", NAMES)
def test_each_is_in_the_document(name):
    assert f"scripts/bench {name}" in (
        BENCHMARKS.parent / "docs" / "performance.md"
    ).read_text(encoding="utf-8")


def test_bench_knows_their_names():
    done = subprocess.run(
        [BENCHMARKS.parent / "scripts" / "bench"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.rpartition(": ")[2].split() == list(NAMES)


def report(tmp_path, **options) -> measuring.Report:
    return measuring.Report(
        "trial",
        Namespace(**{"json": tmp_path / "trial.json", "strict": False, **options}),
        [],
    )


@pytest.mark.parametrize(
    ("strict", "figure", "status"), [(False, 3, 0), (True, 3, 1), (True, 2, 0)]
)
def test_a_missed_aim_counts_only_if_strict(tmp_path, capsys, strict, figure, status):
    trial = report(tmp_path, strict=strict)
    trial.aim("ratio", figure, most=2)
    assert trial.close() == status
    assert ("missed" if figure > 2 else "met") in capsys.readouterr().out
    (aim,) = json.loads((tmp_path / "trial.json").read_text())["aims"]
    assert aim == {
        "what": "ratio",
        "figure": figure,
        "aim": "at most 2",
        "met": figure <= 2,
    }


def test_at_least_is_met_from_its_bound_on(tmp_path):
    trial = report(tmp_path)
    trial.aim("reached", 0.85, least=0.85)
    trial.aim("short of it", 0.84, least=0.85)
    trial.close()
    assert [
        aim["met"] for aim in json.loads((tmp_path / "trial.json").read_text())["aims"]
    ] == [
        True,
        False,
    ]


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_is_that_of_the_power_law(power):
    sizes = np.array([10, 30, 100, 300])
    assert measuring.exponent(sizes, 7 * sizes**power) == pytest.approx(power)


@pytest.mark.parametrize(("sizes", "figures"), [([10], [1.0]), ([10, 20], [0.0, 1.0])])
def test_there_is_no_exponent_of_one_size_or_of_nothing(sizes, figures):
    assert measuring.exponent(sizes, figures) is None


def test_a_table_is_in_columns():
    text = measuring.table(
        ["", "ms"], [["ours", 1.5], ["theirs", 12345.6], ["none", None]]
    )
    assert text.splitlines() == [
        "              ms",
        "ours       1.500",
        "theirs  12,345.6",
        "none           -",
    ]


def test_contestants_take_turns_and_each_is_first():
    order: list[str] = []
    runs = measuring.alternate(
        {name: lambda name=name: order.append(name) for name in "abc"}, 3
    )
    assert "".join(order) == "abcbcacab"
    assert [len(seconds) for seconds in runs.values()] == [3, 3, 3]


def test_a_watch_sees_memory_come():
    with measuring.Watch("before") as watch:
        # Pages of its own: what was freed before may be resident still, and would be taken again.
        block = mmap.mmap(-1, 50_000_000)
        block.write(bytes(50_000_000))
        watch.mark = "after"
        while watch.samples[-1][0] != "after":
            pass
    assert watch.samples[-1][1] - watch.samples[0][1] > 40_000_000


@pytest.mark.parametrize("rows", [50, 700])
def test_made_vectors_are_of_unit_length_and_have_near_neighbours(rows):
    generator = np.random.default_rng(0)
    base = generator.normal(size=(100, 24)).astype(np.float32)
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    made = np.concatenate(list(vectors_made.grown(base, rows, generator, block=64)))
    assert (made.dtype, made.shape) == (np.float16, (rows, 24))
    np.testing.assert_allclose(
        np.linalg.norm(made.astype(np.float32), axis=1), 1, atol=2e-3
    )
    if rows > len(base):
        _, distances = k_nearest(made, base.astype(np.float16), 1)
        assert np.median(distances[100:]) < np.median(
            k_nearest(base, base, 1, own=np.arange(100))[1]
        )


def test_a_vector_finds_itself_without_a_picture(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float16)
    made = Table.create(tmp_path / "c", [vectors_made.space_of(tmp_path, 8)])
    vectors_made.fill(made, np.split(vectors, 3))
    searcher = vectors_made.VectorSearcher(made)
    matches = searcher.search_vector(vectors[123], k=2)
    assert vectors_made.numbers(matches.uris)[0] == 123
    assert matches.distances[0] == 0
    assert [
        made.take([row], ["label"])["label"].to_pylist()
        for row in made.vectors("made")[0][[0, 1, 100]]
    ] == [
        [vectors_made.RARE],
        ["made"],
        [vectors_made.RARE],
    ]


def test_the_truth_of_growing_rows_is_that_of_all_at_once():
    generator = np.random.default_rng(0)
    vectors, queries = generator.normal(size=(500, 8)), generator.normal(size=(20, 8))
    rows, truth, first = Rows(iter(np.split(vectors, [100, 350]))), Truth(queries), 0
    for count in (30, 220, 250):
        for block in rows.take(count):
            truth.add(block, first)
            first += len(block)
    expected, _ = k_nearest(queries, vectors, 10)
    assert first == 500
    np.testing.assert_array_equal(truth.numbers, expected)
    assert truth.recall(expected.tolist()) == 1
    assert truth.recall(expected[:, :5].tolist()) == 0.5


def test_recall_is_the_share_of_the_nearest_found():
    generator = np.random.default_rng(0)
    vectors, asked = generator.normal(size=(500, 8)), generator.normal(size=(20, 8))
    queries = Queries.of(vectors, asked, 10)
    nearest = k_nearest(asked, vectors, 20)[0]
    assert queries.recall(list(nearest[:, :10])) == 1
    assert queries.recall(list(nearest[:, 5:15])) == 0.5
    assert queries.recall(
        [np.repeat(rows[:1], 10) for rows in nearest]
    ) == pytest.approx(0.1)
