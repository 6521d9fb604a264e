"""The ``duplicates`` command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lookalike.cli import duplicate_removal, output
from lookalike.cli.command import (
    CollectionOption,
    JsonOption,
    command,
    command_group,
    open_collection,
)
from lookalike.cli.given_options import refuse_options
from lookalike.cli.progress import progress_bar
from lookalike.errors import InputError
from lookalike.io.sizes import file_size

if TYPE_CHECKING:
    from lookalike.collection import Collection
    from lookalike.duplicates.groups import Duplicates, Tier

_OUTPUTS = {".csv", ".json", ".html", ".htm", ".png", ".jpg", ".jpeg", ".webp"}

_Run = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN", help="A run, as --list shows it.", show_default="the last one"
    ),
]

_LoosestTier = Annotated[
    Literal["identical", "copy", "similar"] | None,
    typer.Option(
        help="The loosest tier; the stricter ones are included.",
        show_default="copy; with --apply, identical",
    ),
]
_DuplicatesSpace = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The Space whose nearest images are compared.",
        show_default="the first",
    ),
]
_Protect = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FOLDER", help="Never offer its images for removal; may be repeated."
    ),
]
_Across = Annotated[
    tuple[str, str] | None,
    typer.Option(
        metavar="PART PART",
        help="Only images of the second part, a folder or a label, that match an image of the "
        "first.",
    ),
]
_AcrossSplit = Annotated[
    Path | None,
    typer.Option(
        metavar="MANIFEST",
        help="Only its test images that match one of its training images.",
    ),
]
_Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="FILE",
        help="A .csv table, an .html page, a .png, .jpg, or .webp image, or .json.",
    ),
]
_Apply = Annotated[
    Literal["trash", "hardlink", "move"] | None,
    typer.Option(
        "--apply",
        help="Remove the copies: into a trash, by hard links to the image that is kept, or to "
        "the folder --to. Without --yes, only show what would happen.",
    ),
]
_To = Annotated[
    Path | None,
    typer.Option("--to", metavar="FOLDER", help="The folder of --apply move."),
]
_Limit = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        help="Print at most N groups; files and --json hold all of them.",
        show_default=str(output.MAX_LISTED),
    ),
]
_Yes = Annotated[bool, typer.Option("--yes", help="Do what --apply shows.")]


@command_group(
    "duplicates",
    examples=[
        "lookalike duplicates",
        "lookalike duplicates --limit 100",
        "lookalike duplicates --tier identical --output duplicates.html",
        "lookalike duplicates --protect ~/Pictures/best --apply trash",
        "lookalike duplicates --across pictures/train pictures/test",
        "lookalike duplicates --apply trash --yes",
        "lookalike duplicates --apply move --to ~/copies --tier copy",
        "lookalike duplicates --across train test",
    ],
)
def duplicates_command(
    context: typer.Context,
    collection: CollectionOption = None,
    tier: _LoosestTier = None,
    space: _DuplicatesSpace = None,
    protect: _Protect = None,
    across: _Across = None,
    split: _AcrossSplit = None,
    save: _Output = None,
    action: _Apply = None,
    folder: _To = None,
    yes: _Yes = False,
    limit: _Limit = None,
    as_json: JsonOption = False,
) -> None:
    """Find images that show the same, and remove copies in a way that can be taken back.

    Each group has an image to keep and its copies. Identical images have the same content or the
    same pixels. Copies were resized, cropped, mirrored, turned, recolored, or encoded again.
    Similar images show the same scene. No file is touched without --apply and --yes.
    """
    if context.invoked_subcommand is not None:
        _refuse_options_before(context, context.invoked_subcommand)
        return
    listing = {"--limit": limit is not None}
    if as_json or action is not None:
        refuse_options(
            listing,
            "with --json or --apply, which leave out no group. Leave out --limit.",
        )
    _check_output(save)
    opened = open_collection(collection)
    from lookalike.duplicates.groups import TIERS
    from lookalike.duplicates.removal import RemovalSettings

    chosen: Tier = tier or ("copy" if action is None else "identical")
    removal = None
    if action is not None:
        tiers = TIERS[: TIERS.index(chosen) + 1]
        removal = RemovalSettings(action, tiers, folder)
    elif folder is not None or yes:
        raise InputError(
            "--to and --yes belong to a removal. Add --apply trash, hardlink or move."
        )
    settings = {
        "tier": chosen,
        "space": space,
        "protect": tuple(protect or ()),
        "across": across,
        "split": None if split is None else str(split),
    }
    found = _find(opened, settings)
    if save is not None:
        duplicate_removal.save_duplicates(found, opened, save)
    if removal is not None:
        duplicate_removal.remove(opened, found, removal, yes=yes, as_json=as_json)
    elif as_json:
        output.print_json(found.to_dict())
    else:
        _print_groups(found, output.MAX_LISTED if limit is None else limit)
        if save is not None:
            output.print_saved(save)


def _refuse_options_before(context: typer.Context, subcommand: str) -> None:
    """Refuse options of a search for duplicates before the name of a further command."""
    given: dict[str, object] = {}
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        is_given = source is not None and source.name == "COMMANDLINE"
        option = parameter.opts[0]
        given[option] = is_given
    refuse_options(
        given,
        f"before {subcommand}, which has options of its own. Write them after it: lookalike "
        f"duplicates {subcommand} -h lists them.",
    )


def _check_output(save: Path | None) -> None:
    """Refuse a file of an unknown kind before the work begins."""
    if save is None:
        return
    ending = save.suffix.lower()
    if ending not in _OUTPUTS:
        allowed = ", ".join(sorted(_OUTPUTS))
        raise InputError(
            f"Duplicates cannot be written as {save.name!r}; its name must end in {allowed}."
        )


def _find(opened: Collection, settings: Mapping[str, Any]) -> Duplicates:
    with progress_bar("Reading images", unit="items") as bar:

        def show(step: str, done: int, total: int | None) -> None:
            bar.describe(step)
            bar.update(done, total)

        return opened.duplicates(progress=show, **settings)


def _print_groups(found: Duplicates, limit: int) -> None:
    from lookalike.duplicates.words import describe_counts, explain_copy

    for group in found.groups[:limit]:
        output.say_with_heading("keep  ", output.printable(group.keeper.uri))
        for copy in group.copies:
            name = output.printable(copy.uri)
            output.say(f"{copy.tier:<9}  {name}  ({explain_copy(copy)})")
        output.say()
    left_out = len(found) - limit
    if left_out > 0:
        groups_left = output.plural(left_out, "group")
        output.say(f"and {groups_left} more: --limit N, or --output duplicates.csv")
    groups = output.plural(len(found), "group")
    counts = describe_counts(found.counts()) or "no copies"
    size = file_size(found.removable_bytes)
    output.say(f"{groups}: {counts}; {size} in copies.")
    for note in found.notes:
        output.say(note)


@command(
    "undo",
    examples=["lookalike duplicates undo", "lookalike duplicates undo --list"],
    group=duplicates_command,
)
def undo_command(
    run: _Run = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Show the runs that can be undone.")
    ] = False,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring back the copies that a run removed, with their metadata.

    Files are as they were before. A file that has taken the name of a copy since is never
    overwritten.
    """
    if listed:
        refuse_options({"RUN": run}, "with --list, which shows all runs. Leave it out.")
    opened = open_collection(collection)
    if listed:
        duplicate_removal.print_runs(opened, as_json=as_json)
    else:
        duplicate_removal.undo(opened, run, as_json=as_json)


@command("empty", examples=["lookalike duplicates empty"], group=duplicates_command)
def empty_command(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="A run.", show_default="all")
    ] = None,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete the copies in the trash for good. Their runs can no longer be undone."""
    opened = open_collection(collection)
    duplicate_removal.empty(opened, run, as_json=as_json)


@command(
    "dismiss",
    examples=[
        "lookalike duplicates dismiss a.jpg b.jpg",
        "lookalike duplicates dismiss --list",
    ],
    group=duplicates_command,
)
def dismiss_command(
    uris: Annotated[
        list[str] | None,
        typer.Argument(metavar="URI URI", help="Two images that are not duplicates."),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Show the pairs that were dismissed.")
    ] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Show the two images as duplicates again.")
    ] = False,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remember that two images are not duplicates, by their contents."""
    if listed:
        refuse_options(
            {"URI": uris, "--forget": forget},
            "with --list, which shows all pairs. Leave it out.",
        )
    opened = open_collection(collection)
    if listed:
        duplicate_removal.print_verdicts(opened, as_json=as_json)
        return
    if uris is None or len(uris) != 2:
        count = len(uris or ())
        raise InputError(
            f"A verdict is about two images; {count} were given. "
            "Write: lookalike duplicates dismiss URI URI"
        )
    duplicate_removal.record_verdict(opened, uris, forget_it=forget, as_json=as_json)
