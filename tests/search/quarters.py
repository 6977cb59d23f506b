"""Images that a tiny network learns at once."""

from pathlib import Path

import numpy as np


def quarters_npz(folder: Path, images: int) -> str:
    """So many images of 8x8 in four classes, the quarter that is lit, as a data set, a fifth of them to test on."""
    random, labels = np.random.default_rng(0), np.arange(images) % 4
    pixels = random.integers(0, 120, (images, 2, 4, 2, 4))
    pixels[np.arange(images), labels // 2, :, labels % 2] += 100
    pixels = pixels.reshape(images, 8, 8, 1).astype(np.uint8)
    train, test = folder / "train.npz", folder / "test.npz"
    np.savez(train, images=pixels[: images * 4 // 5], labels=labels[: images * 4 // 5])
    np.savez(test, images=pixels[images * 4 // 5 :], labels=labels[images * 4 // 5 :])
    return f"npz:{train},{test}"
