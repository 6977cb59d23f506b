"""The few errors a user can meet.

Each message is one line: the invariant, the values, the name of the file or node, the next step. `cli.py` prints it and
ends with exit code 1. Everything else that is raised is a defect of spikeport and keeps its traceback.
"""

import errno
import unicodedata

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # EFBIG: of a limit set by ulimit, too
# how torch says it, in a RuntimeError
NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "calculation overflowed",
    "multiplication overflow",
)


class SpikeportError(Exception):
    """A known error, told in one line."""


class InputError(SpikeportError):
    """A file, a data set, a setting or an array is not what it has to be."""


class UnsupportedError(SpikeportError):
    """The network has a feature that the target cannot carry without changing its numbers."""


class ToolError(SpikeportError):
    """Something outside this process (Python 3.10, Lava) is missing, failed or ran past its time limit."""


def told(error: Exception) -> str | None:
    """The one line for an error that a user can meet; None for a defect, which keeps its traceback."""
    if isinstance(error, SpikeportError):
        return _one_line(str(error))
    if isinstance(error, OSError):
        return f"{error.strerror}; make room and run the command again." if error.errno in FULL else None
    if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
        return "This takes more memory than there is; make the network, the batch or the input smaller."
    return None


def _one_line(text: str) -> str:
    """Line breaks and other control characters escaped, of whatever name or file they came from."""
    return "".join(
        repr(letter)[1:-1] if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") else letter
        for letter in text
    )
