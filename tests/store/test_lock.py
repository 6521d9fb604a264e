"""The locks of a collection: one holder at a time, released by its death, named when waited for."""

from __future__ import annotations

import errno
import logging
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from lookalike.errors import BusyError, CollectionError, InputError
from lookalike.maintenance.optimize import optimize
from lookalike.store import local_location, lock
from lookalike.store.lock import UPKEEP, WRITER, hold
from lookalike.store.table import Table
from made import SPACE, add_rows, clusters, make_collection

HOLDER = """
import sys, time
from lookalike.store.lock import hold
with hold(sys.argv[1], sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _begun(tmp_path):
    """Make `tmp_path` look like a collection."""
    (tmp_path / "images.lance" / "_versions").mkdir(parents=True)


@pytest.fixture
def holder(tmp_path):
    """Start processes that each hold a lock of `tmp_path` until they are killed."""
    started = []

    def start(name=WRITER):
        command = [sys.executable, "-c", HOLDER, str(tmp_path), name]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_killed_process_releases_its_lock(holder, tmp_path):
    process = holder()
    with pytest.raises(BusyError), hold(str(tmp_path), timeout=0):
        pass
    process.kill()
    process.wait()
    with hold(str(tmp_path), timeout=0) as alone:
        assert alone


def test_a_timeout_names_the_holder_and_the_next_step(holder, tmp_path):
    process = holder()
    with pytest.raises(BusyError) as raised, hold(str(tmp_path), timeout=0.1):
        pass
    message = str(raised.value)
    assert f"The collection {tmp_path} is busy: process {process.pid} on " in message
    assert ", since 20" in message
    assert message.endswith(
        "has not finished within 0.1 seconds. "
        "Run the command again later, or wait longer: LOOKALIKE_LOCK_TIMEOUT=3600."
    )


def test_a_short_wait_is_not_logged(holder, tmp_path, caplog):
    holder()
    with (
        caplog.at_level(logging.WARNING, "lookalike"),
        pytest.raises(BusyError),
        hold(str(tmp_path), timeout=0.1),
    ):
        pass
    assert caplog.records == []


def test_the_environment_sets_the_timeout(holder, tmp_path, monkeypatch):
    holder()
    for seconds in ("0.2", "0"):
        monkeypatch.setenv("LOOKALIKE_LOCK_TIMEOUT", seconds)
        with (
            pytest.raises(BusyError, match=f"within {re.escape(seconds)} seconds"),
            hold(str(tmp_path)),
        ):
            pass
    for nonsense in ("soon", "-1", "nan"):
        monkeypatch.setenv("LOOKALIKE_LOCK_TIMEOUT", nonsense)
        with (
            pytest.raises(
                InputError, match=f"LOOKALIKE_LOCK_TIMEOUT={nonsense} is invalid"
            ),
            hold(str(tmp_path)),
        ):
            pass


def test_a_long_wait_is_logged_once_and_ends_with_the_release(
    holder, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(lock, "_WARN_AFTER_SECONDS", 0.1)
    process = holder()
    threading.Timer(0.5, process.kill).start()
    with caplog.at_level(logging.WARNING, "lookalike"), hold(str(tmp_path)):
        assert [record.getMessage().split(" on ")[0] for record in caplog.records] == [
            f"Waiting for process {process.pid}"
        ]


def test_the_two_locks_are_independent(holder, tmp_path):
    holder(UPKEEP)
    with hold(str(tmp_path), WRITER, timeout=0):
        pass
    with pytest.raises(BusyError), hold(str(tmp_path), UPKEEP, timeout=0):
        pass


def test_a_lock_is_reentrant_in_one_thread_only(tmp_path):
    tried = []

    def other():
        try:
            with hold(str(tmp_path), timeout=0):
                tried.append("hold")
        except BusyError:
            tried.append("busy")

    with hold(str(tmp_path)), hold(str(tmp_path / ".." / tmp_path.name), timeout=0):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    other()
    assert tried == ["busy", "hold"]


def test_a_missing_folder_is_named(tmp_path):
    with (
        pytest.raises(
            CollectionError,
            match=r"none could not be written: its folder no longer exists",
        ),
        hold(str(tmp_path / "none")),
    ):
        pass


@pytest.fixture
def collection(tmp_path):
    return make_collection(tmp_path / "c", clusters(4, 5)[0])


@pytest.mark.slow
def test_reading_takes_no_lock(collection, tmp_path):
    (tmp_path / "c" / WRITER).unlink()
    with hold(collection.path):
        reader = subprocess.run(
            [sys.executable, "-m", "lookalike", "info", "-c", collection.path],
            check=False,
        )
    assert reader.returncode == 0
    (tmp_path / "c" / WRITER).unlink()
    table = Table.open(collection.path)
    table.select("width is null")
    table.vectors(SPACE)
    table.failures()
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["images.lance"]


def test_without_file_locks_a_warning_is_logged_and_new_orphans_stay(
    collection, monkeypatch, caplog
):
    def none(_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    stray = Path(collection.path, "images.lance", "data", "stray.lance")
    stray.write_bytes(b"stray")
    young, old = (Path(collection.path, name) for name in (".images.aa", ".images.bb"))
    for begun, age in ((young, 12 * 3600), (old, 36 * 3600)):
        begun.mkdir()
        os.utime(begun, (time.time() - age,) * 2)
    monkeypatch.setattr(local_location, "try_lock", none)
    with caplog.at_level(logging.WARNING, "lookalike"):
        add_rows(collection, np.eye(16, dtype=np.float32))
    assert collection.count() == 36
    message = caplog.records[0].getMessage()
    assert message == (
        f"The file system of {collection.path} has no locks (No locks available). "
        "Let no other process change the collection."
    )
    optimize(collection)
    assert [file.exists() for file in (stray, young, old)] == [True, True, False]
    monkeypatch.undo()
    optimize(collection)
    assert [file.exists() for file in (stray, young)] == [False, False]


def test_a_lock_that_fails_for_another_reason_is_an_error(collection, monkeypatch):
    def broken(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(local_location, "try_lock", broken)
    with pytest.raises(
        CollectionError,
        match=r"could not be written: its disk failed .*Input/output error",
    ):
        add_rows(collection, np.eye(16, dtype=np.float32))
