"""Small runs of the benchmarks write their figures, and their shared parts are right.

No time is tested.
"""

from __future__ import annotations

import json
import mmap
import os
import subprocess
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import measuring
import vectors_made
from browsing import BROWSER
from engines import Queries
from forked import start_python
from grow import Rows, Truth
from labeled import labeled_collection
from lookalike import index
from lookalike.store.table import Table
from lookalike.vectors import k_nearest

# Each test runs whole commands or networks; scripts/test --fast leaves them out.
pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NAMES = (
    "embed",
    "search",
    "map",
    "start",
    "memory",
    "grow",
    "serve",
    "negatives",
    "ranking",
    "no_match",
    "explain",
    "references",
    "cluster",
    "duplicates",
    "review",
    "towers",
    "tune",
    "gpu",
    "words",
    "tags",
    "word_confidence",
)


# The machine's limits are measured by small work, which is seconds otherwise.
_RUN = """
import runpy, sys

sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
import measuring

measuring.matrix_rate.__defaults__ = (256,)
measuring.read_rate.__defaults__ = (1 << 20,)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def collection(sample, tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("benchmarks") / "collection")
    index(sample, path)
    return path


@pytest.fixture
def bench(tmp_path):
    """Run a benchmark and return the figures it wrote and the text it printed."""

    def run(name: str, *options: object, status: int = 0) -> SimpleNamespace:
        file = tmp_path / f"{name}.json"
        words = [BENCHMARKS / f"{name}.py", *options, "--json", file]
        program = ["-c", _RUN, *map(str, words)]
        with start_python(program, env=os.environ) as process:
            output, errors = process.communicate()
            assert process.wait() == status, (
                f"status {process.returncode}\n{output}\n{errors}"
            )
        written = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        return SimpleNamespace(**written, output=output, errors=errors)

    return run


def test_serve(bench, sample):
    sizes = ("--images", 12, "--requests", 20, "--uploads", 12, "--drops", 3)
    result = bench("serve", "--data", sample, *sizes)
    by_rows, by_images = result.figures["by_rows"], result.figures["by_images"]
    assert 0 < by_rows["p50_ms"] <= by_rows["p99_ms"]
    assert by_rows["requests"] == 20
    for name in ("efficientnet-lite0-int8", "efficientnet-lite0"):
        served, alone, share = (
            measuring.Spread(*by_images[name][part])
            for part in ("per_second", "alone", "share")
        )
        for rates in (served, alone, share):
            assert 0 < rates.low <= rates.median <= rates.high
        # Each share is a quotient of the two rates of its round, so these hold at any speed:
        # a correctly rounded quotient never falls when its dividend rises or its divisor falls.
        assert served.low / alone.high <= share.low
        assert share.high <= served.high / alone.low
    if BROWSER is None:
        assert "Chromium" in result.skipped["the page"]
    else:
        first = measuring.Spread(*result.figures["page"]["first_ms"])
        whole = measuring.Spread(*result.figures["page"]["all_ms"])
        assert 0 < first.low <= first.median <= first.high <= whole.high
    assert len(result.aims) == 7 + (BROWSER is not None)


def test_search(bench, collection):
    exact = [
        "Lookalike",
        "Lookalike search",
        "NumPy",
        "scikit-learn",
        "Lance flat scan",
    ]
    sizes = ("--rows", 1000, "--queries", 10, "--many", 5)
    result = bench("search", "--collection", collection, *sizes, "--engines", *exact)
    assert (result.benchmark, result.figures["rows"], result.figures["dim"]) == (
        "search",
        1000,
        1280,
    )
    assert list(result.figures["engines"]) == exact
    for figures in result.figures["engines"].values():
        assert figures["kind"] == "exact"
        assert figures["recall"] == 1
        assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert set(result.figures["many"]) == {"Lookalike", "NumPy"}
    assert result.figures["filtered"]["kept"] == 10
    assert all(
        figures["recall"] == 1
        for figures in result.figures["filtered"]["engines"].values()
    )
    assert min(result.figures["limits"].values()) > 0
    assert {"cpu", "cores", "memory_gib", "system"} <= result.machine.keys()
    assert {"lookalike", "numpy", "scikit-learn"} <= result.versions.keys()
    assert "scikit-learn" in result.output


def test_search_of_changed_rows(bench, collection):
    graphs = ["Lookalike in memory", "FAISS HNSW", "USearch HNSW"]
    sizes = ("--rows", 1000, "--queries", 10, "--many", 5, "--dim", 32)
    changed = ("--changed", 0.1, "--engines", *graphs)
    result = bench("search", "--collection", collection, *sizes, *changed)
    assert (result.figures["rows"], result.figures["dim"]) == (1000, 32)
    figures = result.figures["engines"]
    assert figures["Lookalike in memory"]["recall"] >= 0.98
    # Each is installed, or left out with a message.
    for name in graphs:
        assert (name in figures) != (name in result.skipped)


def test_start(bench, sample):
    result = bench("start", "--data", sample, "--images", 9, "--rounds", 1)
    assert [*result.figures["seconds"]][:6] == [
        "python alone",
        "NumPy, ONNX Runtime, Lance, network",
        "import lookalike",
        "lookalike --help",
        "lookalike search, 9 images",
        "lookalike search, a word",
    ]
    for figures in result.figures["seconds"].values():
        assert len(figures["runs"]) == 1
        assert 0 < figures["low"] <= figures["median"] <= figures["high"]
    assert {"open collection", "embed query", "compare"} <= result.figures[
        "parts_ms"
    ].keys()
    assert [aim["what"].partition(",")[0] for aim in result.aims] == [
        "import lookalike",
        "lookalike --help",
        "lookalike search",
        "search",
    ]


def test_memory(bench, sample):
    result = bench("memory", "--data", sample, "--images", 60, "--level", 20)
    # More than the sample has, so the benchmark makes images with new content.
    assert result.figures["images"] == 60
    assert (
        min(result.figures[name] for name in ("highest_mb", "level_mb", "samples")) > 0
    )
    assert [images for images, _ in result.figures["curve"]] == [
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
    result = bench("grow", "--collection", collection, *sizes)
    runs = result.figures["sizes"]
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
    assert result.figures["exponents"]["disk_mib"] > 0


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
    result = bench(
        "embed", *options, "--model", "efficientnet-lite0", "pixels", "nothing"
    )
    assert [*result.figures["runs"]] == ["plain loop", "efficientnet-lite0", "pixels"]
    assert result.figures["images"] == 18
    assert "nothing" in result.skipped
    network = result.figures["runs"]["efficientnet-lite0"]
    assert (
        min(
            network[name]
            for name in ("median", "loading_cpu_s", "inference_cpu_s", "allowed")
        )
        > 0
    )
    assert network["share"] == pytest.approx(network["median"] / network["allowed"])
    assert result.figures["runs"]["pixels"]["map_difference"] < 0 < network["map"] <= 1


def test_negatives(bench, collection):
    result = bench("negatives", collection, "--queries", 12, "-k", 3)
    rows = result.figures[collection]
    assert all(0 <= precision <= 1 for row in rows for precision in row)
    # A negative as strong as the query costs most of the query's own label.
    assert rows[0][0] > rows[-1][0]
    assert "precision@3" in result.output


def test_negatives_need_labels(bench, sample, tmp_path):
    """Images without a label are no class of their own."""
    path = str(tmp_path / "c")
    index(sample / "cat", path, models=["pixels"], labels="none")
    result = bench("negatives", path, status=1)
    assert "needs two labels" in result.errors
    index([sample / "car", sample / "teapot"], path)
    result = bench("negatives", path, "-k", 3)
    assert "10 queries, precision@3" in result.output


def test_duplicates(bench, sample):
    folders = (sample / "cat", sample / "car")
    result = bench("duplicates", *folders, "--families", 1)
    methods = {row[0]: row[1:] for row in result.figures["methods"]}
    others = {"embedding", "PDQ8", "PDQ", "pHash"}
    assert set(methods) == {"duplicates", "the same, twins apart"} | others
    assert all(0 <= share <= 1 for row in methods.values() for share in row)
    assert "Recall by edit" in result.output

    result = bench("duplicates", *folders, "--rows", 12)
    steps = [step for step, *_ in result.figures["cost"]]
    assert steps[0] == "Reading thumbnails"
    assert steps[-1] == "in all"
    assert "12 images" in result.output
    assert result.figures["peak_bytes"] > 0


def test_review(bench, collection):
    options = ("--merge", "cat=car", "--rounds", 2, "--rows", 300)
    result = bench("review", collection, *options)
    figures = result.figures[collection]
    assert figures["clusters"][0][0] == "review"
    assert len(figures["labels"]) == 4
    assert figures["diverse"][0][-1] == 9
    assert result.figures[f"{collection}, merged"]["diverse"][0][-1] == 8
    assert result.figures["300 rows"]["memory_gib"] > 0


def test_ranking(bench, collection):
    options = ("--merge", "cat=car", "--rows", 300, "--families", 2)
    result = bench("ranking", collection, *options)
    assert "context" in result.output
    merged = result.figures[f"{collection}, merged"]
    names = [scores["ranking"] for scores in merged["spaces"]]
    assert names == ["plain", "centered", "context"]
    assert merged["spaces"][0]["classes"]["car"]["queries"] == 10
    assert result.figures["context, 300 rows"]["memory_gib"] > 0
    assert result.figures[f"{collection}, photographs, plain"]["precision_at_1"] > 0.7
    assert result.figures[f"{collection}, families, plain"]["gain"] == [0, 0, 0]


def test_no_match(bench, collection):
    result = bench("no_match", collection, "--absent", 1, "--present", "cat")
    assert "the fixed distance 0.85" in result.output
    assert len(result.figures[str(collection)]["choices"]) == 8


def test_tune(bench, tmp_path):
    path = tmp_path / "labeled"
    labeled_collection(path)
    result = bench("tune", path, "--merge", "label 0=label 1", "--settings")
    figures = result.figures[str(path)]
    assert figures["anything"]["new_images"]["gain"]["value"] > 0.1
    assert figures["anything"]["new_images"]["labels"] == 5
    assert "the coordinates alone" in result.output


def test_explain(bench, collection):
    result = bench("explain", collection, "--images", 2, "--merge", "cat=car")
    assert "side by side" in result.output
    points = result.figures[f"{collection}: the peak is on the object"]
    assert 0 < points["inset"]["chance"][0] < points["side by side"]["chance"][0] < 1
    searches = result.figures[f"{collection}: region query, precision@1"]
    assert searches["all"]["crop"][0] >= searches["all"]["whole image"][0]


def test_references(bench, sample):
    """The figures of other images miss those of the photographs, which always counts."""
    spaces = ("efficientnet-lite0", "pixels")
    result = bench("references", "--data", sample, "--spaces", *spaces, status=1)
    assert result.figures["images"] == 45
    assert result.figures["efficientnet-lite0"]["map"] > 0.9
    assert result.figures["pixels"]["map"] < 0.4
    met = {aim["what"]: aim["met"] for aim in result.aims}
    assert met["pixels: map, difference"] is False
    assert 0.5 < result.figures["map"]["trustworthiness"] <= 1
    assert "0.490" in result.output


def test_references_need_the_weights_of_a_space(bench, sample, tmp_path):
    space = "inception-v3-at-mixed-7a"
    options = ("--data", sample, "--weights", tmp_path / "none", "--spaces", space)
    assert "--weights FILE" in bench("references", *options, status=1).errors


def test_map(bench):
    result = bench("map", "--rows", 120)
    assert [run["name"] for run in result.figures["runs"]] == [
        "Lookalike",
        "scikit-learn",
    ]
    assert result.figures["ratio"] > 0


@pytest.mark.parametrize("name", NAMES)
def test_each_benchmark_is_documented(name):
    assert f"scripts/bench {name}" in (
        BENCHMARKS.parent / "docs" / "performance.md"
    ).read_text(encoding="utf-8")


def test_bench_lists_every_benchmark():
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


def test_a_lower_bound_includes_its_value(tmp_path):
    trial = report(tmp_path)
    trial.aim("reached", 0.85, least=0.85)
    trial.aim("short of it", 0.84, least=0.85)
    trial.close()
    assert [
        aim["met"] for aim in json.loads((tmp_path / "trial.json").read_text())["aims"]
    ] == [True, False]


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_exponent_recovers_a_power_law(power):
    sizes = np.array([10, 30, 100, 300])
    assert measuring.exponent(sizes, 7 * sizes**power) == pytest.approx(power)


@pytest.mark.parametrize(("sizes", "figures"), [([10], [1.0]), ([10, 20], [0.0, 1.0])])
def test_one_size_or_a_zero_figure_has_no_exponent(sizes, figures):
    assert measuring.exponent(sizes, figures) is None


def test_a_table_aligns_its_columns():
    text = measuring.table(
        ["", "ms"], [["ours", 1.5], ["theirs", 12345.6], ["none", None]]
    )
    assert text.splitlines() == [
        "              ms",
        "ours       1.500",
        "theirs  12,345.6",
        "none           -",
    ]


def test_contestants_take_turns_and_each_starts_a_round():
    order: list[str] = []
    runs = measuring.alternate(
        {name: lambda name=name: order.append(name) for name in "abc"}, 3
    )
    assert "".join(order) == "abcbcacab"
    assert [len(seconds) for seconds in runs.values()] == [3, 3, 3]


def test_a_watch_sees_memory_grow():
    with measuring.Watch("before") as watch:
        # mmap takes new pages. Freed memory may still be resident, and would be used again.
        block = mmap.mmap(-1, 50_000_000)
        block.write(bytes(50_000_000))
        watch.mark = "after"
        while watch.samples[-1][0] != "after":
            pass
    assert watch.samples[-1][1] - watch.samples[0][1] > 40_000_000


@pytest.mark.parametrize("rows", [50, 700])
def test_made_vectors_have_unit_length_and_near_neighbors(rows):
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


def test_a_vector_finds_itself_without_an_image(tmp_path):
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
    ] == [[vectors_made.RARE], ["made"], [vectors_made.RARE]]


def test_truth_of_growing_rows_equals_the_truth_of_all_rows():
    generator = np.random.default_rng(0)
    vectors, queries = generator.normal(size=(500, 8)), generator.normal(size=(20, 8))
    rows, truth, first = Rows(iter(np.split(vectors, [100, 350]))), Truth(queries), 0
    for count in (30, 220, 250):
        for block in rows.take(count, 60):
            truth.add(block, first)
            first += len(block)
    expected, _ = k_nearest(queries, vectors, 10)
    assert first == 500
    np.testing.assert_array_equal(truth.numbers, expected)
    assert truth.recall(expected.tolist()) == 1
    assert truth.recall(expected[:, :5].tolist()) == 0.5


def test_recall_is_the_share_of_nearest_neighbors_found():
    generator = np.random.default_rng(0)
    vectors, sampled = generator.normal(size=(500, 8)), generator.normal(size=(20, 8))
    queries = Queries.of(vectors, sampled, 10)
    nearest = k_nearest(sampled, vectors, 20)[0]
    assert queries.recall(list(nearest[:, :10])) == 1
    assert queries.recall(list(nearest[:, 5:15])) == 0.5
    assert queries.recall(
        [np.repeat(rows[:1], 10) for rows in nearest]
    ) == pytest.approx(0.1)
