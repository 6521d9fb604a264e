"""Photographs and their collection in object storage: indexed on Ray, then used by its address."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from ray.cluster_utils import Cluster

import lookalike
from lookalike.cluster import COMMIT_ROWS, COMMIT_SECONDS, RayExecutor
from lookalike.indexing.run import IndexSettings
from lookalike.store.table import Table
from measuring import Report, alternate, spread
from servers import ObjectServer, collection_server
from vectors_made import files

IMAGES_BUCKET = "photographs"
# Searches of each server; the first ones are not counted.
_SEARCHES = 400
_FIRST = 50


def measure_table(
    report: Report,
    arguments: argparse.Namespace,
    cluster: Cluster,
    server: ObjectServer,
    folder: Path,
    place: Path,
    tables: str,
) -> None:
    """Index photographs of a store into a table there, compare it with a local one, and use it."""
    _upload(server, folder)
    table, local = f"{tables}/photographs", place / "local"
    settings = IndexSettings(
        executor=RayExecutor(cluster.address),
        commit_rows=COMMIT_ROWS,
        commit_seconds=COMMIT_SECONDS,
    )
    source = f"s3://{IMAGES_BUCKET}"
    done = lookalike.index([source], table, settings=settings)
    again = lookalike.index([source], table, settings=settings)
    nodes = done.cluster.nodes if done.cluster is not None else []
    lookalike.index(folder, local)
    print(
        f"\n{done.added:,} images of {source} by {len(nodes)} nodes in {done.seconds:.1f} s, "
        f"{done.failed} failures; again: {again.unchanged:,} unchanged"
    )
    report.figures["table"] = figures = {
        "images": done.added,
        "seconds": done.seconds,
        "nodes": len(nodes),
        "unchanged": again.unchanged,
        **_difference(table, local, folder),
    }
    print(
        f"Beside a local run: the same uris, the same sha256, vectors at most "
        f"{figures['largest_difference']} apart"
    )
    figures["commands"] = _use(report, server, table, folder, place)
    figures["warm_ms"] = _serve(report, table, str(local), arguments.seed)


def _upload(server: ObjectServer, folder: Path) -> None:
    client = server.client()
    client.create_bucket(Bucket=IMAGES_BUCKET)
    for file in files(folder):
        key = file.relative_to(folder).as_posix()
        client.put_object(Bucket=IMAGES_BUCKET, Key=key, Body=file.read_bytes())


def _difference(table: str, local: Path, folder: Path) -> dict[str, float]:
    """Compare rows, and return the largest difference of two vectors' numbers."""
    uris, hashes, vectors = _rows(table, f"s3://{IMAGES_BUCKET}/")
    local_uris, local_hashes, local_vectors = _rows(str(local), f"{folder}/")
    assert uris == local_uris, "the uris differ"
    assert hashes == local_hashes, "the contents differ"
    return {"largest_difference": float(np.abs(vectors - local_vectors).max())}


def _rows(path: str, prefix: str) -> tuple[list[str], list[bytes], np.ndarray]:
    """Return the uris without their prefix, the hashes and the vectors, sorted by uri."""
    table = Table.open(path)
    ids, vectors = table.vectors(table.space(None))
    rows = table.take(ids, ["uri", "sha256"])
    order = np.argsort(rows["uri"].to_pylist())
    ordered = rows.take(order)
    uris = [uri.removeprefix(prefix) for uri in ordered["uri"].to_pylist()]
    return uris, ordered["sha256"].to_pylist(), vectors[order].astype(np.float32)


def _use(
    report: Report, server: ObjectServer, table: str, folder: Path, place: Path
) -> dict[str, Any]:
    """Run commands in new processes, the first one without a cache."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(place / "cache")}
    query = str(next(iter(files(folder))))
    commands = {
        "search, cold": ["search", query],
        "search again": ["search", query],
        "evaluate": ["evaluate"],
        "map": ["map", "--output", str(place / "map.png")],
        "optimize": ["optimize", "--remove-unfinished"],
        "check": ["check"],
        "backup to a folder": ["backup", str(place / "backup")],
    }
    figures = {}
    for name, words in commands.items():
        before = server.traffic()
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "lookalike", *words, "-c", table],
            check=True,
            stdout=subprocess.DEVNULL,
            env=environment,
        )
        seconds = time.perf_counter() - start
        after = server.traffic()
        requests = after.requests - before.requests
        megabytes = (after.bytes_sent - before.bytes_sent) / 1e6
        figures[name] = [seconds, requests, megabytes]
    report.print_table(
        f"Commands with {table}, each in a new process",
        ["", "s", "requests", "MB"],
        [[name, *values] for name, values in figures.items()],
    )
    return figures


def _serve(report: Report, table: str, local: str, seed: int) -> dict[str, float]:
    """Search both collections in turns by rows, each in a server of its own."""
    generator = np.random.default_rng(seed)
    with ExitStack() as stack:
        searches = {}
        for name, collection in (("s3", table), ("folder", local)):
            address, _, _ = stack.enter_context(collection_server(collection))
            client = httpx.Client(base_url=f"{address}api/v1/", timeout=120)
            stack.callback(client.close)
            ids = Table.open(collection).vectors(Table.open(collection).space(None))[0]
            queries = iter(generator.choice(ids, _SEARCHES + _FIRST).tolist())

            def search(client: httpx.Client = client, queries: Any = queries) -> None:
                body = {"positive": [{"id": next(queries)}]}
                client.post("search", json=body).raise_for_status()

            searches[name] = search
        alternate(searches, _FIRST)
        seconds = alternate(searches, _SEARCHES)
    medians = {name: 1e3 * spread(times).median for name, times in seconds.items()}
    report.print_table(
        "Searches by rows, warm, in turns", ["", "median ms"], list(medians.items())
    )
    ratio = medians["s3"] / medians["folder"]
    report.aim("a warm search of s3 beside a folder", ratio, most=1.5)
    return medians
