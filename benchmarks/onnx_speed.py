"""ONNX Runtime running model.onnx beside SpikingJelly running the network it was written from, on the same CPU.

    python benchmarks/onnx_speed.py [--json] [--rounds N] [--threads N] [--seed N]

One random genotype of each primitive set, as a network of 4 cells, 16 channels, images 3x32x32 and T = 2; untrained,
but its batch norms saw random images, so that spikes flow (the rate is told). Both sides use the same number of threads
(default: every core that there is) and give logits alone; they take turns, and in the two halves of a round the other
one begins. The ratio is SpikingJelly's median time over ONNX Runtime's. SpikingJelly runs in eager mode, multi-step,
backend torch, with batch norms in eval mode, in torch.inference_mode. Before the clock starts, every spike of every
layer is compared as `deploy` does it: with ==, a tie proved to be one (`ties`). size_ratio is the file beside the
network's weights, the larger one of T = 2 and T = 32; export_seconds is the whole of `write_model`, the slowest of all.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from spikingjelly.activation_based.functional import reset_net
from torch import nn

from spikeport.deploy.equivalence.verdict import compare_float
from spikeport.deploy.run.forms import OnnxRunner
from spikeport.deploy.run.torch_network import TorchRunner
from spikeport.export.onnx.window import write_model
from spikeport.search.settings.network import PrimitiveSet
from spikeport.search.space.genotype import random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork

SETS: tuple[PrimitiveSet, ...] = ("plain", "darts")
BATCHES = (1, 32)
LONG = 32  # time steps of the file whose size is told beside
COMPARED = 32  # images
IMAGE = (3, 32, 32)


def lively_network(primitives: PrimitiveSet, seed: int, time_steps: int) -> SpikingNetwork:
    """In eval mode, with statistics in its batch norms."""
    torch.manual_seed(seed)
    config = NetworkConfig(channels=16, cells=4, time_steps=time_steps, classes=10, input_shape=IMAGE)
    network = SpikingNetwork(random_genotype(np.random.default_rng(seed), primitives), config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 0.6, 1.4)
            nn.init.uniform_(module.bias, -0.2, 0.6)
    with torch.no_grad():
        network(torch.rand(8, *IMAGE))
    reset_net(network)
    return network.eval()


def session_of(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def compared(network: nn.Module, path: Path) -> dict[str, Any]:
    """What `deploy` would find: spikes that differ once ties were proved to be ties, how many those are, and the share
    of neuron-steps that fire, over all layers."""
    images = torch.rand(COMPARED, *IMAGE, generator=torch.Generator().manual_seed(1)).numpy()
    torch_network, found = TorchRunner(network), OnnxRunner(path)(images)
    check = compare_float("onnx", "torch", "model.onnx", partial(torch_network, images), found)
    fired = sum(int(spikes.sum()) for spikes in found.spikes.values())
    rate = fired / sum(spikes.size for spikes in found.spikes.values())
    return {"spikes_differing": check.spikes_differing, "ties": len(check.ties), "rate": rate}


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def timed(network: nn.Module, session: onnxruntime.InferenceSession, batch: int, rounds: int) -> tuple[float, float]:
    """Median seconds of a batch: (SpikingJelly, ONNX Runtime)."""
    images = torch.rand(batch, *IMAGE, generator=torch.Generator().manual_seed(2))
    array = images.numpy()
    only_logits = onnxruntime.RunOptions()
    only_logits.add_run_config_entry("session.only_execute_path_to_fetches", "1")

    def peer() -> None:
        with torch.inference_mode():
            network(images)
        reset_net(network)

    def ours() -> None:
        session.run(["logits"], {"images": array}, only_logits)

    taken: dict[Callable[[], None], list[float]] = {peer: [], ours: []}
    for number in range(rounds + 2):
        for side in (peer, ours) if number % 2 else (ours, peer):
            one = seconds(side)
            if number >= 2:  # the first ones fill caches
                taken[side].append(one)
    return statistics.median(taken[peer]), statistics.median(taken[ours])


def measured(primitives: PrimitiveSet, seed: int, rounds: int, threads: int) -> dict[str, Any]:
    sizes, took, found = [], [], {}
    with tempfile.TemporaryDirectory() as folder:
        for time_steps in (2, LONG):
            network = lively_network(primitives, seed, time_steps)
            path = Path(folder) / f"{time_steps}.onnx"
            took.append(seconds(partial(write_model, path, network, torch.rand(2, *IMAGE))))
            weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
            sizes.append(path.stat().st_size / weights)
            if time_steps != LONG:
                session = session_of(path, threads)
                found = compared(network, path)
                for batch in BATCHES:
                    peer, ours = timed(network, session, batch, rounds if batch == 1 else max(rounds // 4, 3))
                    found |= {
                        f"ratio_batch{batch}": peer / ours,
                        f"spikingjelly_ms_batch{batch}": 1e3 * peer,
                        f"onnx_ms_batch{batch}": 1e3 * ours,
                    }
    return found | {"export_seconds": max(took), "size_ratio": max(sizes)}


WORST: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("ratio_batch1", "ratio_batch32"), min),
    **dict.fromkeys(("spikes_differing", "export_seconds", "size_ratio"), max),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=60, help="of batch 1; a quarter of them of batch 32")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=0, help="of the genotypes and weights")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sets = {name: measured(name, options.seed, options.rounds, options.threads) for name in SETS}
    worst = {key: pick(found[key] for found in sets.values()) for key, pick in WORST.items()}
    if options.json:
        print(json.dumps(worst | {"threads": options.threads, "sets": sets}))
        return
    for name, found in {**sets, "worst": worst}.items():
        print(name, ", ".join(f"{key} {value:.3g}" for key, value in found.items()))


if __name__ == "__main__":
    main()
