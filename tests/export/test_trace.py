"""torch -> SpikingGraph: every spike equal, for every primitive and random genotypes; every refusal by name."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from spikeport.errors import InputError, UnsupportedError
from spikeport.export.chain import chain_of, unpacked
from spikeport.export.graph import SpikingGraph
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.simulate import simulate
from spikeport.export.trace import Traced, trace
from spikeport.search.genotype import random_genotype
from spikeport.search.primitives import PRIMITIVES, spiking_primitives

ALL_PRIMITIVES = [(kind, primitive) for kind in PRIMITIVES for primitive in spiking_primitives(kind)]
RATES = (0.03, 0.6)
IMAGES = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def encoded(traced: Traced, images: torch.Tensor) -> dict[str, Any]:
    """Images -> the spikes of the graph's one input."""
    assert traced.encoder is not None
    with torch.no_grad():
        spikes = traced.encoder(images).numpy().astype(np.uint8)
    functional.reset_net(traced.encoder)
    return {traced.graph.inputs[0].name: spikes}


def assert_equals_torch(network: nn.Module, recorded: Any, same_spikes: Any, images: torch.Tensor = IMAGES) -> Traced:
    """Every spike of every spiking layer, and the logits."""
    record = recorded(network, images)
    assert RATES[0] < record.rate < RATES[1]
    traced = trace(network, images[:1], next(iter(record.spikes.values())).shape[0])
    found = simulate(traced.graph, encoded(traced, images))
    assert same_spikes(found.spikes, record.spikes, least=len(record.spikes))
    np.testing.assert_allclose(found.readout[-1], record.logits, atol=1e-5)
    return traced


def assert_chain_equals_graph(graph: SpikingGraph, inputs: Any) -> None:
    """Lowered and quantized, the chain fires exactly as the graph does."""
    lowered = lower(graph)
    exact = simulate(graph, inputs)
    relayed = simulate(lowered, inputs)
    assert all(
        np.array_equal(value, exact.spikes[name]) for name, value in relayed.spikes.items() if name in exact.spikes
    )
    chip = quantize(lowered, float(np.abs(exact.readout).max()))
    expected, chain = simulate(chip, inputs), chain_of(chip)
    found = simulate(chain.graph, inputs)
    assert np.array_equal(found.readout, expected.readout) and expected.readout.any()
    for population in chip.populations[:-1]:
        place = chain.places[population.name]
        there = unpacked(found.spikes[chain.graph.populations[place.layer].name], place)
        assert np.array_equal(there, expected.spikes[population.name]), population.name


@pytest.mark.parametrize("primitives", PRIMITIVES)
@pytest.mark.parametrize("seed", range(10))
def test_random_genotypes(primitives: Any, seed: int, lively: Any, recorded: Any, same_spikes: Any) -> None:
    rng = np.random.default_rng(seed)
    cells, shape = [(3, (1, 8, 8)), (4, (2, 8, 12)), (3, (1, 4, 8))][seed % 3]
    network = lively(
        random_genotype(rng, primitives), seed=seed, cells=cells, input_shape=shape, time_steps=2 + seed % 2
    )
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(seed))
    traced = assert_equals_torch(network, recorded, same_spikes, images)
    assert_chain_equals_graph(traced.graph, encoded(traced, images))


@pytest.mark.parametrize(("primitives", "primitive"), ALL_PRIMITIVES)
def test_every_primitive_at_both_strides(
    primitives: Any, primitive: str, lively: Any, uniform: Any, recorded: Any, same_spikes: Any
) -> None:
    traced = assert_equals_torch(lively(uniform(primitives, primitive), channels=3), recorded, same_spikes)
    assert_chain_equals_graph(traced.graph, encoded(traced, IMAGES))


def test_a_broken_weight_shows(lively: Any, uniform: Any, recorded: Any, broken: Any, same_spikes: Any) -> None:
    network = lively(uniform("plain", "conv_3x3"))
    record = recorded(network, IMAGES)
    traced = trace(network, IMAGES[:1], 3)
    joins = [p for p in traced.graph.projections if p.target == "cells.1.n2"]
    wrong = broken(traced.graph, joins[0].source, "cells.1.n2")
    assert not same_spikes(simulate(wrong, encoded(traced, IMAGES)).spikes, record.spikes)
    # and one weight alone, in the torch network
    with torch.no_grad():
        network.readout.weight[0, 0] += 1.0
    changed = recorded(network, IMAGES)
    assert not np.allclose(simulate(traced.graph, encoded(traced, IMAGES)).readout[-1], changed.logits, atol=1e-5)


def test_the_names_and_the_structure(lively: Any, uniform: Any) -> None:
    graph = trace(lively(uniform("plain", "max_pool_3x3")), IMAGES[:1], 3).graph
    names = [p.name for p in graph.populations]
    assert graph.inputs[0].name == "stem" and graph.inputs[0].shape == (6, 8, 8)
    assert names[:2] == ["cells.0.p0", "cells.0.p1"] and names[-1] == "readout"
    pools = [p for p in graph.populations if p.role == "or"]
    assert len(pools) == 3 * 5  # of each cell: one of p0, shared by four nodes, and one each of p1, n1, n2, n3
    assert pools[0].name == "cells.0.n1.edges.0"


def test_the_same_pool_of_the_same_spikes_is_one_population(recorded: Any, same_spikes: Any) -> None:
    class Twice(Small):
        def body(self, x: torch.Tensor) -> torch.Tensor:
            return self.pool(x) + self.again(x)

    network = tuned(Twice(pool=layer.MaxPool2d(3, 1, 1, step_mode="m"), again=layer.MaxPool2d(3, 1, 1, step_mode="m")))
    traced = assert_equals_torch(network, recorded, same_spikes)
    assert [p.role for p in traced.graph.populations].count("or") == 1


def test_tracing_leaves_the_network_as_it_was(lively: Any, uniform: Any, recorded: Any) -> None:
    network = lively(uniform("plain", "conv_3x3"))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first = recorded(network, IMAGES)
    network(IMAGES)  # membranes of another batch size are left behind
    trace(network, IMAGES[:1], 3)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert np.array_equal(recorded(network, IMAGES).logits, first.logits)
    assert not network.training


# A small network whose middle the tests below exchange: image -> stem -> body -> LIF -> linear -> mean.


def lif(**settings: Any) -> nn.Module:
    return neuron.LIFNode(**{"tau": 2.0, "decay_input": False, "step_mode": "m"} | settings)


def convolution(inside: int = 3, out: int = 3, kernel: int = 3, **settings: Any) -> nn.Module:
    return layer.Conv2d(inside, out, kernel, padding=kernel // 2, bias=False, step_mode="m", **settings)


class Small(nn.Module):
    def __init__(self, neurons: nn.Module | None = None, reads_spikes: bool = False, **parts: nn.Module) -> None:
        super().__init__()
        self.reads_spikes = reads_spikes
        self.stem = nn.Conv2d(1, 3, 3, padding=1)
        self.stem_lif = lif()
        self.middle = convolution(1 if reads_spikes else 3)
        self.norm = layer.BatchNorm2d(3, step_mode="m")
        self.lif = neurons or lif()
        self.readout = nn.Linear(3 * 64, 4)
        for name, part in parts.items():
            self.add_module(name, part)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.middle(x))

    def head(self, x: torch.Tensor) -> torch.Tensor:
        return self.readout(x.flatten(2)).mean(0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images if self.reads_spikes else self.stem_lif(self.stem(images).unsqueeze(0).repeat(3, 1, 1, 1, 1))
        return self.head(self.lif(self.body(x)))


def tuned(network: nn.Module, example: torch.Tensor = IMAGES) -> nn.Module:
    """In eval mode, with statistics of its batch norms and a stem that spikes."""
    torch.manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 0.8, 1.4)
            nn.init.uniform_(module.bias, 0.1, 0.6)
    if hasattr(network, "stem"):
        nn.init.uniform_(network.stem.weight, 0.0, 0.4)
    with torch.no_grad():
        network(example)
    functional.reset_net(network)
    return network.eval()


@pytest.mark.parametrize(
    "neurons",
    [
        lambda: lif(decay_input=True, tau=1.7, v_threshold=0.6),
        lambda: lif(tau=4.0, v_threshold=1.3, v_reset=None),
        lambda: neuron.IFNode(v_threshold=1.2, step_mode="m"),
        lambda: neuron.IFNode(v_threshold=0.7, v_reset=None, step_mode="m"),
        lambda: neuron.ParametricLIFNode(init_tau=3.0, decay_input=False, step_mode="m"),
        lambda: neuron.ParametricLIFNode(init_tau=1.4, decay_input=True, v_threshold=0.8, step_mode="m"),
    ],
)
def test_every_kind_of_neuron(neurons: Callable[[], nn.Module], recorded: Any, same_spikes: Any) -> None:
    assert_equals_torch(tuned(Small(neurons())), recorded, same_spikes)


def test_soft_reset_is_traced_and_refused_by_loihi() -> None:
    graph = trace(tuned(Small(lif(v_reset=None))), IMAGES[:1], 3).graph
    assert graph.populations[0].reset == "subtract"
    with pytest.raises(UnsupportedError, match=r"NetX has no soft reset; train with v_reset=0.0"):
        quantize(lower(graph), 1.0)


def test_events_need_no_encoder(recorded: Any, same_spikes: Any) -> None:
    spikes = (torch.rand(3, 4, 1, 8, 8, generator=torch.Generator().manual_seed(2)) < 0.3).float()
    network = Small(reads_spikes=True)
    del network.stem, network.stem_lif
    tuned(network, spikes)
    record = recorded(network, spikes)
    traced = trace(network, spikes[:, :1], 3, reads_spikes=True)
    assert traced.encoder is None and traced.graph.inputs[0].shape == (1, 8, 8)
    found = simulate(traced.graph, {traced.graph.inputs[0].name: spikes.numpy().astype(np.uint8)})
    assert RATES[0] < record.rate < RATES[1]
    assert same_spikes(found.spikes, record.spikes)
    np.testing.assert_allclose(found.readout[-1], record.logits, atol=1e-5)


class Forms(Small):
    """The same values written in other ways: keywords, operators, modules, constants."""

    def body(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.cat(tensors=[x, x], dim=2)
        y = self.wide(self.drop(y))
        y = torch.add(y, 0.25) * 1.5 + sum([self.pool(x), self.middle(x)])
        return self.norm(2.0 * y)

    def head(self, x: torch.Tensor) -> torch.Tensor:
        return self.readout(torch.mean(self.flat(x), dim=0)) + 1.0


@pytest.mark.parametrize("flat", [layer.Flatten(step_mode="m"), nn.Flatten(start_dim=2)])
def test_other_ways_to_write_it(flat: nn.Module, recorded: Any, same_spikes: Any) -> None:
    parts = {
        "wide": convolution(6),
        "drop": layer.Dropout(0.5, step_mode="m"),
        "pool": layer.AvgPool2d(3, 1, 1, step_mode="m"),
        "flat": flat,
    }
    assert_equals_torch(tuned(Forms(**parts)), recorded, same_spikes)


def test_a_silent_layer_is_carried() -> None:
    network = tuned(Small())
    nn.init.zeros_(network.middle.weight)
    graph = trace(network, IMAGES[:1], 3).graph
    assert [p.kernel.weight.any() for p in graph.projections] == [False, True]
    chain_of(quantize(lower(graph), 1.0))


# Refusals: what the network does -> the layer that is named and the next step.


class Doing(Small):
    def __init__(self, do: Callable[[Any, torch.Tensor], torch.Tensor], **parts: nn.Module) -> None:
        super().__init__(**parts)
        self.do = do

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.do(self, x)


class Ending(Small):
    def __init__(self, do: Callable[[Any, torch.Tensor], torch.Tensor], **parts: nn.Module) -> None:
        super().__init__(**parts)
        self.do = do

    def head(self, x: torch.Tensor) -> torch.Tensor:
        return self.do(self, x)


class WSConv(layer.Conv2d):
    """A subclass that computes something else than its parent."""


REFUSED = {
    "max-pool on currents": (
        lambda: Doing(lambda s, x: s.pool(s.middle(x)), pool=layer.MaxPool2d(3, 1, 1, step_mode="m")),
        r"Layer 'pool': max-pool is exact on spikes only; put it directly behind a spiking layer",
    ),
    "max-pool with dilation": (
        lambda: Doing(lambda s, x: s.pool(x), pool=layer.MaxPool2d(2, 1, 1, dilation=2, step_mode="m")),
        r"Layer 'pool': max-pool with dilation",
    ),
    "padded after padded": (
        lambda: Doing(lambda s, x: s.more(s.middle(x)), more=convolution()),
        r"Layer 'more': a 3x3 kernel directly after a 3x3 one cannot fold into one; put a spiking layer between",
    ),
    "padded after a bias": (
        lambda: Doing(lambda s, x: s.middle(x + 0.5)),
        r"Layer 'middle': a padded convolution after a bias cannot fold; put the batch norm or bias behind it",
    ),
    "v_reset": (lambda: Small(lif(v_reset=-0.5)), r"Layer 'lif': `v_reset` must be 0 or None, but is -0.5; train"),
    "single step": (lambda: Small(lif(step_mode="s")), r"Layer 'lif': .* multi-step mode, step_mode='m'"),
    "unknown neuron": (
        lambda: Small(neuron.QIFNode(step_mode="m")),
        r"Layer 'lif': a QIFNode has no rule; use LIFNode, ParametricLIFNode or IFNode",
    ),
    "a neuron's subclass": (
        lambda: Small(neuron.LIAFNode(act=torch.relu, threshold_related=True, step_mode="m")),
        r"Layer 'lif': a LIAFNode has no rule",
    ),
    "a layer's subclass": (
        lambda: Doing(lambda s, x: s.ws(x), ws=WSConv(3, 3, 3, padding=1, step_mode="m")),
        r"Layer 'ws': a WSConv cannot be a synapse or a neuron on the chip; replace it, or export to onnx",
    ),
    "unknown module": (
        lambda: Doing(lambda s, x: s.act(x), act=nn.Sigmoid()),
        r"Layer 'act': a Sigmoid cannot be a synapse",
    ),
    "unknown function": (lambda: Doing(lambda s, x: torch.relu(x)), r"Layer 'call_function relu': 'relu' has no rule"),
    "unknown method": (lambda: Doing(lambda s, x: x.clamp(0, 1)), r"Layer 'call_method clamp': 'clamp' has no rule"),
    "an option without rule": (
        lambda: Doing(lambda s, x: torch.add(x, x, alpha=2)),
        r"Layer 'call_function add.*': 'add' has no rule with these arguments",
    ),
    "spikes times spikes": (lambda: Doing(lambda s, x: x * x), r"Layer 'call_function mul.*': a product of spikes"),
    "spikes and the image": (
        lambda: Doing(lambda s, x: x + s.stem.bias.view(1, 1, 3, 1, 1)),
        r"Layer 'call_function add.*': it mixes spikes with values that are not spikes; let one",
    ),
    "concatenation in time": (
        lambda: Ending(lambda s, x: s.readout(torch.cat([x.flatten(2), x.flatten(2)], dim=-3)).mean(0)),
        r"Layer 'call_function cat': only concatenation of channels \(dim 2\) has a rule, but dim=-3",
    ),
    "average that ignores padding": (
        lambda: Doing(lambda s, x: s.pool(x), pool=layer.AvgPool2d(3, 1, 1, count_include_pad=False, step_mode="m")),
        r"Layer 'pool': average pool must count its padding",
    ),
    "reflecting padding": (
        lambda: Doing(lambda s, x: s.c(x), c=convolution(padding_mode="reflect")),
        r"Layer 'c': only zero padding",
    ),
    "batch statistics": (
        lambda: Doing(lambda s, x: s.bn(x), bn=layer.BatchNorm2d(3, track_running_stats=False, step_mode="m")),
        r"Layer 'bn': batch norm without running statistics",
    ),
    "partial global pool": (
        lambda: Doing(lambda s, x: s.pool(x), pool=layer.AdaptiveAvgPool2d((8, 8), step_mode="m")),
        r"Layer 'pool': adaptive average pool has a rule for output size 1 only",
    ),
    "no mean": (lambda: Ending(lambda s, x: s.readout(x.flatten(2))), r"must end in a linear layer averaged over time"),
    "the last step only": (lambda: Ending(lambda s, x: s.readout(x.flatten(2))[-1]), r"'getitem' has no rule"),
    "mean over the batch": (
        lambda: Ending(lambda s, x: s.readout(x.flatten(2)).mean(1)),
        r"Layer 'call_method mean': only the mean over time \(dim 0, keepdim=False\) has a rule, but dim=1",
    ),
    "a mean that keeps time": (
        lambda: Ending(lambda s, x: s.readout(x.flatten(2)).mean(0, keepdim=True)),
        r"Layer 'call_method mean': only the mean over time",
    ),
    "a mean twice": (
        lambda: Ending(lambda s, x: s.readout(x.flatten(2)).mean(0).mean(0)),
        r"Layer 'call_method mean_1': after the mean over time",
    ),
    "neurons after the mean": (
        lambda: Ending(lambda s, x: s.last(s.readout(x.flatten(2)).mean(0)), last=lif()),
        r"Layer 'last': a spiking layer after the mean over time has no rule; take the mean last",
    ),
    "flattening the batch": (
        lambda: Ending(lambda s, x: s.readout(s.flat(x)).mean(0), flat=nn.Flatten()),
        r"Layer 'flat': only flattening of \[T, N, C, H, W\] from dim 2 to the last",
    ),
    "linear on images": (
        lambda: Doing(lambda s, x: s.line(x), line=layer.Linear(8, 8, step_mode="m")),
        r"Layer 'line': a linear layer needs a flattened value; put a flatten before it",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_layer_and_the_next_step(case: str) -> None:
    build, message = REFUSED[case]
    with pytest.raises(UnsupportedError, match=message):
        trace(build().eval(), IMAGES[:1], 3)


@pytest.mark.parametrize("attention", ["eca", "cbam", "tcs"])
def test_attention_is_refused_by_name(attention: Any, lively: Any, uniform: Any) -> None:
    network = lively(uniform("plain", "conv_3x3"), attention=attention)
    message = r"Layer 'cells.0.n1.attention': the gates of (ECA|CBAM|TCS) .*--attention none, or export to onnx"
    with pytest.raises(UnsupportedError, match=message):
        trace(network, IMAGES[:1], 3)


def test_training_mode_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"eval mode: call network.eval\(\) first"):
        trace(Small().train(), IMAGES[:1], 3)
    half = Small().eval()
    half.norm.train()
    with pytest.raises(UnsupportedError, match="eval mode"):
        trace(half, IMAGES[:1], 3)


def test_another_number_of_steps_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"Layer 'stem_lif': it has 3 time steps, but .* have 2"):
        trace(Small().eval(), IMAGES[:1], 2)


def test_two_readers_of_the_image_are_refused() -> None:
    class Two(Small):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            x = self.stem(images).unsqueeze(0).repeat(3, 1, 1, 1, 1)
            return self.head(self.lif(self.stem_lif(x) + self.other(x)))

    with pytest.raises(UnsupportedError, match="One spiking layer must read the image, but 2 do; let the others"):
        trace(Two(other=lif()).eval(), IMAGES[:1], 3)


def test_an_example_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"must run on an example of shape \[1, 2, 8, 8\], but stops: "):
        trace(Small().eval(), torch.rand(1, 2, 8, 8), 3)


def test_a_forward_that_depends_on_the_data_is_refused() -> None:
    network = Doing(lambda s, x: x if x.sum() > 0 else -x).eval()
    with pytest.raises(UnsupportedError, match="forward pass must not depend on the data"):
        trace(network, IMAGES[:1], 3)


def test_the_loihi_target_takes_no_other_decay_beside(lively: Any, uniform: Any) -> None:
    graph = trace(lively(uniform("plain", "conv_3x3")), IMAGES[:1], 3).graph
    changed = tuple(replace(p, decay=0.25) if p.name == "cells.0.p0" else p for p in graph.populations)
    with pytest.raises(UnsupportedError, match=r"'cells.0.p0' and 'cells.0.p1' share a layer"):
        quantize(lower(replace(graph, populations=changed)), 1.0)
