"""How many relay neurons the linear program saves against levels as soon as possible, on random genotypes.

    python benchmarks/relays.py [--genotypes 50] [--cells 8] [--channels 8] [--size 32] [--json]
    python benchmarks/relays.py --run runs/demo [--json]        a trained network: neurons and spikes

Prints a row per genotype; with --json one object {"genotypes", "relays_soonest", "relays_cheapest", "saved",
"relay_share_soonest", "relay_share_cheapest"} whose shares are relay neurons over all neurons.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from spikeport.export.graph import SpikingGraph, neurons
from spikeport.export.passes.fold import fold
from spikeport.export.passes.relays import cheapest_levels, insert_relays, levels
from spikeport.export.simulate import simulate
from spikeport.export.trace.walk import trace
from spikeport.search.data.datasets import load_dataset
from spikeport.search.runs import open_run
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork, load_network

IMAGES = 64


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
    totals = np.zeros(3, np.int64)
    for seed in range(options.genotypes):
        counted = np.array(relays_of(float_graph(seed, options)))
        totals += counted
        if not options.json:
            own, soonest, cheapest = counted
            saved = f"{1 - cheapest / soonest:.1%}"
            print(f"genotype {seed:3d}: {own:8d} neurons, relays {soonest:8d} -> {cheapest:8d} ({saved})")
    own, soonest, cheapest = totals.tolist()
    result = {
        "genotypes": options.genotypes,
        "relays_soonest": soonest,
        "relays_cheapest": cheapest,
        "saved": 1 - cheapest / soonest,
        "relay_share_soonest": soonest / (own + soonest),
        "relay_share_cheapest": cheapest / (own + cheapest),
    }
    show(result, options.json)


def show(result: dict[str, float], as_json: bool) -> None:
    print(json.dumps(result) if as_json else "\n".join(f"{name:>22}: {value:.4g}" for name, value in result.items()))


def of_run(folder: Path) -> dict[str, float]:
    """Relays of a trained network: their share of neurons, and of spikes on the first test images."""
    network = load_network(open_run(folder))
    images = torch.from_numpy(load_dataset(network.config.dataset).test_images[:IMAGES])
    traced = trace(network, images[:1], network.config.time_steps)
    graph = fold(traced.graph)
    with torch.no_grad():
        spikes = traced.encoder(images).numpy().astype(np.uint8)
    fired = {name: int(s.sum()) for name, s in simulate(graph, {graph.inputs[0].name: spikes}).spikes.items()}
    result: dict[str, float] = {"images": IMAGES}
    for word, choose in (("soonest", levels), ("cheapest", cheapest_levels)):
        relays = [p for p in insert_relays(graph, choose).populations if p.role == "relay"]
        size = sum(neurons(p.shape) for p in relays)
        carried = sum(fired[p.name.rsplit(".relay", 1)[0]] for p in relays)
        result |= {
            f"relays_{word}": size,
            f"relay_share_{word}": size / (size + sum(neurons(p.shape) for p in graph.populations)),
            f"relay_spikes_{word}": carried / IMAGES,
            f"spike_share_{word}": carried / (carried + sum(fired.values())),
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


def relays_of(graph: SpikingGraph) -> tuple[int, int, int]:
    """Neurons of the network itself, relay neurons with the soonest levels, and with the cheapest."""
    relayed = (insert_relays(graph, levels), insert_relays(graph, cheapest_levels))
    soonest, cheapest = (sum(neurons(p.shape) for p in g.populations if p.role == "relay") for g in relayed)
    return sum(neurons(p.shape) for p in graph.populations), soonest, cheapest


if __name__ == "__main__":
    main()
