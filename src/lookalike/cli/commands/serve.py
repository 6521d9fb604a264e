"""The ``serve`` command."""

from __future__ import annotations

import secrets
import time
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from lookalike.cli import output
from lookalike.cli.command import command, store_imported
from lookalike.errors import InputError

_Collections = Annotated[
    list[str] | None,
    typer.Option(
        "-c",
        "--collection",
        metavar="PATH",
        help="A collection's folder; may be repeated. The first is the default.",
        show_default="$LOOKALIKE_COLLECTION, or one in your user data folder",
    ),
]
_Token = Annotated[
    str | None,
    typer.Option(
        envvar="LOOKALIKE_TOKEN", help="What clients must show.", show_default="made up if needed"
    ),
]
_Roots = Annotated[
    list[Path] | None,
    typer.Option(
        "--root", metavar="DIR", help="A folder that may be indexed from the page; may be repeated."
    ),
]
_Hosts = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        metavar="NAME",
        help="Another name that the server answers to; may be repeated.",
    ),
]
_Origins = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-origin",
        metavar="ORIGIN",
        help="A site, such as https://example.org, whose pages may ask; may be repeated.",
    ),
]


@command("Example: lookalike serve --open")
def serve(
    collection: _Collections = None,
    host: Annotated[
        str,
        typer.Option(help="The address to listen at; any but this machine's own needs a token."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port; 0 takes any that is free.")
    ] = 8765,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    token: _Token = None,
    roots: _Roots = None,
    originals: Annotated[
        bool,
        typer.Option(
            "--originals/--no-originals", help="Whether the pictures' files themselves may be read."
        ),
    ] = True,
    root_path: Annotated[
        str, typer.Option(metavar="PREFIX", help="The path under which a proxy has put the server.")
    ] = "",
    max_upload: Annotated[
        float, typer.Option(min=0.01, metavar="MB", help="The most that a request may send.")
    ] = 32.0,
    hosts: _Hosts = None,
    origins: _Origins = None,
) -> None:
    """Serve collections: a page to search and look around in, and a REST interface, until Ctrl-C."""
    start = time.perf_counter()
    with store_imported():
        from lookalike.collection import default_path
        from lookalike.store.table import Table
    from lookalike.server import serving
    from lookalike.server.app import make_app
    from lookalike.server.settings import LOOPBACK, Settings

    paths = collection or [default_path()]
    for path in paths:
        Table.open(path)  # says at once what is wrong
    local = host in LOOPBACK
    settings = Settings(
        token=token or (None if local else secrets.token_urlsafe(24)),
        hosts=LOOPBACK | {host.lower(), *map(str.lower, hosts or ())} if local or hosts else None,
        origins=tuple(origin.rstrip("/") for origin in origins or ()),
        root_path=f"/{root_path.strip('/')}".rstrip("/"),
        originals=originals,
        roots=_folders(roots or []),
        max_upload=round(max_upload * (1 << 20)),
    )
    taken = serving.bind(host, port)
    address = _address(host, taken.getsockname()[1], settings.token)
    app = make_app(paths, settings)

    def tell() -> None:
        images = sum(
            len(served.view().row_cache)
            for served in app.state.lookalike.registry.collections.values()
        )
        output.say(
            f"{images:,} images, ready in {time.perf_counter() - start:.1f} s. Ctrl-C ends it."
        )
        output.say(f"Serving at {address}")
        if open_page:
            webbrowser.open(address)

    serving.serve(app, taken, started=tell)


def _folders(roots: list[Path]) -> tuple[Path, ...]:
    for folder in roots:
        if not folder.is_dir():
            raise InputError(
                f"The root {folder} is no folder. Give one whose pictures may be indexed."
            )
    return tuple(folder.absolute() for folder in roots)


def _address(host: str, port: int, token: str | None) -> str:
    """Return what to open in a browser."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")
