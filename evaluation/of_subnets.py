"""What chips make of networks that were not trained alone: their cost without a network, and their integers."""

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..deploy.cost.genotypes.cost import GenotypeCost
from ..deploy.cost.prices import FIRST_PROFILE, price_lists
from ..deploy.settings import PriceSettings
from ..export.passes import lower
from ..export.passes.quantize import quantize
from ..export.passes.scales import largest_scales
from ..export.simulate import MANTISSA_SHIFT, simulate
from ..export.targets import CALIBRATION_IMAGES, traced
from ..search.data.datasets import Dataset
from ..search.evaluators.one_shot import OnChips
from ..search.space.genotype import Genotype
from ..search.space.network import NetworkConfig, SpikingNetwork
from ..search.space.predict import predict
from ..setting import chosen
from .chip_figures import entering


def costs(genotype: Genotype, config: NetworkConfig, names: tuple[str, ...]) -> Mapping[str, float]:
    """At the rate that is usual before a training, by the first price list, or of `energy_j:LIST` and `cores:CHIP`.

    NaN where a chip does not carry it. Raises InputError for a part that is none, UnsupportedError for attention.
    """
    found = {}
    for name in names:
        kind, _, part = name.partition(":")
        profile = _list_of(part) if kind == "cores" and part else part or FIRST_PROFILE
        found[name] = _cost(config, profile).objectives(genotype).get(kind, float("nan"))
    return found


def _list_of(chip: str) -> str:
    """The first price list of a chip."""
    lists = {one.chip: one.name for one in reversed(price_lists(PriceSettings())) if one.chip}
    return lists[chosen("chip", chip, lists)]


@cache
def _cost(config: NetworkConfig, profile: str) -> GenotypeCost:
    return GenotypeCost(config=config, profile=profile)


def in_integers(network: SpikingNetwork, dataset: Dataset, bits: tuple[int, ...]) -> dict[int, NDArray[np.float64]]:
    """Bits -> logits [N, classes] on the test images, in the integers that an export writes without calibration.

    Raises UnsupportedError for what no chip can carry.
    """
    graph = lower(traced(network).graph)
    peak = float(predict(network, dataset.train_images[:CALIBRATION_IMAGES]).abs().max())
    spikes, found = entering(network, dataset.test_images), {}
    for width in bits:
        chip = quantize(graph, peak, weight_bits=width)
        scales = largest_scales(graph, peak, width)
        unit = scales[max(scales)].scale * (1 << MANTISSA_SHIFT)  # of the readout's membrane, for one logit
        readout = simulate(chip, {chip.inputs[0].name: spikes}).readout[-1]
        found[width] = readout.reshape(len(dataset.test_images), -1) / unit
    return found


ON_CHIPS = OnChips(costs=costs, in_integers=in_integers)
