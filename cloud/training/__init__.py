"""Training and publishing of models."""

import os

# onnxruntime 1.31 uploads usage data to its maker unless told otherwise before it is loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
