"""The few errors a user can meet.

Each message is one line: the invariant, the values, the name of the file or node, the next step. `cli.py` prints it and
ends with exit code 1. Everything else that is raised is a defect of spikeport and keeps its traceback.
"""

import errno

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # EFBIG: of a limit set by ulimit, too
# how torch says it, in a RuntimeError
NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "calculation overflowed",
    "multiplication overflow",
)
LONGEST = 400  # letters of a message


class SpikeportError(Exception):
    """A known error, told in one line of printable letters, whatever the names and files that it speaks of."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class InputError(SpikeportError):
    """A file, a data set, a setting or an array is not what it has to be."""


class UnsupportedError(SpikeportError):
    """The network has a feature that the target cannot carry without changing its numbers."""


class ToolError(SpikeportError):
    """Something outside this process (Python 3.10, Lava) is missing, failed or ran past its time limit."""


def told(error: Exception) -> str | None:
    """The one line for an error that a user can meet; None for a defect, which keeps its traceback."""
    if isinstance(error, SpikeportError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror}; make room and run the command again." if error.errno in FULL else None
    if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
        return "This takes more memory than there is; make the network, the batch or the input smaller."
    return None


def one_line(text: str) -> str:
    """What cannot be printed is escaped, and the middle of a text of more than LONGEST letters left out."""
    if len(text) > 2 * LONGEST:  # before each letter is looked at
        text = f"{text[:LONGEST]} ... {text[-LONGEST:]}"
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST * 5 // 8]} ... {text[-LONGEST // 4 :]}"
