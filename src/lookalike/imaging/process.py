"""Settings of the process that decoders share: warnings, messages, and Pillow's cap on pixels."""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

from PIL import Image, _imaging

__all__ = ["no_warnings", "pillow_cap", "pillow_cap_for", "silence_decoders"]

_LOGGERS = ("PIL", "tifffile")

# Held while Pillow's process-wide cap on pixels is changed.
_cap_lock = threading.Lock()


def _ignored_warnings() -> warnings.catch_warnings[None]:
    return warnings.catch_warnings(action="ignore")


class _NoWarnings:
    """Suppress warnings while any thread decodes.

    The filters belong to the process. The first thread in suppresses them and the last one out
    restores them: threads that each did both would restore the suppression of another one, and
    leave it in place for good.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = 0
        self._filters = _ignored_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._threads == 0:
                filters = _ignored_warnings()
                filters.__enter__()
                self._filters = filters
            self._threads += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._threads -= 1
            if self._threads == 0:
                self._filters.__exit__(None, None, None)


no_warnings = _NoWarnings()


@cache
def silence_decoders() -> None:
    """Keep decoders from printing about damaged files; they raise their findings anyway."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        handler = logging.NullHandler()
        logger.addHandler(handler)
        logger.propagate = False
    # libtiff is linked into Pillow's extension module, and prints by itself.
    with suppress(AttributeError, OSError):
        path = _imaging.__file__
        library = ctypes.CDLL(path)
        library.TIFFSetErrorHandler(None)


@contextmanager
def pillow_cap(max_pixels: int) -> Iterator[None]:
    """Raise Pillow's cap on pixels to `max_pixels`; threads that do so wait for one another.

    Pillow enforces twice its number. The cap belongs to the process, so it is never lowered. It is
    never lifted either, because some formats allocate the whole image while it is opened.
    """
    with _cap_lock:
        previous = Image.MAX_IMAGE_PIXELS
        if previous is not None:
            half = -(-max_pixels // 2)
            Image.MAX_IMAGE_PIXELS = max(previous, half)
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = previous


@contextmanager
def pillow_cap_for(pixels: int, max_pixels: int) -> Iterator[None]:
    """Raise Pillow's cap as `pillow_cap` does, but only for an image of more pixels than it."""
    with _cap_lock:
        cap = Image.MAX_IMAGE_PIXELS
    if cap is None or pixels <= cap:
        yield
        return
    with pillow_cap(max_pixels):
        yield
