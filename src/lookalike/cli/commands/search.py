"""The ``search`` command."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike import tracing
from lookalike.cli import output
from lookalike.cli.command import (
    CollectionOption,
    DeviceOption,
    JsonOption,
    WhereOption,
    command,
    open_collection,
    use_device,
)
from lookalike.cli.given_options import refuse_options
from lookalike.cli.progress import progress_bar
from lookalike.errors import InputError

if TYPE_CHECKING:
    from lookalike.collection import Collection
    from lookalike.imaging import Region
    from lookalike.retrieval.query import ImageQuery
    from lookalike.types import Matches, Understood

# As in `lookalike.types`, which would load NumPy for every command and every help.
_DEFAULT_GAMMA = 0.1
# Fits of fewer steps, about half a second each, show no bar.
_LONG_FIT = 6
# The names that stand for a text; a broad word has hundreds.
_MAX_WORDS = 6

_ImageNames = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="IMAGE",
        help="The query image. Several, and the words of --text, are searched as their mean.",
        show_default=False,
    ),
]
_Text = Annotated[
    list[str] | None,
    typer.Option(
        "--text",
        metavar="WORDS",
        help="Words to search by, such as 'grand piano'; may be repeated.",
    ),
]
_NegativeText = Annotated[
    list[str] | None,
    typer.Option(
        "--negative-text",
        metavar="WORDS",
        help="Words to move away from; may be repeated.",
    ),
]
_Count = Annotated[int, typer.Option("-k", min=1, help="The number of matches.")]
_SearchedSpace = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="The Space to search in. May be repeated: the answers of several are fused by rank.",
        show_default="the first",
    ),
]
_Negative = Annotated[
    list[str] | None,
    typer.Option(
        "--negative",
        metavar="IMAGE",
        help="An image to move away from; may be repeated.",
    ),
]
_Region = Annotated[
    str | None,
    typer.Option(
        metavar="X,Y,WIDTH,HEIGHT",
        help="Search by a part of the image as viewers show it: fractions from 0 to 1, or pixels "
        "if a number is above 1.",
    ),
]
_NegativeRegion = Annotated[
    str | None,
    typer.Option(
        metavar="X,Y,WIDTH,HEIGHT",
        help="The part of the --negative image to move away from, as for --region.",
    ),
]
_Gamma = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="NUMBER",
        help="The strength of --negative and --negative-text: 0 ignores them.",
        show_default=str(_DEFAULT_GAMMA),
    ),
]
_MaxDistance = Annotated[
    float | None,
    typer.Option(
        min=0, metavar="NUMBER", help="Only matches that are at most this far."
    ),
]
_Unique = Annotated[
    bool,
    typer.Option(
        "--unique", help="Print each content once, with its number of copies."
    ),
]
_ExcludeSelf = Annotated[
    bool, typer.Option("--exclude-self", help="Leave out the query images' own rows.")
]
_Exact = Annotated[
    bool,
    typer.Option(
        "--exact", help="Compare every image, even if the Space has an index."
    ),
]
_MinConfidence = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="P",
        help="Only matches of at least this confidence: of an image, from a calibration; of a "
        "word, how sure the network is. Without it, a line marks where matches are less alike than "
        "0.03.",
    ),
]
_Rank = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="How to rank the matches: plain, by distance; centered, without what all images "
        "share; or context, by the images around each match too.",
    ),
]
_Save = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Draw the query and its matches to a .png, .jpg, or .webp file.",
    ),
]


@command(
    "search",
    examples=[
        "lookalike search photo.jpg",
        "lookalike search --text 'grand piano'",
        "lookalike search --text piano --min-confidence 0.5",
        "lookalike search sofa.jpg --text dog --negative-text cat",
        "lookalike search photo.jpg -k 20 --save result.png",
        "lookalike search front.jpg side.jpg --negative toy.jpg --where \"label = 'car'\"",
        "lookalike search photo.jpg --unique --max-distance 0.8",
        "lookalike search photo.jpg --min-confidence 0.03",
        "lookalike search photo.jpg --rank context",
        "lookalike search photo.jpg --space efficientnet-lite0-int8 --space pixels",
        "lookalike search photo.jpg --region 0.5,0,0.5,1 --save result.png",
    ],
)
def search_command(
    image: _ImageNames = None,
    text: _Text = None,
    collection: CollectionOption = None,
    k: _Count = 10,
    space: _SearchedSpace = None,
    region: _Region = None,
    negative: _Negative = None,
    negative_region: _NegativeRegion = None,
    negative_text: _NegativeText = None,
    gamma: _Gamma = None,
    where: WhereOption = None,
    max_distance: _MaxDistance = None,
    min_confidence: _MinConfidence = None,
    exclude_self: _ExcludeSelf = False,
    unique: _Unique = False,
    exact: _Exact = False,
    rank: _Rank = "plain",
    save: _Save = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search by image or by words: print the most similar images, nearest first."""
    # Collecting garbage while modules are imported takes a tenth of a search's time. Python's own
    # threshold is 700 objects.
    gc.set_threshold(50_000)
    use_device(device)
    images, texts = image or [], text or []
    _check_queries(images, texts, save)
    strength = _strength(gamma, negative, negative_text)
    opened = open_collection(collection)
    with tracing.span("import search"):
        import lookalike.retrieval.search  # noqa: F401 (imported here to time it)
        from lookalike.retrieval.query import ImageQuery, TextQuery
    queries = [ImageQuery(name, part) for name, part in _with_region(images, region)]
    negatives = _with_region(negative or [], negative_region)
    with _fit_progress(opened, space or [None], rank):
        matches = opened.search(
            queries,
            text=texts,
            negative=[ImageQuery(name, part) for name, part in negatives]
            + [TextQuery(words) for words in negative_text or []],
            k=k,
            gamma=strength,
            space=space or None,
            where=where,
            max_distance=max_distance,
            min_confidence=min_confidence,
            exclude_self=exclude_self,
            unique=unique,
            exact=exact,
            ranking=rank,
        )
    if save is not None:
        # The query keeps its bytes, so an address is read once.
        _draw_matches(queries[0], matches, opened, save)

    if as_json:
        fields = matches.to_dict()
        if region is not None:
            fields["region"] = _searched_region(queries[0])
        output.print_json(fields)
        return
    _print_understood(matches)
    _print_answer(matches)
    _print_matches(matches)
    if not matches:
        _print_no_match(matches, where, max_distance)
    if save is not None:
        output.print_saved(save)


def _check_queries(
    images: Sequence[str], texts: Sequence[str], save: Path | None
) -> None:
    """Check that there is a query, and that one image is drawn."""
    if not images and not texts:
        raise typer.BadParameter(
            "Missing argument 'IMAGE'. Give an image, or words with --text."
        )
    if save is not None and (texts or len(images) != 1):
        given = output.plural(len(images), "image")
        if texts:
            words = output.plural(len(texts), "text")
            given = f"{given} and {words}" if images else words
        raise InputError(
            f"The query is {given}, and --save draws the result of one image. "
            "Search by one image, or leave out --save."
        )


def _strength(gamma: float | None, *negatives: list[str] | None) -> float:
    """Return the strength of negative examples; a strength of none is refused."""
    if not any(negatives):
        refuse_options(
            {"--gamma": gamma is not None},
            "without --negative or --negative-text, whose strength it is. Give one, or leave it "
            "out.",
        )
    if gamma is None:
        return _DEFAULT_GAMMA
    return gamma


@contextmanager
def _fit_progress(
    collection: Collection, spaces: Sequence[str | None], rank: str
) -> Iterator[None]:
    """Show a bar while a ranking compares many images with each other."""
    if rank == "plain":
        # Loading the bar takes longer than some searches.
        yield
        return
    with progress_bar("Comparing images", visible=False) as bar:

        def report(done: int, total: int) -> None:
            if total >= _LONG_FIT:
                bar.update(done, total)

        for space in spaces:
            searcher = collection.searcher(space)
            searcher.report_fit(report)
        yield


def _print_understood(matches: Matches) -> None:
    """Say what each text was understood as."""
    for understood in matches.understood:
        words = understood.words
        listed = ", ".join(words[:_MAX_WORDS])
        others = len(words) - _MAX_WORDS
        if others > 0:
            listed += f" and {others} more"
        line = f"Searching for: {listed}."
        if understood.unknown:
            unknown = ", ".join(understood.unknown)
            line += f" Not understood: {unknown}."
        output.say(line)
        if matches:
            _print_word_confidence(understood)


def _print_word_confidence(understood: Understood) -> None:
    """Say so if the network is not sure that any match shows the words."""
    from lookalike.types import MIN_WORD_CONFIDENCE

    confidence = understood.confidence
    if confidence is None or confidence >= MIN_WORD_CONFIDENCE:
        return
    output.say(
        f"Perhaps none of these shows it: confidence {confidence:.2f}, below "
        f"{MIN_WORD_CONFIDENCE:.2f}.",
        error=True,
    )


def _print_answer(matches: Matches) -> None:
    """Say that nothing is like the query, if that is so."""
    answer = matches.answer
    if answer is None or answer.is_match:
        return
    distance = answer.nearest
    if distance is None:
        return
    nearest = f"{distance:.4f}"
    confidence = output.confidence(answer.confidence)
    line = f"Nothing here is like that (nearest: {nearest}, confidence {confidence})."
    if matches:
        line += " The nearest all the same:"
    elif answer.hidden:
        line += " See the nearest with --min-confidence 0."
    output.say(line)


def _print_no_match(
    matches: Matches, where: str | None, max_distance: float | None
) -> None:
    """Say why a search has no matches."""
    answer = matches.answer
    if answer is not None and answer.hidden:
        if answer.is_match:
            confidence = output.confidence(answer.confidence)
            output.say(
                f"No match is that alike; the best has the confidence {confidence}."
            )
    elif matches.confidences is not None and matches.understood:
        _print_least_sure(matches.understood[0])
    elif max_distance is not None:
        output.say(f"No image is within the distance {max_distance:g}.")
    elif where is not None:
        output.say("No image matches the filter.")
    else:
        output.say("No image matches.")


def _print_least_sure(understood: Understood) -> None:
    """Say that no match of a word has the confidence that was asked for."""
    line = "No match has that confidence."
    best = understood.confidence
    if best is not None:
        line += f" The best of the first ten has {best:.2f}."
    output.say(line)


def _with_region(
    names: Sequence[str], text: str | None
) -> list[tuple[str, Region | None]]:
    """Return each image with its region; a region needs exactly one image."""
    if text is None:
        return [(name, None) for name in names]
    from lookalike.imaging import Region

    region = Region.parse(text)
    if len(names) != 1:
        raise InputError(
            f"The region {text} is a part of one image, and {output.plural(len(names), 'image')} "
            "were given. Give one, or leave out the region."
        )
    return [(names[0], region)]


def _searched_region(query: ImageQuery) -> list[float]:
    """Return x, y, width and height of the query's region as fractions of the image."""
    region = query.region
    assert region is not None  # noqa: S101 (for the type checker)
    image = query.decode()
    fractions = region.fractions(image.size)
    return fractions.to_list()


def _draw_matches(
    query: ImageQuery, matches: Matches, collection: Collection, target: Path
) -> None:
    from lookalike.drawing.matches import draw_matches
    from lookalike.sources import display_name, resolve_uri

    uri = resolve_uri(str(query.image))
    image = query.decode()
    name = display_name(uri)
    with tracing.span("draw image"):
        draw_matches(
            image, [matches], collection.table, target, name=name, region=query.region
        )


def _print_matches(matches: Matches) -> None:
    from lookalike.types import MIN_CONFIDENCE

    rows: list[list[str]] = []
    for match in matches:
        rank = str(match.rank)
        distance = f"{match.distance:.4f}"
        row = [rank, distance]
        if match.confidence is not None:
            row.append(output.confidence(match.confidence))
        row.append(match.label or "-")
        if match.copies is not None:
            has_copies = match.copies > 1
            count = f"x{match.copies}" if has_copies else ""
            row.append(count)
        row.append(match.uri)
        rows.append(row)

    styles = ["dim", "bold", "cyan", ""]
    if matches.copies is not None:
        styles.insert(3, "dim")
    if matches.confidences is not None:
        styles.insert(2, "")
    note = f"Less alike from here on (confidence below {MIN_CONFIDENCE}):"
    # Where nothing is alike, the line before the table has said so.
    dividers = {matches.alike: note} if matches.alike else {}
    right = (0, 1) if matches.confidences is None else (0, 1, 2)
    output.print_table(rows, styles=styles, right=right, dividers=dividers)

    if matches.recall is not None:
        output.say(
            f"Approximate search, measured recall {matches.recall:.1%}. "
            "Use --exact to compare every image."
        )
