"""Splitting Caltech 101 into training and test images."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.datasets.caltech101 import NINE_CLASSES, fetch, split
from lookalike.errors import DatasetError, InputError

DATA = Path(os.environ.get("LOOKALIKE_TEST_DATA", Path(__file__).parents[3] / "shared"))
REAL = DATA / "caltech101" / "101_ObjectCategories"
SOME = (*NINE_CLASSES, "ant", "yin_yang")


def folders(root: Path, counts: dict[str, int], order=sorted) -> Path:
    for name in order(counts):
        (root / name).mkdir(parents=True)
        for nth in order(range(1, counts[name] + 1)):
            (root / name / f"image_{nth:04}.jpg").touch()
    return root


def drawn(table: pa.Table) -> dict[tuple[str, str], str]:
    uris, labels, splits = (
        table[name].to_pylist() for name in ("uri", "label", "split")
    )
    return {
        (label, Path(uri).name): split
        for uri, label, split in zip(uris, labels, splits, strict=True)
    }


some_counts = st.dictionaries(
    st.sampled_from(SOME), st.integers(1, 12), min_size=1, max_size=4
)
some_shares = st.floats(0.01, 0.99)


@settings(max_examples=25, deadline=None)
@given(counts=some_counts, test=some_shares, seed=st.integers(0, 2**64))
def test_a_split_is_complete_disjoint_stratified_and_repeatable(
    tmp_path_factory, counts, test, seed
):
    root = folders(tmp_path_factory.mktemp("split"), counts)
    table = split(root, classes="all", test=test, seed=seed)
    uris = table["uri"].to_pylist()
    assert uris == sorted(str(path) for path in root.rglob("*.jpg"))
    assert all(
        Path(uri).parent.name == label
        for uri, label in zip(uris, table["label"].to_pylist(), strict=True)
    )
    tested = Counter(
        label for (label, _), side in drawn(table).items() if side == "test"
    )
    for label, count in counts.items():
        if count == 1:
            assert tested[label] == 0
        else:
            assert 1 <= tested[label] <= count - 1
            assert abs(tested[label] - count * test) <= 1
    assert split(root, classes="all", test=test, seed=seed).equals(table)


@settings(max_examples=25, deadline=None)
@given(
    counts=some_counts, seed=st.integers(0, 99), rng=st.randoms(use_true_random=False)
)
def test_order_location_and_other_classes_do_not_change_the_split(
    tmp_path_factory, counts, seed, rng
):
    def shuffled(things) -> list:
        return rng.sample(list(things), len(things))

    root = folders(tmp_path_factory.mktemp("one"), counts)
    table = split(root, classes="all", seed=seed)
    moved = folders(tmp_path_factory.mktemp("two"), counts, shuffled)
    listing = Path.iterdir
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Path, "iterdir", lambda folder: iter(shuffled(list(listing(folder))))
        )
        assert drawn(split(moved, classes=shuffled(counts), seed=seed)) == drawn(table)
    for name in counts:
        alone = drawn(split(root, classes=[name], seed=seed))
        assert alone == {
            key: side for key, side in drawn(table).items() if key[0] == name
        }


def test_the_seed_and_the_class_change_the_split(tmp_path):
    root = folders(tmp_path, {"ant": 50, "brain": 50})
    one, other = (drawn(split(root, classes="all", seed=seed)) for seed in (0, 1))
    assert one != other
    assert [one["ant", f"image_{n:04}.jpg"] for n in range(1, 51)] != [
        one["brain", f"image_{n:04}.jpg"] for n in range(1, 51)
    ]


def test_the_split_stays_the_same_in_every_version(tmp_path):
    draw = drawn(split(folders(tmp_path, {"ant": 10}), classes="ant"))
    assert sorted(name for (_, name), side in draw.items() if side == "test") == [
        "image_0004.jpg",
        "image_0005.jpg",
    ]


def test_a_split_takes_the_same_choice_of_classes_as_fetch(tmp_path):
    root = folders(tmp_path, dict.fromkeys(SOME, 2) | {"BACKGROUND_Google": 2})
    assert set(split(root)["label"].to_pylist()) == set(NINE_CLASSES)
    assert set(split(root, classes="all")["label"].to_pylist()) == set(SOME)
    assert set(split(root, classes="ant")["label"].to_pylist()) == {"ant"}
    with pytest.raises(DatasetError, match="chair"):
        split(root, classes=["ant", "chair"])
    with pytest.raises(InputError, match="Did you mean 'ant'"):
        split(root, classes=["amt"])


def test_a_split_of_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="lacks"):
        split(tmp_path / "none", classes="all")


@pytest.mark.parametrize(
    "odd",
    [
        {"test": 0.0},
        {"test": 1.0},
        {"test": float("nan")},
        {"test": -0.1},
        {"seed": -1},
    ],
)
def test_shares_and_seeds_out_of_range_are_errors(tmp_path, odd):
    with pytest.raises(InputError, match="cannot be used"):
        split(folders(tmp_path, {"ant": 2}), classes="ant", **odd)


# The real photographs


@pytest.fixture
def real():
    if not REAL.is_dir():
        pytest.skip(
            f"the photographs are not at {REAL}; name their folder's parent in LOOKALIKE_TEST_DATA"
        )
    return REAL


def test_the_real_photographs_are_found_and_split(real, tmp_path):
    root = fetch(tmp_path, source=real.parent)
    assert root == real
    table = split(root)
    counts = Counter(table["label"].to_pylist())
    tested = Counter(
        label for (label, _), side in drawn(table).items() if side == "test"
    )
    assert table.num_rows == 3079
    assert counts == {
        "airplanes": 800,
        "Motorbikes": 798,
        "Faces": 435,
        "Faces_easy": 435,
        "Leopards": 200,
        "car_side": 123,
        "grand_piano": 99,
        "brain": 98,
        "butterfly": 91,
    }
    assert all(abs(tested[name] - count / 5) <= 0.5 for name, count in counts.items())
    assert Path(table["uri"][0].as_py()).is_file()
