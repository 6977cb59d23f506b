"""Made-up syllables: signals of one dimension that need no download. Nothing was recorded; a seed makes them all.

A sample is [16, 1, 64], the energies in 16 frequency bands over 64 frames, as speech recognition gets sound (bands are
channels, time is the one axis of the kernels). One or two formants, bumps of energy over the bands, move through a
syllable from where they begin to where they end:

    energy[band, frame] = loudness * envelope(frame) * sum over formants of exp(-((band - centre(frame)) / 1.2)^2)
                          + hiss

Classes come in pairs: of each of the five PATHS one goes forward and one backward. Over time both have the same
energies, so that what tells them apart is the order, which the mean over time does not keep. Drawn for each sample:
begin and length of the syllable, a shift of all formants by up to a band, the formants' loudness, and the hiss of every
pixel. Draws are uniform numbers of PCG64 alone, and energies are rounded to 8 bits, so that they are the same wherever
they are made.
"""

import numpy as np
from numpy.typing import NDArray

BANDS, FRAMES = 16, 64
TRAIN, TEST = 1200, 400
SEED = 0
# (bands at which formants begin, at which they end)
PATHS: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = (
    ((3.0,), (8.0,)),
    ((7.0,), (13.0,)),
    ((3.0, 12.0), (6.0, 8.0)),
    ((2.0, 7.0), (4.0, 13.0)),
    ((5.0, 13.0), (2.0, 10.0)),
)
CLASSES = 2 * len(PATHS)
WIDTH = 1.2  # of a formant, in bands
LENGTHS = 24.0, 44.0  # of a syllable, in frames
LOUDNESS = 0.5, 0.9
HISS = 0.25
NOTE = (
    f"signals are made up: {BANDS} frequency bands over {FRAMES} frames, {CLASSES} syllables of one or two formants "
    "that move; nothing was recorded"
)

Energies = NDArray[np.uint8]  # [N, 1, 64, 16]: as pixels are kept, rows, columns, channels


def syllables() -> tuple[Energies, NDArray[np.int64], Energies, NDArray[np.int64]]:
    """Train samples and classes, test samples and classes; every class as often as the others."""
    rng = np.random.Generator(np.random.PCG64(SEED))
    samples, classes = _drawn(rng, TRAIN + TEST)
    return samples[:TRAIN], classes[:TRAIN], samples[TRAIN:], classes[TRAIN:]


def _drawn(rng: np.random.Generator, count: int) -> tuple[Energies, NDArray[np.int64]]:
    """Class i is path i // 2, forward where i is even."""
    classes = np.arange(count) % CLASSES
    length = _between(rng, count, *LENGTHS)
    begin = rng.random(count) * (FRAMES - length)
    shift, loudness = _between(rng, count, -1.0, 1.0), _between(rng, count, *LOUDNESS)
    energies = HISS * rng.random((count, BANDS, FRAMES))
    along = (np.arange(FRAMES) - begin[:, None]) / length[:, None]  # [N, frames], 0..1 inside of the syllable
    envelope = np.where((along >= 0) & (along <= 1), np.sin(np.pi * np.clip(along, 0, 1)) ** 0.5, 0.0)
    along = np.where(classes[:, None] % 2 == 0, along, 1 - along)
    for number in range(count):
        for first, last in zip(*PATHS[classes[number] // 2], strict=True):
            centre = first + (last - first) * along[number] + shift[number]
            distance = (np.arange(BANDS)[:, None] - centre) / WIDTH
            energies[number] += loudness[number] * envelope[number] * np.exp(-(distance**2))
    whole = np.round(255 * np.clip(energies, 0, 1)).astype(np.uint8)
    return whole.transpose(0, 2, 1)[:, None], classes.astype(np.int64)


def _between(rng: np.random.Generator, count: int, low: float, high: float) -> NDArray[np.float64]:
    return low + (high - low) * rng.random(count)
