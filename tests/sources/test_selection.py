"""Names from a listing are chosen by the rules of local folders."""

from __future__ import annotations

import pytest

from lookalike.sources import LocalSource
from lookalike.sources.exclusion import parse_patterns
from lookalike.sources.selection import Selection

NAMES = [
    ".hidden/a.jpg",
    "@eaDir/a.jpg",
    "__MACOSX/b/a.jpg",
    "drafts/a.jpg",
    "drafts/b/a.jpg",
    "kept/.b.jpg",
    "kept/._c.jpg",
    "kept/a.gif",
    "kept/a.jpg",
    "kept/drafts.jpg",
    "kept/notes.txt",
    "kept/no-extension",
    "kept/words. And more of them",
    "top.JPG",
]


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("exclude", [(), ("drafts/", "*.gif"), ("/top.*", "kept")])
def test_names_are_chosen_as_in_a_local_folder(root, hidden, exclude):
    for name in NAMES:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    local = LocalSource([root], hidden=hidden, exclude=exclude)
    expected = [item.uri.removeprefix(f"{root}/") for item in local]

    patterns = parse_patterns(exclude, "--exclude")
    selection = Selection(hidden=hidden, exclude=patterns)
    chosen = [name for name in NAMES if selection.includes(name)]
    assert sorted(chosen) == sorted(expected)
    assert chosen
    assert selection.skipped == local.skipped()
