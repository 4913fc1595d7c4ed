"""Checks and measurements of a machine with a GPU, within a time limit."""

import time

BEGAN = time.monotonic()  # before importing torch, which takes seconds of the limit
