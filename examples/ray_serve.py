"""Serve a collection by two replicas on a Ray cluster.

pip install 'lookalike[cloud]' 'ray[serve]'
LOOKALIKE_TOKEN=... serve run ray_serve:search collection=s3://bucket/pictures
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from fastapi import FastAPI
from ray import serve

from lookalike.server.app import make_app
from lookalike.server.settings import ServerSettings


def search(options: Mapping[str, str]) -> serve.Application:
    """Return the application; `options` are the words after its name."""
    collection = options["collection"]
    settings = ServerSettings(
        token=os.environ["LOOKALIKE_TOKEN"], hosts=None, read_only=True, originals=False
    )

    def make_replica() -> FastAPI:
        return make_app([collection], settings)

    @serve.deployment(num_replicas=2)
    @serve.ingress(make_replica)
    class Search:
        """Answers the page and the REST API."""

    return Search.bind()
