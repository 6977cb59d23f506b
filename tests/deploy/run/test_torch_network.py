"""The trained network as the reference: membranes worked by hand, and nudges that decide a tie."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn

from spikeport.deploy.run.torch_network import TorchRunner
from spikeport.errors import UnsupportedError
from spikeport.search.space.network import SpikingNetwork


class Small(nn.Module):
    """One pixel, repeated over three steps, drives one neuron; its spikes drive the readout."""

    def __init__(self, lif: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1, bias=False)
        self.hidden = nn.Sequential()
        self.hidden.add_module("lif", lif)
        self.readout = layer.Linear(1, 2, step_mode="m")
        nn.init.constant_(self.conv.weight, 1.0)

    def forward(self, images: Tensor) -> Tensor:
        current = self.conv(images)
        spikes = self.hidden(current.unsqueeze(0).repeat(3, 1, 1, 1, 1))
        result: Tensor = self.readout(spikes.flatten(2)).mean(0)
        return result


def neurons(kind: str) -> nn.Module:
    # tau 4: v keeps 3/4; with decay_input, I counts 1/4
    cuba = neuron.CUBALIFNode(c_decay=0.5, v_decay=0.75, v_threshold=1.5)
    cuba.step_mode = "m"
    return {
        "hard": neuron.LIFNode(tau=4.0, decay_input=False, v_threshold=1.5, v_reset=0.0, step_mode="m"),
        "soft": neuron.LIFNode(tau=4.0, decay_input=False, v_threshold=1.5, v_reset=None, step_mode="m"),
        "scaled": neuron.LIFNode(tau=4.0, decay_input=True, v_threshold=0.5, v_reset=0.0, step_mode="m"),
        "plif": neuron.ParametricLIFNode(init_tau=4.0, decay_input=True, v_threshold=0.5, v_reset=0.0, step_mode="m"),
        "if": neuron.IFNode(v_threshold=1.5, v_reset=None, step_mode="m"),
        "below": neuron.LIFNode(tau=4.0, decay_input=False, v_threshold=1.5, v_reset=-0.5, step_mode="m"),
        "cuba": cuba,
    }[kind]


def small(kind: str) -> tuple[Small, TorchRunner]:
    network = Small(neurons(kind)).eval()
    return network, TorchRunner(network)


def image(value: float) -> NDArray[np.float32]:
    return np.full((1, 1, 1, 1), value, np.float32)


@pytest.mark.parametrize(
    ("kind", "current", "membranes", "spikes"),
    [
        ("hard", 1.0, [1.0, 1.75, 1.0], [0, 1, 0]),  # 1; 0.75 + 1, spike, 0; 1
        ("soft", 1.0, [1.0, 1.75, 1.1875], [0, 1, 0]),  # 1; 0.75 + 1, spike, 0.25; 0.1875 + 1
        ("scaled", 1.0, [0.25, 0.4375, 0.578125], [0, 0, 1]),  # 0.25; 0.1875 + 0.25; 0.328125 + 0.25
        ("plif", 1.0, [0.25, 0.4375, 0.578125], [0, 0, 1]),
        ("if", 1.0, [1.0, 2.0, 1.5], [0, 1, 1]),  # 1; 2, spike, 0.5; 1.5, spike at the threshold
        ("below", 1.0, [0.5, 1.25, 1.8125], [0, 0, 1]),  # -0.5 + 1; 0.5 - 1 / 4 + 1; 1.25 - 1.75 / 4 + 1
        ("cuba", 1.0, [1.0, 2.25, 1.75], [0, 1, 1]),  # of the currents 1, 1.5, 1.75: 1; 0.75 + 1.5, spike; 1.75
    ],
)
def test_margins_are_membrane_minus_threshold_before_reset(
    kind: str, current: float, membranes: list[float], spikes: list[int]
) -> None:
    network, run = small(kind)
    record = run(image(current))
    assert list(record.spikes) == ["hidden"]
    assert record.spikes["hidden"].shape == (3, 1, 1, 1, 1)
    assert record.spikes["hidden"].ravel().tolist() == spikes
    threshold = network.hidden.lif.v_threshold
    assert record.margins["hidden"].ravel() == pytest.approx(np.array(membranes) - threshold, abs=1e-6)


@pytest.mark.parametrize("kind", ["hard", "soft", "scaled", "plif", "if"])
def test_a_nudge_moves_one_membrane_by_its_amount(kind: str) -> None:
    """Of two samples, in the second's first step; the current is such that it ends 3e-5 below its threshold."""
    network, run = small(kind)
    scale = 0.25 if kind in ("scaled", "plif") else 1.0
    images = np.repeat(image((network.hidden.lif.v_threshold - 3e-5) / scale), 2, axis=0)
    before = run(images)
    assert before.spikes["hidden"][0].ravel().tolist() == [0, 0]
    nudge = np.zeros((3, 2, 1, 1, 1), np.float32)
    nudge[0, 1] = 5e-5
    after = run(images, {"hidden": nudge})
    assert after.spikes["hidden"][0].ravel().tolist() == [0, 1]
    assert after.margins["hidden"][0].ravel() == pytest.approx([-3e-5, 2e-5], abs=1e-6)
    assert (after.spikes["hidden"][:, 0] == before.spikes["hidden"][:, 0]).all()
    again = run(images)  # nothing stays
    assert (again.spikes["hidden"] == before.spikes["hidden"]).all()
    assert (again.margins["hidden"] == before.margins["hidden"]).all()


def test_spikes_and_logits_are_those_of_the_network_itself(
    spiking_network: Callable[..., SpikingNetwork], images_of: Callable[..., NDArray[np.float32]]
) -> None:
    network = spiking_network(5, "darts", channels=2, time_steps=3, rows=8, columns=8)
    images = images_of(network, 3)
    direct: dict[str, NDArray[np.float32]] = {}
    hooks = [
        module.register_forward_hook(lambda _, __, spikes, path=path: direct.update({path: spikes.numpy()}))
        for path, module in network.named_modules()
        if path.endswith(".lif")
    ]
    with torch.no_grad():
        logits = network(torch.from_numpy(images)).numpy()
    functional.reset_net(network)
    for hook in hooks:
        hook.remove()
    run = TorchRunner(network)
    for record in (run(images), run(images)):  # the second is not the first's sequel
        assert {f"{name}.lif" for name in record.spikes} == direct.keys()
        assert all((record.spikes[name] == direct[f"{name}.lif"]).all() for name in record.spikes)
        assert (record.readout == logits).all()
        for name, spikes in record.spikes.items():  # margins and spikes tell the same, but for the last bit
            margins = record.margins[name]
            assert ((margins >= 0) == spikes)[np.abs(margins) > 1e-6].all()
    assert 0.05 < np.mean([spikes.mean() for spikes in record.spikes.values()]) < 0.4
    assert next(iter(record.spikes)) == "stem"


def test_neurons_that_are_no_lif_are_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"Layer 'hidden': a QIFNode is no LIF: its membrane grows by a curve"):
        TorchRunner(Small(neuron.QIFNode(step_mode="m")).eval())
