"""The demo's report: one page that tells the whole story, its pictures within it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from lookalike.evaluation.scores import TITLES, Evaluation
from lookalike.io.files import atomic_write
from lookalike.projection.map import Map
from lookalike.sources import display_name
from lookalike.store.table import Table
from lookalike.types import Matches

__all__ = ["Answer", "Story", "write_report"]

_COLUMNS = 6
_METRICS = (
    "map",
    "mean_class_map",
    "r_precision",
    "precision_at_1",
    "precision_at_5",
    "precision_at_10",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A query of the collection and what each Space answered."""

    id: int
    name: str
    label: str | None
    matches: Sequence[Matches]


@dataclass(frozen=True, slots=True)
class Story:
    """What the report tells.

    Attributes
    ----------
    source, credit
        What the pictures are, in a phrase, and whose.
    collection
        Where they are indexed.
    examples
        For each label, the number of its images and the id of one.
    parts
        How many images are to train and to test.
    answers
        Queries and what each Space answered.
    evaluation
        Of the test images in the training images; None if there are fewer than two labels.
    map, map_picture, map_page
        The map, and the two files it was drawn into, beside the report.
    commands
        What a reader types to do the same.
    """

    source: str
    credit: str
    collection: Table
    examples: Mapping[str | None, tuple[int, int]]
    parts: tuple[int, int]
    answers: Sequence[Answer]
    evaluation: Evaluation | None
    map: Map
    map_picture: Path
    map_page: Path
    commands: Sequence[str]


def write_report(story: Story, path: Path) -> Path:
    """Write the report as one HTML file; the page to move about in the map stays beside it, and is linked."""
    template = Template(
        resources.files("lookalike.export").joinpath("page/report.html").read_text(encoding="utf-8")
    )
    count = story.collection.count()
    trust = story.map.fidelity.get("trustworthiness")
    text = template.substitute(
        title="Lookalike: give it a picture, get the pictures like it",
        lead=escape(f"{count:,} pictures, indexed and searched on this machine: {story.source}."),
        pictures=escape(
            f"{len(story.examples)} classes, split within each class into {story.parts[0]:,} pictures to train and "
            f"{story.parts[1]:,} to test."
        ),
        classes=_classes(story),
        spaces=escape(
            "; ".join(f"{name}: {model.title}" for name, model in story.collection.models.items())
        ),
        columns=_COLUMNS,
        queries="The queries are test pictures, one of each of some classes, "
        "taken as the split gives them, and looked for in the whole collection.",
        answers="\n".join(_answer(story.collection, answer) for answer in story.answers),
        **_evaluation(story.evaluation),
        map_text=escape(
            f"Every picture has a place, found by {_METHODS[story.map.method]} from the vectors of {story.map.space}: "
            "near on the map means alike."
            + (
                f" Trustworthiness {trust:.3f} of 1: that is how far the eye can believe it."
                if trust
                else ""
            )
        ),
        map_page=escape(story.map_page.name),
        map_picture=_data(
            story.map_picture.read_bytes(), story.map_picture.suffix.removeprefix(".")
        ),
        map_alt=escape(f"Map of {len(story.map):,} pictures by {story.map.method}"),
        commands=escape("\n".join(story.commands)),
        credit=escape(story.credit),
    )
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


_METHODS = {"tsne": "t-SNE", "pca": "principal components", "umap": "UMAP"}


def _data(picture: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _figure(thumbnail: bytes, first: str, second: str, style: str = "") -> str:
    alt = escape(f"{first}, {second}", quote=True)
    return (
        f'<figure class="{style}"><img src="{_data(thumbnail, "jpeg")}" alt="{alt}">'
        f"<figcaption><b>{escape(first)}</b><span>{escape(second)}</span></figcaption></figure>"
    )


def _thumbnails(collection: Table, ids: Iterable[int]) -> list[bytes]:
    thumbnails: list[bytes] = collection.take(list(ids), ["thumbnail"])["thumbnail"].to_pylist()
    return thumbnails


def _classes(story: Story) -> str:
    thumbnails = _thumbnails(story.collection, (row_id for _, row_id in story.examples.values()))
    figures = zip(thumbnails, story.examples.items(), strict=True)
    return "\n".join(
        _figure(one, label or "unlabelled", f"{count:,}") for one, (label, (count, _)) in figures
    )


def _answer(collection: Table, answer: Answer) -> str:
    query = _figure(
        _thumbnails(collection, [answer.id])[0], answer.label or answer.name, answer.name
    )
    spaces = "\n".join(_space(collection, matches, answer.label) for matches in answer.matches)
    return f'<div class="answer">{query}<div>{spaces}</div></div>'


def _space(collection: Table, matches: Matches, label: str | None) -> str:
    thumbnails = _thumbnails(collection, matches.ids[:_COLUMNS].tolist())
    figures = [
        _figure(
            one,
            match.label or display_name(match.uri),
            f"{match.distance:,.4g}",
            _style(match.label, label),
        )
        for one, match in zip(thumbnails, matches, strict=False)
    ]
    heading = escape(
        f"{matches.space}" + (" (pixel space)" if matches.space == "pixels" else " (feature space)")
    )
    return f'<div class="space"><h3>{heading}</h3><div class="row">{"".join(figures)}</div></div>'


def _style(label: str | None, wanted: str | None) -> str:
    return "" if wanted is None else "same" if label == wanted else "other"


def _evaluation(evaluation: Evaluation | None) -> dict[str, str]:
    if evaluation is None:
        return {
            "evaluation_text": "That takes two labels or more, or a class of several.",
            "metrics": "",
            "per_class": "",
        }
    names = [scores.space for scores in evaluation.spaces]
    rows = []
    for key in _METRICS:
        estimates = [scores.metrics[key] for scores in evaluation.spaces]
        cells = [
            f"<b>{e.value:.3f}</b> <small>{e.low:.3f} to {e.high:.3f}</small>" for e in estimates
        ]
        rows.append([TITLES[key], *cells])
    labels = sorted(
        evaluation.spaces[0].classes, key=lambda label: -evaluation.spaces[0].classes[label].map
    )
    classes = [
        [escape(label), *(_bar(scores.classes[label].map) for scores in evaluation.spaces)]
        for label in labels
    ]
    text = (
        f"{evaluation.counts.queries:,} test pictures, each looked for in {evaluation.counts.gallery:,} training "
        "pictures. mAP, the mean average precision, is 1 when all pictures of the query's class come before all "
        "others. Beside each figure stands its bootstrap 95 % interval."
    )
    return {
        "evaluation_text": text,
        "metrics": _table(["", *names], rows),
        "per_class": _table(["mAP of the class", *names], classes),
    }


def _bar(value: float) -> str:
    return f'<span class="bar" style="width:{value * 90:.0f}px"></span>{value:.3f}'


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return an HTML table; the header is text, the cells are HTML."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
