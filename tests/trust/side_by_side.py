"""Programs that run concurrently: ``python side_by_side.py PART ARGUMENTS``."""

from __future__ import annotations

import collections
import json
import os
import sys
import threading
import time
from pathlib import Path

import lookalike
from lookalike.collection import Collection
from lookalike.errors import InputError, LookalikeError
from lookalike.indexing.metadata import join_metadata
from lookalike.indexing.run import IndexSettings
from lookalike.store.table import Table


def print_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def meet(folder: Path, count: int = 2) -> None:
    """Wait until a number of processes have called this function with the same folder."""
    end = time.monotonic() + 120
    folder.mkdir(exist_ok=True, parents=True)
    (folder / str(os.getpid())).touch()
    while len(list(folder.iterdir())) < count:
        time.sleep(0.0005)
        assert time.monotonic() < end, "the other process did not start"


def index(where: Path, folder: str, model: str, rounds: int) -> None:
    """Index a folder into several new collections, each at the same time as another process."""
    for number in range(rounds):
        meet(where / f"meeting{number}")
        lookalike.index(
            folder,
            where / str(number),
            models=[model],
            settings=IndexSettings(batch=2, commit_rows=4),
        )


def join(where: Path, file: str, rounds: int) -> None:
    """Join a metadata file to several collections, and print the outcome for each."""
    for number in range(rounds):
        meet(where / f"joining{number}")
        try:
            join_metadata(Table.open(where / str(number)), file)
            print_line("joined")
        except InputError as error:
            print_line(str(error))


def count(path: str, uri: str, times: int) -> None:
    """Increment the number in the label of an image repeatedly."""
    table = Table.open(path)
    meet(Path(path, "meeting"))
    for _ in range(times):
        with table.write_lock():
            number = int(table.existing_rows([uri])[uri].label or 0)
            table.update({"uri": [uri], "label": [str(number + 1)]})


def read(path: str, query: str) -> None:
    """Open, count and search a collection until standard input ends; print the errors."""
    stopped: list[str] = []
    threading.Thread(
        target=lambda: stopped.append(sys.stdin.read()), daemon=True
    ).start()
    turns, wrong = 0, []
    while not stopped and len(wrong) < 5:
        if Table.exists(path):
            try:
                wrong += faults(Table.open(path))
                table = Table.open(path)
                if table.count("pixels"):
                    Collection(table).search(query, space="pixels", k=5)
            except LookalikeError as error:
                wrong.append(repr(error))
            turns += 1
        # The processes beside it share the cores.
        time.sleep(0.02)
    print_line(json.dumps({"turns": turns, "wrong": wrong}))


def faults(table: Table) -> list[str]:
    """Return the violated invariants of a version of a collection."""
    wrong = []
    batches = list(table.scan(["uri", "spaces", "thumbnail"]))
    uris = [uri for batch in batches for uri in batch["uri"].to_pylist()]
    wrong += [
        f"{uri} has {times} rows"
        for uri, times in collections.Counter(uris).items()
        if times > 1
    ]
    ids = [row_id for batch in batches for row_id in batch["_rowid"].to_pylist()]
    spaces = [names for batch in batches for names in batch["spaces"].to_pylist()]
    without = sum(batch["thumbnail"].null_count for batch in batches)
    wrong += [f"{without} images lack their thumbnail"] if without else []
    for space in table.models:
        claim = {
            row_id
            for row_id, names in zip(ids, spaces, strict=True)
            if space in (names or ())
        }
        filled = set(table.vectors(space)[0].tolist())
        if claim != filled:
            wrong.append(
                f"version {table.version}: {len(claim ^ filled)} rows of {space} claim a vector "
                "or have one"
            )
    return wrong


if __name__ == "__main__":
    part, *arguments = sys.argv[1:]
    if part == "index":
        index(Path(arguments[0]), arguments[1], arguments[2], int(arguments[3]))
    elif part == "join":
        join(Path(arguments[0]), arguments[1], int(arguments[2]))
    elif part == "count":
        count(arguments[0], arguments[1], int(arguments[2]))
    else:
        read(*arguments)
