"""The few errors a user can meet.

Each message is one line: the invariant, the values, the name of the file or node, the next step. `cli.py` prints it and
ends with exit code 1. Everything else that is raised is a defect of spikeport and keeps its traceback.
"""


class SpikeportError(Exception):
    """A known error, told in one line."""


class InputError(SpikeportError):
    """A file, a data set, a setting or an array is not what it has to be."""


class UnsupportedError(SpikeportError):
    """The network has a feature that the target cannot carry without changing its numbers."""


class ToolError(SpikeportError):
    """Something outside this process (Python 3.10, Lava) is missing, failed or ran past its time limit."""
