import pytest
import torch
from torch import nn

from spikeport.search.training import averaging
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


def test_norms_are_counted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches of two images, of one pixel: means 2 and 7, variances 2 and 18 of a sample."""
    monkeypatch.setattr(averaging, "EVALUATION_BATCH", 3)
    norm = nn.BatchNorm2d(1)
    norm.running_mean.fill_(100.0)
    norm.num_batches_tracked.fill_(9)
    average = WeightAverage(norm, 0.5)
    average.settle(torch.tensor([1.0, 3.0, 4.0, 10.0]).view(4, 1, 1, 1))
    assert average.network.running_mean.item() == pytest.approx(4.5)
    assert average.network.running_var.item() == pytest.approx(10)
    assert (average.network.num_batches_tracked, average.network.momentum) == (9, 0.1)
    assert (norm.running_mean, average.network.weight.requires_grad) == (100, False)


def test_a_network_keeps_its_weights() -> None:
    network = nn.Linear(2, 2)
    before = network.weight.detach().clone()
    WeightAverage(network, 0.9).update(1)
    assert torch.equal(network.weight, before)
