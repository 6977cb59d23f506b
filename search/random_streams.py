"""Random numbers that depend on a seed, a stream and an epoch, and on nothing that was drawn before."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

STREAMS = (
    "halves",
    "search weights",
    "search alphas",
    "validation",
    "train",
    "train weights",
    "auxiliary",
    "random cells",
    "trials",
    "teacher weights",
    "teacher",
    "finetune",
    "scores",
    "search relays",
    "strategy",
    "predictors",
    "search draws",
    "sharpness",
    "elastic weights",
    "elastic batches",
    "elastic paths",
    "elastic noise",
    "neighbours",
)


def generator(seed: int, stream: str, epoch: int = 0) -> np.random.Generator:
    """Random numbers that depend on nothing but the arguments, so that a resumed run draws what it would have drawn."""
    return np.random.default_rng([seed, STREAMS.index(stream), epoch])


@contextmanager
def seeded(seed: int, stream: str) -> Iterator[None]:
    """Torch's random numbers depend on (seed, stream) inside the block, and go on undisturbed after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(seed, stream).integers(2**63)))
        yield
