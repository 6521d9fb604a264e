"""Tags: the words for an image, when they are written, and that they overwrite nothing else."""

from __future__ import annotations

import numpy as np
import pytest

import lookalike
from classes import SPACE, class_collection, directions, write_rows
from command import lookalike as run
from command import lookalike_json
from lookalike import Collection
from lookalike.errors import InputError
from lookalike.indexing.metadata import join_metadata
from lookalike.indexing.tags import tag_new_images
from lookalike.maintenance.backup import backup, restore
from lookalike.models import registry
from lookalike.models.text.tags import Tagger
from lookalike.store.names import take_names
from made import drawn
from made import make_collection as make_numbers

# Dogs of eight breeds that differ much.
DOGS = [
    "Chihuahua",
    "Saluki",
    "clumber",
    "Airedale",
    "vizsla",
    "collie",
    "Doberman",
    "keeshond",
]
AIRPLANE = ["airplane", "airliner"]
PIANO = ["piano", "grand piano"]


@pytest.fixture
def collection(tmp_path):
    """Two images that look like classes, and one that looks like nothing."""
    classes = {"/in/a.jpg": "airliner", "/in/b.jpg": "grand piano"}
    table = class_collection(tmp_path / "collection", classes)
    write_rows(table, ["/in/c.jpg"], drawn(1, dim=1280))
    return Collection(table)


def tags_of(collection):
    table = collection.table
    rows = {}
    for batch in table.scan(["uri", "tags"]):
        rows |= dict(
            zip(batch["uri"].to_pylist(), batch["tags"].to_pylist(), strict=True)
        )
    return [rows[uri] for uri in sorted(rows)]


def test_tags_are_the_kind_and_the_class_where_the_network_is_sure(collection):
    report = collection.tag()
    assert tags_of(collection) == [AIRPLANE, PIANO, []]
    assert (report.images, report.tagged, report.changed) == (3, 2, 3)
    assert report.words["airplane"] == 1
    assert collection.tag().changed == 0


@pytest.mark.parametrize(
    ("classes", "tags"),
    [
        # Of classes that are alike, none is sure, but their kind is.
        (DOGS, ["dog"]),
        # An insect is broader than a butterfly, and comes last.
        (["monarch butterfly"], ["butterfly", "monarch butterfly", "insect"]),
        (["accordion"], ["accordion"]),
    ],
)
def test_the_order_of_tags(classes, tags):
    rows = np.stack([directions()[name] for name in classes])
    mean = rows.mean(axis=0, keepdims=True)
    tagger = Tagger.load(registry.resolve(SPACE))
    assert tagger.tag(mean / np.linalg.norm(mean)) == [tags]


def test_a_vector_that_equals_no_class_more_than_another_has_no_tag():
    tagger = Tagger(["a", "b", "c", "d"], {}, np.eye(4, dtype=np.float32))
    assert tagger.tag(np.zeros((1, 4), np.float32)) == [[]]


def test_filters_find_tags(collection):
    first, second, third = sorted(collection.select("width is not null"))
    collection.tag()
    assert collection.select("tags contains 'airplane'").tolist() == [first]
    assert collection.select("not tags contains 'airplane'").tolist() == [second, third]
    assert collection.select("tags not contains 'piano'").tolist() == [first, third]
    either = collection.select(
        "tags CONTAINS 'airliner' or tags contains 'grand piano'"
    )
    assert either.tolist() == [first, second]
    # An image that was not tagged matches neither a test nor its opposite.
    write_rows(collection.table, ["/in/d.jpg"], drawn(1, dim=1280))
    collection.refresh()
    assert len(collection.select("not (tags contains 'a' and tags contains 'b')")) == 3
    assert len(collection.select("tags is null")) == 1


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("tags = 'piano'", "expected contains or is after it"),
        ("tags like 'piano'", "as in tags contains 'butterfly'"),
        ("tags contains 3", "expected a word in quotes"),
        ("label contains 'a'", "label holds text"),
    ],
)
def test_filters_of_another_kind_are_refused(collection, where, message):
    collection.tag()
    with pytest.raises(InputError, match=message):
        collection.select(where)


def test_new_and_changed_images_get_tags(collection):
    assert tag_new_images(collection.table) is None
    collection.tag()
    airliner = directions()["airliner"]
    write_rows(collection.table, ["/in/b.jpg", "/in/d.jpg"], [airliner, airliner])
    collection.refresh()
    assert tags_of(collection) == [AIRPLANE, None, [], None]
    report = tag_new_images(collection.table)
    assert (report.images, report.changed) == (2, 2)
    assert tags_of(collection) == [AIRPLANE, AIRPLANE, [], AIRPLANE]


def test_metadata_of_a_person_is_never_overwritten(collection, tmp_path):
    file = tmp_path / "facts.csv"
    file.write_text("uri,tags\n/in/a.jpg,mine\n")
    join_metadata(collection.table, file)
    with pytest.raises(InputError, match=r"metadata that you gave.*--column auto"):
        collection.tag()
    assert tags_of(collection) == ["mine", None, None]

    collection.tag(column="auto")
    assert collection.metadata == {"tags": "string", "auto": "tags"}
    assert len(collection.select("auto contains 'piano'")) == 1
    with pytest.raises(InputError, match="has them in 'auto'"):
        collection.tag(column="other")
    # Nor does a file of a person overwrite tags.
    file.write_text("uri,auto\n/in/a.jpg,mine\n")
    with pytest.raises(InputError, match="its automatic tags under that name"):
        join_metadata(collection.table, file)


def test_removed_tags_are_gone_until_the_images_are_tagged_again(collection, tmp_path):
    collection.tag(column="auto")
    removal = collection.remove_tags()
    assert (removal.column, removal.images) == ("auto", 2)
    assert collection.metadata == {}
    with pytest.raises(InputError, match="auto"):
        collection.select("auto contains 'airplane'")
    # New images get none, and a file of a person may have the name.
    assert tag_new_images(collection.table) is None
    file = tmp_path / "facts.csv"
    file.write_text("uri,auto\n/in/a.jpg,mine\n")
    join_metadata(collection.table, file)
    assert collection.metadata == {"auto": "string"}

    collection.tag()
    assert tags_of(collection) == [AIRPLANE, PIANO, []]
    collection.remove_tags()
    assert collection.select("auto = 'mine'").tolist() == [0]


def test_a_column_of_a_person_is_never_removed(collection, tmp_path):
    file = tmp_path / "facts.csv"
    file.write_text("uri,tags\n/in/a.jpg,mine\n")
    join_metadata(collection.table, file)
    result = run("tag", "-c", collection.path, "--remove", status=2)
    message = " ".join(result.stderr.split())
    assert "no tags, so none can be removed" in message
    assert "'tags' holds metadata that you gave" in message
    collection.refresh()
    assert tags_of(collection) == ["mine", None, None]


def test_rows_of_the_trash_come_back_after_their_tags_are_removed(collection, tmp_path):
    collection.tag()
    collection.remove(["/in/a.jpg"])
    collection.remove_tags()
    # A column of a person takes the name, and its rows go to the trash beside those with tags.
    file = tmp_path / "facts.csv"
    file.write_text("uri,tags\n/in/b.jpg,mine\n")
    join_metadata(collection.table, file)
    collection.remove(["/in/b.jpg"])
    report = collection.restore_trash()
    assert report.restored == 2
    assert tags_of(collection) == [None, "mine", None]


def test_the_command_removes_tags(collection):
    run("tag", "-c", collection.path)
    result = run("tag", "-c", collection.path, "--remove", "--column", "x", status=2)
    assert "Leave out --column" in result.stderr
    assert lookalike_json("tag", "-c", collection.path, "--remove") == {
        "column": "tags",
        "images": 2,
    }
    run("tag", "-c", collection.path)
    result = run("tag", "-c", collection.path, "--remove")
    assert result.stdout == "Removed the column tags: 2 images had tags.\n"


def test_tags_removed_while_images_are_tagged_stay_removed(collection):
    other = Collection.open(collection.path)

    def remove_tags(count):
        other.refresh()
        if other.metadata:
            other.remove_tags()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lookalike.indexing.tags._ROWS_OF_COMMIT", 1)
        report = collection.tag(progress=remove_tags)
    assert report.images == 1
    assert collection.metadata == {}


@pytest.mark.parametrize("column", ["uri", "a.b", SPACE.upper()])
def test_columns_that_tags_cannot_have(collection, column):
    with pytest.raises(InputError, match="The tags cannot go to the column"):
        collection.tag(column=column)
    assert collection.metadata == {}


def test_a_space_without_a_classifier_is_refused(tmp_path):
    table = make_numbers(tmp_path / "numbers", drawn(3))
    with pytest.raises(InputError, match=r"Spaces \(numbers\) have no classifier"):
        Collection(table).tag()


def test_tags_live_and_go_with_their_rows(collection, tmp_path):
    collection.tag()
    collection.remove(["/in/a.jpg"])
    assert tags_of(collection) == [PIANO, []]
    collection.restore_trash()
    assert tags_of(collection) == [AIRPLANE, PIANO, []]
    backup(collection.table, tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "copy")
    copy = Collection.open(tmp_path / "copy")
    assert tags_of(copy) == [AIRPLANE, PIANO, []]
    assert len(copy.select("tags contains 'airplane'")) == 1


def test_index_tags_images(sample, tmp_path):
    path = tmp_path / "collection"
    report = lookalike_json("index", sample / "guitar", "-c", path, "--tags")
    assert report["tags"]["images"] == report["added"]
    collection = Collection.open(path)
    assert len(collection.select("tags contains 'guitar'")) >= 4

    # The next run tags new images without being asked.
    report = lookalike.index(sample / "car", path)
    assert report.tags is not None
    assert report.tags.images == report.added
    collection.refresh()
    result = run("tag", "-c", path)
    assert f"of {len(collection)} images" in result.stdout
    assert "0 changed" in result.stdout
    assert "--where \"tags contains '" in result.stdout


def test_the_example_of_a_filter_finds_images_whatever_the_tag(tmp_path):
    path = tmp_path / "c"
    class_collection(path, {"/in/a.jpg": "potter's wheel", "/in/b.jpg": "accordion"})
    lines = run("tag", "-c", path).stdout.splitlines()
    (example,) = [line for line in lines if "--where" in line]
    where = example.partition("--where ")[2].strip('"')
    assert where == "tags contains 'potter''s wheel'"
    assert Collection.open(path).select(where).tolist() == [0]


def test_index_refuses_tags_before_anything_is_written(sample, tmp_path):
    path = tmp_path / "collection"
    file = tmp_path / "facts.csv"
    file.write_text(f"uri,Tags\n{sample}/airplane/airplane_0001.jpg,mine\n")
    result = run("index", sample, "-c", path, "--tags", "--metadata", file, status=2)
    assert "the collection's own 'Tags'" in " ".join(result.stderr.split())
    result = run("index", sample, "-c", path, "--tags", "--model", "pixels", status=2)
    assert "no classifier" in " ".join(result.stderr.split())
    assert not path.exists()


def test_tags_stand_in_for_labels_where_there_are_none(collection):
    table = collection.table
    ids = sorted(collection.select("width is not null"))
    assert take_names(table, ids) == [None] * 3
    collection.tag()
    assert take_names(table, ids) == ["airplane", "piano", None]
    table.update({"uri": ["/in/c.jpg"], "label": ["mine"]})
    assert take_names(table, ids) == [None, None, "mine"]
