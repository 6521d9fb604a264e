"""An 8-bit network without a calibration is calibrated on the first images that it indexes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import lookalike
from command import lookalike as run
from lookalike import Collection
from lookalike.errors import CollectionError, ModelError, WeightsError
from lookalike.indexing.network_calibration import Calibrator
from lookalike.indexing.new_spaces import SpaceMaker
from lookalike.maintenance.backup import backup, restore
from lookalike.models import embedder, registry, weights
from lookalike.models.cache import EmbedderCache
from lookalike.models.schema import parse_model
from lookalike.sources import LocalSource
from lookalike.store.table import Table

# The first layers of Inception-v3, with few channels.
DESCRIPTION = """
architecture = "inception-v3"
precision = "int8"
size = [75, 75]
filter = "bilinear"
mean = [127.5, 127.5, 127.5]
std = [127.5, 127.5, 127.5]
output = "conv2d_3b_1x1"
dim = 16
[weights]
file = "small.safetensors"
"""
KERNELS = {
    "Conv2d_1a_3x3": (6, 3, 3, 3),
    "Conv2d_2a_3x3": (6, 6, 3, 3),
    "Conv2d_2b_3x3": (8, 6, 3, 3),
    "Conv2d_3b_1x1": (16, 8, 1, 1),
}


def describe(folder: Path, largest_bias: float = 0.5) -> Path:
    """Write random weights and their description.

    A large bias of one channel takes the 8 bits of all channels beside it.
    """
    random = np.random.default_rng(0)
    tensors = {}
    for name, shape in KERNELS.items():
        outputs = shape[0]
        bias = random.uniform(0, 0.5, outputs)
        bias[0] = largest_bias
        tensors |= {
            f"{name}.conv.weight": random.normal(0, np.prod(shape[1:]) ** -0.5, shape),
            f"{name}.bn.weight": np.ones(outputs),
            f"{name}.bn.bias": bias,
            f"{name}.bn.running_mean": np.zeros(outputs),
            f"{name}.bn.running_var": np.ones(outputs),
        }
    floats = {name: values.astype(np.float32) for name, values in tensors.items()}
    folder.mkdir(exist_ok=True)
    save_file(floats, folder / "small.safetensors")
    path = folder / "small-int8.toml"
    path.write_text(DESCRIPTION)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache, as on a new machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def small(tmp_path) -> Path:
    return describe(tmp_path / "small")


@pytest.fixture
def collection(small, sample, tmp_path) -> Path:
    """A collection of the drawn sample that has calibrated the small network."""
    lookalike.index(sample, tmp_path / "collection", models=[small])
    return tmp_path / "collection"


def graph_of(path: Path) -> str | None:
    """Return the hash of the graph that a collection's Model builds here."""
    (model,) = Table.open(path).models.values()
    return embedder.load(replace(model, graph=None)).model.graph


def test_first_run_calibrates_and_later_runs_use_it(small, sample, tmp_path):
    path = tmp_path / "collection"
    report = lookalike.index(sample, path, models=[small])
    (measured,) = report.calibrated
    assert (measured.model, measured.images, measured.compared) == (
        "small-int8",
        23,
        22,
    )
    assert measured.drawn == 0
    assert 0.99 <= measured.cosine <= 1
    assert report.to_dict()["calibrated"][0]["cosine"] == measured.cosine
    again = lookalike.index(sample, path, models=[small])
    assert (again.calibrated, again.unchanged) == ([], 45)
    assert "calibrated" not in again.to_dict()


def test_another_machine_builds_the_same_graph(collection, sample, cache):
    (model,) = Table.open(collection).models.values()
    shutil.rmtree(cache)
    assert graph_of(collection) == model.graph
    query = next(sample.glob("teapot/*.jpg"))
    matches = lookalike.search(collection, query, k=1)
    assert matches.distances[0] == pytest.approx(0, abs=1e-3)


def test_the_same_images_give_the_same_graph(collection, small, sample, tmp_path):
    lookalike.index(sample, tmp_path / "other", models=[small])
    assert graph_of(tmp_path / "other") == graph_of(collection)


def test_other_images_give_another_graph(collection, small, sample, tmp_path):
    lookalike.index(sample / "car", tmp_path / "other", models=[small])
    assert graph_of(tmp_path / "other") != graph_of(collection)


def test_a_backup_holds_the_calibration(collection, sample, cache, tmp_path):
    backup(Table.open(collection), tmp_path / "backup")
    expected = graph_of(collection)
    shutil.rmtree(collection)
    shutil.rmtree(cache)
    restore(tmp_path / "backup", collection)
    assert graph_of(collection) == expected
    query = next(sample.glob("cat/*.jpg"))
    assert len(lookalike.search(collection, query, k=3)) == 3


def test_network_that_loses_too_much_is_refused(sample, cache, tmp_path):
    path = describe(tmp_path / "poor", largest_bias=300)
    words = (
        r"'small-int8' was calibrated on 23 images, and loses too much in 8 bits: on 22 others, "
        r'.* cosine of 0\.\d{4} .*expected at least 0\.99\. .*Set precision = "f32"'
    )
    with pytest.raises(ModelError, match=words):
        lookalike.index(sample, tmp_path / "collection", models=[path])
    assert not (tmp_path / "collection").exists()
    assert list(cache.rglob("*.onnx")) == []


def test_refused_network_leaves_a_collection_as_it_is(sample, tmp_path):
    path = tmp_path / "collection"
    lookalike.index(sample / "car", path, models=["pixels"])
    before = Table.open(path).version
    poor = describe(tmp_path / "poor", largest_bias=300)
    with pytest.raises(ModelError, match="loses too much"):
        lookalike.index(sample, path, models=[poor])
    table = Table.open(path)
    assert (list(table.models), table.version, table.count()) == (["pixels"], before, 5)


def test_missing_weights_are_named_before_any_image_is_read(
    sample, tmp_path, monkeypatch
):
    monkeypatch.setenv("LOOKALIKE_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    words = r"'inception-v3-int8' \(inception_v3\.tv_in1k\.safetensors\) are not here"
    with pytest.raises(WeightsError, match=words):
        lookalike.index(sample, tmp_path / "collection", models=["inception-v3-int8"])
    assert not (tmp_path / "collection").exists()


def test_few_readable_images_are_completed_by_drawn_ones(small, sample, tmp_path):
    folder = tmp_path / "few"
    shutil.copytree(sample / "car", folder)
    # A copy counts once, and a damaged file not at all.
    shutil.copy(min(folder.iterdir()), folder / "copy.jpg")
    (folder / "damaged.jpg").write_text("no image")
    report = lookalike.index(folder, tmp_path / "collection", models=[small])
    (measured,) = report.calibrated
    assert (measured.images, measured.compared, measured.drawn) == (16, 16, 27)
    assert "27 of the images are synthetic" in str(measured)
    assert (report.images, report.failed) == (6, 1)


def test_command_says_what_it_measured(small, sample, tmp_path):
    path = tmp_path / "collection"
    done = run("index", sample, "-c", path, "--model", small)
    assert "small-int8 is calibrated on some of the images first." in done.stderr
    assert "small-int8 was calibrated on 23 images. On 22 others" in done.stdout


def test_first_of_two_processes_decides(collection, small, sample):
    table = Table.open(collection)
    (model,) = table.models.values()
    source = LocalSource([sample / "car"])
    maker = SpaceMaker(EmbedderCache(), Calibrator(source, max_pixels=10**8))
    given = registry.resolve(small)
    ready_models = maker.load_new([given], {})
    assert ready_models[0].fingerprint != model.fingerprint
    maker.add(table, [given], ready_models)
    assert table.models == {"small-int8": model}


def test_network_without_a_calibration_embeds_nothing(small, tmp_path):
    model = registry.resolve(small)
    assert weights.is_available(model)
    with pytest.raises(
        ModelError, match=r"is not calibrated yet\. Index images with it"
    ):
        embedder.load(model)
    with pytest.raises(
        ModelError, match=r"is not calibrated yet\. Index images with it"
    ):
        Collection.create(tmp_path / "collection", [small])
    with pytest.raises(CollectionError):
        Table.open(tmp_path / "collection")


def test_damaged_calibration_is_refused(collection, cache):
    (model,) = Table.open(collection).models.values()
    # A graph in the cache is checked by its own hash.
    shutil.rmtree(cache)
    entry = json.loads(model.to_json())
    content = entry["calibration"]["content"]
    entry["calibration"]["content"] = content[:-8] + "AAAAAAA="
    damaged = parse_model(json.dumps(entry))
    with pytest.raises(ModelError, match="does not match the sha256 recorded"):
        embedder.load(damaged)
    entry["calibration"]["content"] = "?"
    with pytest.raises(ModelError, match="content is base64"):
        parse_model(json.dumps(entry))
