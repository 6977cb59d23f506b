"""Neurons: which are a LIF with other constants, exactly, and which are refused, in words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import base, neuron, surrogate
from torch import nn

from spikeport.errors import UnsupportedError
from spikeport.export.trace.neurons import NEURONS, NO_LIF, Lif, is_neuron, lif_of, register_neuron
from spikeport.export.trace.walk import trace
from spikeport.tests.export.trace.own_networks import (
    assert_file_is_graph,
    assert_graph_is_torch,
    by_hooks,
    settled,
)
from spikeport.tests.export.trace.small_network import IMAGES, Small

T = 3


def multi(module: Any) -> Any:
    module.step_mode = "m"
    return module


class Same(neuron.LIFNode):
    """Defines what computes nothing."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.label = "mine"

    def extra_repr(self) -> str:
        return self.label

    def report(self) -> str:
        return self.label


class Own(base.MemoryModule):
    """v = v / 4 + x, fires at 0.8."""

    def __init__(self) -> None:
        super().__init__()
        self.register_memory("v", 0.0)
        self.step_mode = "m"

    def single_step_forward(self, x: torch.Tensor) -> torch.Tensor:
        self.v = 0.25 * self.v + x
        spike = (self.v >= 0.8).float()
        self.v = self.v * (1.0 - spike)
        return spike

    def multi_step_forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.single_step_forward(step) for step in x])


class Says(Own):
    def as_lif(self) -> neuron.LIFNode:
        return neuron.LIFNode(tau=4 / 3, decay_input=False, v_threshold=0.8)


@register_neuron(Own)
def own(module: Own) -> Lif:
    return Lif(decay=0.25, threshold=0.8)


# name -> (neurons, whether NetX has their reset and leak)
CARRIED: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "LIF": (lambda: neuron.LIFNode(tau=1.6, decay_input=False), True),
    "LIF whose input leaks": (lambda: neuron.LIFNode(tau=1.6, decay_input=True, v_threshold=0.6), True),
    "LIF of soft reset": (lambda: neuron.LIFNode(tau=1.6, decay_input=False, v_reset=None), False),
    "LIF reset below 0": (lambda: neuron.LIFNode(tau=1.6, decay_input=False, v_reset=-0.4, v_threshold=0.7), True),
    "LIF reset above 0": (lambda: neuron.LIFNode(tau=3.0, decay_input=True, v_reset=0.2), True),
    "IF reset below 0": (lambda: neuron.IFNode(v_reset=-0.3), True),
    "PLIF": (lambda: neuron.ParametricLIFNode(init_tau=1.7, decay_input=False), True),
    "PLIF reset above 0": (lambda: neuron.ParametricLIFNode(init_tau=1.7, v_reset=0.1, v_threshold=0.9), True),
    "simple IF": (lambda: neuron.SimpleIFNode(), True),
    "simple IF of soft reset": (lambda: neuron.SimpleIFNode(v_reset=None), False),
    "simple LIF": (lambda: neuron.SimpleLIFNode(tau=1.6, decay_input=False), True),
    "simple LIF whose input leaks": (lambda: neuron.SimpleLIFNode(tau=1.6, decay_input=True, v_threshold=0.6), True),
    "SLTT": (lambda: neuron.SLTTLIFNode(tau=1.6, decay_input=False), True),
    "a subclass": (lambda: Same(tau=1.6, decay_input=False), True),
    "one of one's own": (Own, True),
    "one that says what it is": (Says, True),
}


class WithoutBias(Small):
    def __init__(self, neurons: nn.Module) -> None:
        super().__init__(neurons)
        self.norm = nn.Identity()


@pytest.mark.parametrize("kind", CARRIED)
def test_every_spike_is_that_of_torch(tmp_path: Path, kind: str) -> None:
    build, on_chip = CARRIED[kind]
    network = settled(lambda: Small(multi(build())), drive=2.2)
    traced = assert_graph_is_torch(network, IMAGES, T)
    if on_chip and kind in ("LIF reset below 0", "simple LIF", "one of one's own"):
        assert_file_is_graph(tmp_path / "x.net", traced, network, IMAGES)


@pytest.mark.parametrize("constant", ["tau", "v_threshold"])
def test_a_changed_constant_is_seen(constant: str) -> None:
    network = settled(lambda: Small(multi(neuron.LIFNode(tau=1.6, v_threshold=0.7, v_reset=-0.4))), drive=2.2)
    before = by_hooks(network, IMAGES)[0]["lif"]
    lif: Any = network.lif
    known = lif_of(lif)
    setattr(lif, constant, {"tau": 2.5, "v_threshold": 0.5}[constant])
    assert lif_of(lif) != known
    assert not np.array_equal(by_hooks(network, IMAGES)[0]["lif"], before)
    assert_graph_is_torch(network, IMAGES, T)


@pytest.mark.parametrize("reset", [0.0, None, -0.3])
def test_currents_that_stay(tmp_path: Path, reset: float | None) -> None:
    """CUBALIFNode leaks to 0 and begins at its reset: on the chip a bias."""
    build = lambda: WithoutBias(multi(neuron.CUBALIFNode(c_decay=0.5, v_decay=0.75, v_threshold=0.9, v_reset=reset)))  # noqa: E731
    network = settled(build, drive=1.8)
    traced = assert_graph_is_torch(network, IMAGES, T)
    hidden = traced.graph.populations[0]
    assert (hidden.current_decay, hidden.decay) == (0.5, 0.75)
    assert np.allclose(hidden.bias, -0.25 * (reset or 0.0))
    if reset is not None:
        assert_file_is_graph(tmp_path / "x.net", traced, network, IMAGES)


@pytest.mark.parametrize(("scale_reset", "k"), [(True, 1.5), (False, 1.2), (True, 0.7)])
@pytest.mark.parametrize("reset", [0.0, None])
def test_a_k_lif_of_currents_that_are_not_negative(scale_reset: bool, k: float, reset: float | None) -> None:
    lif = multi(neuron.KLIFNode(scale_reset=scale_reset, tau=2.0, v_reset=reset, v_threshold=0.6))
    nn.init.constant_(lif.k, k)
    network = settled(lambda: WithoutBias(lif), drive=1.8)
    with torch.no_grad():
        network.middle.weight.abs_()
    assert_graph_is_torch(network, IMAGES, T)


class Changed(neuron.LIFNode):
    def single_step_functional_forward(self, *given: Any, **more: Any) -> Any:
        return super().single_step_functional_forward(*given, **more)


class Learnt(neuron.LIFNode):
    @property
    def tau(self) -> float:
        return 2.0

    @tau.setter
    def tau(self, value: float) -> None: ...


class Alien(neuron.BaseNode):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x > 0).float()


def changed_reset() -> nn.Module:
    found = neuron.LIFNode(v_reset=-0.4)
    found.v_reset = 0.3
    return found


class Thresholds(neuron.SimpleIFNode):
    def __init__(self) -> None:
        super().__init__()
        self.v_threshold = torch.ones(3, 1, 1)


def small_k(k: float, **more: Any) -> nn.Module:
    found = neuron.KLIFNode(**more)
    nn.init.constant_(found.k, k)
    return found


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "QIF": (neuron.QIFNode, "a QIFNode is no LIF: its membrane grows by a curve of itself; use LIFNode, or export"),
    "EIF": (neuron.EIFNode, "a EIFNode is no LIF: its membrane grows by a curve"),
    "Izhikevich": (neuron.IzhikevichNode, "a IzhikevichNode is no LIF: it has a second variable beside the membrane"),
    "gated": (lambda: neuron.GatedLIFNode(T=T), "a GatedLIFNode is no LIF: its gates mix decays"),
    "CLIF": (neuron.ComplementaryLIFNode, "a ComplementaryLIFNode is no LIF: it has a second membrane"),
    "PSN": (lambda: neuron.PSN(T), "a PSN is no LIF: it weighs all time steps, and has no membrane"),
    "half threshold": (
        neuron.HalfThresholdIFNode,
        "a HalfThresholdIFNode is no LIF: its membrane begins at half its threshold",
    ),
    "ternary": (neuron.TernaryLIFNode, "a TernaryLIFNode is no LIF: it gives -1, too"),
    "whole numbers": (neuron.ILIFNode, "a ILIFNode is no LIF: it gives whole numbers"),
    "KLIF": (neuron.KLIFNode, "a KLIFNode forgets what is below 0, which the chip's membrane keeps; .* use LIFNode"),
    "KLIF of negative k": (lambda: small_k(-1.0), "a KLIFNode needs v_reset 0 or None and k > 0, but has 0.0 and -1"),
    "KLIF that grows": (lambda: small_k(3.0), r"its membrane grows by itself, k \* \(1 - 1 / tau\) = 1.5 > 1"),
    "currents and a bias": (neuron.CUBALIFNode, "a bias that enters the synaptic current of a CUBALIFNode grows"),
    "simple and reset": (
        lambda: neuron.SimpleLIFNode(tau=2.0, decay_input=True, v_reset=0.5),
        "the membranes of a SimpleLIFNode begin at 0.0 and are reset to 0.5",
    ),
    "no spikes": (
        lambda: neuron.LIFNode(surrogate_function=surrogate.ATan(spiking=False)),
        "its surrogate_function has spiking=False, so it gives no spikes; set spiking=True",
    ),
    "a reset that was changed": (
        changed_reset,
        "the membranes of a LIFNode begin at -0.4 and are reset to 0.3, and on the chip they begin where they",
    ),
    "thresholds": (Thresholds, "a Thresholds needs one threshold and one leak for all of its neurons"),
    "overridden": (
        Changed,
        "a Changed has no rule, for it overrides single_step_functional_forward of LIFNode; if it is a LIF all the "
        "same, give it a method as_lif, or a rule by spikeport.register_neuron",
    ),
    "a constant that is computed": (Learnt, "a Learnt has no rule, for it overrides tau of LIFNode"),
    "unknown": (Alien, "a Alien has no rule; use LIFNode, .* a method as_lif, or a rule by spikeport.register_neuron"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_lif_is_refused(case: str) -> None:
    build, message = REFUSED[case]
    network = settled(lambda: Small(multi(build())))
    with pytest.raises(UnsupportedError, match=f"Layer 'lif': {message}"):
        trace(network, IMAGES[:1], T)


def test_an_encoder_must_give_spikes() -> None:
    network = settled(lambda: Small())
    network.stem_lif = multi(neuron.LIFNode(surrogate_function=surrogate.ATan(spiking=False)))
    with pytest.raises(UnsupportedError, match="Layer 'stem_lif': what a LIFNode gives is not 0 or 1"):
        trace(network.eval(), IMAGES[:1], T)


def test_every_kind_of_spikingjelly_is_known() -> None:
    """A new release's neurons are looked at before they are carried or refused."""
    others = (
        *("ILCBaseNode", "ILCCUBALIFNode", "ILCIFNode", "ILCLIFNode"),  # with synapses of their own
        *("NoisyBaseNode", "NoisyCUBALIFNode", "NoisyILCBaseNode", "NoisyILCCUBALIFNode"),
        *("NoisyNonSpikingBaseNode", "NoisyNonSpikingIFNode"),
        *("NonSpikingBaseNode", "NonSpikingIFNode", "NonSpikingLIFNode"),
        *("ActivationAwareIFNode", "FewSpikeNode", "FewSpikeTable", "FlexSN", "HGNode", "OutlierAwareThresholdNode"),
        *("STBIFNode", "BaseNode", "SimpleBaseNode", "AdaptBaseNode"),
    )
    kinds = [kind for kind in vars(neuron).values() if isinstance(kind, type) and issubclass(kind, nn.Module)]
    known = {kind for each in kinds for kind in each.__mro__ if kind in NEURONS or kind in NO_LIF}
    assert {kind.__name__ for kind in kinds if not known & set(kind.__mro__)} <= set(others)
    assert all(is_neuron(multi(build())) for build, _ in CARRIED.values())
