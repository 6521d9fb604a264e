"""Images and collections at ``gs://``, by the XML API of Google Cloud Storage."""

from __future__ import annotations

import pytest

import made
from lookalike.errors import CollectionError
from lookalike.store.table import Table
from stored_collection import check_store


@pytest.fixture
def bucket(object_store, monkeypatch) -> str:
    """The uri of an empty bucket, which the environment reaches."""
    for name, value in object_store.google_environment().items():
        monkeypatch.setenv(name, value)
    return f"gs://{object_store.bucket}"


def test_images_and_a_collection_in_google_cloud_storage(bucket, tmp_path):
    check_store(f"{bucket}/photos", f"{bucket}/tables", tmp_path)


def test_a_collection_in_google_cloud_storage_is_not_overwritten(bucket):
    table = made.make_collection(f"{bucket}/pets", made.drawn(5, dim=8))
    with pytest.raises(CollectionError, match="is not empty"):
        Table.create(f"{bucket}/pets", list(table.models.values()))
    assert table.reopen().count() == 5
