"""Serving images in a TorchServe worker."""

from pathlib import Path

# The file an archive carries: all that TorchServe imports by itself.
ENTRY = Path(__file__).with_name("torchserve_entry.py")

# Of a server's environment: how many a worker computes with, where its archive does not say.
THREADS = "FALCONET_THREADS"
# Likewise: what models compute in, whatever their archives say.
PRECISION = "FALCONET_PRECISION"
# Likewise: a file that keeps which precision was measured to be the fastest, for each model.
MEASURED = "FALCONET_MEASURED"
# Likewise: how many models share the cores.
MODELS = "FALCONET_MODELS"

# Where the JSON ends in a body with binary data after it, by the Open Inference Protocol.
LENGTH_HEADER = "inference-header-content-length"
# Of a request for an explanation: the label of the class that is explained.
CLASS_HEADER = "X-Explain-Class"

# Metrics of every version of a model: requests whose batch has come, and requests answered.
BEGUN = "falconet_requests_begun_total"
REQUESTS = "falconet_requests_total"
# Of predictions alone: those that got status 200, and the seconds that workers have spent on
# batches with one.
SUCCEEDED = "falconet_predictions_succeeded_total"
BATCH_SECONDS = "falconet_batch_seconds_total"
