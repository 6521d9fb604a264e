"""What every command shares: how it is registered, its usual options, how its errors are told."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike import tracing
from lookalike.cli import output
from lookalike.errors import LookalikeError
from lookalike.io.files import DISK_FULL

if TYPE_CHECKING:
    from lookalike.collection import Collection

__all__ = [
    "CollectionOption",
    "JsonOption",
    "WhereOption",
    "app",
    "command",
    "open_collection",
    "store_imported",
]

app = typer.Typer(
    name="lookalike",
    help="An image search engine: give it a picture, get the pictures like it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_INTERRUPTED = 130

CollectionOption = Annotated[
    str | None,
    typer.Option(
        "-c",
        "--collection",
        metavar="PATH",
        help="The collection's folder.",
        show_default="$LOOKALIKE_COLLECTION, or one in your user data folder",
    ),
]
WhereOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILTER", help="Only images that fit, such as \"label = 'cat' and width > 300\"."
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON for programs and nothing else.")
]


def command(
    epilog: str, name: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command whose errors become one paragraph and exit status 2, and whose Ctrl-C is clean."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            try:
                function(*args, **kwargs)
            except LookalikeError as error:
                output.print_error(str(error))
                raise typer.Exit(2) from None
            except BrokenPipeError:
                raise
            except OSError as error:
                output.print_error(_told(error))
                raise typer.Exit(2) from None
            except KeyboardInterrupt:
                output.say(
                    "Interrupted. What was committed stays; run the command again to go on.",
                    error=True,
                )
                raise typer.Exit(_INTERRUPTED) from None
            finally:
                if tracing.enabled():
                    tracing.report()

        app.command(name, epilog=epilog)(run)
        return run

    return register


def _told(error: OSError) -> str:
    if error.errno in DISK_FULL and error.filename is not None:
        return (
            f"{error.filename} could not be written: no space is left on its disk. What was there before is as it was. "
            "Make room there, or name a place on another disk."
        )
    told = error if error.filename is None else f"{error.filename}: {error.strerror}"
    return f"{told}. Name a file or folder that can be read and written."


def open_collection(collection: str | None) -> Collection:
    """Open the collection that a command names, or the default one."""
    with store_imported():
        from lookalike.collection import Collection

    return Collection.open(collection)


@contextmanager
def store_imported() -> Iterator[None]:
    """Import the store inside, without pandas: pyarrow asks for it at once, for conversions that no command makes.

    Where it is installed it would take as long as all else before a search together. Nobody else is kept from it.
    """
    with tracing.span("import collection"):
        sys.meta_path.insert(0, _NoPandas())
        try:
            import pyarrow.dataset  # noqa: F401 (it asks for pandas, once and for all)
        finally:
            sys.meta_path.pop(0)
        yield


class _NoPandas(MetaPathFinder):
    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)
