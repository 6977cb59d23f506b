import numpy as np
import pytest
import torch

from spikeport.search.settings.training import TrainingSettings
from spikeport.search.space.network import NetworkConfig
from spikeport.search.training.sizes import resized, size_at


def config(rows: int, columns: int, stem_stride: int) -> NetworkConfig:
    return NetworkConfig(
        channels=1, cells=3, time_steps=1, classes=2, input_shape=(3, rows, columns), stem_stride=stem_stride
    )


@pytest.mark.parametrize(
    ("stem_stride", "sides"),
    [
        (1, [16, 20, 24, 28, 32, 32]),  # multiples of 4
        (2, [16, 16, 24, 32, 32, 32]),  # of 8; 20 and 28 are between two, and the even number of eights is taken
    ],
)
def test_sizes_by_hand(stem_stride: int, sides: list[int]) -> None:
    """From half the side, in 4 of 8 epochs."""
    settings = TrainingSettings(first_size=0.5, growth_share=0.5)
    sizes = [size_at(settings, config(32, 32, stem_stride), 2, epoch, 8) for epoch in range(6)]
    assert sizes == [(side, side) for side in sides]


def test_sides_of_their_own_that_can_be_halved() -> None:
    settings = TrainingSettings(first_size=0.1)
    assert size_at(settings, config(32, 64, 1), 3, 0, 8) == (8, 8)
    assert size_at(TrainingSettings(), config(32, 64, 1), 3, 0, 8) == (32, 64)


def test_one_row_stays() -> None:
    assert size_at(TrainingSettings(first_size=0.5), config(1, 64, 1), 2, 0, 8) == (1, 32)


def test_a_pixel_is_the_mean_of_its_area() -> None:
    images = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert resized(images, (4, 4)) is images
    assert resized(frames := images.expand(1, 2, 1, 4, 4), (4, 4)) is frames
    np.testing.assert_array_equal(resized(images, (2, 2))[0, 0], [[2.5, 4.5], [10.5, 12.5]])
