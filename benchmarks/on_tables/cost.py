"""How near the cost of a genotype, told without a network, comes to what deploy finds of a trained one.

    python -m spikeport.benchmarks.on_tables.cost --genotypes 20 --epochs 6 [--json]

Random genotypes are trained for a few epochs on digits, traced, lowered, quantized, run on test images and priced, as
deploy does it. Every quantity: the mean absolute percentage error, the share of networks for which it is exact,
Spearman's rank correlation, and for energy, latency and operations how often deploy's number lies in the interval of
rates.
"""

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from spikingjelly.activation_based import functional

from spikeport.deploy.cost.genotypes.cost import AtRates, Cost, GenotypeCost
from spikeport.deploy.measure import price
from spikeport.deploy.run.any_form import encode
from spikeport.export.graph import SpikingGraph, neurons
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.passes.relays import levels
from spikeport.export.targets import traced
from spikeport.search.data.datasets import load_dataset
from spikeport.search.pipeline import train
from spikeport.search.settings.run import choose
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import network_config

PROFILE = "loihi1-davies2018"
TEST_IMAGES = 100
CALIBRATION_IMAGES = 512

Numbers = dict[str, float]


def predicted(cost: Cost) -> Numbers:
    size = cost.size
    found: dict[str, Any] = {"levels": size.levels, "relays": size.relays, "neurons": size.neurons}
    found |= {"synapses": size.synapses, "cores": cost.cores, "sops": size.sops}
    return found | {"energy_j": cost.energy_j, "latency_s": cost.latency_s}


def deployed(graph: SpikingGraph, spikes: Any) -> Numbers:
    """Of the quantized graph, on spikes [T, N, ...]."""
    energy = price(graph, spikes, PROFILE)
    profile, (mapping,) = energy["profiles"][PROFILE], energy["mappings"].values()
    return {
        "levels": max(levels(graph).values()),
        "relays": sum(neurons(p.shape) for p in graph.populations if p.role == "relay"),
        "neurons": sum(neurons(p.shape) for p in graph.populations),
        "synapses": sum(row["synapses"] for row in energy["per_population"]),
        "cores": mapping["cores"],
        "sops": energy["counts"]["synaptic_operations"]["mean"],
        "energy_j": profile["energy_j"]["total"],
        "latency_s": profile["latency_s"],
    }


def compared(rows: list[tuple[dict[str, Any], Numbers]]) -> dict[str, dict[str, float | None]]:
    """By quantity."""
    found = {}
    for name in rows[0][1]:
        said = [row[0][name] for row in rows]
        ours = np.array([one.usual if isinstance(one, AtRates) else one for one in said], float)
        theirs = np.array([row[1][name] for row in rows], float)
        within = [
            one.low <= true <= one.high for one, true in zip(said, theirs, strict=True) if isinstance(one, AtRates)
        ]
        found[name] = {
            "mape": float(100 * np.abs(ours / theirs - 1).mean()),
            "bias": float(100 * (ours / theirs - 1).mean()),
            "exact": float((ours == theirs).mean()),
            "rank": float(spearmanr(ours, theirs).statistic) if np.ptp(ours) and np.ptp(theirs) else None,
            "within": float(np.mean(within)) if within else None,
        }
    return found


def measured(count: int, epochs: int, channels: int, seed: int) -> dict[str, Any]:
    dataset = load_dataset("digits")
    settings = choose(dataset="digits", channels=channels, cells=3, train_epochs=epochs)
    config = network_config(settings.network, dataset)
    rows, seconds, rates = [], [], []
    for number in range(count):
        genotype = random_genotype(np.random.default_rng([seed, number]), "darts")
        start = time.perf_counter()
        cost = GenotypeCost(config=config, profile=PROFILE)(genotype)
        seconds.append(time.perf_counter() - start)
        network = train(genotype, settings, dataset)
        found = traced(network)
        with torch.no_grad():
            functional.reset_net(network)
            peak = float(network(torch.from_numpy(dataset.train_images[:CALIBRATION_IMAGES])).abs().max())
            functional.reset_net(network)
        graph = quantize(lower(found.graph), peak)
        spikes = encode(found.encoder, dataset.test_images[:TEST_IMAGES])
        rows.append((predicted(cost), deployed(graph, spikes)))
        true = rows[-1][1]
        rates.append(true["sops"] / true["synapses"] / config.time_steps)
        print(f"{number + 1} of {count}: rate {rates[-1]:.3f}", file=sys.stderr, flush=True)
    return {
        "genotypes": count,
        "epochs": epochs,
        "channels": channels,
        "profile": PROFILE,
        "seconds_per_genotype": float(np.median(seconds)),
        "spikes_per_synapse_and_step": {"mean": float(np.mean(rates)), "min": min(rates), "max": max(rates)},
        "quantities": compared(rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genotypes", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measured(options.genotypes, options.epochs, options.channels, options.seed)
    if options.json:
        print(json.dumps(found))
        return
    rates = found["spikes_per_synapse_and_step"]
    print(
        f"{found['genotypes']} genotypes, {found['seconds_per_genotype']:.2f} s each; rates "
        f"{rates['min']:.2f} - {rates['max']:.2f}, mean {rates['mean']:.2f}"
    )
    for name, one in found["quantities"].items():
        rank = "none, all are alike" if one["rank"] is None else f"{one['rank']:.3f}"
        within = "" if one["within"] is None else f", in the interval {100 * one['within']:.0f} %"
        print(
            f"{name:10} error {one['mape']:6.1f} % (bias {one['bias']:+6.1f} %), exact {100 * one['exact']:3.0f} %, "
            f"rank {rank}{within}"
        )


if __name__ == "__main__":
    main()
