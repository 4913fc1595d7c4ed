"""Keeps glibc from giving the memory of large tensors back to the system after every use."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Let freed memory be used again at once, instead of being mapped and zeroed page by page.

    Without it, a good part of a training step on a CPU is spent in page faults. The process stays
    as large as it once was. Does nothing where the C library is another one.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, LARGEST)
