"""What a level of its own buys a population: agreement of the chip's integers against relays.

    python -m spikeport.benchmarks.on_accuracy.own_levels [--cells 2] [--seeds 3] [--bits 8,4] [--json]

All populations of a level share one scale, so weights that dwarf the others' make these coarse. For random networks
that nobody trained, three graphs on the scales by the largest weights: levels as they are exported; every population
that dwarfs its level (`calibrate.dwarfed`) one level behind the others; every population alone, which no choice of
levels can beat. Each has its relay neurons, and the share of spikes that agree with the float network on images that
were not calibrated on.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from spikeport.benchmarks.on_accuracy.rows import untrained_network
from spikeport.export.graph import SpikingGraph, neurons
from spikeport.export.passes.fold import fold
from spikeport.export.passes.quantize import quantize
from spikeport.export.passes.relays import Levels, cheapest_levels, insert_relays
from spikeport.export.passes.scales import largest_scales
from spikeport.export.passes.spread import spread
from spikeport.export.targets import traced
from spikeport.export.tuning.agreement import agreement
from spikeport.export.tuning.calibrate import dwarfed
from spikeport.export.tuning.finetune import answers_of
from spikeport.export.tuning.samples import entering

SAMPLES = 64


def alone(graph: SpikingGraph) -> Levels:
    """Every population on a level of its own, in the order of the cheapest levels."""
    level = cheapest_levels(graph)
    order = sorted(graph.populations, key=lambda population: level[population.name])
    return {node.name: 0 for node in graph.inputs} | {p.name: number for number, p in enumerate(order, 1)}


def apart(names: set[str]) -> Callable[[SpikingGraph], Levels]:
    """The cheapest levels, but for these populations, which come one level behind the others of theirs."""

    def choose(graph: SpikingGraph) -> Levels:
        level = cheapest_levels(graph)
        found, later = {node.name: 0 for node in graph.inputs}, 0
        for number in sorted({level[p.name] for p in graph.populations}):
            here = [p.name for p in graph.populations if level[p.name] == number]
            rest = [name for name in here if name not in names]
            found |= dict.fromkeys(rest, number + later)
            later += 0 < len(rest) < len(here)
            found |= {name: number + later for name in here if name in names}
        return found

    return choose


def rows_of(cells: int, seed: int, bits: list[int]) -> list[dict[str, Any]]:
    network = untrained_network(cells, seed)
    known, unseen = (torch.rand(SAMPLES, *network.config.input_shape).numpy() for _ in range(2))
    peak, found = float(answers_of(network, known).abs().max()), traced(network)
    spikes = entering(found.encoder, unseen).numpy().astype(np.uint8)
    graph = spread(fold(found.graph))
    shared = insert_relays(graph)
    names = set(dwarfed(shared))
    forms = {
        "shared": shared,
        "dwarfing apart": insert_relays(graph, apart(names)),
        "all apart": insert_relays(graph, alone),
    }
    rows = []
    for one in bits:
        for form, leveled in forms.items():
            scales = largest_scales(leveled, peak, one)
            chip = quantize(leveled, peak, weight_bits=one, scales=scales)
            same = agreement(leveled, chip, scales[max(scales)].scale, spikes)
            rows.append(
                {
                    "seed": seed,
                    "weight_bits": one,
                    "form": form,
                    "dwarfing": sorted(names),
                    "levels": max(scales),
                    "relay_neurons": sum(neurons(p.shape) for p in leveled.populations if p.role == "relay"),
                    "agreement": same.share,
                    "least_agreement": min(same.spikes.values()),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--bits", default="8,4")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = []
    for seed in range(given.seeds):
        for row in rows_of(given.cells, seed, [int(number) for number in given.bits.split(",")]):
            rows.append(row)
            if not given.json:
                print(
                    f"seed {seed}, {row['weight_bits']} bits, {row['form']:>14}: {len(row['dwarfing'])} dwarfing, "
                    f"{row['levels']} levels, {row['relay_neurons']} relay neurons, agreement {row['agreement']:.4f}, "
                    f"of the worst population {row['least_agreement']:.3f}",
                    flush=True,
                )
    if given.json:
        print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
