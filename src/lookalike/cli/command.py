"""The parts that all commands share: registration, common options, and error reporting."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lookalike import tracing
from lookalike.cli import output
from lookalike.errors import LookalikeError
from lookalike.io.files import DISK_FULL

if TYPE_CHECKING:
    from lookalike.collection import Collection

__all__ = [
    "DEFAULT_COLLECTION",
    "INTERRUPTED",
    "CollectionOption",
    "DeviceOption",
    "JsonOption",
    "WhereOption",
    "app",
    "command",
    "command_group",
    "open_collection",
    "store_imported",
    "use_device",
]

app = typer.Typer(
    name="lookalike",
    help="An image search engine: give it an image, get the images like it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Exit statuses. Commands that run to their end but report faults use 1.
_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as in a shell

# The default of --collection, as the help describes it.
DEFAULT_COLLECTION = "$LOOKALIKE_COLLECTION, or one in your user data folder"

CollectionOption = Annotated[
    str | None,
    typer.Option(
        "-c",
        "--collection",
        metavar="PATH",
        help="The collection's folder, or its address such as s3://bucket/prefix.",
        show_default=DEFAULT_COLLECTION,
    ),
]
WhereOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILTER",
        help="Only images that match a filter, such as \"label = 'cat' and width > 300\".",
    ),
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"] | None,
    typer.Option(
        "--device",
        help="What computes the networks: the processor, an NVIDIA GPU, or a GPU where one can be "
        "used and is worth starting.",
        show_default="$LOOKALIKE_DEVICE, or auto",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON and nothing else.")
]

Function = Callable[..., None]


def command(
    name: str, *, examples: Sequence[str], group: typer.Typer | None = None
) -> Callable[[Function], Function]:
    """Register a function as a command.

    An expected error prints one paragraph to standard error and exits with status 2. Ctrl-C exits
    with status 130.

    Parameters
    ----------
    name
        The word after ``lookalike``, or after the word of the group.
    examples
        Command lines that ``--help`` shows at its end.
    group
        The group of the command; None for the whole command line.
    """
    parent = app if group is None else group

    def register(function: Function) -> Function:
        run = _reporting(function)
        epilog = _epilog(examples)
        add_to_app = parent.command(name, epilog=epilog)
        add_to_app(run)
        return run

    return register


def command_group(
    name: str, *, examples: Sequence[str]
) -> Callable[[Function], typer.Typer]:
    """Register a function as a command that has further commands below it; see `command`.

    The function runs before each of these, and alone if none is given: the context that it takes
    says which.
    """

    def register(function: Function) -> typer.Typer:
        group = typer.Typer(rich_markup_mode="markdown")
        add_to_group = group.callback(
            invoke_without_command=True, epilog=_epilog(examples)
        )
        add_to_group(_reporting(function))
        app.add_typer(group, name=name)
        return group

    return register


def _epilog(examples: Sequence[str]) -> str:
    lines = [f"- {example}" for example in examples]
    listed = "\n".join(lines)
    return f"Examples:\n\n{listed}"


def _reporting(function: Function) -> Function:
    """Return a function that turns expected errors into a message and an exit status."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        with _errors_reported():
            function(*args, **kwargs)

    return run


@contextmanager
def _errors_reported() -> Iterator[None]:
    """Turn expected errors and Ctrl-C into a message and an exit status."""
    try:
        yield
    except LookalikeError as error:
        output.print_error(str(error))
        raise typer.Exit(_ERROR) from None
    except OSError as error:
        output.print_error(_os_error_message(error))
        raise typer.Exit(_ERROR) from None
    except KeyboardInterrupt:
        message = (
            "Interrupted. Committed work is kept. Run the command again to continue."
        )
        output.say(message, error=True)
        raise typer.Exit(INTERRUPTED) from None
    finally:
        if tracing.enabled():
            tracing.report()


def _os_error_message(error: OSError) -> str:
    if error.errno in DISK_FULL and error.filename is not None:
        return (
            f"{error.filename} could not be written: no space is left on its disk. "
            "Any earlier file is unchanged. "
            "Free some space there, or choose a path on another disk."
        )
    reason = str(error)
    if error.filename is not None:
        reason = f"{error.filename}: {error.strerror}"
    return f"{reason}. Name a file or folder that can be read and written."


def use_device(device: str | None) -> None:
    """Compute networks on the device that was named on the command line, if one was."""
    if device is not None:
        os.environ["LOOKALIKE_DEVICE"] = device


def open_collection(collection: str | None) -> Collection:
    """Open the collection named on the command line, or the default one."""
    with store_imported():
        from lookalike.collection import Collection

    return Collection.open(collection)


@contextmanager
def store_imported() -> Iterator[None]:
    """Import the store inside this block, without pandas.

    pyarrow imports pandas as soon as it is installed, for conversions that no command makes. That
    would take as long as everything else before a search. Other programs are not affected.
    """
    with tracing.span("import collection"):
        sys.meta_path.insert(0, _PandasBlocker())
        try:
            import pyarrow.dataset  # noqa: F401 (the import looks for pandas, once per process)
        finally:
            sys.meta_path.pop(0)
        yield


class _PandasBlocker(MetaPathFinder):
    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)
