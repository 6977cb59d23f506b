"""How many samples of a network are run at once, and how far a long stage is.

Every neuron of every step leaves bytes behind: spikes, membranes and what is made of them. A large network runs in
small batches, so that they fit `MEMORY`; a small one in as large ones as ever.
"""

import time
from collections.abc import Callable, Iterator

MEMORY = 2**30  # bytes of a batch, with all that its run leaves behind
MOST = 64  # samples at once
TOLD_S = 60.0  # between two words on how far a stage is


def at_once(neuron_steps: int, bytes_each: int, most: int = MOST) -> int:
    """neuron_steps: of one sample. bytes_each: what one leaves behind."""
    return max(1, min(most, MEMORY // max(1, neuron_steps * bytes_each)))


def batches(samples: int, some: int, tell: Callable[[str], None]) -> Iterator[slice]:
    """`some` samples at a time; says now and then how many are done, and how long the rest will take."""
    start = told = time.monotonic()
    for first in range(0, samples, some):
        yield slice(first, min(first + some, samples))
        done, now = min(first + some, samples), time.monotonic()
        if now - told >= TOLD_S and done < samples:
            told, left = now, (now - start) * (samples - done) / done
            tell(f"{done} of {samples} samples, {round(left / 60)} min left")
