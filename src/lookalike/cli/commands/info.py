"""The ``info`` command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike.cli import output
from lookalike.cli.calibrations import describe_state
from lookalike.cli.command import (
    CollectionOption,
    JsonOption,
    WhereOption,
    command,
    open_collection,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from lookalike.collection import Collection
    from lookalike.types import Kind, LearnedMap, Model


@command(
    "info",
    examples=[
        "lookalike info",
        "lookalike info --failures",
        "lookalike info --where \"label = 'cat'\"",
    ],
)
def info_command(
    collection: CollectionOption = None,
    where: WhereOption = None,
    failures: Annotated[
        bool,
        typer.Option(
            "--failures", help="List the files that could not be indexed, with reasons."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Describe a collection: its images, Spaces, columns, and failures."""
    opened = open_collection(collection)
    matching = None
    if where is not None:
        ids = opened.select(where)
        matching = len(ids)
    failed = opened.failures()

    if as_json:
        data = _info_as_json(opened, matching, failed)
        if failures:
            data["failed"] = failed.to_pylist()
        output.print_json(data)
        return

    _print_info(opened, matching, failed)
    if failures:
        for failure in failed.to_pylist():
            uri = output.printable(failure["uri"])
            error = output.printable(failure["error"])
            output.say(f"{uri}: {error}")


def _info_as_json(
    collection: Collection, matching: int | None, failed: pa.Table
) -> dict[str, Any]:
    data: dict[str, Any] = {"images": len(collection)}
    if matching is not None:
        data["matching"] = matching

    data["spaces"] = []
    for name, model in collection.models.items():
        space: dict[str, Any] = {
            "name": name,
            "model": model.name,
            "dim": model.dim,
            "precision": model.precision,
            "runtime": model.runtime,
        }
        learned = model.learned
        if learned is not None:
            space["learned"] = {
                "base": learned.base,
                "purpose": learned.purpose,
                **learned.provenance,
            }
        state = collection.calibration(name)
        if state is not None:
            space["calibration"] = state.to_dict()
        data["spaces"].append(space)

    data["columns"] = [
        {"name": name, "type": kind} for name, kind in collection.metadata.items()
    ]
    data["failures"] = len(failed)
    data["trash"] = collection.table.trash.count()
    return data


def _print_info(collection: Collection, matching: int | None, failed: pa.Table) -> None:
    rows = [["Collection", collection.path], ["Images", f"{len(collection):,}"]]
    if matching is not None:
        rows.append(["Matching", f"{matching:,}"])
    rows.append(["Failures", f"{len(failed):,}"])
    in_trash = collection.table.trash.count()
    if in_trash:
        rows.append(["Trash", f"{in_trash:,}"])

    for name, model in collection.models.items():
        space = _describe_space(collection, name, model)
        rows.append(["Space", space])
        if model.learned is not None:
            rows.append(["Learned", _describe_learned(name, model.learned)])
        state = collection.calibration(name)
        if state is not None:
            rows.append(["Calibration", f"{name}: {describe_state(state)}"])
    for name, kind in collection.metadata.items():
        column = _describe_column(collection, name, kind)
        rows.append(["Column", column])
    output.print_table(rows, styles=("dim",))


def _describe_space(collection: Collection, name: str, model: Model) -> str:
    runtime = ""
    if model.architecture != "pixels":
        runtime = f" ({model.precision}, {model.runtime})"
    count = collection.table.count(name)
    images = output.plural(count, "image")
    return f"{name}: {model.title}{runtime}; {model.dim} dimensions; {images}"


def _describe_learned(name: str, learned: LearnedMap) -> str:
    """Return where a learned map comes from, and its verdict."""
    provenance = learned.provenance
    count = provenance["images"]
    images = output.plural(count, "image")
    labels = provenance["labels"]
    listed = output.plural(len(labels), "label")
    date, _, _ = provenance["date"].partition("T")
    verdict = provenance["verdict"]
    return f"{name}: from {images} of {listed} in {learned.base}, {date}. {verdict}"


def _describe_column(collection: Collection, name: str, kind: Kind) -> str:
    from lookalike.store.filter_tree import Column

    # The column's name as a filter writes it, in backquotes where it needs them.
    column = Column(name, kind)
    written = column.written
    ids = collection.select(f"{written} is not null")
    images = output.plural(len(ids), "image")
    return f"{written}: {kind}; {images}"
