"""Keep freed memory: glibc else hands big tensors back to the kernel, to be faulted in anew."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
KEEP = 2**25  # bytes: the most that glibc takes, and more than the largest tensor of a small net


def keep_freed_memory() -> bool:
    """Call once at start-up; True if it took effect, False where the C library is not glibc."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    return all(libc.mallopt(option, KEEP) for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD))
