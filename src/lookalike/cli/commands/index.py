"""The ``index`` command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from lookalike.cli import output
from lookalike.cli.cluster_options import (
    AddressOption,
    OnOption,
    WorkersOption,
    refuse_cluster_options,
)
from lookalike.cli.command import (
    CollectionOption,
    DeviceOption,
    JsonOption,
    command,
    store_imported,
)
from lookalike.cli.progress import progress_bar
from lookalike.cli.tags import print_tag_report

if TYPE_CHECKING:
    from lookalike.indexing.executor import ClusterReport
    from lookalike.indexing.metadata import MetadataReport
    from lookalike.indexing.run import IndexReport, IndexSettings
    from lookalike.sources import SkippedFiles

_COUNTS = ("added", "updated", "moved", "restored", "removed", "unchanged", "failed")
_WITHHELD_REASONS = {
    "empty": "the folder is empty",
    "device": "the folder is on another drive than when it was indexed",
    "share": "more than a third of the folder",
}
_MAX_UNMATCHED = 5
_MAX_KINDS = 6

_Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH",
        help="Folders, image files, tar and zip archives, Parquet files with or without #column, "
        "https:// addresses, prefixes in object storage such as s3://bucket/folder, or @list.txt "
        "with one of them per line (@- reads standard input).",
    ),
]
_Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="REF",
        help="A model's name, or an .onnx or .toml file; may be repeated. "
        "Each model fills a Space of its own.",
        show_default="the collection's models",
    ),
]
_AcceptLicense = Annotated[
    bool,
    typer.Option(
        "--accept-license",
        help="Accept the licenses of the models, where one has to be accepted.",
    ),
]
_Labels = Annotated[
    Literal["folder", "none"],
    typer.Option(help="Label each image with the name of its folder, or not at all."),
]
_Metadata = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A .csv or .parquet file whose columns are joined to the images by uri.",
    ),
]
_Tags = Annotated[
    bool,
    typer.Option(
        "--tags",
        help="Fill the column tags with words for what is in each image; see lookalike tag --help.",
    ),
]
_Hidden = Annotated[
    bool, typer.Option("--hidden", help="Include hidden files and folders.")
]
_Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="GLOB",
        help="Leave out files and folders that match a pattern of gitignore syntax, such as "
        "'*.gif' or 'drafts/'; may be repeated. A .lookalikeignore file in a folder holds more.",
    ),
]
_Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Exit with status 1 if any file could not be indexed."
    ),
]
_RetryFailures = Annotated[
    bool,
    typer.Option(
        "--retry-failures", help="Retry unchanged files that failed in an earlier run."
    ),
]
_Prune = Annotated[
    bool,
    typer.Option(
        "--prune",
        help="Remove the images of all missing files, even if a drive may not be mounted.",
    ),
]
_Refresh = Annotated[
    bool,
    typer.Option(
        "--refresh",
        help="Read addresses again that are in the collection, which are not read otherwise.",
    ),
]
_AllowPrivate = Annotated[
    bool,
    typer.Option(
        "--allow-private",
        help="Read addresses of private networks and of this machine too.",
    ),
]
_MaxMegapixels = Annotated[
    float, typer.Option(min=0.0001, help="Record larger images as failures.")
]


@command(
    "index",
    examples=[
        "lookalike index ~/Pictures",
        "lookalike index photos.zip shard-{0000..0010}.tar train.parquet#image",
        "lookalike index photos -c shop --tags --model efficientnet-lite0 --metadata prices.csv",
        "lookalike index @urls.txt -c web",
        "lookalike index /mnt/photos -c /mnt/shop --on ray --address 10.0.0.5:6379",
        "lookalike index s3://bucket/photos -c shop",
        "lookalike index photos --model inception-v3 --device cuda",
    ],
)
def index_command(
    paths: _Paths,
    collection: CollectionOption = None,
    model: _Models = None,
    accept_license: _AcceptLicense = False,
    labels: _Labels = "folder",
    metadata: _Metadata = None,
    tags: _Tags = False,
    hidden: _Hidden = False,
    exclude: _Exclude = None,
    strict: _Strict = False,
    retry_failures: _RetryFailures = False,
    prune: _Prune = False,
    refresh: _Refresh = False,
    allow_private: _AllowPrivate = False,
    max_megapixels: _MaxMegapixels = 200.0,
    device: DeviceOption = None,
    on: OnOption = "threads",
    address: AddressOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Index images: bring a collection up to date with folders, archives, tables and addresses.

    Unchanged files are skipped, so a second run is fast. An interrupted run continues where it
    stopped. Images of missing files are moved into the trash. They stay in the collection if their
    folder is empty or on another drive, or if they are more than a third of a folder of 100 images
    or more: mount the drive, or agree with --prune. If a folder or a listing cannot be read to its
    end, nothing is removed there, and the status is 1. Addresses are read once, and stay.
    """
    with store_imported():
        from lookalike.collection import default_path
        from lookalike.indexing.run import IndexSettings
        from lookalike.shortcuts import index
        from lookalike.sources import open_source

    path = collection or default_path()
    _accept_licenses(model or (), path, agreed=accept_license)
    settings = IndexSettings(
        max_pixels=round(max_megapixels * 1e6),
        retry_failures=retry_failures,
        prune=prune,
        device=device,
        tags=tags,
    )
    settings = _settings_for_place(settings, on, address, workers)
    source = open_source(
        paths,
        labels=labels,
        hidden=hidden,
        exclude=exclude or (),
        allow_private=allow_private or None,
        refresh=refresh,
    )

    # The last image is followed by a sweep and, in a large collection, by the update of its index.
    with progress_bar("Indexing", unit="items", finishing="Finishing") as bar:
        bar.count_total(source.count)
        report = index(
            source,
            path,
            models=model or (),
            metadata=metadata,
            settings=settings,
            progress=bar.advance,
        )

    _print_index_report(report, path, as_json=as_json)
    if report.withheld or report.incomplete or (strict and report.failed):
        raise typer.Exit(1)


def _accept_licenses(references: Sequence[str], path: str, *, agreed: bool) -> None:
    """Accept the licenses of the models of a run: those named, or those of the collection."""
    if not agreed:
        return
    from lookalike.collection import Collection
    from lookalike.models import licenses, registry

    models = [registry.resolve(reference) for reference in references]
    if not models and Collection.exists(path):
        opened = Collection.open(path)
        models = list(opened.models.values())
    for model in models:
        licenses.accept(model)


def _settings_for_place(
    settings: IndexSettings, on: str, address: str | None, workers: int | None
) -> IndexSettings:
    """Return the settings for the place of the work: this process, or a cluster."""
    if on == "ray":
        cluster = address or "auto"
        worker_count = workers or 0
        return _on_ray(settings, cluster, worker_count)
    refuse_cluster_options(address, workers)
    output.print_device_note(settings.device)
    return settings


def _on_ray(settings: IndexSettings, address: str, workers: int) -> IndexSettings:
    """Return settings for a run on a Ray cluster, with few large commits."""
    from lookalike.cluster import COMMIT_ROWS, COMMIT_SECONDS, RayEngine, RayExecutor

    return replace(
        settings,
        executor=RayExecutor(address, workers),
        engine=RayEngine(address, workers),
        commit_rows=COMMIT_ROWS,
        commit_seconds=COMMIT_SECONDS,
    )


def _print_index_report(report: IndexReport, collection: str, *, as_json: bool) -> None:
    counts = report.to_dict()
    if as_json:
        output.print_json(counts)
        return
    changes = []
    for name in _COUNTS:
        count = counts[name]
        if count:
            changes.append(f"{count:,} {name}")
    summary = ", ".join(changes) or "nothing to do"
    output.print_contents(report.images, collection, summary)

    duration = f"{report.seconds:.1f} s"
    processed = report.added + report.updated + report.moved
    if processed:
        rate = processed / report.seconds
        duration += f" ({rate:,.0f} images per second)"
    output.say(f"Took {duration}.")
    _print_calibrated(report)
    if report.cluster is not None:
        _print_cluster_report(report.cluster)

    _print_skipped(report.skipped)
    if report.removed:
        output.say(
            "Removed images are in the trash. List them with: lookalike trash list"
        )
    if report.metadata is not None:
        _print_metadata_report(report.metadata)
    if report.tags is not None and report.tags.images:
        print_tag_report(report.tags)
    _print_withheld(report)
    _print_incomplete(report)
    _print_relocations(report)
    if report.failed:
        _print_failures(report)


def _print_calibrated(report: IndexReport) -> None:
    for measured in report.calibrated:
        sentence = str(measured)
        printable = output.printable(sentence)
        output.say(printable)


def _print_cluster_report(report: ClusterReport) -> None:
    for node in report.nodes:
        workers = output.plural(node.workers, "worker")
        images = output.plural(node.images, "image")
        line = f"{node.node}: {workers}, {images}, {node.images_per_second:,.0f}/s"
        line += f", {node.busy:.0%} busy"
        if node.slow_batches:
            line += f", batches far slower than the others: {node.slow_batches:,}"
        output.say(f"  {output.printable(line)}")
    if report.restarts:
        restarts = output.plural(report.restarts, "worker")
        images = output.plural(report.repeated, "image")
        output.say(f"{restarts} died; others did {images} again.")


def _print_skipped(skipped: SkippedFiles) -> None:
    excluded = []
    if skipped.excluded_folders:
        excluded.append(output.plural(skipped.excluded_folders, "folder"))
    if skipped.excluded_files:
        excluded.append(output.plural(skipped.excluded_files, "image"))
    if excluded:
        output.say(f"Excluded: {', '.join(excluded)}.")

    if skipped.null_images:
        rows = output.plural(skipped.null_images, "row")
        output.say(f"Passed over {rows} without an image.")

    others = skipped.other_kinds
    if not others:
        return
    listed = []
    for kind, count in others.most_common(_MAX_KINDS):
        name = output.printable(kind) or "without extension"
        listed.append(f"{name} {count:,}")
    if len(others) > _MAX_KINDS:
        listed.append("...")
    files = output.plural(others.total(), "file")
    output.say(f"Passed over {files} of other kinds: {', '.join(listed)}.")


def _print_metadata_report(report: MetadataReport) -> None:
    message = f"{report.file} matches no image in the collection"
    if report.images:
        matched = output.plural(report.images, "image")
        changed = "none"
        if report.changed:
            changed = f"{report.changed:,}"
        message = f"{report.file} matches {matched}, {changed} changed"
    if report.columns:
        columns = ", ".join(report.columns)
        message += f": {columns}"
    message = output.printable(message)
    output.say(f"{message}.")

    if report.unmatched:
        count = len(report.unmatched)
        heading = f"Rows that match no image in the collection: {count:,}"
        output.say(Text(heading, "yellow"))
        output.print_list(report.unmatched, most=_MAX_UNMATCHED)


def _print_withheld(report: IndexReport) -> None:
    if not report.withheld:
        return
    counts = [withheld.missing for withheld in report.withheld]
    missing = sum(counts)
    files = output.plural(missing, "image")
    heading = Text(f"Kept, although their files are missing: {files}", "yellow")
    output.say(heading)
    lines = []
    for withheld in report.withheld:
        reason = _WITHHELD_REASONS[withheld.reason]
        share = f"{withheld.missing:,} of {withheld.images:,}"
        line = f"{withheld.folder}: {share}; {reason}"
        lines.append(line)
    output.print_list(lines)
    output.say(
        "If a drive is not mounted, mount it and index again. "
        "If the files were deleted, index again with --prune."
    )


def _print_incomplete(report: IndexReport) -> None:
    if report.incomplete:
        heading = "Not read to the end, so nothing was removed there. Index again:"
        output.say(Text(heading, "yellow"))
        output.print_list(report.incomplete)


def _print_relocations(report: IndexReport) -> None:
    for moved in report.relocations:
        rows = output.plural(moved.rows, "image")
        message = f"{rows} of {moved.old} have no file any more. Carry them over with:"
        output.say(Text(output.printable(message), "yellow"))
        command = shlex.join(["lookalike", "move", moved.old, moved.new])
        output.say(f"  {output.printable(command)}")


def _print_failures(report: IndexReport) -> None:
    files = output.plural(report.failed, "file")
    heading = Text(f"{files} could not be indexed:", "yellow")
    output.say(heading)
    failures = report.failures
    lines = [f"{uri}: {reason}" for uri, reason in failures]
    output.print_list(lines)

    failed_now = len(failures)
    failed_before = report.failed - failed_now
    if failed_before:
        output.say(
            f"  {failed_before:,} failed in an earlier run and are unchanged. "
            "Use --retry-failures to retry them."
        )
    output.say("List all failures with: lookalike info --failures")
