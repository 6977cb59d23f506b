"""What a run's network is on the chips, as objectives of a search: on the images by which a search may choose."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from ..deploy.cost.prices import FIRST_PROFILE, price_lists
from ..deploy.settings import PriceSettings
from ..errors import InputError
from ..export.tuning.samples import samples_of
from ..search.data.datasets import load_dataset
from ..search.evaluators.from_table import FIRST_CHIP
from ..search.runs import Run
from ..search.space.network import SpikingNetwork, load_network
from .chip_figures import chip_figures
from .of_subnets import ON_CHIPS as SUBNETS


def on_chip(run: Run, names: tuple[str, ...]) -> Mapping[str, float]:
    """Name -> number, of energy_j, latency_s, cores, relays and the like; NaN where a chip does not carry it.

    `energy_j` and `latency_s` are by the first price list, `cores` of the first chip, or those of `NAME:PART`. Measured
    on the images that the run's training was watched with. Raises InputError for a part that is none, UnsupportedError
    for what no chip can carry.
    """
    network = load_network(run)
    assert isinstance(network, SpikingNetwork)
    dataset = load_dataset(network.config.dataset, time_steps=network.config.time_steps)
    watch = samples_of(run, dataset).watch
    watched = replace(dataset, test_images=dataset.train_images[watch], test_labels=dataset.train_labels[watch])
    figures = asdict(chip_figures(network, watched, price_lists(PriceSettings())))
    return {name: _value(figures, name) for name in names}


ON_CHIPS: Mapping[str, Any] = {"on_chip": on_chip, "on_chips": SUBNETS}  # what `run_search` is given of chips


def _value(figures: Mapping[str, object], name: str) -> float:
    kind, _, part = name.partition(":")
    found = figures[kind]
    if not isinstance(found, dict):
        return float(str(found))
    part = part or {"cores": FIRST_CHIP}.get(kind, FIRST_PROFILE)
    if part not in found:
        raise InputError(
            f"`{name}` must be one of {', '.join(f'{kind}:{known}' for known in found)}; name one of these."
        )
    return float(found[part])
