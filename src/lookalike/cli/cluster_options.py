"""The options of commands that can run on a Ray cluster."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from lookalike.errors import InputError

__all__ = ["AddressOption", "OnOption", "WorkersOption", "refuse_cluster_options"]

OnOption = Annotated[
    Literal["threads", "ray"],
    typer.Option(
        "--on",
        help="Where to do the work: in threads of this process, or on a Ray cluster.",
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="The Ray cluster: auto, local, HOST:PORT or ray://HOST:PORT.",
        show_default="auto",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="The number of processes on the Ray cluster.",
        show_default="one per core",
    ),
]


def refuse_cluster_options(address: str | None, workers: int | None) -> None:
    """Raise InputError if options of a cluster are given without one."""
    if address is not None or workers is not None:
        raise InputError(
            "--address and --workers are of a Ray cluster, and this run uses threads. "
            "Add --on ray, or leave them out."
        )
