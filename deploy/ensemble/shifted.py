"""Images that no member has seen the like of: each test image moved and disturbed by one rule, the same every time."""

from dataclasses import dataclass

import numpy as np

from ...search.data.datasets import Dataset, Images

SEED = 0  # of the disturbance alone: the same images for every ensemble
FEWER_FLIPS = 0.1  # spikes flip with a tenth of the noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifted:
    """images: as they came in. rule: what was done to them, a sentence."""

    images: Images
    rule: str


def shifted(images: Images, dataset: Dataset, moved: float, noise: float) -> Shifted:
    """Moved down and to the right by that part of their size, what is left empty black; then disturbed.

    Images get Gaussian noise of `noise` times the standard deviation of all their pixels. Of frames of spikes each
    place flips with a probability of a tenth of `noise`.
    """
    rng, sides = np.random.default_rng(SEED), images.shape[-2:]
    down, right = (round(moved * side) for side in sides)
    frames = images.ndim == 5
    found = np.empty(images.shape, np.float32)
    found[...] = 0 if frames else dataset.black[:, None, None]
    found[..., down:, right:] = images[..., : sides[0] - down, : sides[1] - right]
    where = f"each test image moved by {down} rows and {right} columns, empty places black"
    if frames:
        flips = rng.random(found.shape, np.float32) < FEWER_FLIPS * noise
        rule = f"{where}, then spikes flipped with probability {FEWER_FLIPS * noise:g}"
        return Shifted(images=np.where(flips, 1 - found, found).astype(np.uint8), rule=rule)
    deviation = noise * float(images.std())
    found += np.float32(deviation) * rng.standard_normal(found.shape, np.float32)
    return Shifted(images=found, rule=f"{where}, then Gaussian noise of standard deviation {deviation:.3g}")
