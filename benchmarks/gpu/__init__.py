"""What a machine with a GPU computes, and how fast, within a time limit."""

import time

BEGAN = time.monotonic()  # here, as importing torch takes seconds of the limit
