"""The calibration of an 8-bit network: a file, or a part of the Model that fills a Space.

A calibration that was measured on a user's images exists nowhere else. The Model holds it, so that
each copy of the collection, and each machine that works on it, builds the same graph.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from safetensors import numpy as safetensors

from lookalike.errors import ModelError
from lookalike.models import tensors, weights
from lookalike.models.tensors import Tensor
from lookalike.types import Model, VectorsF32, Weights

__all__ = ["hold_calibration", "open_calibration"]

_FILE_NAME = "calibration.safetensors"
_LARGEST_MEAN = float(np.finfo(np.float16).max)


def hold_calibration(model: Model, calibration: Mapping[str, VectorsF32]) -> Model:
    """Return a Model with a calibration as a part of it.

    Parameters
    ----------
    model
        An 8-bit Model.
    calibration
        The statistics that `lookalike.models.calibration.calibrate` returns. The means are kept as
        float16: they correct biases, and the correction needs no more digits.
    """
    held: dict[str, Tensor] = {}
    for name, values in calibration.items():
        held[name] = values
        if name.endswith(".mean"):
            small = np.clip(values, -_LARGEST_MEAN, _LARGEST_MEAN)
            held[name] = small.astype(np.float16)
    content = safetensors.save(held)
    encoded = base64.b64encode(content)
    file = Weights(
        file=_FILE_NAME, sha256=_digest_of(content), content=encoded.decode()
    )
    return replace(model, calibration=file)


def open_calibration(model: Model) -> dict[str, Tensor]:
    """Return the calibration of an 8-bit Model.

    Raises
    ------
    ModelError
        If it has none, or holds a damaged one.
    WeightsError
        If the file of the calibration is missing, is damaged, or has another hash.
    """
    file = model.calibration
    name = model.name
    if file is None:
        raise ModelError(
            f"The model {name!r} computes in 8 bits and is not calibrated yet. Index images "
            f"with it, which calibrates it on them: lookalike index FOLDER --model {name}"
        )
    if file.content is None:
        path = weights.find(model, "calibration")
        return tensors.read_tensors(path)

    try:
        content = base64.b64decode(file.content)
        held = safetensors.load(content)
    # The errors of safetensors share no base class.
    except Exception as error:
        raise ModelError(
            f"The calibration in the model {name!r} is damaged. "
            "Restore the collection from a backup."
        ) from error
    is_promised = _digest_of(content) == file.sha256
    if not is_promised:
        raise ModelError(
            f"The calibration in the model {name!r} does not match the sha256 recorded there. "
            "Restore the collection from a backup."
        )
    return {key: values.astype(np.float32) for key, values in held.items()}


def _digest_of(content: bytes) -> str:
    digest = hashlib.sha256(content)
    return digest.hexdigest()
