"""Memory that is freed stays with the process, because the next step takes as much again.

Otherwise GNU's allocator gives large blocks back to the system with every step, and pages that come anew have to be
cleared. Elsewhere nothing is changed.
"""

import ctypes
import os

# Of mallopt(3): parameters and their values in bytes.
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
KEPT = {TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 2**28, MMAP_THRESHOLD: 2**25}


def keep_freed_memory() -> None:
    """For the rest of this process."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        for parameter, value in KEPT.items():
            mallopt(parameter, value)
