"""The ``serve`` command."""

from __future__ import annotations

import os
import secrets
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli import output
from lookalike.cli.command import DeviceOption, command, store_imported, use_device
from lookalike.errors import InputError

if TYPE_CHECKING:
    from lookalike.server.registry import CollectionRegistry

_Collections = Annotated[
    list[str] | None,
    typer.Option(
        "-c",
        "--collection",
        metavar="PATH",
        help="A collection's folder, or its address such as s3://bucket/prefix; may be repeated. "
        "The first is the default.",
        show_default="$LOOKALIKE_COLLECTION, or all in your user data folder",
    ),
]
_Host = Annotated[
    str,
    typer.Option(
        help="The address to listen on. Any address but this machine's own requires a token."
    ),
]
_Port = Annotated[
    int,
    typer.Option(min=0, max=65535, help="The port to listen on; 0 picks a free one."),
]
_Open = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]
_Token = Annotated[
    str | None,
    typer.Option(
        envvar="LOOKALIKE_TOKEN",
        help="The token that clients must send.",
        show_default="generated if needed",
    ),
]
_Roots = Annotated[
    list[Path] | None,
    typer.Option(
        "--root",
        metavar="DIR",
        help="A folder that the page may index, also into new collections; may be repeated.",
    ),
]
_ReadOnly = Annotated[
    bool,
    typer.Option(
        "--read-only",
        help="Refuse to index images and to make maps, and write nothing to the collections.",
    ),
]
_RemoteRefresh = Annotated[
    float,
    typer.Option(
        min=0.1,
        metavar="SECONDS",
        help="The interval between checks for new versions of collections in object storage. "
        "Each check costs two requests.",
    ),
]
_Originals = Annotated[
    bool,
    typer.Option("--originals/--no-originals", help="Serve the original image files."),
]
_RootPath = Annotated[
    str,
    typer.Option(metavar="PREFIX", help="The path prefix that a reverse proxy adds."),
]
_TrustedProxies = Annotated[
    list[str] | None,
    typer.Option(
        "--trusted-proxy",
        metavar="ADDRESS",
        help="A proxy whose X-Forwarded-Proto and X-Forwarded-For headers are believed, beside "
        "those of this machine: an address or a network; may be repeated.",
    ),
]
_AccessLog = Annotated[
    bool, typer.Option("--access-log", help="Print each request to standard error.")
]
_MaxUpload = Annotated[
    float,
    typer.Option(min=0.01, metavar="MB", help="The largest request body accepted."),
]
_Hosts = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        metavar="NAME",
        help="Another host name that the server answers to; may be repeated.",
    ),
]
_Origins = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-origin",
        metavar="ORIGIN",
        help="A site, such as https://example.org, whose pages may send requests; may be repeated.",
    ),
]


@command(
    "serve",
    examples=["lookalike serve --open", "lookalike serve -c pets -c shop --port 8080"],
)
def serve_command(
    collection: _Collections = None,
    host: _Host = "127.0.0.1",
    port: _Port = 8765,
    open_page: _Open = False,
    token: _Token = None,
    roots: _Roots = None,
    read_only: _ReadOnly = False,
    originals: _Originals = True,
    root_path: _RootPath = "",
    trusted_proxies: _TrustedProxies = None,
    access_log: _AccessLog = False,
    max_upload: _MaxUpload = 32.0,
    remote_refresh: _RemoteRefresh = 5.0,
    device: DeviceOption = None,
    hosts: _Hosts = None,
    origins: _Origins = None,
) -> None:
    """Serve collections to a browser page and a REST API until Ctrl-C."""
    start = time.perf_counter()
    use_device(device)
    with store_imported():
        from lookalike.collection import collections_folder
    from lookalike.server import serving
    from lookalike.server.app import make_app
    from lookalike.server.settings import ServerSettings

    is_unnamed = not collection and not os.environ.get("LOOKALIKE_COLLECTION")
    paths = _default_paths() if is_unnamed else _named_paths(collection or [])

    # A token of the user's own is never printed. An empty one would admit every client.
    printed_token = None if token else _make_token(host)

    allowed_origins = [origin.rstrip("/") for origin in origins or ()]
    prefix = root_path.strip("/")
    folders = _existing_folders(roots or [])
    max_bytes = round(max_upload * (1 << 20))
    settings = ServerSettings(
        token=token or printed_token,
        hosts=_accepted_hosts(host, hosts or []),
        origins=tuple(allowed_origins),
        root_path=f"/{prefix}" if prefix else "",
        trusted_proxies=tuple(trusted_proxies or ()),
        access_log=access_log,
        originals=originals,
        roots=folders,
        new_collections=collections_folder(),
        watch_collections=is_unnamed,
        read_only=read_only,
        remote_refresh_seconds=remote_refresh,
        max_upload=max_bytes,
    )
    socket = serving.bind(host, port)
    _, bound_port = socket.getsockname()[:2]
    address = _address(host, bound_port, printed_token)
    app = make_app(paths, settings)
    output.print_device_note(device)

    def announce() -> None:
        registry: CollectionRegistry = app.state.lookalike.registry
        seconds = time.perf_counter() - start
        contents = _summarize(registry)
        output.say(f"{contents}, ready in {seconds:.1f} s. Press Ctrl-C to stop.")
        output.say(f"Serving at {address}")
        if open_page:
            webbrowser.open(address)

    serving.serve(app, socket, on_start=announce)


def _make_token(host: str) -> str | None:
    """Return a token for a server that other machines can reach; None for this one's own."""
    from lookalike.server.settings import LOOPBACK

    if host in LOOPBACK:
        return None
    return secrets.token_urlsafe(24)


def _default_paths() -> list[str]:
    """Return the path of the default collection, if it exists: there may be none yet."""
    from lookalike.collection import Collection, default_path

    path = default_path()
    return [path] if Collection.exists(path) else []


def _named_paths(named: Sequence[str]) -> list[str]:
    """Return the paths of named collections; one that cannot be opened ends the command."""
    from lookalike.collection import Collection, default_path

    paths = list(named) or [default_path()]
    for path in paths:
        Collection.open(path)
    return paths


def _summarize(registry: CollectionRegistry) -> str:
    """Return the number of served images, or what to do without a collection."""
    if not registry.collections:
        return "No collection yet: open the page to begin"
    return output.plural(registry.image_count(), "image")


def _accepted_hosts(host: str, allowed: Sequence[str]) -> frozenset[str] | None:
    """Return the names that the server answers to; None for any name.

    A server open to other machines answers to any name unless some are allowed.
    """
    from lookalike.server.settings import LOOPBACK

    is_local = host in LOOPBACK
    if not is_local and not allowed:
        return None
    own_name = host.lower()
    names = [name.lower() for name in allowed]
    accepted = {own_name, *names}
    return LOOPBACK | accepted


def _existing_folders(roots: Sequence[Path]) -> tuple[Path, ...]:
    for folder in roots:
        if not folder.is_dir():
            raise InputError(
                f"The root {folder} is not a folder. Name a folder whose images may be indexed."
            )
    return tuple(folder.absolute() for folder in roots)


def _address(host: str, port: int, token: str | None) -> str:
    """Return the address to open in a browser, with the token if it was generated."""
    name = host
    is_ipv6 = ":" in host
    if is_ipv6:
        name = f"[{host}]"
    address = f"http://{name}:{port}/"
    if token:
        address += f"?token={token}"
    return address
