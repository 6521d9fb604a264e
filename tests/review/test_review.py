"""What a review finds in collections whose answer is known."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from lookalike.collection import Collection
from lookalike.errors import InputError, SpaceError
from lookalike.review import clusters as clustering
from lookalike.review.labels import find_doubtful_labels
from lookalike.review.results import Review
from lookalike.review.rows import ReviewedRows
from lookalike.store.table import Table
from lookalike.types import Model
from lookalike.vectors.neighbors import NeighborGraph
from made import SPACE, add_rows, clusters, drawn, make_collection

CORNERS = 4
EACH = 25


def review_of(path, vectors, labels=None, **settings) -> Review:
    """Review a collection of these vectors."""
    model = Model(SPACE, "numbers", "pixels", (1, 1), vectors.shape[1])
    table = Table.create(path / "c", [model])
    add_rows(table, vectors, labels=labels)
    return Collection.open(path / "c").review(**settings)


def corner_labels(corner: np.ndarray) -> list[str]:
    return [f"corner {number}" for number in corner]


@pytest.fixture
def corners():
    """Vectors near four corners, with the name of the corner as label."""
    vectors, corner = clusters(CORNERS, EACH)
    return vectors, corner_labels(corner)


def test_clusters_are_those_of_the_labels(tmp_path, corners):
    found = review_of(tmp_path, *corners, parts=["clusters"]).clusters
    assert sorted(cluster.name for cluster in found.groups) == sorted(set(corners[1]))
    for cluster in found.groups:
        assert {image.label for image in cluster.images} == {cluster.name}
        assert (len(cluster), cluster.share) == (EACH, 1.0)
    assert found.unclustered == ()
    assert found.method == "hdbscan"


def test_clusters_of_a_given_number_and_their_names(tmp_path, corners):
    vectors, labels = corners
    # Two labels share a cluster, and another cluster has none.
    names = {"corner 0": "a", "corner 1": "a", "corner 2": None, "corner 3": "b"}
    renamed = [names[label] for label in labels]
    found = review_of(tmp_path, vectors, renamed, parts=["clusters"], clusters=4)
    by_name = {cluster.name: cluster for cluster in found.clusters.groups}
    unnamed = [name for name in by_name if name.startswith("cluster ")]
    assert sorted(set(by_name) - set(unnamed)) == ["a 1", "a 2", "b"]
    assert by_name[unnamed[0]].label is None
    assert found.clusters.method == "kmeans"


def test_rows_of_a_large_collection_join_the_nearest_drawn_row(
    tmp_path, corners, monkeypatch
):
    monkeypatch.setattr(clustering, "_MOST_ROWS", 60)
    found = review_of(tmp_path, *corners, parts=["clusters"]).clusters
    assert sum(map(len, found.groups)) + len(found.unclustered) == CORNERS * EACH
    assert len(found.groups) == CORNERS
    for cluster in found.groups:
        assert cluster.share == 1.0


def test_outliers_are_the_rows_far_from_all_others(tmp_path):
    near, _ = clusters(3, 30, dim=16)
    # Nothing else lies along the last two axes.
    far = np.eye(16, dtype=np.float32)[-2:]
    found = review_of(tmp_path, np.concatenate([near, far]), parts=["outliers"])
    outliers = found.outliers
    uris = {image.uri for image in outliers.images}
    assert uris == {"/pictures/000090.jpg", "/pictures/000091.jpg"}
    assert all(image.distance > outliers.threshold for image in outliers.images)
    assert outliers.median < outliers.threshold
    more = Collection.open(tmp_path / "c").review(parts=["outliers"], outliers=5)
    assert len(more.outliers.images) == 5
    assert more.outliers.images[:2] == outliers.images
    assert (found.clusters, found.labels, found.diverse) == (None, None, None)


def test_a_wrong_label_is_found_with_the_right_one(tmp_path, corners):
    vectors, labels = corners
    wrong = list(labels)
    wrong[7], wrong[18] = "corner 0", "corner 3"
    found = review_of(tmp_path, vectors, wrong, parts=["labels"]).labels
    suggested = {image.uri: image.suggested for image in found.images}
    assert suggested == {
        "/pictures/000007.jpg": labels[7],
        "/pictures/000018.jpg": labels[18],
    }
    assert found.checked == len(labels)
    first = found.images[0]
    assert first.score > found.threshold
    assert first.agreeing == first.neighbors == 20
    # The rows of correct labels have nothing to answer for.
    (tmp_path / "right").mkdir()
    right = review_of(tmp_path / "right", vectors, labels, parts=["labels"]).labels
    assert right.images == ()


def test_images_without_a_label_have_no_say(tmp_path, corners):
    vectors, labels = corners
    some = [label if place % 3 else None for place, label in enumerate(labels)]
    some[7] = "corner 0"
    found = review_of(tmp_path, vectors, some, parts=["labels"]).labels
    assert [image.uri for image in found.images] == ["/pictures/000007.jpg"]
    assert found.checked == sum(label is not None for label in some)
    assert found.images[0].neighbors < 20


def test_diverse_images_show_every_corner_first(tmp_path, corners):
    found = review_of(tmp_path, *corners, parts=["diverse"], diverse=CORNERS).diverse
    assert len({image.label for image in found.images}) == CORNERS
    assert (found.labels, found.all_labels) == (CORNERS, CORNERS)
    assert sum(image.represents for image in found.images) == CORNERS * EACH
    steps = [image.distance for image in found.images]
    assert steps[0] is None
    # Each was the farthest: what is left is nearer.
    assert steps[1:] == sorted(steps[1:], reverse=True)
    assert found.mean < found.radius <= steps[-1]


def test_a_part_of_the_diverse_images_is_the_choice_of_as_many(tmp_path, corners):
    vectors, _ = corners
    few = review_of(tmp_path, vectors, parts=["diverse"], diverse=3)
    collection = Collection.open(tmp_path / "c")
    many = collection.review(parts=["diverse"], diverse=12)
    assert [image.uri for image in many.diverse.images[:3]] == [
        image.uri for image in few.diverse.images
    ]
    assert many.diverse.radius < few.diverse.radius


@pytest.mark.parametrize("count", [1, 2, 9, 11])
def test_few_images(tmp_path, count):
    labels = (["a", "b"] * count)[:count]
    found = review_of(tmp_path, drawn(count), labels)
    members = sum(map(len, found.clusters.groups)) + len(found.clusters.unclustered)
    assert members == count
    assert found.outliers.images == ()
    assert len(found.diverse.images) == count
    assert found.diverse.radius == 0
    if count < 10:
        assert found.labels.images == ()
        assert f"there are {count}" in " ".join(found.notes)


def test_equal_images_are_one_cluster_without_outliers(tmp_path):
    equal = np.repeat(drawn(1), 30, axis=0)
    found = review_of(tmp_path, equal, ["a"] * 29 + ["b"])
    assert [(one.name, len(one)) for one in found.clusters.groups] == [("a", 30)]
    assert found.outliers.images == ()
    assert [image.suggested for image in found.labels.images] == ["a"]
    assert len(found.diverse.images) == 1


@pytest.mark.parametrize("labels", [None, ["one"] * CORNERS * EACH])
def test_without_two_labels_none_is_doubtful(tmp_path, corners, labels):
    found = review_of(tmp_path, corners[0], labels)
    assert found.labels.images == ()
    assert "two different labels" in " ".join(found.notes)
    assert len(found.clusters.groups) == CORNERS


def test_a_half_filled_space_is_reviewed_and_named(tmp_path, corners):
    vectors, labels = corners
    table = Table.create(
        tmp_path / "c",
        [Model(name, name, "pixels", (1, 1), vectors.shape[1]) for name in "ab"],
    )
    for first, spaces in enumerate((["a"], ["a", "b"])):
        places = range(first, len(vectors), 2)
        some = vectors[places]
        columns = {
            "uri": [f"/pictures/{place}.jpg" for place in places],
            "sha256": [vector.tobytes()[:32] for vector in some],
            "label": [labels[place] for place in places],
            "spaces": [spaces] * len(some),
        }
        table.upsert(columns | dict.fromkeys(spaces, some), replace=True)
    collection = Collection.open(tmp_path / "c")
    half = collection.review(space="b")
    assert (half.space, half.images) == ("b", 50)
    assert "50 of the images are left out" in half.notes[0]
    assert collection.review(space="a", parts=["diverse"]).notes == ()
    some = collection.review(space="b", where="label = 'corner 1'", parts=["diverse"])
    assert {image.label for image in some.diverse.images} == {"corner 1"}
    # Half of all images have a vector in b, but all of this label.
    assert some.notes == ()
    every = collection.review(space="b", where="label != 'x'", parts=["diverse"])
    assert "50 of the images are left out" in every.notes[0]
    few = collection.review(
        space="b", where="uri = '/pictures/1.jpg'", parts=["diverse"]
    )
    assert few.notes == ()


def test_rows_that_are_removed_meanwhile_stay_in_the_review(tmp_path, corners):
    review_of(tmp_path, *corners, parts=["diverse"])
    collection, other = (Collection.open(tmp_path / "c") for _ in range(2))

    def remove(step: str, *_: object) -> None:
        if step == "Comparing images" and len(other) == CORNERS * EACH:
            other.remove([f"/pictures/{place:06}.jpg" for place in range(50)])

    found = collection.review(progress=remove)
    assert len(other) == 50
    assert found.images == CORNERS * EACH
    assert sum(map(len, found.clusters.groups)) == CORNERS * EACH


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parts": ["lables"]}, "expected some of clusters, outliers, labels, diverse"),
        ({"parts": []}, "expected some of"),
        ({"clusters": 0}, "clusters = 0 is out of range"),
        ({"clusters": 101}, "a whole number from 1 to 100"),
        ({"diverse": 0}, "diverse = 0 is out of range"),
        ({"where": "label = 'none'"}, "matches no image with a vector"),
    ],
)
def test_settings_that_fit_nothing_are_refused(tmp_path, corners, settings, message):
    with pytest.raises(InputError, match=message):
        review_of(tmp_path, *corners, **settings)


@pytest.mark.parametrize(("tagged", "is_named"), [(20, True), (10, False)])
def test_clusters_without_labels_are_named_after_tags(
    tmp_path, corners, tagged, is_named
):
    vectors, _ = corners
    table = make_collection(tmp_path / "c", vectors)
    table.add_metadata({"tags": "tags"})
    # Images take turns at the corners. Of those of the first corner, some have a tag.
    uris = [f"/pictures/{CORNERS * number:06}.jpg" for number in range(tagged)]
    table.update({"uri": uris, "tags": [["dog", "beagle"]] * tagged})
    found = Collection(table).review(parts=["clusters"]).clusters
    by_name = {cluster.name: cluster for cluster in found.groups}
    assert ("dog" in by_name) == is_named
    assert all(cluster.label is None for cluster in found.groups)


def test_an_empty_space_is_refused(tmp_path):
    with pytest.raises(SpaceError, match="nothing to review"):
        review_of(tmp_path, np.empty((0, 8), np.float32))


def test_the_values_of_many_labels_are_computed_in_parts():
    count = 4000
    random = np.random.default_rng(0)
    labels = [f"label {place}" for place in range(count)]
    rows = ReviewedRows(
        np.arange(count), np.zeros((count, 4), np.float16), labels, labels
    )
    places = random.integers(0, count, (count, 20))
    graph = NeighborGraph(places, np.ones(places.shape, np.float32))
    components = random.normal(size=(count, 8)).astype(np.float32)
    tracemalloc.start()
    found = find_doubtful_labels(rows, graph, components)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.checked == count
    # One array of a value for each row and label takes as much.
    assert peak < count * count * 8
    one = ["one"] * count
    same = ReviewedRows(rows.ids, rows.vectors, labels, one)
    assert find_doubtful_labels(same, graph, components).checked == 0
