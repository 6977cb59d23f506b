"""SpikingJelly's own networks: every spike of the graph is torch's, and the chip's integers fire alike in any form."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.model import masnn, maxformer, ms_resnet, qkformer, spikformer, spiking_vggws_ottt
from torch import nn

from spikeport.errors import UnsupportedError
from spikeport.export.graph import SpikingGraph
from spikeport.export.simulate import simulate
from spikeport.export.trace.walk import trace
from spikeport.tests.export.trace.built_by_others import NETWORKS, Block, Mean, T, inputs_of, prepared
from spikeport.tests.export.trace.test_walk import assert_chain_equals_graph

SAMPLES = 2


def differing(graph: SpikingGraph, torchs: dict[str, NDArray[np.uint8]], entering: NDArray[np.uint8]) -> int:
    """Spikes that are not torch's; a population is a view of torch's tensor."""
    found = simulate(graph, {graph.inputs[0].name: entering}).spikes
    shared = found.keys() & torchs.keys()
    assert {p.name for p in graph.populations if p.role == "neuron"} <= shared
    return sum(int((found[name] != torchs[name].reshape(found[name].shape)).sum()) for name in shared)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_spike_is_torchs_and_the_chips(name: str, recorded: Any, broken: Any) -> None:
    built = NETWORKS[name]
    network, values = prepared(built), inputs_of(built, SAMPLES)
    graph = trace(
        network, values[:, :1] if built.reads_spikes else values[:1], T, reads_spikes=built.reads_spikes
    ).graph
    record = recorded(network, values)
    events = values.numpy().astype(np.uint8)
    entering = events if built.reads_spikes else record.spikes[graph.inputs[0].name]
    assert differing(graph, record.spikes, entering) == 0
    trace_of = simulate(graph, {graph.inputs[0].name: entering})
    np.testing.assert_allclose(trace_of.readout[-1], record.logits, atol=1e-5)
    rates = {p.name: float(trace_of.spikes[p.name].mean()) for p in graph.populations if p.role in ("neuron", "and")}
    assert sum(0.03 < rate < 0.6 for rate in rates.values()) > 0.75 * len(rates) and all(rates.values()), rates
    assert_chain_equals_graph(graph, {graph.inputs[0].name: entering})
    wrong = next(p for p in graph.projections if p.target == list(rates)[len(rates) // 2])
    assert differing(broken(graph, wrong.source, wrong.target), record.spikes, entering) > 0


@pytest.mark.parametrize(
    "name", ["spike-driven attention", "Q-K attention of tokens", "Q-K attention of channels", "SEW AND", "SEW ADD"]
)
def test_products_are_populations(name: str) -> None:
    built = NETWORKS[name]
    graph = trace(prepared(built), inputs_of(built, 1), T).graph
    products = [p.shape for p in graph.populations if p.role == "and"]
    expected = {
        "spike-driven attention": [(8, 4, 4)] * 2,
        "Q-K attention of tokens": [(8, 4, 4)],
        "Q-K attention of channels": [(8, 4, 4)],
        "SEW AND": [(4, 8, 8), (8, 4, 4), (16, 2, 2), (32, 1, 1)],
        "SEW ADD": [],
    }
    assert products == expected[name]


def former(build: Callable[..., nn.Module], **more: Any) -> Callable[[], nn.Module]:
    return lambda: build(T=T, num_classes=10, **more)


EVENTS = {"T": T, "in_channels": 2, "num_classes": 10}
SMALL = {"base_channels": 8, "layers": (1, 1, 1), "stem_kernel_size": 3, "stem_stride": 1}
GATE = r"a MultiDimensionalAttention is a gate: a value between 0 and 1 .* is no spike .* use spiking attention"
POOL = "max-pool is exact on spikes only; put it directly behind a spiking layer, or use an average pool"
# name -> (the network, its input's shape, whether it reads spikes, what is said)
REFUSED: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int], bool, str]] = {
    "a matrix product": (
        lambda: Block(layer.SpikingSelfAttention(8, 2), tokens=True),
        (3, 8, 8),
        False,
        r"Layer 'call_function matmul': a matrix product of spikes, .* heads \* tokens\^2 .* use attention by",
    ),
    "Spikformer": (
        former(spikformer.Spikformer, img_size_h=16, img_size_w=16, patch_size=4, embed_dims=16, num_heads=2, depths=1),
        (3, 16, 16),
        False,
        r"Layer 'patch_embed.stages.2.conv_bn.block.2': max-pool is exact on spikes only; put it directly behind",
    ),
    "QKFormer": (
        former(qkformer.QKFormer, embed_dims=16, num_heads=(1, 2, 2), depths=(1, 1, 1)),
        (3, 32, 32),
        False,
        f"Layer 'patch_embed1.pool2': {POOL}",
    ),
    "Max-Former": (
        former(maxformer.MaxFormer, embed_dims=16, depths=(1, 1, 1)),
        (3, 32, 32),
        False,
        f"Layer 'patch_embed2.shortcut.2': {POOL}",
    ),
    "Max-ResNet": (
        lambda: ms_resnet.MaxResNet(**EVENTS, **SMALL),
        (2, 16, 16),
        True,
        f"Layer 'layer2.0.max_pool': {POOL}",
    ),
    "MS-ResNet of images": (
        lambda: ms_resnet.MSResNet(T=T, num_classes=10, **SMALL),
        (3, 16, 16),
        False,
        r"Layer 'call_function add': it mixes spikes with values that are not spikes; let one spiking layer read",
    ),
    "MA-SNN": (
        lambda: masnn.MASNN(
            **EVENTS, input_size=(8, 8), channels=(8, 8, 8), fc_hidden=16, reduction_t=1, reduction_c=2
        ),
        (2, 8, 8),
        True,
        f"Layer 'conv_blocks.0.attn': {GATE}",
    ),
    "Att-MS-ResNet": (
        lambda: masnn.AttMSResNet(**EVENTS, **SMALL, reduction_c=2),
        (2, 16, 16),
        True,
        f"Layer 'layer1.0.attention': {GATE}",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_what_the_chip_cannot_do_is_refused(name: str) -> None:
    build, shape, reads_spikes, message = REFUSED[name]
    torch.manual_seed(0)
    network = build()
    functional.set_step_mode(network, "m")
    example = torch.zeros((T, 1, *shape) if reads_spikes else (1, *shape))
    with pytest.raises(UnsupportedError) as raised:
        trace(network.eval(), example, T, reads_spikes=reads_spikes)
    assert re.match(message, str(raised.value)), str(raised.value)


@pytest.mark.parametrize("pool", ["A", "M"])
def test_multiples_of_spikes_are_pooled(pool: str, recorded: Any) -> None:
    """OTTT's VGG multiplies spikes by 2.74 before its pools and convolutions."""
    torch.manual_seed(0)
    network = Mean(spiking_vggws_ottt.OTTTSpikingVGG([8, 8, pool, 512], num_classes=10, spiking_neuron=neuron.LIFNode))
    for part in network.modules():
        if isinstance(part, layer.WSConv2d):
            nn.init.constant_(part.gain, 6.0)
    functional.set_step_mode(network, "m")
    values = torch.rand(SAMPLES, 3, 8, 8)
    graph = trace(network.eval(), values[:1], T).graph
    record = recorded(network, values)
    assert differing(graph, record.spikes, record.spikes[graph.inputs[0].name]) == 0
    assert min(spikes.mean() for spikes in record.spikes.values()) > 0.03
