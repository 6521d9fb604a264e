"""Models: the catalogue, their weights, their graphs, and the embedders that run them."""

import os

# Unless this is set before it is loaded, ONNX Runtime reports its use to its maker, and keeps an identifier for that in
# the user's cache folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
