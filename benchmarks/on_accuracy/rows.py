"""What the chip's integers cost: weights of 8, 4 and 2 bits, by the largest weight, calibrated, fine-tuned.

    python -m spikeport.benchmarks.on_accuracy.rows runs/mine --bits 8,4,2 --epochs 12 [--json]
    python -m spikeport.benchmarks.on_accuracy.rows --untrained 2 [--json]

The first prints a row for each number of bits and each way to find the integers, on the whole test split of a trained
run. The second takes networks that nobody trained (random cells, batch norms that know their statistics), which is what
rounding hurts most, before and after calibration.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional

from spikeport.deploy.cost.prices import price_lists
from spikeport.deploy.equivalence.verdict import compare_integers
from spikeport.deploy.measure import measure, priced
from spikeport.deploy.run.forms import CompiledRunner, LavaRunner, TwinRunner
from spikeport.deploy.settings import PriceSettings
from spikeport.export.folded import folded
from spikeport.export.graph import SpikingGraph
from spikeport.export.netx.writer import write_netx
from spikeport.export.onnx.twin import write_twin
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.passes.relays import levels
from spikeport.export.passes.scales import largest_scales
from spikeport.export.settings import ExportSettings
from spikeport.export.targets import readout_peak, source, traced
from spikeport.export.tuning.agreement import agreement
from spikeport.export.tuning.calibrate import calibrate
from spikeport.export.tuning.finetune import answers_of
from spikeport.export.tuning.integers import Source, integers_of
from spikeport.export.tuning.samples import AT_ONCE, entering
from spikeport.search.data.datasets import Dataset, load_dataset
from spikeport.search.runs import Run, open_run
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import NetworkConfig, RunNetwork, SpikingNetwork, load_network

PROFILE = "loihi1-davies2018"
CHIP = "loihi1"
LARGEST = "largest weight"  # post-training quantization, and nothing more
COUNTED = 1000  # test images whose operations are counted and priced; answers are of all
SAMPLES = 128  # of an untrained network
LAVA_LIMIT_S = 1800.0

Row = dict[str, Any]
Tell = Callable[[str], None]

# how the integers are found -> what is chosen for it, besides bits and epochs
WAYS: dict[str, dict[str, Any]] = {LARGEST: {}, "calibrated": {"calibrate": True}, "fine-tuned": {}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """lava_samples: test samples that real Lava runs, too."""

    settings: ExportSettings
    lava_samples: int = 0

    @property
    def name(self) -> str:
        if self.settings.finetune:
            return "fine-tuned"
        return "calibrated" if self.settings.calibrate else LARGEST


def ways(bits: Sequence[int], epochs: int, lava_samples: int = 0, **more: Any) -> list[Way]:
    """Every way at every number of bits; `more` are settings of the fine-tuning."""
    tuned: dict[str, Any] = {"fine-tuned": {"finetune": epochs} | more}
    return [
        Way(settings=ExportSettings(weight_bits=number, **chosen, **tuned.get(way, {})), lava_samples=lava_samples)
        for number in bits
        for way, chosen in WAYS.items()
        if epochs or way not in tuned
    ]


def rows_of(run: Run, chosen: Sequence[Way], tell: Tell = lambda stage: None) -> list[Row]:
    """A row for each way, on the test split of a trained run; nothing is written into it.

    float_accuracy: as trained, with live gates. folded_accuracy: with constant ones, in float.
    sops, spikes: per inference, of the first COUNTED test images. energy_j: of one on Loihi 1. agreement: share of the
    spikes of training samples that are the float network's, of the whole and by level.
    """
    live = load_network(run)
    dataset = load_dataset(live.config.dataset, time_steps=live.config.time_steps)
    counted = replace(dataset, test_images=dataset.test_images[:COUNTED], test_labels=dataset.test_labels[:COUNTED])
    float_accuracy = _accuracy(live, dataset)
    profiles = price_lists(PriceSettings(profiles=PROFILE))
    rows: list[Row] = []
    plain: dict[tuple[int, bool], float] = {}
    made: dict[bool, tuple[RunNetwork, Source, float]] = {}
    for way in chosen:
        settings = way.settings
        tell(f"{settings.weight_bits} bits, {way.name}")
        fold = settings.fold_attention
        if fold not in made:
            network = folded(live, tell)[0] if fold else live
            origin = source(run, network, traced(network), readout_peak(network))
            made[fold] = network, origin, _accuracy(network, dataset) if fold else float_accuracy
        network, origin, constant = made[fold]
        found = integers_of(origin, settings, tell)

        def enter(images: Any, encoder: torch.nn.Module | None = origin.encoder) -> NDArray[np.uint8]:
            return entering(encoder, images).numpy().astype(np.uint8)

        runner = CompiledRunner(found.graph)
        measured = measure(runner, enter, counted.test_images, profiles)
        energy = priced(measured, found.graph, profiles, network, counted)
        answers = [measured.predictions[-1]]
        for start in range(COUNTED, len(dataset.test_labels), AT_ONCE):
            spikes = enter(dataset.test_images[start : start + AT_ONCE])
            answers.append(runner.runner.run(spikes, totals=False, note=False).readout[-1].argmax(1))
        accuracy = float((np.concatenate(answers) == dataset.test_labels).mean())
        if way.name == LARGEST:
            plain[settings.weight_bits, fold] = accuracy
        last = list(found.record["agreement"].values())[-1]
        mapping = energy["mappings"][CHIP]
        rows.append(
            {
                "dataset": dataset.name,
                "attention": getattr(network.config, "attention", "none"),
                "weight_bits": settings.weight_bits,
                "integers": way.name,
                "float_accuracy": float_accuracy,
                "folded_accuracy": constant if fold else None,
                "ptq_accuracy": plain.get((settings.weight_bits, fold)),
                "chip_accuracy": accuracy,
                "test_images": len(dataset.test_labels),
                "counted_images": len(counted.test_labels),
                "lava_spikes_differing": _in_lava(found.graph, enter(dataset.test_images[: way.lava_samples]), tell)
                if way.lava_samples
                else None,
                "lava_samples": way.lava_samples,
                "sops": energy["profiles"][PROFILE]["counts"]["synaptic_operations"],
                "spikes": energy["profiles"][PROFILE]["counts"]["spikes"],
                "energy_j": energy["profiles"][PROFILE]["energy_j"]["total"],
                "cores": mapping["cores"],
                "agreement": last["spikes"],
                "agreement_by_level": by_level(origin.graph, last["populations"]),
                "finetuning": found.record["finetuning"],
            }
        )
    return rows


def _accuracy(network: RunNetwork, dataset: Dataset) -> float:
    answers = answers_of(network, dataset.test_images).argmax(1).numpy()
    return float((answers == dataset.test_labels).mean())


def by_level(graph: SpikingGraph, shares: dict[str, float]) -> dict[int, float]:
    """The mean of the populations of each level that has any which are no relays."""
    level = levels(graph)
    found: dict[int, list[float]] = {}
    for name, share in shares.items():
        found.setdefault(level[name], []).append(share)
    return {number: float(np.mean(found[number])) for number in sorted(found)}


def _in_lava(graph: SpikingGraph, spikes: NDArray[np.uint8], tell: Tell) -> int:
    """Spikes and membranes in which real Lava and twin.onnx differ."""
    with TemporaryDirectory(prefix="spikeport-accuracy-") as folder:
        net, twin = Path(folder, "network.net"), Path(folder, "twin.onnx")
        write_netx(net, graph)
        write_twin(twin, graph, {})
        ours, theirs = TwinRunner(twin, graph)(spikes), LavaRunner(net, graph, LAVA_LIMIT_S, tell)(spikes)
    return int(compare_integers("loihi", "twin.onnx", "Lava", ours, theirs).spikes_differing or 0)


def untrained_network(cells: int, seed: int, channels: int = 8) -> SpikingNetwork:
    """A random cell whose batch norms know their statistics; torch's random numbers go on from there."""
    torch.manual_seed(seed)
    config = NetworkConfig(channels=channels, cells=cells, time_steps=4, classes=10, input_shape=(3, 16, 16))
    network = SpikingNetwork(random_genotype(np.random.default_rng(seed), "plain"), config)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network(torch.rand(64, *config.input_shape))
    functional.reset_net(network)
    network.eval()
    return network


def untrained(cells: int, seed: int, bits: int, channels: int = 8) -> Row:
    """Agreement of the integers of a random network with its floats, by level, before and after calibration.

    The calibration sees other random images than those that are counted here.
    """
    network = untrained_network(cells, seed, channels)
    known, unseen = (torch.rand(SAMPLES, *network.config.input_shape).numpy() for _ in range(2))
    peak = float(answers_of(network, known).abs().max())
    found = traced(network)
    graph = lower(found.graph)
    spikes = [entering(found.encoder, images).numpy().astype(np.uint8) for images in (known, unseen)]
    calibrated = calibrate(graph, peak, spikes[0], bits)
    largest = largest_scales(graph, peak, bits)
    last = max(largest)
    before = agreement(graph, quantize(graph, peak, scales=largest), largest[last].scale, spikes[1])
    after = agreement(graph, calibrated.chip, calibrated.scales[last].scale, spikes[1])
    return {
        "cells": cells,
        "levels": last,
        "seed": seed,
        "weight_bits": bits,
        "before": before.share,
        "after": after.share,
        "answers_before": before.answers,
        "answers_after": after.answers,
        "before_by_level": by_level(graph, dict(before.spikes)),
        "after_by_level": by_level(graph, dict(after.spikes)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--bits", default="8,4,2")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--learning-rate", type=float, default=ExportSettings().finetune_learning_rate)
    parser.add_argument("--batch-size", type=int, default=ExportSettings().finetune_batch_size)
    parser.add_argument("--lava-samples", type=int, default=0)
    parser.add_argument("--untrained", type=int, default=0, help="cells of random networks")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    bits = [int(number) for number in given.bits.split(",")]

    def tell(stage: str) -> None:
        if not given.json:
            print(f"  {stage}", flush=True)

    if given.untrained:
        rows = [untrained(given.untrained, seed, one) for one in bits for seed in range(given.seeds)]
        for row in rows:
            tell(json.dumps(row))
    else:
        more = {"finetune_learning_rate": given.learning_rate, "finetune_batch_size": given.batch_size}
        rows = rows_of(open_run(given.run), ways(bits, given.epochs, given.lava_samples, **more), tell)
        for row in rows:
            tell(
                f"{row['weight_bits']} bits, {row['integers']:14}: float {row['float_accuracy']:.4f}, chip "
                f"{row['chip_accuracy']:.4f}, agreement {row['agreement']:.4f}, {row['sops']:.0f} SOPs, "
                f"{row['energy_j'] * 1e6:.1f} uJ, {row['cores']} cores, Lava {row['lava_spikes_differing']}"
            )
    if given.json:
        print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
