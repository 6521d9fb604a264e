"""Calibration of an 8-bit network on the images of the run that first uses it.

Activations are measured on half of a small sample. On the other half, the 8-bit vectors are
compared with those of the float network. A network that loses too much is refused before anything
is written.
docs/decisions/0051-calibration-on-first-use.md has the measurements.
"""

from __future__ import annotations

import hashlib
import heapq
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from lookalike import imaging
from lookalike.errors import ModelError
from lookalike.indexing.worker import LoadedImage, Task, Worker
from lookalike.io.processors import cores
from lookalike.models import registry, weights
from lookalike.models.held_calibration import hold_calibration
from lookalike.sources import Source
from lookalike.store.diff import ContentIndex
from lookalike.tracing import span
from lookalike.types import Item, Model

__all__ = ["MIN_FIDELITY", "CalibratedNetwork", "Calibrator"]

# The least cosine of 8-bit vectors to the float network's, about their mean.
MIN_FIDELITY = 0.99

# The images that are read, half of which are measured. More do not help: see the decision.
_CHOSEN_IMAGES = 128
# If fewer can be read, synthetic images of the drawn sample make up this number.
_LEAST_IMAGES = 32

_PreparedImage = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class CalibratedNetwork:
    """A network that was calibrated on first use.

    Attributes
    ----------
    model
        The name of its Model.
    images
        The number of images that were measured.
    compared
        The number of other images, on which the vectors were compared.
    drawn
        The number of images, of both kinds, that come from the drawn sample.
    cosine
        The mean cosine of the 8-bit vectors to the float ones, about the float vectors' mean.
    """

    model: str
    images: int
    compared: int
    drawn: int
    cosine: float

    def __str__(self) -> str:
        text = (
            f"The model {self.model} was calibrated on {self.images} images. On {self.compared} "
            f"others, its vectors have a mean cosine of {self.cosine:.4f} to those of the float "
            "network, about their mean."
        )
        if self.drawn:
            text += f" {self.drawn} of the images are synthetic, because too few could be read."
        return text


class Calibrator:
    """Calibrates the networks of an index run that have no calibration yet.

    Parameters
    ----------
    source
        The images that are about to be indexed.
    max_pixels
        Images with more pixels are passed over.

    Attributes
    ----------
    calibrated
        The networks that were calibrated, in order.
    """

    def __init__(self, source: Source, max_pixels: int) -> None:
        self.calibrated: list[CalibratedNetwork] = []
        self._source = source
        self._max_pixels = max_pixels

    def calibrate(self, model: Model) -> Model:
        """Return an 8-bit Model with a calibration that was measured on images of the source.

        The same images give the same calibration on the same kind of processor.

        Raises
        ------
        ModelError
            If the 8-bit vectors differ too much from those of the float network.
        WeightsError
            If the weights are missing or their hash does not match.
        """
        # A missing file is named before any image is read.
        weights.find(model)
        name = model.name
        logger = logging.getLogger(__name__)
        message = f"The model {name} is calibrated on some of the images first."
        logger.warning(message)
        step = f"calibrate {name}"
        with span(step):
            return self._calibrate(model)

    def _calibrate(self, model: Model) -> Model:
        # Imported only here: few runs calibrate, and onnx takes long to import.
        from lookalike.models.calibration import calibrate
        from lookalike.models.fidelity import cosine_about_mean

        images = self._prepare_images(model)
        own_count = len(images)
        missing = max(0, _LEAST_IMAGES - own_count)
        drawn = _draw_images(model, missing)
        images += drawn
        to_measure = np.stack(images[::2])
        to_compare = np.stack(images[1::2])

        calibration = calibrate(model, [to_measure])
        calibrated = hold_calibration(model, calibration)
        cosine = cosine_about_mean(calibrated, to_compare)
        result = CalibratedNetwork(
            model.name,
            images=len(to_measure),
            compared=len(to_compare),
            drawn=missing,
            cosine=cosine,
        )
        # A cosine that is not a number fails too.
        is_faithful = cosine >= MIN_FIDELITY
        if not is_faithful:
            raise _unfaithful_error(model, result)
        self.calibrated.append(result)
        return calibrated

    def _prepare_images(self, model: Model) -> list[_PreparedImage]:
        """Return readable images of the source, each content once, as the network's inputs."""
        items = _choose_items(self._source)
        loaded = self._load(items, model)
        inputs = {}
        for image in loaded:
            prepared = image.inputs.get(model.name)
            if prepared is not None:
                inputs[image.sha256] = prepared
        return list(inputs.values())

    def _load(self, items: Sequence[Item], model: Model) -> list[LoadedImage]:
        """Read and decode images as an index run does."""
        no_contents = ContentIndex.of([], [])
        models = {model.name: model}
        worker = Worker(models, no_contents, self._max_pixels)
        tasks = [Task(item) for item in items]
        reads = worker.begin(tasks)
        try:
            with ThreadPoolExecutor(cores(), "calibrate") as pool:
                loaded = pool.map(worker.load, tasks, reads)
                return list(loaded)
        finally:
            worker.close()


def _choose_items(source: Source) -> list[Item]:
    """Return a random choice of Items in the order of the source; it reads none of them.

    The hashes of their uris decide, so that the same images give the same choice.
    """
    placed = enumerate(source)
    chosen = heapq.nsmallest(_CHOSEN_IMAGES, placed, key=_uri_hash)
    # An archive is read from its beginning to its end.
    chosen.sort(key=itemgetter(0))
    return [item for _, item in chosen]


def _uri_hash(placed: tuple[int, Item]) -> bytes:
    _, item = placed
    content = item.uri.encode()
    digest = hashlib.sha256(content)
    return digest.digest()


def _draw_images(model: Model, count: int) -> list[_PreparedImage]:
    """Return the first images of the drawn sample, each of another class than the last one."""
    if count == 0:
        return []
    # Imported only here: hardly any run draws.
    from lookalike.datasets.sample import CLASSES, draw_sample_image

    images = []
    for number in range(count):
        index, class_number = divmod(number, len(CLASSES))
        label = CLASSES[class_number]
        image = draw_sample_image(label, index)
        prepared = imaging.prepare(image, model)
        images.append(prepared)
    return images


def _unfaithful_error(model: Model, result: CalibratedNetwork) -> ModelError:
    remedy = 'Set precision = "f32" in its description.'
    float_name = _float_name(model)
    if float_name is not None:
        remedy = f"Use the float network: --model {float_name}"
    return ModelError(
        f"The model {model.name!r} was calibrated on {result.images} images, and loses too much in "
        f"8 bits: on {result.compared} others, its vectors have a mean cosine of "
        f"{result.cosine:.4f} to those of the float network, about their mean; expected at least "
        f"{MIN_FIDELITY}. The Space was not made. {remedy}"
    )


def _float_name(model: Model) -> str | None:
    """Return the name of the float network with the weights of a Model in the catalog."""
    catalog = registry.catalog()
    for name, other in catalog.items():
        has_weights = other.weights == model.weights
        if has_weights and other.precision == "f32":
            return name
    return None
