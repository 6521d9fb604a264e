"""Filters and metadata on the command line."""

from __future__ import annotations

import pytest

from command import lookalike, lookalike_json


@pytest.fixture(scope="module")
def place(sample, tmp_path_factory):
    """A folder with a collection ``c`` of the sample, joined with metadata of its cars and cats."""
    place = tmp_path_factory.mktemp("filters")
    rows = ["filename,rating,shot by,in,day"]
    for number in range(1, 6):
        rows.append(
            f"{sample / 'car' / f'car_000{number}.jpg'},{number / 2},Ann,1,2024-05-0{number}"
        )
        rows.append(f"{sample / 'cat' / f'cat_000{number}.jpg'},{number},Bob,2,")
    rows += [f"away/{number}.jpg,1,Ann,3," for number in range(7)]
    (place / "facts.csv").write_text("\n".join(rows))
    (place / "bad.csv").write_text(
        f"uri,rating\n{sample / 'car' / 'car_0001.jpg'},good\n"
    )
    done = lookalike(
        "index",
        sample,
        "-c",
        "c",
        "--model",
        "pixels",
        "--metadata",
        "facts.csv",
        cwd=place,
    )
    assert (
        "facts.csv matches 10 images, 10 changed: rating, shot by, in, day.\n"
        in done.stdout
    )
    assert "Rows that match no image in the collection: 7\n" in done.stdout
    assert f"  {place / 'away' / '4.jpg'}\n  and 2 more\n" in done.stdout
    return place


@pytest.fixture(scope="module")
def query(sample):
    return sample / "car" / "car_0001.jpg"


def test_reading_metadata_again_changes_nothing(place, sample):
    done = lookalike("index", sample, "-c", "c", "--metadata", "facts.csv", cwd=place)
    assert "facts.csv matches 10 images, none changed: rating" in done.stdout
    described = lookalike_json(
        "index", sample, "-c", "c", "--metadata", "facts.csv", cwd=place
    )["metadata"]
    assert list(described) == [
        "file",
        "columns",
        "images",
        "changed",
        "unmatched",
        "first_unmatched",
    ]
    assert (described["images"], described["changed"], described["unmatched"]) == (
        10,
        0,
        7,
    )


def test_search_filters_by_label_and_metadata(place, query):
    where = (
        "(label = 'cat' or `shot by` = 'Ann') and rating > 2 and not uri like '%0005%'"
    )
    answer = lookalike_json("search", query, "-c", "c", "--where", where, cwd=place)
    assert sorted(match["uri"].rsplit("/", 1)[1] for match in answer["matches"]) == [
        "cat_0003.jpg",
        "cat_0004.jpg",
    ]
    lines = lookalike(
        "search", query, "-c", "c", "--where", "day >= '2024-05-04'", cwd=place
    ).stdout.splitlines()
    assert [line.rsplit("/", 1)[1] for line in lines] in (
        ["car_0004.jpg", "car_0005.jpg"],
        ["car_0005.jpg", "car_0004.jpg"],
    )


def test_a_search_without_matches_says_so(place, query):
    arguments = ["search", query, "-c", "c", "--where", "rating > 99"]
    assert lookalike(*arguments, cwd=place).stdout == "No image matches the filter.\n"
    assert lookalike_json(*arguments, cwd=place)["matches"] == []
    assert (
        "No image matches"
        in lookalike(*arguments, "--save", "none.png", cwd=place).stdout
    )


def test_info_counts_matching_images_and_quotes_columns_as_filters_do(place):
    printed = lookalike(
        "info", "-c", "c", "--where", "rating is null and label != 'teapot'", cwd=place
    ).stdout
    assert "Matching    30\n" in printed
    for line in (
        "rating: float64; 10 images",
        "`shot by`: string; 10",
        "`in`: int64; 10",
        "day: timestamp; 5 images",
    ):
        assert f"Column      {line}" in printed
    info = lookalike_json("info", "-c", "c", "--where", "`in` = 2", cwd=place)
    assert list(info) == [
        "images",
        "matching",
        "spaces",
        "columns",
        "failures",
        "trash",
    ]
    assert info["matching"] == 5
    assert info["columns"][1] == {"name": "shot by", "type": "string"}
    assert "matching" not in lookalike_json("info", "-c", "c", cwd=place)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["search", "no.jpg", "--where", "labl = 'car'"],
         ["no column 'labl'. Did you mean label?", "`shot by`"]),
        (["search", "no.jpg", "--where", "label = car"],
         ["at character 9, before car", "a text in quotes"]),
        (["info", "--where", "rating > 'x'"], ["rating holds numbers; expected a number"]),
        (["info", "--where", ""], ["at its end: expected the name of a column"]),
        (["index", ".", "--metadata", "none.csv"], ["none.csv cannot be read", "No such file"]),
        (["index", "facts.csv", "--metadata", "bad.csv"],
         ["bad.csv, line 2", "holds 'good'", "has numbers"]),
    ],
)  # fmt: skip
def test_each_error_is_one_paragraph_with_a_remedy(place, arguments, words):
    done = lookalike(*arguments, "-c", "c", status=2, cwd=place)
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr
