"""What a command took: time, and memory at its peak."""

import sys
import time

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

GIB = 2**30


def spent(start: float) -> str:
    """In one sentence. start: of `time.monotonic`."""
    took = round(time.monotonic() - start)
    clock = f"{took // 3600}:{took // 60 % 60:02d}:{took % 60:02d}"
    if resource is None:
        return f"took {clock}"
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    here, helpers = (
        unit * resource.getrusage(who).ru_maxrss / GIB for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    beside = f", and {helpers:.1f} GiB in a process beside it" if helpers >= 0.1 else ""
    return f"took {clock} and at most {here:.1f} GiB of memory{beside}"
