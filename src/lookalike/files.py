"""Files that are whole or not there at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["removed_if_torn", "replacing"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file to write, which takes the place of `path` once the block ends without an error.

    Raises
    ------
    OSError
        If the folder cannot be written, or its disk is full; its ``filename`` says which.
    """
    temporary = path.with_name(f".{secrets.token_hex(6)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made here and not by the caller, so that it is surely new, with the rights of any other new file.
        temporary.open("xb").close()
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        # The system does not say which file it could not write to, and the temporary one is known to nobody.
        if error.filename in {None, str(temporary)}:
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def removed_if_torn(folder: Path) -> Iterator[None]:
    """Remove a folder that the block makes, if the block ends with an error."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
