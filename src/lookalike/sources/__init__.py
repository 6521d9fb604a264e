"""Where images come from."""

from lookalike.sources.local import EXTENSIONS, Labels, Scan, from_uri, prefixes, to_uri

__all__ = ["EXTENSIONS", "Labels", "Scan", "from_uri", "prefixes", "to_uri"]
