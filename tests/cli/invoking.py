"""The command line in this process, and arrays of Python objects, which nobody here writes by pickling."""

import io
import sys

import numpy as np
import pytest

from spikeport import cli


def invoke(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Run the command line in this process; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["spikeport", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def objects() -> bytes:
    """An `.npy` file that says it holds a Python object, and ends there."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    return file.getvalue()
