"""Fan-outs against a walk over every weight, and against the projections that are exported."""

import pytest
import torch
from torch import nn

from spikeport.search.objective.fan_out import FAN_OUT, taps
from spikeport.search.space.primitives import PRIMITIVES, FactorizedReduce, to_one_row

CHANNELS = 3
CASES = sorted({name: build for table in PRIMITIVES.values() for name, build in table.items()}.items())


def test_taps_by_hand() -> None:
    assert taps(4, 3, 1, 1).tolist() == [2, 3, 3, 2]  # a row at the rim is out of reach of one tap
    assert taps(4, 3, 1, 2).tolist() == [1, 2, 1, 1]  # targets stand on rows 0 and 2: row 1 is near both
    assert taps(5, 3, 2, 1).tolist() == [2, 2, 3, 2, 2]
    assert taps(2, 5, 1, 1).tolist() == [2, 2]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (4, 6), (2, 2), (1, 8), (1, 2)])
@pytest.mark.parametrize(("name", "build"), CASES, ids=[name for name, _ in CASES])
def test_every_output_that_a_neuron_reaches(name: str, build: object, size: tuple[int, int], stride: int) -> None:
    """One spike at a time through the operation with all weights 1: the outputs that are not zero are its synapses."""
    operation = build(CHANNELS, stride)
    if size[0] == 1:
        to_one_row(operation)
    for module in operation.modules():
        if isinstance(module, (nn.Conv2d, FactorizedReduce)):
            nn.init.ones_(module.weight)
    found = FAN_OUT[name](size, CHANNELS, stride)
    for channel in range(CHANNELS):
        for y in range(size[0]):
            for x in range(size[1]):
                spikes = torch.zeros(1, 1, CHANNELS, *size)
                spikes[0, 0, channel, y, x] = 1
                assert operation(spikes).count_nonzero() == found[y, x], (channel, y, x)
