"""Attention as constants: exact where gates are constant, the nearest in squares elsewhere, refused over time."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from spikeport.errors import InputError, UnsupportedError
from spikeport.search.settings.network import Attention
from spikeport.search.space.attention import CBAM, ECA, TCS, Gated
from spikeport.search.space.folding import ChannelFactor, fold_attention, with_factors
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork
from spikeport.search.space.predict import predict

SETTINGS = NetworkConfig(channels=4, cells=3, time_steps=2, classes=3, input_shape=(1, 8, 8))
IMAGES = np.random.default_rng(0).random((70, 1, 8, 8), np.float32)  # more than one batch


def network(attention: Attention, learned: bool = True) -> SpikingNetwork:
    torch.manual_seed(0)
    found = SpikingNetwork(random_genotype(np.random.default_rng(0), "plain"), replace(SETTINGS, attention=attention))
    for module in found.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.uniform_(module.bias, 0.0, 0.6)
        if isinstance(module, Gated) and learned:
            for weight in module.parameters():
                nn.init.normal_(weight, std=0.5)
    with torch.no_grad():
        found(torch.from_numpy(IMAGES))
    functional.reset_net(found)
    return found.eval()


class Alone(nn.Module):
    """One attention, on currents that are given, [N, T, C, H, W]."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, images: Tensor) -> Tensor:
        return self.attention(images.transpose(0, 1)).mean(0)


class Gates(nn.Module):
    """Somebody's own attention: gates that are given."""

    def __init__(self, *gates: Tensor) -> None:
        super().__init__()
        self.given = gates

    def factors(self, current: Tensor) -> dict[str, Tensor]:
        return {f"gate{i}": gate for i, gate in enumerate(self.given)}

    def forward(self, current: Tensor) -> Tensor:
        for gate in self.factors(current).values():
            current = current * gate
        return current


@pytest.mark.parametrize("kind", [ECA, CBAM, TCS])
def test_gates_that_have_learned_nothing_become_one(kind: Any) -> None:
    images = np.random.default_rng(1).random((5, 2, 4, 3, 3), np.float32)
    folded, found = fold_attention(Alone(kind(4)), images)
    assert found["attention"].factor == (1.0,) * 4
    assert found["attention"].missed == 0.0
    assert torch.equal(folded(torch.from_numpy(images)), Alone(kind(4))(torch.from_numpy(images)))


def test_a_constant_gate_folds_exactly() -> None:
    gate = torch.tensor([0.5, 2.0, 0.25])[None, None, :, None, None]
    images = np.random.default_rng(1).normal(size=(9, 2, 3, 2, 2)).astype(np.float32)
    network = Alone(Gates(gate))
    folded, found = fold_attention(network, images)
    assert found["attention"].factor == (0.5, 2.0, 0.25)
    assert found["attention"].missed == pytest.approx(0.0, abs=1e-12)
    assert found["attention"].gates == {
        "gate0": {"mean": pytest.approx(2.75 / 3), "over_images": 0.0, "over_positions": 0.0}
    }
    assert torch.equal(folded(torch.from_numpy(images)), network(torch.from_numpy(images)))


def test_the_factor_is_the_nearest_in_squares_and_what_it_misses() -> None:
    """One channel, two positions with gates 1 and 0, currents 2 and 1: (4 * 1 + 1 * 0) / (4 + 1)."""
    gate = torch.tensor([1.0, 0.0]).view(1, 1, 1, 1, 2)
    images = np.array([2.0, 1.0], np.float32).reshape(1, 1, 1, 1, 2)
    _, found = fold_attention(Alone(Gates(gate)), images)
    assert found["attention"].factor == pytest.approx((0.8,))
    assert found["attention"].missed == pytest.approx((0.4**2 + 0.8**2) / 4)  # left: 2 - 1.6 and 0 - 0.8, of 2
    assert found["attention"].gates["gate0"] == {"mean": 0.5, "over_images": 0.0, "over_positions": 0.5}


def test_a_silent_channel_keeps_its_factor_of_one() -> None:
    images = np.zeros((2, 1, 2, 1, 1), np.float32)
    images[:, :, 1] = 1.0
    _, found = fold_attention(Alone(Gates(torch.full((1, 1, 1, 1, 1), 0.5))), images)
    assert found["attention"].factor == (1.0, 0.5)


def test_a_gate_over_time_is_refused() -> None:
    message = (
        r"^Layer 'cells\.0\.n1\.attention': its gate 'step' differs by [\d.e-]+ between time steps, which is no "
        r"constant factor \(at most 0\.01 is taken for one\); train with --attention eca, cbam or spike\.$"
    )
    with pytest.raises(UnsupportedError, match=message):
        fold_attention(network("tcs"), IMAGES)
    folded, _ = fold_attention(network("tcs", learned=False), IMAGES)  # equal in every step
    assert any(isinstance(module, ChannelFactor) for module in folded.modules())


def test_a_gate_that_differs_in_one_image_alone_is_seen() -> None:
    gate = torch.ones(2, 5, 1, 1, 1)
    gate[1, 3] = 1.02
    with pytest.raises(UnsupportedError, match=r"'gate0' differs by 0\.02 between"):
        fold_attention(Alone(Gates(gate)), np.ones((5, 2, 1, 1, 1), np.float32))


@pytest.mark.parametrize("attention", ["eca", "cbam"])
def test_a_network_is_copied_and_every_module_folded(attention: Attention) -> None:
    live = network(attention)
    before = {name: value.clone() for name, value in live.state_dict().items()}
    answers = predict(live, IMAGES)
    folded, found = fold_attention(live, IMAGES)
    assert list(found) == [f"cells.{i}.n{j}.attention" for i in range(3) for j in range(1, 5)]
    assert all(torch.equal(value, before[name]) for name, value in live.state_dict().items())
    assert torch.equal(predict(live, IMAGES), answers)
    factors = {path: module.factor for path, module in found.items()}
    assert torch.equal(predict(with_factors(live, factors), IMAGES), predict(folded, IMAGES))
    first, *others = factors["cells.0.n1.attention"]
    factors["cells.0.n1.attention"] = (-first, *others)
    assert not torch.equal(predict(with_factors(live, factors), IMAGES), predict(folded, IMAGES))


def test_what_cannot_be_folded() -> None:
    with pytest.raises(InputError, match=r"^The network has no attention that depends on its input, so there is"):
        fold_attention(network("none"), IMAGES)
    with pytest.raises(InputError, match=r"no attention that depends on its input"):
        fold_attention(network("spike"), IMAGES)
    with pytest.raises(InputError, match=r"^Gates are folded to their means over images, but there is no image\.$"):
        fold_attention(network("eca"), IMAGES[:0])
    with pytest.raises(InputError, match=r"^The network has no attention at 'cells\.9' to fold; export the run again"):
        with_factors(network("eca"), {"cells.9": (1.0,)})
