"""A network with the shapes of SigLIP 2's base size, and random weights.

The image tower is a ViT-B/16 for 224 x 224 pixels in 32-bit floats. The text tower reads 64 tokens
of a vocabulary of 256,000. Its weights have 8 bits, and each layer rounds its input by the largest
number.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH, HEADS, LAYERS, HIDDEN = 768, 12, 12, 3072
SIDE, PATCH = 224, 16
PATCHES = (SIDE // PATCH) ** 2
TOKENS, VOCABULARY, PAIRS = 64, 256_000, 580_604

DESCRIPTION = f"""
title = "The shapes of SigLIP 2 base, random weights"
architecture = "onnx"
size = [{SIDE}, {SIDE}]
filter = "bilinear"
mean = [127.5, 127.5, 127.5]
std = [127.5, 127.5, 127.5]
output = "pooler_output"
pooling = "none"
dim = {WIDTH}
weights = {{ file = "vision_model.onnx" }}
[text]
context = {TOKENS}
padding = 0
lower_case = true
output = "pooler_output"
graph = {{ file = "text_model_int8.onnx" }}
tokenizer = {{ file = "tokenizer.json" }}
"""


def write_towers(folder: Path, seed: int) -> Path:
    """Write both graphs, the tokenizer and the description, and return the description's path."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(_vision(Tower(rng, quantized=False)), folder / "vision_model.onnx")
    onnx.save(_text(Tower(rng, quantized=True)), folder / "text_model_int8.onnx")
    tokenizer = json.dumps(_tokenizer(rng))
    (folder / "tokenizer.json").write_text(tokenizer, "utf-8")
    description = folder / "towers.toml"
    description.write_text(DESCRIPTION, "utf-8")
    return description


class Tower:
    """Builds a transformer, node by node."""

    def __init__(self, rng: np.random.Generator, *, quantized: bool) -> None:
        self.rng = rng
        self.quantized = quantized
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def random(self, *shape: int) -> str:
        """Add random weights."""
        numbers = self.rng.standard_normal(shape, np.float32)
        numbers *= 0.02
        return self.constant(numbers)

    def random_int8(self, *shape: int) -> str:
        return self.constant(self.rng.integers(-127, 128, shape, np.int8))

    def node(
        self, kind: str, *inputs: str, outputs: int = 1, **attributes: object
    ) -> str:
        """Add a node and return the name of its first output; others follow as ``name_1``."""
        name = f"n{len(self.nodes)}"
        names = [name, *(f"{name}_{number}" for number in range(1, outputs))]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return name

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        bias = self.random(outputs)
        if not self.quantized:
            product = self.node("MatMul", x, self.random(inputs, outputs))
            return self.node("Add", product, bias)
        rounded = self.node("DynamicQuantizeLinear", x, outputs=3)
        weights = self.random_int8(inputs, outputs)
        zero = self.constant(np.array(0, np.int8))
        product = self.node("MatMulInteger", rounded, weights, f"{rounded}_2", zero)
        floats = self.node("Cast", product, to=TensorProto.FLOAT)
        weight_scale = self.constant(np.array(0.0003, np.float32))
        scale = self.node("Mul", f"{rounded}_1", weight_scale)
        return self.node("Add", self.node("Mul", floats, scale), bias)

    def normalize(self, x: str) -> str:
        ones = self.constant(np.ones(WIDTH, np.float32))
        zeros = self.constant(np.zeros(WIDTH, np.float32))
        return self.node("LayerNormalization", x, ones, zeros, epsilon=1e-6)

    def attention(self, x: str, length: int) -> str:
        split = self.constant(np.array([0, length, HEADS, WIDTH // HEADS], np.int64))
        joined = self.constant(np.array([0, length, WIDTH], np.int64))
        heads = []
        for order in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
            projected = self.node("Reshape", self.linear(x, WIDTH, WIDTH), split)
            heads.append(self.node("Transpose", projected, perm=order))
        query, key, value = heads
        root = self.constant(np.array((WIDTH // HEADS) ** -0.5, np.float32))
        scores = self.node("Mul", self.node("MatMul", query, key), root)
        mixed = self.node("MatMul", self.node("Softmax", scores, axis=-1), value)
        back = self.node("Transpose", mixed, perm=[0, 2, 1, 3])
        return self.linear(self.node("Reshape", back, joined), WIDTH, WIDTH)

    def layer(self, x: str, length: int) -> str:
        attended = self.node("Add", x, self.attention(self.normalize(x), length))
        hidden = self.linear(self.normalize(attended), WIDTH, HIDDEN)
        slope = self.constant(np.array(1.702, np.float32))
        gate = self.node("Sigmoid", self.node("Mul", hidden, slope))
        active = self.node("Mul", hidden, gate)
        return self.node("Add", attended, self.linear(active, HIDDEN, WIDTH))

    def finish(self, x: str, given: onnx.ValueInfoProto) -> onnx.ModelProto:
        self.nodes.append(helper.make_node("Identity", [x], ["pooler_output"]))
        output = helper.make_tensor_value_info(
            "pooler_output", TensorProto.FLOAT, ["n", WIDTH]
        )
        graph = helper.make_graph(
            self.nodes, "towers", [given], [output], self.constants
        )
        opset = helper.make_opsetid("", 18)
        return helper.make_model(graph, opset_imports=[opset], ir_version=9)


def _vision(tower: Tower) -> onnx.ModelProto:
    pixels = helper.make_tensor_value_info(
        "pixel_values", TensorProto.FLOAT, ["n", 3, SIDE, SIDE]
    )
    kernels = tower.random(WIDTH, 3, PATCH, PATCH)
    patches = tower.node("Conv", "pixel_values", kernels, strides=[PATCH, PATCH])
    flat = tower.constant(np.array([0, WIDTH, PATCHES], np.int64))
    sequence = tower.node(
        "Transpose", tower.node("Reshape", patches, flat), perm=[0, 2, 1]
    )
    x = tower.node("Add", sequence, tower.random(1, PATCHES, WIDTH))
    # One more layer stands for the pooling head, which has as many weights.
    for _ in range(LAYERS + 1):
        x = tower.layer(x, PATCHES)
    axis = tower.constant(np.array([1], np.int64))
    pooled = tower.node("ReduceMean", tower.normalize(x), axis, keepdims=0)
    return tower.finish(pooled, pixels)


def _text(tower: Tower) -> onnx.ModelProto:
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", "tokens"])
    table = tower.random_int8(VOCABULARY, WIDTH)
    rows = tower.node("Gather", table, "input_ids")
    scale = tower.constant(np.array(0.0003, np.float32))
    zero = tower.constant(np.array(0, np.int8))
    words = tower.node("DequantizeLinear", rows, scale, zero)
    x = tower.node("Add", words, tower.random(1, TOKENS, WIDTH))
    for _ in range(LAYERS):
        x = tower.layer(x, TOKENS)
    last = tower.constant(np.array(TOKENS - 1, np.int64))
    pooled = tower.node("Gather", tower.normalize(x), last, axis=1)
    return tower.finish(tower.linear(pooled, WIDTH, WIDTH), ids)


def _tokenizer(rng: np.random.Generator) -> dict[str, object]:
    """Return a byte-pair tokenizer of the full vocabulary, with as many pairs as Gemma's."""
    letters = ["\u2581", *"etaoinshrdlcumwfgypbvkjxqz"]
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", *letters]
    known = set(pieces)
    while len(pieces) < VOCABULARY:
        # Every part of a word is a piece, so that each piece can be split in several ways.
        word = "".join(rng.choice(letters, 6))
        for length in range(2, 7):
            for start in range(7 - length):
                piece = word[start : start + length]
                if piece not in known and len(pieces) < VOCABULARY:
                    known.add(piece)
                    pieces.append(piece)
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    merges = []
    for piece in pieces[4:]:
        for place in range(1, len(piece)):
            merges.append([piece[:place], piece[place:]])
    merges = merges[:PAIRS]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {
            "type": "Replace",
            "pattern": {"String": " "},
            "content": "\u2581",
        },
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "vocab": vocabulary,
            "merges": merges,
            "unk_token": "<unk>",
        },
    }
