"""Time a server: searches by rows and by pictures, how fast it starts, and the memory it takes over many requests."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil

import lookalike
from lookalike import imaging
from lookalike.io.processors import cores
from lookalike.models import embedder, registry
from lookalike.store.table import Table
from lookalike.types import Model
from measuring import Report, Spread, alternate, parser, spread
from painting import painted
from vectors_made import PHOTOGRAPHS, add_source, files, pictures

_CLIENTS = 8
# So many that some always wait.
_SENDERS = 16
_NETWORKS = (registry.DEFAULT, "efficientnet-lite0")
_TURNS = 5
_DROPPED = 9


def main() -> int:
    options = parser(
        "serve", "Time a server: searches by rows and by pictures, and its memory."
    )
    add_source(options)
    options.add_argument(
        "--images",
        type=int,
        default=PHOTOGRAPHS,
        help="how many to serve (default: 3079)",
    )
    options.add_argument(
        "--requests",
        type=int,
        default=20_000,
        help="searches by rows in all (default: 20000)",
    )
    options.add_argument(
        "--uploads",
        type=int,
        default=3_000,
        help="searches by pictures (default: 3000)",
    )
    arguments = options.parse_args()
    report = Report(
        "serve", arguments, ["fastapi", "uvicorn", "pylance", "onnxruntime"]
    )
    with tempfile.TemporaryDirectory() as place:
        folder = pictures(arguments.data, arguments.images, Path(place), arguments.seed)
        collection = Path(place, "collection")
        lookalike.index(folder, collection, models=_NETWORKS)
        sent = [
            path.read_bytes()
            for path in islice(cycle(files(folder)), arguments.uploads)
        ]
        with _served(collection) as (address, server, seconds):
            report.figures["start_seconds"] = round(seconds, 2)
            _by_rows(report, address, server, collection, arguments)
            _by_pictures(report, address, sent, collection)
            _in_a_browser(report, address, sent[:: max(1, len(sent) // _DROPPED)])
    return report.close()


@contextmanager
def _served(collection: Path) -> Iterator[tuple[str, psutil.Process, float]]:
    """Run a server; give its address, its process, and the seconds that it took to answer."""
    start = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "lookalike",
        "serve",
        "--port",
        "0",
        "-c",
        str(collection),
    ]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            address = next(
                found[1]
                for line in process.stdout or ()
                if (found := re.match(r"Serving at (\S+)", line))
            )
            yield address, psutil.Process(process.pid), time.perf_counter() - start
        finally:
            process.terminate()


def _by_rows(
    report: Report,
    address: str,
    server: psutil.Process,
    collection: Path,
    arguments: argparse.Namespace,
) -> None:
    """Search by rows from some connections at once; the memory is told along the way."""
    count, seed = arguments.requests, arguments.seed
    ids = Table.open(collection).vectors(Table.open(collection).space(None))[0]
    asked = np.random.default_rng(seed).choice(ids, count).tolist()
    bodies = [json.dumps({"positive": [{"id": row}], "k": 10}) for row in asked]
    warm = max(1, count // 10)
    _ask(address, [_row(body) for body in bodies[:warm]], _CLIENTS)
    before = server.memory_info().rss
    began = time.perf_counter()
    seconds = _ask(address, [_row(body) for body in bodies], _CLIENTS)
    rate = count / (time.perf_counter() - began)
    grown = (server.memory_info().rss - before) / 1e6
    p50, p99 = (float(np.percentile(seconds, share) * 1e3) for share in (50, 99))
    report.figures["by_rows"] = {
        "requests": count, "clients": _CLIENTS, "per_second": rate, "p50_ms": p50, "p99_ms": p99,
        "memory_mb": before / 1e6, "grown_mb": grown,
    }  # fmt: skip
    headers = ["requests/s", "p50 ms", "p99 ms", "memory MB", "grown MB"]
    report.print_table(
        f"By rows, {_CLIENTS} at once, the clients on the same cores",
        headers,
        [(rate, p50, p99, before / 1e6, grown)],
    )
    report.aim("searches by rows, requests/s", rate, least=300)
    report.aim("searches by rows, p99 ms", p99, most=100)
    report.aim(f"memory grown over {count:,} requests, MB", grown, most=50)


def _by_pictures(
    report: Report, address: str, sent: list[bytes], collection: Path
) -> None:
    """Search by pictures, in turns with decoding and embedding alone: machines are not as fast at all times."""
    figures, rows = {}, []
    for name, model in Table.open(collection).models.items():
        served, alone, share = _by_pictures_in(name, model, address, sent)
        figures[name] = {"per_second": served, "alone": alone, "share": share}
        rows.append((name, served.format(), alone.format(), share.format(2)))
    report.figures["by_pictures"] = {
        "requests": len(sent),
        "clients": _SENDERS,
        **figures,
    }
    headers = ["network", "requests/s", "decoded and embedded alone, images/s", "share"]
    report.print_table(
        f"By pictures, {_SENDERS} at once, the clients on the same cores", headers, rows
    )
    for name, figure in figures.items():
        what = f"searches by pictures, share of decoding and embedding alone, {name}"
        report.aim(what, figure["share"].median, least=0.8)


def _by_pictures_in(
    space: str, model: Model, address: str, sent: list[bytes]
) -> tuple[Spread, Spread, Spread]:
    """Return the searches a second in one Space, the pictures a second without a server, and the share."""
    network = embedder.load(model, threads=1)
    # No picture twice in a Space: the server keeps what it made of it. The first part is for warming up.
    parts = [sent[first :: _TURNS + 1] for first in range(_TURNS + 1)]
    asked, embedded = iter(parts), iter(parts)
    contestants = {
        "served": lambda: _ask(
            address, [_picture(data, space) for data in next(asked)], _SENDERS
        ),
        "alone": lambda: _embed(model, network, next(embedded)),
    }
    alternate(contestants, 1)
    seconds = alternate(contestants, _TURNS)
    served, alone = (
        spread(
            [
                len(part) / time
                for part, time in zip(parts[1:], seconds[name], strict=True)
            ]
        )
        for name in contestants
    )
    share = spread(
        [
            alone / served
            for served, alone in zip(seconds["served"], seconds["alone"], strict=True)
        ]
    )
    return served, alone, share


def _in_a_browser(report: Report, address: str, photographs: list[bytes]) -> None:
    """Drop photographs on the page; the first is for warming up."""
    try:
        first, all_ = map(spread, zip(*painted(address, photographs)[1:], strict=True))
    except RuntimeError as error:
        report.skip("the page", error)
        return
    report.figures["page"] = {
        "photographs": len(photographs) - 1,
        "first_ms": first,
        "all_ms": all_,
    }
    report.print_table(
        "In a browser on the same cores", ["photographs", "from drop to the first results, ms", "to all in sight, ms"],
        [(len(photographs) - 1, first, all_)],
    )  # fmt: skip
    report.aim(
        "from a photograph's drop to the first paint of results, slowest, ms",
        first.high,
        most=300,
    )


def _embed(model: Model, network: embedder.Embedder, sent: list[bytes]) -> None:
    """Decode and embed pictures one by one, in as many threads as there are cores, without a server."""

    def work(data: bytes) -> None:
        image, _ = imaging.decode_small(data, least=imaging.least_side(model))
        network.embed(imaging.prepare(image, model)[np.newaxis])

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(work, sent))


def _row(body: str) -> bytes:
    return _request("application/json", body.encode())


def _picture(data: bytes, space: str) -> bytes:
    head = b'--part\r\nContent-Disposition: form-data; name="image"; filename="picture"\r\n\r\n'
    query = json.dumps({"positive": [{"image": 0}], "space": space}).encode()
    asked = (
        b'\r\n--part\r\nContent-Disposition: form-data; name="query"\r\n\r\n' + query
    )
    return _request(
        "multipart/form-data; boundary=part", head + data + asked + b"\r\n--part--\r\n"
    )


def _request(kind: str, body: bytes) -> bytes:
    """Return a search as it is sent. Clients of libraries would take more of the cores than the server."""
    head = f"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


def _ask(address: str, requests: list[bytes], clients: int) -> list[float]:
    """Send requests from some clients, each its next when it has its answer; return the seconds of each."""
    place = urlsplit(address)
    seconds: list[float] = []
    waiting = iter(requests)

    async def one() -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        for request in waiting:
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(
                int(head.lower().partition(b"content-length: ")[2].split()[0])
            )
            seconds.append(time.perf_counter() - began)
            assert head.startswith(b"HTTP/1.1 200"), head
        writer.close()
        await writer.wait_closed()

    async def together() -> None:
        await asyncio.gather(*(one() for _ in range(clients)))

    asyncio.run(together())
    return seconds


if __name__ == "__main__":
    sys.exit(main())
