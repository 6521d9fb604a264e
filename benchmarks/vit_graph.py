"""A graph of the shape of ViT-B/16 with random weights, as exporters write it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, PATCH, DIM, BLOCKS, HEADS = 224, 16, 768, 12, 12
TOKENS = (SIDE // PATCH) ** 2
HEAD_DIM = DIM // HEADS


class VitBuilder:
    """Builds the graph node by node (Dosovitskiy et al., 2021, arXiv:2010.11929)."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def write(self, path: Path) -> None:
        """Write the graph: float32 ``[n, 3, 224, 224]`` in, float32 ``[n, 768]`` out."""
        x = self._embed_patches("images")
        for _ in range(BLOCKS):
            x = self._node("Add", x, self._attention(self._norm(x)))
            x = self._node("Add", x, self._perceptron(self._norm(x)))
        x = self._norm(x)
        mean = helper.make_node("ReduceMean", [x], ["vectors"], axes=[1], keepdims=0)
        ports = []
        for name, shape in (("images", ["n", 3, SIDE, SIDE]), ("vectors", ["n", DIM])):
            port = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            ports.append(port)
        graph = helper.make_graph(
            [*self._nodes, mean], "vit", ports[:1], ports[1:], self._constants
        )
        opset = helper.make_opsetid("", 17)
        onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)

    def _embed_patches(self, images: str) -> str:
        kernel = self._weights(DIM, 3, PATCH, PATCH, inputs=3 * PATCH * PATCH)
        x = self._node("Conv", images, kernel, strides=[PATCH, PATCH])
        x = self._node("Reshape", x, self._integers(0, DIM, TOKENS))
        x = self._node("Transpose", x, perm=[0, 2, 1])
        return self._node("Add", x, self._weights(1, TOKENS, DIM, inputs=2500))

    def _norm(self, x: str) -> str:
        scale = self._constant(np.ones(DIM, np.float32))
        return self._node("LayerNormalization", x, scale, axis=-1, epsilon=1e-6)

    def _attention(self, x: str) -> str:
        parts = {}
        for part in ("query", "key", "value"):
            projected = self._linear(x, DIM, DIM)
            shape = self._integers(0, TOKENS, HEADS, HEAD_DIM)
            heads = self._node("Reshape", projected, shape)
            order = [0, 2, 3, 1] if part == "key" else [0, 2, 1, 3]
            parts[part] = self._node("Transpose", heads, perm=order)
        scores = self._node("MatMul", parts["query"], parts["key"])
        scores = self._node("Mul", scores, self._constant(np.float32(HEAD_DIM**-0.5)))
        shares = self._node("Softmax", scores, axis=-1)
        mixed = self._node("MatMul", shares, parts["value"])
        mixed = self._node("Transpose", mixed, perm=[0, 2, 1, 3])
        mixed = self._node("Reshape", mixed, self._integers(0, TOKENS, DIM))
        return self._linear(mixed, DIM, DIM)

    def _perceptron(self, x: str) -> str:
        x = self._linear(x, DIM, 4 * DIM)
        # GELU: x / 2 * (1 + erf(x / sqrt(2))).
        scaled = self._node("Div", x, self._constant(np.float32(2**0.5)))
        error = self._node("Erf", scaled)
        factor = self._node("Add", error, self._constant(np.float32(1)))
        x = self._node("Mul", x, factor)
        x = self._node("Mul", x, self._constant(np.float32(0.5)))
        return self._linear(x, 4 * DIM, DIM)

    def _linear(self, x: str, inputs: int, outputs: int) -> str:
        x = self._node("MatMul", x, self._weights(inputs, outputs, inputs=inputs))
        return self._node("Add", x, self._constant(np.zeros(outputs, np.float32)))

    def _weights(self, *shape: int, inputs: int) -> str:
        values = self._random.normal(size=shape) / np.sqrt(inputs)
        return self._constant(values.astype(np.float32))

    def _integers(self, *values: int) -> str:
        return self._constant(np.array(values, np.int64))

    def _constant(self, value: np.ndarray | np.generic) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _node(self, operator: str, *inputs: str, **attributes: object) -> str:
        name = f"{operator.lower()}_{len(self._nodes)}"
        node = helper.make_node(operator, inputs, [name], name, **attributes)
        self._nodes.append(node)
        return name
