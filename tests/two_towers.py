"""A small network of two towers, trained on drawn images, in the layout of the hub's repositories.

The image tower is one matrix over 32 x 32 pixels, fitted by least squares. The text tower is a
table of words, whose vectors are added. Both give one number for each kind and each color.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from lookalike import imaging
from lookalike.datasets.sample import draw_sample_image
from lookalike.types import Model

SIDE = 32
CONTEXT = 8
PADDING, END, UNKNOWN = 0, 1, 2

# The numbers of drawn images whose main color is red, and of some others.
RED = {"car": (0, 7, 13), "cat": (14, 16), "sailboat": (6, 9)}
OTHERS = {"car": (1, 2, 4, 6, 8), "cat": (0, 1, 3), "sailboat": (0, 1, 2)}
MEANINGS = ("car", "cat", "sailboat", "red")
FILLERS = ("a", "photo", "of", "the")

REPOSITORY = "made/two-towers"
REVISION = "c0ffee" * 6 + "beef"
VISION = "onnx/vision_model.onnx"
TEXT = "onnx/text_model_int8.onnx"
TOKENIZER = "tokenizer.json"


@dataclass
class TwoTowers:
    """The written images and files: ``images/<kind>/…`` and ``repository/…``."""

    folder: Path

    @property
    def images(self) -> Path:
        return self.folder / "images"

    def read(self, name: str) -> bytes:
        """Return the content of a file of the repository."""
        return (self.folder / "repository" / name).read_bytes()

    def hub_files(self) -> dict[str, bytes]:
        """Return the repository's files by their paths on a hub."""
        files = {}
        for name in (VISION, TEXT, TOKENIZER):
            files[f"/{REPOSITORY}/resolve/{REVISION}/{name}"] = self.read(name)
        return files

    def describe(self, place: dict[str, str] | None = None, text: str = "") -> str:
        """Return a description in TOML.

        Each file is pinned to the hub, or to the url that `place` gives for its name.
        """

        def file(name: str) -> str:
            body = self.read(name)
            where = f'hub = "{REPOSITORY}@{REVISION}/{name}"'
            if place is not None:
                where = f'url = "{place[name]}"'
            digest = hashlib.sha256(body).hexdigest()
            return (
                f'file = "made-{Path(name).name}"\nsize = {len(body)}\nsha256 = "{digest}"\n'
                f'{where}\nlicense = "MIT"\nnotice = "Made for tests."\n'
            )

        return f"""
title = "Two small towers"
architecture = "onnx"
size = [{SIDE}, {SIDE}]
filter = "bilinear"
mean = [127.5, 127.5, 127.5]
std = [127.5, 127.5, 127.5]
output = "pooler_output"
pooling = "none"
dim = {len(MEANINGS)}
[weights]
{file(VISION)}
[text]
context = {CONTEXT}
padding = {PADDING}
lower_case = true
strip_punctuation = true
output = "pooler_output"
{text}
[text.graph]
{file(TEXT)}
[text.tokenizer]
{file(TOKENIZER)}
"""


def write_two_towers(folder: Path) -> None:
    """Draw the images, fit the network to them, and write both."""
    inputs, targets = [], []
    model = Model("made", "made", "onnx", (SIDE, SIDE), 4, filter="bilinear")
    for kind, red in RED.items():
        for index in (*red, *OTHERS[kind]):
            color = "red" if index in red else "other"
            path = folder / "images" / kind / f"{color}-{kind}-{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw_sample_image(kind, index).save(path)
            with Image.open(path) as image:
                pixels = imaging.prepare(image.convert("RGB"), model)
            inputs.append((pixels.astype(np.float32) - 127.5) / 127.5)
            targets.append([float(meaning in {kind, color}) for meaning in MEANINGS])

    stacked = np.stack(inputs).transpose(0, 3, 1, 2).reshape(len(inputs), -1)
    # Ridge regression in its dual form: there are more pixels than images.
    similar = stacked @ stacked.T
    penalty = 1e-3 * np.trace(similar) / len(similar)
    ridge = similar + penalty * np.eye(len(similar))
    matrix = stacked.T @ np.linalg.solve(ridge, np.array(targets))

    repository = folder / "repository"
    (repository / "onnx").mkdir(parents=True)
    onnx.save(vision_graph(matrix.astype(np.float32)), repository / VISION)
    onnx.save(text_graph(), repository / TEXT)
    (repository / TOKENIZER).write_text(json.dumps(tokenizer_file()), "utf-8")


def graph(nodes, inputs, outputs, numbers) -> onnx.ModelProto:
    initializers = [
        numpy_helper.from_array(array, name) for name, array in numbers.items()
    ]
    made = helper.make_graph(nodes, "made", inputs, outputs, initializers)
    opset = helper.make_opsetid("", 17)
    return helper.make_model(made, opset_imports=[opset], ir_version=8)


def vision_graph(matrix: np.ndarray) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Flatten", ["pixel_values"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["pooler_output"]),
    ]
    pixels = helper.make_tensor_value_info(
        "pixel_values", TensorProto.FLOAT, ["n", 3, SIDE, SIDE]
    )
    output = helper.make_tensor_value_info("pooler_output", TensorProto.FLOAT, ["n", 4])
    return graph(nodes, [pixels], [output], {"matrix": matrix})


def vocabulary() -> dict[str, int]:
    words = ("<pad>", "</s>", "<unk>", *FILLERS, *MEANINGS)
    return {word: number for number, word in enumerate(words)}


def text_graph() -> onnx.ModelProto:
    """Return a graph that takes exactly `CONTEXT` tokens, as that of SigLIP 2 does."""
    table = np.zeros((len(vocabulary()), len(MEANINGS)), np.int8)
    for place, word in enumerate(MEANINGS):
        table[vocabulary()[word], place] = 100
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("DequantizeLinear", ["rows", "scale", "zero"], ["numbers"]),
        # A text of another length does not fit the places.
        helper.make_node("Mul", ["numbers", "places"], ["placed"]),
        helper.make_node(
            "ReduceSum", ["placed", "axis"], ["pooler_output"], keepdims=0
        ),
    ]
    numbers = {
        "table": table,
        "scale": np.array(0.01, np.float32),
        "zero": np.array(0, np.int8),
        "places": np.ones((1, CONTEXT, 1), np.float32),
        "axis": np.array([1], np.int64),
    }
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", "tokens"])
    output = helper.make_tensor_value_info("pooler_output", TensorProto.FLOAT, ["n", 4])
    return graph(nodes, [ids], [output], numbers)


def tokenizer_file() -> dict:
    """Return a ``tokenizer.json`` that splits at spaces and appends an end, as SigLIP's does."""
    end = {"id": "</s>", "ids": [END], "tokens": ["</s>"]}
    special = [
        {"id": number, "content": word, "single_word": False, "lstrip": False,
         "rstrip": False, "normalized": False, "special": True}
        for word, number in list(vocabulary().items())[:3]
    ]  # fmt: skip
    return {
        "version": "1.0",
        "truncation": None,
        # Both are replaced by those of the description.
        "padding": {
            "strategy": {"Fixed": 1_000_000_000},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "<pad>",
        },
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "</s>", "type_id": 0}},
            ],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 0}},
            ],
            "special_tokens": {"</s>": end},
        },
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary(), "unk_token": "<unk>"},
    }
