"""Keeps glibc from returning the memory of large tensors to the system after every use."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Reuse freed memory directly, instead of mapping and zeroing it again page by page.

    Without this, page faults take a good part of a training step on a CPU. The process keeps its
    peak size. Does nothing with a C library other than glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, LARGEST)
