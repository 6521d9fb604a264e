"""The ``models`` command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli import output
from lookalike.cli.command import JsonOption, command
from lookalike.cli.given_options import refuse_options
from lookalike.cli.progress import progress_bar

if TYPE_CHECKING:
    from lookalike.evaluation.model_choice import ModelComparison
    from lookalike.types import Model

_MOST_IMAGES = 1000

_Benchmark = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Measure the models that are here on labeled images: a folder that has a folder for "
        "each label.",
    ),
]
_Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="A model to measure: a name, a .onnx or a .toml file; may be repeated.",
        show_default="all that are here",
    ),
]
_Images = Annotated[
    int | None,
    typer.Option(
        min=2,
        metavar="N",
        help="The most images to measure, drawn at random.",
        show_default=str(_MOST_IMAGES),
    ),
]
_LicenseReference = Annotated[
    str | None,
    typer.Option(
        "--accept-license",
        metavar="MODEL",
        help="Accept the license of a model for this user of this computer, and list nothing.",
    ),
]


@command(
    "models",
    examples=[
        "lookalike models",
        "lookalike models --benchmark pictures",
        "lookalike models --benchmark pictures --model efficientnet-lite0 --images 300",
        "lookalike models --accept-license dinov3-vits16",
    ],
)
def models_command(
    benchmark: _Benchmark = None,
    model: _Models = None,
    images: _Images = None,
    accept_license: _LicenseReference = None,
    as_json: JsonOption = False,
) -> None:
    """List the models that --model accepts by name, or measure them on your own images.

    The list ends with what can compute networks here, and why the others cannot.
    """
    measuring: dict[str, object] = {"--model": model, "--images": images}
    if accept_license is not None:
        refuse_options(
            {"--benchmark": benchmark, **measuring},
            "with --accept-license, which accepts a license and does nothing else. Run one command "
            "after the other.",
        )
        _accept_license(accept_license, as_json=as_json)
    elif benchmark is not None:
        most = images or _MOST_IMAGES
        _measure(benchmark, model or [], most, as_json=as_json)
    else:
        refuse_options(
            measuring,
            "without --benchmark. Name a folder of labeled images to measure models on: lookalike "
            "models --benchmark FOLDER.",
        )
        _list_models(as_json=as_json)


def _list_models(*, as_json: bool) -> None:
    from lookalike.models import devices, registry, weights
    from lookalike.models.text.reader import reads_text

    catalog = registry.catalog()
    if as_json:
        listed = []
        for model in catalog.values():
            entry = {
                "name": model.name,
                "title": model.title,
                "dim": model.dim,
                "size": list(model.size),
                "precision": model.precision,
                "text": reads_text(model),
                "license": _license(model),
                "available": weights.is_available(model),
            }
            listed.append(entry)
        providers = [provider._asdict() for provider in devices.providers()]
        output.print_json(
            {"models": listed, "default": registry.DEFAULT, "providers": providers}
        )
        return

    rows = [["name", "dimensions", "input", "words", "weights", "description"]]
    for model in catalog.values():
        size = f"{model.size[1]} x {model.size[0]}"
        words = ""
        if reads_text(model):
            words = "nouns" if model.text is None else "any"
        rows.append(
            [
                model.name,
                str(model.dim),
                size,
                words,
                weights.describe_source(model),
                model.title,
            ]
        )
    output.print_table(rows, styles=("bold",), right=(1,))
    output.say(
        f"A new collection uses {registry.DEFAULT} unless --model names another model."
    )
    for provider in devices.providers():
        state = "usable"
        if provider.fault is not None:
            state = f"not usable: {provider.fault}"
        output.say_with_heading(f"{provider.name}: ", state)


def _license(model: Model) -> str | None:
    file = model.weights
    if file is None:
        return None
    return file.license


def _accept_license(reference: str, *, as_json: bool) -> None:
    from lookalike.models import licenses, registry

    model = registry.resolve(reference)
    accepted = licenses.accept(model)
    name = model.name
    if as_json:
        output.print_json({"model": name, "accepted": accepted})
        return
    if not accepted:
        output.say(f"The model {name} needs no acceptance of a license.")
    for terms in accepted:
        output.say(f"You accept the license of the model {name}: {terms}")


def _measure(folder: Path, names: list[str], images: int, *, as_json: bool) -> None:
    from lookalike.evaluation.model_choice import available_models, compare_models

    measured = len(names) or len(available_models())
    with progress_bar("Measuring", unit="items") as bar:
        bar.describe(f"Measuring {measured} models")
        comparison = compare_models(folder, names, images=images, progress=bar.advance)
    if as_json:
        output.print_json(comparison.to_dict())
        return
    _print_comparison(comparison)


def _print_comparison(comparison: ModelComparison) -> None:
    rows = [["model", "mAP", "precision@1", "images/s", "bytes an image"]]
    for measured in comparison.models:
        metrics = measured.scores.metrics
        row = [
            measured.model,
            str(metrics["map"]),
            str(metrics["precision_at_1"]),
            f"{measured.images_per_second:,.0f}",
            f"{measured.bytes_per_image:,}",
        ]
        rows.append(row)
    queries = comparison.counts.queries
    output.say(f"{queries:,} queries, each among the other images.")
    output.say()
    output.print_table(rows, styles=("bold",), right=(3, 4))
    output.say("In brackets: bootstrap 95% intervals.")
    for name, reason in comparison.failures.items():
        output.say(f"Not measured: {name}. {reason}")
    output.say()
    output.say(comparison.verdict)
