"""A trained network on every chip that there is a price list for: cores, relays, energy, latency, and its integers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..deploy.cost.profiles import Profile
from ..deploy.measure import price
from ..deploy.run.any_form import encode
from ..deploy.run.record import Spikes
from ..export.graph import SpikingGraph
from ..export.passes import lower
from ..export.passes.quantize import quantize
from ..export.simulate import simulate
from ..export.targets import CALIBRATION_IMAGES, encoder_macs, traced
from ..search.data.datasets import Dataset, Images, Labels
from ..search.space.network import SpikingNetwork
from ..search.space.predict import predict
from ..search.tables.row import rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipFigures:
    """Fields as in a table's row (search/tables/row.py)."""

    neurons: int
    synapses: int
    levels: int
    relays: int
    cores: Mapping[str, int]
    energy_j: Mapping[str, float]
    latency_s: Mapping[str, float]
    int8_accuracy: float
    int4_accuracy: float


def chip_figures(network: SpikingNetwork, dataset: Dataset, profiles: Sequence[Profile]) -> ChipFigures:
    """On the test images, in the integers that `export` would write without calibration.

    network: in eval mode. Raises UnsupportedError for what no chip can carry.
    """
    graph = lower(traced(network).graph)
    peak = float(predict(network, dataset.train_images[:CALIBRATION_IMAGES]).abs().max())
    spikes = entering(network, dataset.test_images)
    chip = quantize(graph, peak)
    found = price(chip, spikes, profiles, labels=dataset.test_labels, encoder_macs=encoder_macs(network))
    roles, profiled = found["by_role"], found["profiles"]
    return ChipFigures(
        neurons=sum(role["neurons"] for role in roles.values()),
        synapses=sum(role["synapses"] for role in roles.values()),
        levels=found["depth"],
        relays=roles.get("relay", {"neurons": 0})["neurons"],
        cores={name: one["cores"] for name, one in found["mappings"].items() if one["cores"] is not None},
        energy_j=_known({name: (one["energy_j"] or {}).get("total") for name, one in profiled.items()}),
        latency_s=_known({name: one["latency_s"] for name, one in profiled.items()}),
        int8_accuracy=found["accuracy_over_time"][-1]["accuracy"],
        int4_accuracy=_accuracy(quantize(graph, peak, weight_bits=4), spikes, dataset.test_labels),
    )


def entering(network: SpikingNetwork, images: Images) -> Spikes:
    """[T, N, *shape] of what reads the image; of frames themselves."""
    if network.config.reads == "spikes":
        return np.ascontiguousarray(images.swapaxes(0, 1), np.uint8)
    return encode(network, images.astype(np.float32, copy=False))


def _accuracy(graph: SpikingGraph, spikes: Spikes, labels: Labels) -> float:
    readout = simulate(graph, {graph.inputs[0].name: spikes}).readout[-1]
    return float((readout.reshape(len(labels), -1).argmax(1) == labels).mean())


def _known(values: Mapping[str, Any]) -> dict[str, float]:
    short = {name: rounded(value) for name, value in values.items()}
    return {name: value for name, value in short.items() if value is not None}
