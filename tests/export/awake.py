"""Networks whose every layer spikes, and what a chip would hold of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from spikeport.deploy.run.forms import GraphRunner, NetxRunner, TwinRunner, lava_records
from spikeport.deploy.run.record import Record, differing
from spikeport.export.graph import SpikingGraph
from spikeport.export.netx.writer import write_netx
from spikeport.export.onnx.twin import write_twin
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.trace.walk import trace

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class Chip:
    graph: SpikingGraph
    spikes: Any  # [T, N, *shape]


def awake(network: N, config: Any) -> N:
    """In eval mode, with batch norms that know their statistics; torch's random numbers are those that are set."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 0.6, 1.2)
            nn.init.uniform_(module.bias, 0.2, 0.7)
    values = torch.rand(64, *config.sample_shape)
    with torch.no_grad():
        network(values if config.reads == "images" else values.round())
    functional.reset_net(network)
    return network.eval()


def on_chip(network: nn.Module, images: Tensor, steps: int) -> Chip:
    """Of images [N, C, H, W] in so many time steps."""
    traced = trace(network, images[:1], steps)
    assert traced.encoder is not None
    with torch.no_grad():
        peak = float(network(images).abs().max())
        functional.reset_net(network)
        spikes = traced.encoder(images).numpy().astype(np.uint8)
    functional.reset_net(traced.encoder)
    return Chip(quantize(lower(traced.graph), peak), spikes)


def off_the_chip(chip: Chip, written: SpikingGraph, folder: Path) -> list[int]:
    """In how many spikes and readouts the twin and the NetX file of `written` differ from the chip's graph, each."""
    write_netx(folder / "network.net", written)
    write_twin(folder / "twin.onnx", written, {})
    forms = (NetxRunner(folder / "network.net", written), TwinRunner(folder / "twin.onnx", written))
    return _differing(chip.graph, chip.spikes, [form(chip.spikes) for form in forms])


def off_in_lava(chip: Chip, written: Sequence[SpikingGraph], folder: Path) -> list[int]:
    """The same of real Lava, for each NetX file, on two samples."""
    files = [write_netx(folder / f"{number}.net", graph) for number, graph in enumerate(written)]
    spikes = chip.spikes[:, :2]
    return _differing(chip.graph, spikes, lava_records([(path, chip.graph, spikes) for path in files], 600.0, print))


def _differing(graph: SpikingGraph, spikes: Any, records: Sequence[Record]) -> list[int]:
    meant = GraphRunner(graph)(spikes)
    return [differing(meant, one) + int((meant.readout != one.readout).sum()) for one in records]
