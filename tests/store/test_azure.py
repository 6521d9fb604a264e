"""Images and collections at ``az://``, against Azurite, where it is installed.

``npm install azurite`` installs it. It is found as ``azurite-blob`` on the path, or as the file
that ``LOOKALIKE_AZURITE`` names.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
import time
from email.utils import formatdate

import httpx
import pytest

from stored_collection import check_store

AZURITE = os.environ.get("LOOKALIKE_AZURITE") or shutil.which("azurite-blob")
# The account that every Azurite has.
ACCOUNT = "devstoreaccount1"
KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/"
    "K1SZFPTOtr/KBHBeksoGMGw=="
)
VERSION = "2021-08-06"

pytestmark = pytest.mark.skipif(AZURITE is None, reason="Azurite is not installed")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    """The address of a running Azurite with the containers ``photos`` and ``tables``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("azurite")
    command = [
        *(AZURITE, "--silent", "--skipApiVersionCheck"),
        *("--location", str(folder), "--blobPort", str(port)),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
        try:
            for name in ("photos", "tables"):
                create_container(process, endpoint, name)
            yield endpoint
        finally:
            process.terminate()


def create_container(process, endpoint, name):
    """Make a container, as soon as the server answers."""
    date = formatdate(usegmt=True)
    lines = [
        *("PUT", *[""] * 11, f"x-ms-date:{date}", f"x-ms-version:{VERSION}"),
        *(f"/{ACCOUNT}/{ACCOUNT}/{name}", "restype:container"),
    ]
    key = base64.b64decode(KEY)
    digest = hmac.new(key, "\n".join(lines).encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": date,
        "x-ms-version": VERSION,
        "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
    }
    while True:
        try:
            url = f"{endpoint}/{name}?restype=container"
            response = httpx.put(url, headers=headers, timeout=60)
        except httpx.ConnectError:
            assert process.poll() is None, "Azurite ended"
            time.sleep(0.05)
        else:
            assert response.status_code == 201, response.text
            return


@pytest.fixture
def azure(endpoint, monkeypatch):
    """The environment that reaches the server."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", endpoint)
    monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")


def test_images_and_a_collection_in_azure(azure, tmp_path):
    check_store("az://photos", "az://tables", tmp_path)
