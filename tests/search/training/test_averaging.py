import pytest
import torch
from torch import nn

from spikeport.search.training.averaging import WeightAverage


def test_average_by_hand() -> None:
    """Weights 8, 4, 2 with decay 0.5: 8; (0.5 * 8 + 4) / 1.5; (0.25 * 8 + 0.5 * 4 + 2) / 1.75."""
    network = nn.Linear(1, 1, bias=False)
    average, found = WeightAverage(network, 0.5), []
    for steps, weight in ((1, 8.0), (2, 4.0), (3, 2.0)):
        nn.init.constant_(network.weight, weight)
        average.update(steps)
        found.append(average.network.weight.item())
    assert found == pytest.approx([8, 8 / 1.5, 6 / 1.75])


def test_norms_are_averaged_and_their_batches_counted() -> None:
    norm = nn.BatchNorm1d(1)
    average = WeightAverage(norm, 0.5)
    for steps, mean in ((1, 6.0), (2, 0.0)):
        norm.running_mean.fill_(mean)
        norm.num_batches_tracked.fill_(steps)
        average.update(steps)
    assert average.network.running_mean.item() == pytest.approx(0.5 * 6 / 1.5)
    assert average.network.num_batches_tracked == 2
    assert not average.network.weight.requires_grad


def test_a_network_keeps_its_weights() -> None:
    network = nn.Linear(2, 2)
    before = network.weight.detach().clone()
    WeightAverage(network, 0.9).update(1)
    assert torch.equal(network.weight, before)
