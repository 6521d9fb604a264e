"""A loaded text tower: texts in, vectors out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lookalike.errors import ModelError
from lookalike.io.reasons import first_line
from lookalike.models import onnx_files, tensors, weights
from lookalike.models.embedder import finish_vectors
from lookalike.models.sessions.session import GraphPort, GraphSession, open_session
from lookalike.models.text.reader import ReadText
from lookalike.models.text.tokenizer import Tokenizer, import_tokenizers
from lookalike.tracing import span
from lookalike.types import Model, TextTower, VectorsF32

__all__ = ["TextEmbedder", "TowerReader", "load_text", "shared_text"]

_INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids")
_INTEGERS: Final = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}

_Features = npt.NDArray[Any]


def load_text(model: Model, *, threads: int = 0, fold: bool = True) -> TextEmbedder:
    """Load the text tower of a Model, and download its files if they are not here.

    Parameters
    ----------
    model
        A Model with a text tower.
    threads
        The number of threads that one text may use; 0 for one per core.
    fold
        As `lookalike.models.sessions.session.open_session`; False for few texts.

    Raises
    ------
    ModelError
        If the Model has no text tower, a file cannot be used, or ``tokenizers`` is not installed.
    WeightsError
        If a file is missing or its hash does not match.
    """
    if model.text is None:
        raise ModelError(
            f"The model {model.name!r} has no text tower: it embeds only images. Index with "
            "one that has, such as siglip2-base-patch16-224."
        )
    with span(f"load text of {model.name}"):
        return TextEmbedder(model, threads=threads, fold=fold)


class _LastTower:
    """The tower of the text that came last, for all versions of a collection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fingerprint = ""
        self._tower: TextEmbedder | None = None

    def get(self, model: Model) -> TextEmbedder:
        fingerprint = model.fingerprint
        with self._lock:
            is_of_another = self._fingerprint != fingerprint
            if self._tower is None or is_of_another:
                # Two towers at once may need more memory than there is.
                self._tower = None
                self._tower = load_text(model)
                self._fingerprint = fingerprint
            return self._tower


_LAST_TOWER = _LastTower()


def shared_text(model: Model) -> TextEmbedder:
    """Return the text tower of a Model, loaded only if the one before was another.

    Raises
    ------
    ModelError, WeightsError
        As `load_text`.
    """
    return _LAST_TOWER.get(model)


class TowerReader:
    """Reads texts by the tower of a Model, of which this process keeps only the last one used.

    Whoever keeps a reader does not keep its tower: two Spaces with towers take turns.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        # Files that are missing or refused are an error here.
        shared_text(model)

    def read(self, text: str) -> ReadText:
        """Return a text as a vector; the tower is loaded if another one was used since.

        Raises
        ------
        InputError, ModelError, WeightsError
            As `TextEmbedder.read` and `load_text`.
        """
        tower = shared_text(self._model)
        return tower.read(text)


class TextEmbedder:
    """The text tower of a Model. Several threads may call `embed` at the same time."""

    def __init__(self, model: Model, *, threads: int = 0, fold: bool = True) -> None:
        tower = model.text
        assert tower is not None  # noqa: S101 (for the type checker)
        self.model = model
        self._tower: TextTower = tower
        # Without the package, nothing is downloaded.
        import_tokenizers(model)
        tokenizer_path = weights.find(model, "text.tokenizer")
        self._tokenizer = Tokenizer(model, tokenizer_path)
        self._projection = _read_projection(model, tower)
        self._graph_path = weights.find(model, "text.graph")
        self._session = self._open(threads, fold=fold)
        self._inputs = self._check_inputs()

    def embed(self, texts: Sequence[str]) -> VectorsF32:
        """Return the vectors of some texts, float32 ``[n, dim]``.

        Each text is run alone: the 8-bit graphs round by the largest number of a batch.

        Raises
        ------
        InputError
            If a text has no word, or none that the tower knows.
        ModelError
            If the graph fails or gives vectors of another length.
        """
        model = self.model
        vectors = np.empty((len(texts), model.dim), np.float32)
        for number, text in enumerate(texts):
            ids, mask = self._tokenizer.encode(text)
            features = self._run(ids, mask)
            vectors[number] = self._project(features)
        return finish_vectors(model, vectors)

    def read(self, text: str) -> ReadText:
        """Return a text as a vector, float32 ``[dim]``; the tower reads the whole of it.

        Raises
        ------
        InputError, ModelError
            As `embed`.
        """
        (vector,) = self.embed([text])
        return ReadText(vector, (text,))

    def _open(self, threads: int, *, fold: bool) -> GraphSession:
        tower = self._tower
        path = self._graph_path
        source: Path | bytes = path
        # A graph that takes numbers from outside its folder is refused before it is opened.
        onnx_files.data_files(path)
        # A file with both towers would ask for images too.
        if self.model.image_input is not None and tower.output:
            source = onnx_files.extract_part(path, _INPUTS, tower.output)
        return open_session(source, threads=threads, fold=fold)

    def _check_inputs(self) -> Sequence[GraphPort]:
        inputs = self._session.get_inputs()
        expected = ", ".join(_INPUTS)
        for port in inputs:
            name = port.name
            kind = port.type
            if name in _INPUTS and kind in _INTEGERS:
                continue
            raise ModelError(
                f"The text graph {self._graph_path} takes {name} {kind}; expected only integers "
                f"named {expected}. Give another graph."
            )
        return inputs

    def _run(self, ids: _Features, mask: _Features) -> _Features:
        """Return the output of the graph for one text, pooled to ``[features]``."""
        values = {
            "input_ids": ids,
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(ids),
        }
        inputs = {}
        for port in self._inputs:
            integers = values[port.name].astype(_INTEGERS[port.type])
            inputs[port.name] = integers[np.newaxis]
        output_names = [self._output_name()]
        try:
            (output,) = self._session.run(output_names, inputs)
        # The errors of a runtime share no base class.
        except Exception as error:
            reason = first_line(error)
            raise ModelError(
                f"The text graph {self._graph_path} failed: {reason}. Its tokenizer and its "
                "context must be those of the graph."
            ) from error
        features = np.asarray(output)
        return self._pool(features, mask)

    def _output_name(self) -> str:
        outputs = self._session.get_outputs()
        names = [port.name for port in outputs]
        wanted = self._tower.output or names[0]
        if wanted not in names:
            listed = ", ".join(names)
            raise ModelError(
                f"The text graph {self._graph_path} has no output {wanted!r}; it has {listed}."
            )
        return wanted

    def _pool(self, features: _Features, mask: _Features) -> _Features:
        """Reduce the output for one text, ``[1, tokens, features]`` or ``[1, features]``."""
        pooling = self._tower.pooling
        expected_rank = 2 if pooling == "none" else 3
        dtype = features.dtype
        shape = list(features.shape)
        is_numeric = dtype.kind in "fiu"
        if len(shape) != expected_rank or not is_numeric:
            raise ModelError(
                f"The text graph {self._graph_path} gives {dtype} of shape {shape}, and "
                f"the description says pooling = {pooling!r}. Set output and pooling of [text]."
            )
        values: _Features = features[0].astype(np.float32)
        if pooling == "none":
            return values
        # Places that only fill the context do not count.
        is_token = mask.astype(bool)
        if pooling == "first":
            is_token[1:] = False
        counted = values[is_token]
        mean: _Features = counted.mean(axis=0)
        return mean

    def _project(self, features: _Features) -> _Features:
        projected = features
        matrix = self._projection
        if matrix is not None and matrix.shape[1] == len(features):
            projected = matrix @ features
        dim = self.model.dim
        if len(projected) != dim:
            raise ModelError(
                f"The text tower of the model {self.model.name!r} gives {len(features)} features, "
                f"and the vectors of its images have {dim} numbers. Set output, pooling and "
                "projection of [text]."
            )
        return projected


def _read_projection(model: Model, tower: TextTower) -> _Features | None:
    """Return the matrix of the last layer, float32 ``[dim, features]``; None if there is none."""
    if tower.projection is None:
        return None
    path = weights.find(model, "text.projection")
    named = tensors.read_tensors(path)
    shapes = {name: list(tensor.shape) for name, tensor in named.items()}
    matrices = list(named.values())
    if len(matrices) != 1 or matrices[0].ndim != 2:
        raise ModelError(
            f"The projection {path} of the model {model.name!r} holds {shapes}; expected one "
            f"matrix [{model.dim}, features]. Give another file."
        )
    return matrices[0].astype(np.float32)
