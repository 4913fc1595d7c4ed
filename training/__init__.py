"""Training by recipes."""

import os

# cuBLAS reads it once in a process, at the first product, which may be long before a deterministic
# run. Others compute the same with it.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
