"""Search by words: what texts are refused, and how a text joins images and rows."""

from __future__ import annotations

import pytest

import lookalike
from lookalike import Collection
from lookalike.errors import InputError
from lookalike.retrieval.query import TextQuery


@pytest.fixture(scope="module")
def collection(sample, tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "c"
    lookalike.index(sample, path, models=["pixels"])
    return Collection.open(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \t\n ", "is empty"),
        ("piano " * 10_000, "60,000 characters; expected at most 1,000"),
        ("a\0b", r"U\+0000"),
        ("\ud83d", r"U\+D83D"),
        (b"piano", "type bytes"),
    ],
)
def test_texts_that_no_reader_gets(text, message):
    with pytest.raises(InputError, match=message):
        TextQuery(text)


def test_a_text_is_one_line():
    assert TextQuery("  grand \n piano ").text == "grand piano"


def test_a_space_without_words_says_so(collection):
    with pytest.raises(InputError, match="'pixels' knows no words"):
        collection.search(TextQuery("piano"))
