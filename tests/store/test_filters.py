"""Filters select the same rows as Python, and any invalid text raises an InputError."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lookalike.errors import InputError
from lookalike.store.filters import MAX_LENGTH
from lookalike.store.table import Table
from made import SPACE, make_collection

KINDS = {
    "rating": "float64",
    "shot by": "string",
    "n": "int64",
    "flag": "bool",
    "taken": "timestamp",
    "in": "int64",
}
TEXTS = [
    "cat",
    "Cat",
    "",
    "it's",
    'say "a"',
    "100%",
    "a_b",
    "axb",
    "back\\slash",
    "naïve 写真 😀",
    "a\nb",
    "'; --",
]
INTEGERS = [0, 1, -1, 300, 2**31, 2**53 + 1, 2**63 - 1, -(2**63) + 1]
FLOATS = [0.0, 0.5, -2.5, 300.0, 1e-9, 1e300, 3.7]
TIMES = [
    datetime(1, 1, 1),
    datetime(1969, 12, 31, 23, 59, 59, 999_999),
    datetime(2024, 5, 31),
    datetime(9999, 12, 31),
]
TIMES += [
    datetime(2024, 5, 31, 2, tzinfo=timezone(timedelta(hours=2))),
    datetime(2024, 5, 31, 0, 0, 0, 1, tzinfo=UTC),
]
SINGLE = "'"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(time):
    return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - EPOCH) // timedelta(
        microseconds=1
    )


def made_rows(count=60):
    """Return rows with values of the pools above; a fifth of the values is missing."""
    draw = np.random.default_rng(0)

    def some(pool):
        return [
            None if draw.random() < 0.2 else pool[draw.integers(len(pool))]
            for _ in range(count)
        ]

    nanoseconds = [1000 * us for us in map(microseconds, TIMES) if abs(us) < 2**53]
    return {
        "uri": [
            f"/{number:02}/{text}"
            for number, text in zip(range(count), TEXTS * count, strict=False)
        ],
        "label": some(TEXTS),
        "width": some([0, 1, 300, 2**31 - 1]),
        "mtime": some([*nanoseconds, nanoseconds[0] + 1]),
        "rating": some(FLOATS),
        "shot by": some(TEXTS),
        "n": some(INTEGERS),
        "flag": some([True, False]),
        "taken": some([microseconds(time) for time in TIMES]),
        "in": some(INTEGERS[:3]),
    }


ROWS = made_rows()


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    collection = make_collection(
        tmp_path_factory.mktemp("filtered") / "c", np.ones((1, 4), np.float32)
    )
    collection.remove(["/pictures/000000.jpg"])
    collection.add_metadata(KINDS)
    columns = {
        **ROWS,
        "mtime_ns": ROWS["mtime"],
        "sha256": [uri.encode()[:32].ljust(32) for uri in ROWS["uri"]],
    }
    columns["taken"] = pa.array(columns["taken"], pa.timestamp("us", "UTC"))
    del columns["mtime"]
    collection.upsert(
        {**columns, "spaces": [[SPACE]] * 60, SPACE: np.ones((60, 4), np.float32)},
        replace=True,
    )
    collection.upsert(
        {"uri": ["/failed"], "label": ["cat"], "error": ["bad"]}, replace=True
    )
    return collection


def found(collection, where):
    ids = collection.select(where)
    assert (np.diff(ids) > 0).all()
    return sorted(collection.take(ids, ["uri"])["uri"].to_pylist())


# A filter is drawn as its text, with a function from a row to True, False, or None (missing).

COMPARED = {
    "=": lambda a, b: a == b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def message(column, judge):
    return lambda row: None if row[column] is None else judge(row[column])


def quoted(text, mark):
    return mark + text.replace(mark, mark * 2) + mark


def matches(text, pattern):
    """Implement ``like`` with a regular expression."""
    parts = re.findall(r"\\[\\%_]|.", pattern, re.DOTALL)
    expression = "".join(
        {"%": ".*", "_": "."}.get(part) or re.escape(part[-1]) for part in parts
    )
    return re.fullmatch(expression, text, re.DOTALL) is not None


texts = st.sampled_from(TEXTS) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=5
)
marks = st.sampled_from("'\"")
LITERALS = {
    "string": st.tuples(texts, marks).map(lambda pair: (quoted(*pair), pair[0])),
    "int64": (
        st.sampled_from(INTEGERS)
        | st.integers(-(2**63) + 1, 2**63 - 1)
        | st.sampled_from(FLOATS)
    ).map(lambda number: (repr(number), number)),
    "float64": (
        st.sampled_from(FLOATS)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.integers(-9, 9)
    ).map(lambda number: (repr(number), float(number))),
    "bool": st.sampled_from([("true", True), ("FALSE", False)]),
    "timestamp": (st.sampled_from(TIMES) | st.datetimes()).map(
        lambda t: (quoted(t.isoformat(), "'"), microseconds(t))
    ),
}
COLUMNS = {
    "label": "string",
    "uri": "string",
    "width": "int64",
    "mtime": "timestamp",
    **KINDS,
}


def narrowed(column, value):
    """Return the value in the column's units, and the row's value to compare with it."""
    return value * 1000 if column == "mtime" else value


def as_compared(stored, value):
    return float(stored) if isinstance(value, float) else stored


@st.composite
def comparisons(draw):
    column = draw(st.sampled_from(list(COLUMNS)))
    kind, name = (
        COLUMNS[column],
        f"`{column}`" if column in {"shot by", "in"} else column,
    )
    form = draw(
        st.sampled_from(
            ["compare", "compare", "in", "null", *["like"] * (kind == "string")]
        )
    )
    no = draw(st.booleans())
    if form == "null":
        return f"{name} IS {'not ' * no}null", lambda row: (row[column] is None) != no
    if form == "like":
        pattern = draw(
            st.lists(
                st.sampled_from(["%", "_", "\\", "\\%", "\\_", "a", "b", "c", "'"])
                | texts,
                max_size=4,
            )
        )
        pattern = "".join(pattern)
        text = f"{name} {'not ' * no}like {quoted(pattern, draw(marks))}"
        return text, message(column, lambda stored: matches(stored, pattern) != no)
    if form == "in":
        listed = draw(st.lists(LITERALS[kind], min_size=1, max_size=4))
        values = [narrowed(column, value) for _, value in listed]
        real = any(isinstance(value, float) for value in values)
        values = [float(value) if real else value for value in values]
        text = f"{name} {'NOT ' * no}In ({', '.join(literal for literal, _ in listed)})"
        return text, message(
            column, lambda stored: (as_compared(stored, values[0]) in values) != no
        )
    operator = draw(st.sampled_from(["=", "!="] if kind == "bool" else list(COMPARED)))
    literal, value = draw(LITERALS[kind])
    value = narrowed(column, value)
    space = draw(st.sampled_from(["", " ", "\n\t"]))
    compare = COMPARED[operator]
    text = f"{name}{space}{operator}{space}{literal}"
    return text, message(
        column, lambda stored: compare(as_compared(stored, value), value)
    )


def negation(part):
    text, judge = part
    return f"not ({text})", lambda row: None if judge(row) is None else not judge(row)


def joined(parts, word):
    """Join by ``and`` or ``or`` in three-valued logic."""
    decisive = word == "or"
    text = f" {word} ".join(f"({text})" for text, _ in parts)

    def judge(row):
        values = [judge(row) for _, judge in parts]
        return (
            decisive if decisive in values else None if None in values else not decisive
        )

    return text, judge


filters = st.recursive(
    comparisons(),
    lambda inner: (
        inner.map(negation)
        | st.tuples(
            st.lists(inner, min_size=2, max_size=3), st.sampled_from(["and", "or"])
        ).map(lambda p: joined(*p))
    ),
    max_leaves=6,
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(filters)
def test_a_filter_selects_the_same_rows_as_python(collection, drawn):
    text, judge = drawn
    rows = [
        dict(zip(ROWS, values, strict=True))
        for values in zip(*ROWS.values(), strict=True)
    ]
    assert found(collection, text) == sorted(
        row["uri"] for row in rows if judge(row) is True
    )


WORDS = [
    "label",
    "width",
    "`shot by`",
    "mtime",
    "flag",
    "nope",
    "and",
    "or",
    "not",
    "in",
    "like",
    "is",
    "null",
    "true",
]
WORDS += [
    "(",
    ")",
    ",",
    "=",
    "<",
    "!=",
    "'cat'",
    '"x',
    "'",
    "3",
    "-2.5",
    "1e999",
    "'2024-05-31'",
    "--",
    ";",
    "`",
    "*",
]


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(
    st.text(max_size=40) | st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
)
def test_any_text_is_a_filter_or_an_input_error(collection, text):
    try:
        ids = collection.select(text)
    except InputError:
        return
    assert len(ids) <= 60


@pytest.mark.parametrize(
    "text",
    [
        "x' OR 'a'='a",
        "x' OR true --",
        "x'; DROP TABLE images; --",
        "x\\' OR sha256 IS NOT NULL OR label = \\'",
        "' '",
    ],
)
def test_the_content_of_a_text_stays_text(collection, text):
    for mark in "'\"":
        assert found(collection, f"label = {quoted(text, mark)}") == []
        assert len(found(collection, f"label != {quoted(text, mark)}")) == sum(
            x is not None for x in ROWS["label"]
        )
        assert found(collection, f"`shot by` like {quoted(text, mark)}") == []


def test_internal_columns_cannot_be_named(collection):
    for name in (
        "sha256",
        "thumbnail",
        "error",
        "spaces",
        "mtime_ns",
        "_rowid",
        "numbers",
    ):
        with pytest.raises(InputError, match="no column"):
            collection.select(f"{name} = 1")


@pytest.mark.parametrize("column", ["label", "width", "flag"])
def test_rows_without_a_value_match_neither_a_comparison_nor_its_negation(
    collection, column
):
    first, second = {
        "label": ("'cat'", "'Cat'"),
        "width": (0, 1),
        "flag": ("true", "false"),
    }[column]
    known = found(collection, f"{column} is not null")
    assert 0 < len(known) < 60
    either, both = (
        f"{column} = {first} or not {column} = {first}",
        f"{column} in ({first}) and {column} in ({second})",
    )
    for text in (either, f"not ({both})"):
        assert found(collection, text) == known


def test_failures_are_never_selected(collection):
    assert "/failed" not in found(collection, "label = 'cat'")
    assert "/failed" not in found(collection, "width is null")


def test_and_binds_tighter_than_or_and_not_tighter_than_and(collection):
    one = found(collection, "flag = true or flag = false and width = 0")
    assert one == found(collection, "flag = true or (flag = false and width = 0)")
    assert one != found(collection, "(flag = true or flag = false) and width = 0")
    assert found(collection, "not flag = true and width = 0") == found(
        collection, "(not flag = true) and width = 0"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["at its end: expected the name of a column"]),
        (
            "labl = 'a'",
            [
                "at character 1, before labl = 'a'",
                "no column 'labl'",
                "Did you mean label?",
                "`shot by`",
            ],
        ),
        ("MTIME > '2024-01-01'", ["no column 'MTIME'", "Did you mean mtime?"]),
        ("shot by = 'Ann'", ["no column 'shot'", "Did you mean `shot by`?"]),
        (
            "label = cat",
            [
                "at character 9, before cat",
                "label holds text",
                "quotes, such as 'butterfly'",
            ],
        ),
        ("label = 3", ["before 3", "label holds text"]),
        (
            "width > '300'",
            [
                "character 9",
                "width holds whole numbers; expected a number, such as 300",
            ],
        ),
        ("rating = 'good'", ["rating holds numbers"]),
        ("width > height", ["before height", "expected a number"]),
        (
            "300 < width",
            ["character 1", "expected the name of a column, as in width > 300"],
        ),
        (
            "flag",
            [
                "at its end",
                "flag holds true or false; expected one of = != in is after it",
            ],
        ),
        ("flag > true", ["before > true", "one of = != in is"]),
        ("flag = 1", ["before 1", "expected true or false"]),
        ("width like '3%'", ["before like '3%'", "width holds whole numbers"]),
        ("label not = 'a'", ["before = 'a'", "expected one of in like after it"]),
        ("label = null", ["nothing equals null; write label is null"]),
        ("width in 3", ["expected '(' and a list, as in width in (..., ...)"]),
        ("width in (3", ["at its end: expected ',' or ')'"]),
        ("label is 'a'", ["expected null, or not null"]),
        ("(width > 3", ["at its end: expected 'and', 'or' or ')'"]),
        ("width > 3)", ["character 10, before ): expected 'and', 'or' or the end"]),
        ("width > 3 height < 4", ["before height < 4", "'and', 'or'"]),
        ("label = 'abc", ["character 9", "quote that is not closed"]),
        ("width = 12abc", ["neither a name, a value nor an operator"]),
        ("width = 1; drop", ["character 10, before ; drop"]),
        (
            "n = 9223372036854775808",
            ["too large; expected at most 9,223,372,036,854,775,807"],
        ),
        ("rating > 1e999", ["too large"]),
        ("mtime > 'yesterday'", ["'yesterday' is not a time", "'2024-05-31'"]),
        ("taken > 2024", ["taken holds times", "'2024-05-31T18:30:00+02:00'"]),
        ("(" * 17 + "width = 1" + ")" * 17, ["character 18", "deeper than 16 levels"]),
        ("not " * 17 + "width = 1", ["deeper than 16 levels"]),
        (
            "width = 1 or " * 1000 + "width = 1",
            ["13,009 characters; expected at most 10,000"],
        ),
        ("label = '\udcff'", ["an invalid Unicode character"]),
    ],
)
def test_each_error_shows_the_place_and_the_expected_input(collection, text, words):
    with pytest.raises(InputError) as caught:
        collection.select(text)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("(" * 16 + "flag is null" + ")" * 16, "flag is null"),
        ("not " * 15 + "flag is null", "flag is not null"),
        (
            "not (flag is null or " * 8 + "width = 0" + ")" * 8,
            "flag is not null and width = 0",
        ),
        (
            "(flag is null or (width = 0 and " * 8 + "n = 0" + "))" * 8,
            "flag is null or width = 0 and n = 0",
        ),
        (" or ".join(["n=0"] * 1400), "n = 0"),
        (f"n in ({', '.join(map(str, range(1800)))})", "n >= 0 and n < 1800"),
        (f"label like '{'%_' * 4000}'", "label = 'of no row'"),
    ],
)
def test_the_longest_and_deepest_filters_are_answered(collection, text, same):
    assert found(collection, text) == found(collection, same)


def test_columns_named_like_keywords_need_backticks(collection):
    assert found(collection, "`in` in (0)") == [
        uri for uri, value in zip(ROWS["uri"], ROWS["in"], strict=True) if value == 0
    ]


@pytest.mark.parametrize(
    ("pattern", "fitting"),
    [
        ("cat", {"cat"}),
        ("_at", {"cat", "Cat"}),
        ("a_b", {"a_b", "axb", "a\nb"}),
        (r"a\_b", {"a_b"}),
        (r"100\%", {"100%"}),
        ("back\\slash", {"back\\slash"}),
        ("back\\\\slash", {"back\\slash"}),
        ("back%", {"back\\slash"}),
        ("%' %", set()),
        ("%'%", {"it's", "'; --"}),
        ("a%b", {"a_b", "axb", "a\nb"}),
        ("", {""}),
    ],
)
def test_like_supports_both_wildcards_and_their_escapes(collection, pattern, fitting):
    expected = [
        uri
        for uri, text in zip(ROWS["uri"], ROWS["label"], strict=True)
        if text in fitting
    ]
    assert found(collection, f"label like {quoted(pattern, SINGLE)}") == expected


def test_metadata_columns_are_recognized(collection):
    again = Table.open(collection.path)
    assert again.metadata == KINDS
    assert list(again.models) == [SPACE]


def test_numbers_are_compared_digit_by_digit_and_zero_has_no_sign(collection):
    large = [
        uri for uri, n in zip(ROWS["uri"], ROWS["n"], strict=True) if n == 2**53 + 1
    ]
    assert found(collection, f"n = {2**53 + 1}") == sorted(large) != []
    assert found(collection, f"n = {2**53}") == []
    assert found(collection, "rating = -0.0") == found(collection, "rating = 0") != []


@pytest.mark.parametrize(
    ("rest", "shown"), [("x" * 40, "x" * 40), ("x" * 41, "x" * 40 + "...")]
)
def test_an_error_shows_at_most_forty_characters_of_the_filter(collection, rest, shown):
    with pytest.raises(InputError, match=f"before {re.escape(shown)}: "):
        collection.select(rest)


def test_a_filter_that_is_too_long_is_refused(collection):
    longest = "n = 0".ljust(MAX_LENGTH)
    assert found(collection, longest) == found(collection, "n = 0")
    with pytest.raises(
        InputError, match=f"has {MAX_LENGTH + 1:,} characters; expected at most"
    ):
        collection.select(longest + " ")
