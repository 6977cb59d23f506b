"""Which of torchrun's processes this one is. Imports no torch, so that a command knows whether to talk at once."""

import os


def launched() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def is_first() -> bool:
    """Whether this process is the one that writes files and talks, also before and after `processes.joined`."""
    return launched() == 1 or os.environ["RANK"] == "0"


def local_rank() -> int:
    """The number of this process on its machine, from 0."""
    return int(os.environ["LOCAL_RANK"]) if launched() > 1 else 0
