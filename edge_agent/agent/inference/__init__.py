"""Models on the gateway: fetched, verified, shadowed, swapped, rolled back; one batch per cycle."""

import os

# onnxruntime 1.31 collects usage data, keeps them in a database below the home folder and uploads them to its
# maker. A site speaks to nobody but its own cloud, and this must be said before the library is loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
