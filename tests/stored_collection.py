"""The life of a collection in object storage, for each kind of store."""

from __future__ import annotations

from pathlib import Path

import obstore

import lookalike
from container_files import write_zip
from lookalike.maintenance.backup import backup, restore
from lookalike.sources.stores import Address, open_prefix
from lookalike.store.table import Table
from made import picture


def check_store(photos: str, tables: str, folder: Path) -> None:
    """Index images of one bucket into a collection in another; change, check and copy it."""
    store = open_prefix(Address.parse(photos))
    for number in range(4):
        obstore.put(store, f"cat/{number}.jpg", picture((30 * number, 9, 99)))
    archive = write_zip(folder / "a.zip", {"dog/1.jpg": picture((1, 200, 3))})
    obstore.put(store, "a.zip", archive.read_bytes())
    sources = [f"{photos}/cat", f"{photos}/a.zip"]
    path = f"{tables}/pets"

    assert lookalike.index(sources, path, models=["pixels"]).added == 5
    assert lookalike.index(sources, path, models=["pixels"]).unchanged == 5
    nearest = lookalike.search(path, f"{photos}/cat/1.jpg", k=1)
    assert nearest.uris == [f"{photos}/cat/1.jpg"]

    # A second write is noticed, a removed object goes to the trash.
    obstore.put(store, "cat/1.jpg", picture((240, 9, 99)))
    obstore.delete(store, "cat/2.jpg")
    report = lookalike.index(sources, path, models=["pixels"])
    assert (report.updated, report.removed, report.unchanged) == (1, 1, 3)
    collection = lookalike.Collection.open(path)
    assert collection.restore_trash().restored == 1
    assert collection.remove([f"{photos}/cat/3.jpg"]) == 1

    collection.optimize(keep_days=0)
    collection.remove_unfinished()
    assert lookalike.check(path).sound
    backup(collection.table, folder / "backup")
    restore(folder / "backup", f"{tables}/copy")
    assert Table.open(f"{tables}/copy").count() == 4
