"""How many relay neurons a network needs: levels as soon as possible, the cheapest levels, and only what is read.

    python benchmarks/relays.py [--genotypes 50] [--cells 8] [--channels 8] [--size 32] [--json]
    python benchmarks/relays.py --run runs/demo [--json]        a trained network: neurons, spikes, operations, energy

`soonest` and `whole` carry whole populations, by the first possible and by the cheapest levels; `parts` carries what a
later reader reads, by the levels that are cheapest for that: it is what `spikeport export` does. Prints a row per
genotype; with --json one object {"genotypes", "relays_<form>", "relay_share_<form>", "saved_levels", "saved_parts"},
whose shares are relay neurons over all neurons, and of the set `darts` alone "saved_parts_darts". Of a run, each form
has its neurons, spikes, synaptic operations and energy on Loihi 1 per inference of the test split.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spikeport.deploy.cost.prices import price_lists
from spikeport.deploy.measure import measure, priced
from spikeport.deploy.run.forms import CompiledRunner
from spikeport.deploy.settings import PriceSettings
from spikeport.export.graph import Shape, SpikingGraph, neurons
from spikeport.export.passes.fold import fold
from spikeport.export.passes.quantize import quantize
from spikeport.export.passes.relays import cheapest_levels, insert_relays, levels
from spikeport.export.passes.spread import spread
from spikeport.export.passes.waiting import Form, Reader
from spikeport.export.targets import readout_peak
from spikeport.export.trace.walk import trace
from spikeport.export.tuning.samples import entering
from spikeport.search.data.datasets import load_dataset
from spikeport.search.runs import open_run
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork, load_network

PROFILE = "loihi1-davies2018"
OF_RELAYS = ("neurons", "spikes", "energy_j")


def one_part(readers: Sequence[Reader], source: Shape) -> list[tuple[int, list[Reader]]]:
    """All neurons of a population, which wait for all of its readers."""
    return [(neurons(source), list(readers))] if readers else []


def all_of_it(held: Form, readers: Sequence[Reader]) -> Form:
    return held


FORMS: dict[str, Callable[[SpikingGraph], SpikingGraph]] = {
    "soonest": partial(insert_relays, choose=levels, left=all_of_it),
    "whole": partial(insert_relays, choose=partial(cheapest_levels, parts=one_part), left=all_of_it),
    "parts": insert_relays,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genotypes", type=int, default=50)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--size", type=int, default=32, help="rows and columns of an image")
    parser.add_argument("--run", type=Path, help="run folder of a trained network")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.run:
        show(of_run(options.run), options.json)
        return
    rows = []
    for seed in range(options.genotypes):
        rows.append(row := relays_of(float_graph(seed, options)))
        if not options.json:
            own, soonest, whole, parts = row
            print(
                f"genotype {seed:3d}: {own:8d} neurons, relays {soonest:8d} -> {whole:8d} ({1 - whole / soonest:.1%}) "
                f"-> {parts:8d} ({1 - parts / whole:.1%})"
            )
    own, *found = np.array(rows).sum(0).tolist()
    darts = np.array(rows[1::2]).sum(0)
    result: dict[str, float] = {"genotypes": options.genotypes}
    for form, relays in zip(FORMS, found, strict=True):
        result |= {f"relays_{form}": relays, f"relay_share_{form}": relays / (own + relays)}
    soonest, whole, parts = found
    result |= {"saved_levels": 1 - whole / soonest, "saved_parts": 1 - parts / whole}
    if len(rows) > 1:
        result["saved_parts_darts"] = 1 - float(darts[3] / darts[2])
    show(result, options.json)


def show(result: dict[str, float], as_json: bool) -> None:
    print(json.dumps(result) if as_json else "\n".join(f"{name:>24}: {value:.6g}" for name, value in result.items()))


def of_run(folder: Path) -> dict[str, float]:
    """Relays of a trained network, and what they cost per inference."""
    run = open_run(folder)
    network = load_network(run)
    dataset = load_dataset(network.config.dataset, time_steps=network.config.time_steps)
    example = torch.from_numpy(dataset.test_images[:1])
    traced = trace(network, example, network.config.time_steps, reads_spikes=network.config.reads == "spikes")
    graph, peak = spread(fold(traced.graph)), readout_peak(network)

    def enter(images: Any) -> NDArray[np.uint8]:
        return entering(traced.encoder, images).numpy().astype(np.uint8)

    profiles = price_lists(PriceSettings(profiles=PROFILE))
    result: dict[str, float] = {"images": len(dataset.test_images)}
    for form, insert in FORMS.items():
        chip = quantize(insert(graph), peak)
        measured = measure(CompiledRunner(chip), enter, dataset.test_images, profiles)
        energy = priced(measured, chip, profiles, network, dataset)
        profile, relays = energy["profiles"][PROFILE], energy["by_role"].get("relay", dict.fromkeys(OF_RELAYS, 0))
        result |= {
            f"accuracy_{form}": float((measured.predictions[-1] == dataset.test_labels).mean()),
            f"relays_{form}": relays["neurons"],
            f"relay_share_{form}": relays["neurons"] / sum(neurons(p.shape) for p in chip.populations),
            f"relay_spikes_{form}": relays["spikes"],
            f"relay_energy_uj_{form}": relays["energy_j"] * 1e6,
            f"spikes_{form}": profile["counts"]["spikes"],
            f"sops_{form}": profile["counts"]["synaptic_operations"],
            f"energy_uj_{form}": profile["energy_j"]["total"] * 1e6,
        }
    return result


def float_graph(seed: int, options: argparse.Namespace) -> SpikingGraph:
    """The folded graph of a network built from a random genotype, `darts` and `plain` in turn."""
    genotype = random_genotype(np.random.default_rng(seed), "darts" if seed % 2 else "plain")
    shape = (3, options.size, options.size)
    settings = NetworkConfig(
        channels=options.channels, cells=options.cells, time_steps=2, classes=10, input_shape=shape
    )
    network = SpikingNetwork(genotype, settings).eval()
    return fold(trace(network, torch.zeros(1, *shape), 2).graph)


def relays_of(graph: SpikingGraph) -> tuple[int, ...]:
    """Neurons of the network itself, then relay neurons of every form."""
    relayed = [insert(graph) for insert in FORMS.values()]
    found = [sum(neurons(p.shape) for p in each.populations if p.role == "relay") for each in relayed]
    return (sum(neurons(p.shape) for p in graph.populations), *found)


if __name__ == "__main__":
    main()
