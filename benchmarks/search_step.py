"""One step of the search: the kernel-space supernet beside a plain DARTS supernet with neurons in every operation.

    python benchmarks/search_step.py [--json] [--rounds N] [--clock cpu] [--once]

A step is what darts.py does with a pair of batches: forward and backward of the alphas on one, forward and backward of
the weights on the other, both optimizers; spikes are not counted. T = 2, 6 cells, 8 channels, batches of 32 images, all
eight primitives of `darts`. Both sides take turns in one process; a round's ratio is peer / kernel-space, and the
median over the rounds is told. Peak memory (resident set) is that of a process of its own per side, with two steps.

The peer is the usual spiking DARTS: in a cell the edges carry currents, every candidate is LIF - operation - batch norm
with SpikingJelly's LIFNode (86 of them in a cell), and the mixture is summed at the node. Its operations are those of
primitives.py, so that both search the same space, the separable ones stacked twice, as DARTS has them; with --once the
peer has them once, as the kernel-space supernet does.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from spikeport.search.cell import batch_norm, lif_neurons
from spikeport.search.darts import alpha_step
from spikeport.search.genotype import CELL_KINDS, NODES, CellKind
from spikeport.search.kernel_supernet import KernelSupernet
from spikeport.search.network import NetworkSettings
from spikeport.search.primitives import NONE, PRIMITIVES, Builder, FactorizedReduce, convolution
from spikeport.search.supernet import EDGES

SIZES = (8, 32)
ALL = "darts"
# For the cost against the number of candidates: the first so many of these.
IN_ORDER = (
    "max_pool_3x3",
    "dil_conv_5x5",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "sep_conv_3x3",
    "avg_pool_3x3",
    "skip_connect",
    NONE,
)


class PeerEdge(nn.Module):
    """Current -> sum over primitives of weight * candidate(current)."""

    def __init__(self, primitives: str, channels: int, stride: int, twice: bool) -> None:
        super().__init__()
        self.rows: list[int] = []
        self.candidates = nn.ModuleList()
        for row, (name, build) in enumerate(PRIMITIVES[primitives].items()):
            if name != NONE:
                self.rows.append(row)
                self.candidates.append(self._candidate(name, build, channels, stride, twice))

    def _candidate(self, name: str, build: Builder, channels: int, stride: int, twice: bool) -> nn.Module:
        if name == "skip_connect" and stride == 1:
            return nn.Identity()
        parts = [lif_neurons(), build(channels, stride), batch_norm(channels, affine=False)]
        if twice and name.startswith("sep"):
            parts += [lif_neurons(), build(channels, 1), batch_norm(channels, affine=False)]
        return nn.Sequential(*parts)

    def forward(self, current: Tensor, weights: Tensor) -> Tensor:
        return sum(weights[row] * part(current) for row, part in zip(self.rows, self.candidates, strict=True))


class PeerCell(nn.Module):
    def __init__(
        self, kind: CellKind, primitives: str, inputs: tuple[int, int], channels: int, halve: bool, twice: bool
    ) -> None:
        super().__init__()
        self.kind = kind
        first = FactorizedReduce(inputs[0], channels) if halve else convolution(inputs[0], channels, 1)
        self.p0 = nn.Sequential(lif_neurons(), first, batch_norm(channels, affine=False))
        self.p1 = nn.Sequential(lif_neurons(), convolution(inputs[1], channels, 1), batch_norm(channels, affine=False))
        self.edges = nn.ModuleList(
            PeerEdge(primitives, channels, 2 if kind == "reduce" and source < 2 else 1, twice) for _, source in EDGES
        )

    def forward(self, s0: Tensor, s1: Tensor, alphas: Tensor) -> Tensor:
        weights = alphas.softmax(1)
        states = [self.p0(s0), self.p1(s1)]
        for j in range(NODES):
            incoming = [(row, source) for row, (node, source) in enumerate(EDGES) if node == j]
            states.append(sum(self.edges[row](states[source], weights[row]) for row, source in incoming))
        return torch.cat(states[2:], dim=2)


class Peer(nn.Module):
    def __init__(self, primitives: str, settings: NetworkSettings, twice: bool = True) -> None:
        super().__init__()
        channels, plan, self.time_steps = settings.channels, settings.plan(), settings.time_steps
        self.stem = nn.Sequential(
            nn.Conv2d(settings.input_shape[0], 3 * channels, 3, padding=1, bias=False), nn.BatchNorm2d(3 * channels)
        )
        self.cells = nn.ModuleList(
            PeerCell(cell.kind, primitives, cell.in_channels, cell.channels, cell.halve_s0, twice) for cell in plan
        )
        self.lif = lif_neurons()
        self.readout = nn.Linear(NODES * plan[-1].channels, settings.classes)
        shape = (len(EDGES), len(PRIMITIVES[primitives]))
        self.alphas = nn.ParameterDict({kind: 1e-3 * torch.randn(shape) for kind in CELL_KINDS})

    def architecture(self) -> list[nn.Parameter]:
        return list(self.alphas.parameters())

    def weights(self) -> list[nn.Parameter]:
        return [parameter for name, parameter in self.named_parameters() if not name.startswith("alphas.")]

    def forward(self, images: Tensor) -> Tensor:
        s0 = s1 = self.stem(images).unsqueeze(0).repeat(self.time_steps, 1, 1, 1, 1)
        for cell in self.cells:
            s0, s1 = s1, cell(s0, s1, self.alphas[cell.kind])
        return self.readout(self.lif(s1).mean((0, 3, 4)))


def peer_once(primitives: str, settings: NetworkSettings) -> Peer:
    return Peer(primitives, settings, twice=False)


SIDES: dict[str, Callable[[str, NetworkSettings], nn.Module]] = {
    "kernel": KernelSupernet,
    "peer": Peer,
    "peer once": peer_once,
}


Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


def steps(side: str, size: int, clock: Clock, *, primitives: str = ALL, cells: int = 6) -> Iterator[float]:
    """Seconds of one search step after the other; the first one warms up."""
    torch.manual_seed(0)
    settings = NetworkSettings(channels=8, cells=cells, time_steps=2, classes=10, input_shape=(3, size, size))
    network = SIDES[side](primitives, settings).train()
    weights = torch.optim.SGD(network.weights(), lr=0.025, momentum=0.9, weight_decay=3e-4)
    alphas = torch.optim.Adam(network.architecture(), lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    batches = [(torch.rand(32, 3, size, size), torch.randint(0, 10, (32,))) for _ in range(2)]
    while True:
        start = clock()
        alpha_step(network, alphas, batches[0])
        reset_net(network)
        weights.zero_grad()
        images, labels = batches[1]
        cross_entropy(network(images), labels).backward(inputs=network.weights())
        nn.utils.clip_grad_norm_(network.weights(), 5.0)
        weights.step()
        yield clock() - start


def compare(clock: Clock, rounds: int, peer: str, size: int, **options: object) -> tuple[float, float, float]:
    """Medians over rounds in which both sides take turns: peer / kernel, seconds of kernel and of peer."""
    sides = {side: steps(side, size, clock, **options) for side in ("kernel", peer)}
    for side in sides.values():
        next(side)
    taken = [(statistics.median(next(sides["kernel"]) for _ in range(3)), next(sides[peer])) for _ in range(rounds)]
    kernel_s, peer_s = (statistics.median(column) for column in zip(*taken, strict=True))
    return statistics.median(slow / fast for fast, slow in taken), kernel_s, peer_s


def peak_mib(side: str, size: int) -> float:
    """The peak resident set of a process that does two steps; without a side, of one that has torch loaded."""
    command = [sys.executable, __file__, "--memory", side, "--size", str(size)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_memory(side: str, size: int) -> None:
    if side in SIDES:
        run = steps(side, size, time.perf_counter)
        next(run), next(run)
    # Not getrusage: its peak is that of the parent where that was larger.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: for a machine that others use, too")
    parser.add_argument("--once", action="store_true", help="the peer's separable convolutions once, not twice")
    parser.add_argument("--sizes-only", action="store_true", help="not the cost against candidates and cells")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, default=8, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print_memory(options.memory, options.size)
        return
    peer = "peer once" if options.once else "peer"
    clock = CLOCKS[options.clock]

    def tell(line: str) -> None:
        if not options.json:
            print(line, flush=True)

    result: dict[str, object] = {
        "threads": torch.get_num_threads(),
        "clock": options.clock,
        "loaded_mib": peak_mib("nothing", 8),
    }
    tell(f"{result['threads']} threads; a process with torch loaded has {result['loaded_mib']:.0f} MiB")
    tell(f"{'images':>12} {'kernel s':>9} {'peer s':>9} {'ratio':>6} {'kernel MiB':>11} {'peer MiB':>9}")
    for size in SIZES:
        ratio, kernel_s, peer_s = compare(clock, options.rounds, peer, size)
        memory = {side: peak_mib(side, size) for side in ("kernel", peer)}
        name = f"{size}x{size}"
        result |= {f"ratio_{name}": ratio, f"kernel_s_{name}": kernel_s, f"peer_s_{name}": peer_s}
        result |= {f"kernel_mib_{name}": memory["kernel"], f"peer_mib_{name}": memory[peer]}
        tell(f"{name:>12} {kernel_s:9.3f} {peer_s:9.3f} {ratio:6.1f} {memory['kernel']:11.0f} {memory[peer]:9.0f}")
    if not options.sizes_only:
        series(result, clock, options.rounds, peer, tell)
    if options.json:
        print(json.dumps(result))


def series(result: dict[str, object], clock: Clock, rounds: int, peer: str, tell: Callable[[str], None]) -> None:
    """Cost against the number of candidates and of cells, at 8x8."""
    rows: dict[str, dict[int, dict[str, float]]] = {"candidates": {}, "cells": {}}
    for number in range(2, len(IN_ORDER) + 1):
        chosen = f"first {number}"
        PRIMITIVES[chosen] = {name: PRIMITIVES[ALL][name] for name in IN_ORDER[:number]}
        _, kernel_s, peer_s = compare(clock, rounds, peer, 8, primitives=chosen)
        rows["candidates"][number] = {"kernel_s": kernel_s, "peer_s": peer_s}
    for number in (2, 4, 6, 8):
        _, kernel_s, peer_s = compare(clock, rounds, peer, 8, cells=number)
        rows["cells"][number] = {"kernel_s": kernel_s, "peer_s": peer_s}
    for word, numbers in rows.items():
        tell(f"{word + ', 8x8':>16} {'kernel s':>9} {'peer s':>9}")
        for number, row in numbers.items():
            tell(f"{number:>16} {row['kernel_s']:9.3f} {row['peer_s']:9.3f}")
    result |= rows


if __name__ == "__main__":
    main()
