"""Time a server: its start, its searches by rows and by images, and its memory."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
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
from servers import collection_server
from vectors_made import PHOTOGRAPHS, add_source, files, sample_images

_CLIENTS = 8
# More than the server embeds at once, so that some always wait.
_SENDERS = 16
_MODELS = (registry.DEFAULT, "efficientnet-lite0")
_ROUNDS = 5
# Each round, and the one for warming up, sends a part one by one and a part in batches.
_PARTS = 2 * (_ROUNDS + 1)
# The images of a request that searches by many.
_BATCH = 32
_DROPS = 9


def main() -> int:
    options = parser(
        "serve", "Time a server: searches by rows and by images, and its memory."
    )
    add_source(options)
    options.add_argument(
        "--images",
        type=int,
        default=PHOTOGRAPHS,
        help="the number of images to serve (default: 3079)",
    )
    options.add_argument(
        "--requests",
        type=int,
        default=20_000,
        help="the number of searches by rows (default: 20000)",
    )
    options.add_argument(
        "--uploads",
        type=int,
        default=3_000,
        help="the number of searches by images (default: 3000)",
    )
    options.add_argument(
        "--drops",
        type=int,
        default=_DROPS,
        help=f"the number of photographs to drop on the page (default: {_DROPS})",
    )
    arguments = options.parse_args()
    # The server keeps the vector of each image, so that none is sent twice.
    arguments.uploads = min(arguments.uploads, arguments.images)
    if arguments.uploads < _PARTS:
        options.error(f"--images and --uploads must be at least {_PARTS}")
    report = Report(
        "serve", arguments, ["fastapi", "uvicorn", "pylance", "onnxruntime"]
    )
    with tempfile.TemporaryDirectory() as place:
        folder = sample_images(
            arguments.data, arguments.images, Path(place), arguments.seed
        )
        collection = Path(place, "collection")
        lookalike.index(folder, collection, models=_MODELS)
        uploads = [path.read_bytes() for path in files(folder)[: arguments.uploads]]
        with collection_server(collection) as (address, server, seconds):
            report.figures["start_seconds"] = round(seconds, 2)
            _by_rows(report, address, server, collection, arguments)
            _by_images(report, address, uploads, collection)
            step = max(1, len(uploads) // arguments.drops)
            _in_browser(report, address, uploads[::step])
    return report.close()


def _by_rows(
    report: Report,
    address: str,
    server: psutil.Process,
    collection: Path,
    arguments: argparse.Namespace,
) -> None:
    """Search by rows from several connections at once, and measure the memory too."""
    count, seed = arguments.requests, arguments.seed
    ids = Table.open(collection).vectors(Table.open(collection).space(None))[0]
    queries = np.random.default_rng(seed).choice(ids, count).tolist()
    bodies = [json.dumps({"positive": [{"id": row}], "k": 10}) for row in queries]
    warm = max(1, count // 10)
    _send_all(address, [_row_request(body) for body in bodies[:warm]], _CLIENTS)
    before = server.memory_info().rss
    began = time.perf_counter()
    seconds = _send_all(address, [_row_request(body) for body in bodies], _CLIENTS)
    rate = count / (time.perf_counter() - began)
    grown = (server.memory_info().rss - before) / 1e6
    p50, p99 = (float(np.percentile(seconds, rank) * 1e3) for rank in (50, 99))
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


def _by_images(
    report: Report, address: str, uploads: list[bytes], collection: Path
) -> None:
    """Search by images, in turns with decoding and embedding alone.

    The turns cancel out the changes of the machine's speed.
    """
    figures, rows = {}, []
    for name, model in Table.open(collection).models.items():
        served, alone, share, batched = _time_uploads(name, model, address, uploads)
        figures[name] = {
            "per_second": served, "alone": alone, "share": share, "batched_share": batched,
        }  # fmt: skip
        cells = [served.format(), alone.format(), share.format(2), batched.format(2)]
        rows.append((name, *cells))
    report.figures["by_images"] = {
        "requests": len(uploads),
        "clients": _SENDERS,
        **figures,
    }
    headers = [
        "model",
        "requests/s",
        "decoded and embedded alone, images/s",
        "share",
        f"share, {_BATCH} a request, one client",
    ]
    report.print_table(
        f"By images, {_SENDERS} at once, the clients on the same cores", headers, rows
    )
    for name, figure in figures.items():
        goal = f"searches by images, share of decoding and embedding alone, {name}"
        report.aim(goal, figure["share"].median, least=0.8)
        goal = f"batches of images, share of decoding and embedding alone, {name}"
        report.aim(goal, figure["batched_share"].median, least=0.9)


def _time_uploads(
    space: str, model: Model, address: str, uploads: list[bytes]
) -> tuple[Spread, Spread, Spread, Spread]:
    """Time searches by images in one Space against decoding and embedding alone.

    Returns the searches per second, the images per second without a server, the first as a share
    of the second, and that share for searches in batches. Each share compares the two rates of one
    round.
    """
    loaded = embedder.load(model, threads=1)
    # Each part is used once per Space, because the server keeps the vectors of its uploads.
    # The first part is for warming up.
    parts = [uploads[first::_PARTS] for first in range(_PARTS)]
    singles, batches = parts[::2], parts[1::2]
    served_parts, alone_parts = iter(singles), iter(singles)
    batched_parts = iter(batches)

    def serve_part() -> None:
        requests = [_upload_request(data, space) for data in next(served_parts)]
        _send_all(address, requests, _SENDERS)

    def serve_batches() -> None:
        part = next(batched_parts)
        firsts = range(0, len(part), _BATCH)
        requests = [_batch_request(part[one : one + _BATCH], space) for one in firsts]
        _send_all(address, requests, 1)

    contestants = {
        "served": serve_part,
        "batched": serve_batches,
        "alone": lambda: _embed(model, loaded, next(alone_parts)),
    }
    alternate(contestants, 1)
    seconds = alternate(contestants, _ROUNDS)

    rates: dict[str, list[float]] = {"served": [], "alone": [], "batched": []}
    for name, round_rates in rates.items():
        timed = batches if name == "batched" else singles
        for part, time_taken in zip(timed[1:], seconds[name], strict=True):
            round_rates.append(len(part) / time_taken)

    alone = spread(rates["alone"])
    shares = {}
    for name in ("served", "batched"):
        pairs = zip(rates[name], rates["alone"], strict=True)
        shares[name] = spread([rate / rate_alone for rate, rate_alone in pairs])
    return spread(rates["served"]), alone, shares["served"], shares["batched"]


def _in_browser(report: Report, address: str, photographs: list[bytes]) -> None:
    """Drop photographs on the page. The first is for warming up."""
    try:
        first, whole = map(spread, zip(*painted(address, photographs)[1:], strict=True))
    except RuntimeError as error:
        report.skip("the page", error)
        return
    report.figures["page"] = {
        "photographs": len(photographs) - 1,
        "first_ms": first,
        "all_ms": whole,
    }
    report.print_table(
        "In a browser on the same cores",
        ["photographs", "from drop to the first results, ms", "to all visible, ms"],
        [(len(photographs) - 1, first, whole)],
    )  # fmt: skip
    report.aim(
        "from a photograph's drop to the first paint of results, slowest, ms",
        first.high,
        most=300,
    )


def _embed(model: Model, loaded: embedder.Embedder, uploads: list[bytes]) -> None:
    """Decode and embed images one by one without a server, in one thread per core."""

    def work(data: bytes) -> None:
        image, _ = imaging.decode_small(data, min_side=imaging.min_decoded_side(model))
        loaded.embed(imaging.prepare(image, model)[np.newaxis])

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(work, uploads))


def _row_request(body: str) -> bytes:
    return _request("application/json", body.encode())


def _upload_request(data: bytes, space: str) -> bytes:
    body = _form([data], {"positive": [{"image": 0}], "space": space})
    return _request("multipart/form-data; boundary=part", body)


def _batch_request(images: list[bytes], space: str) -> bytes:
    numbers = range(len(images))
    searches = [{"positive": [{"image": one}], "space": space} for one in numbers]
    body = _form(images, {"searches": searches})
    return _request("multipart/form-data; boundary=part", body, "search/batch")


def _form(images: list[bytes], query: dict[str, object]) -> bytes:
    """Return a form of images and a query, with the boundary ``part``."""
    disposition = b"--part\r\nContent-Disposition: form-data; "
    parts = [
        disposition + b'name="image"; filename="image"\r\n\r\n' + data + b"\r\n"
        for data in images
    ]
    encoded = json.dumps(query).encode()
    parts.append(disposition + b'name="query"\r\n\r\n' + encoded + b"\r\n")
    return b"".join([*parts, b"--part--\r\n"])


def _request(kind: str, body: bytes, route: str = "search") -> bytes:
    """Return the bytes of a search request.

    A client library would take more time on the cores than the server does.
    """
    lines = [
        f"POST /api/v1/{route} HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
    ]
    head = "\r\n".join(lines)
    return f"{head}\r\n\r\n".encode() + body


def _send_all(address: str, requests: list[bytes], clients: int) -> list[float]:
    """Send requests from several clients and return the seconds of each request.

    Each client sends its next request when it has the answer to the last one.
    """
    url = urlsplit(address)
    seconds: list[float] = []
    waiting = iter(requests)

    async def run_client() -> None:
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
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

    async def run_clients() -> None:
        await asyncio.gather(*(run_client() for _ in range(clients)))

    asyncio.run(run_clients())
    return seconds


if __name__ == "__main__":
    sys.exit(main())
