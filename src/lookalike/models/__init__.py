"""Models: the catalog, their weights and graphs, and the embedders that run them."""

import os

# Unless this is set before ONNX Runtime is loaded, it reports its use to its maker and keeps an
# identifier of the user in the cache folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
