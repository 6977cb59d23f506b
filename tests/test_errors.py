"""What `main` prints of an error: one line for those that a user can meet, nothing for defects."""

import errno

import pytest

from spikeport.errors import InputError, told


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("'a' is missing; write it."), "'a' is missing; write it."),
        (InputError("'a\nb\x1b[31m\u202e'"), r"'a\nb\x1b[31m\u202e'"),  # names can hold anything
        (InputError("„Größe“ 3 µJ"), "„Größe“ 3 µJ"),
        (OSError(errno.ENOSPC, "No space left"), "No space left; make room and run the command again."),
        (MemoryError(), "This takes more memory than there is; make the network, the batch or the input smaller."),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "This takes more memory than there is; make the "
         "network, the batch or the input smaller."),
        (RuntimeError("shapes do not match"), None),
        (OSError(errno.EIO, "Input/output error"), None),
    ],
)  # fmt: skip
def test_told(error: Exception, line: str | None) -> None:
    assert told(error) == line
