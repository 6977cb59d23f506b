"""One step of the search: the kernel-space supernet beside a plain DARTS supernet with neurons in every operation.

    python benchmarks/search_step.py [--json] [--rounds N] [--clock cpu] [--once]

A step is what the search does with a pair of batches: forward and backward of the alphas on one, forward and backward
of the weights on the other, both optimizers; spikes are not counted. T = 2, 6 cells, 8 channels, batches of 32 images,
all eight primitives of `darts`. Each side is a process of its own, as a search is; they take turns, the other sleeps.
A round's ratio is peer / kernel-space, and the median over the rounds is told. Peak memory (resident set) is that of
these processes; their threads are bound to one core each. The machine must be idle.

The kernel-space supernet is measured in the precision that a search takes on this machine, and in float32 as well. The
peer is float32: the usual spiking DARTS, where in a cell the edges carry currents, every candidate is LIF - operation -
batch norm with SpikingJelly's LIFNode (86 of them in a cell), and the mixture is summed at the node. Its operations are
those of primitives.py, so that both search the same space, the separable ones stacked twice, as DARTS has them; with
--once the peer has them once, as the kernel-space supernet does.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import PIPE
from typing import Any

import torch
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from spikeport.search.machine.device import DTYPES, fast_dtype
from spikeport.search.machine.freed_memory import keep_freed_memory
from spikeport.search.space.genotype import CELL_KINDS, NODES, CellKind
from spikeport.search.space.layers import batch_norm, lif_neurons
from spikeport.search.space.network import NetworkConfig
from spikeport.search.space.primitives import NONE, PRIMITIVES, Builder, FactorizedReduce, convolution
from spikeport.search.strategies.darts.search import alpha_step
from spikeport.search.supernet.kernel_space import KernelSupernet, calculate_in
from spikeport.search.supernet.supernet import EDGES

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
    def __init__(self, primitives: str, settings: NetworkConfig, twice: bool = True) -> None:
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


def peer_once(primitives: str, settings: NetworkConfig) -> Peer:
    return Peer(primitives, settings, twice=False)


SIDES: dict[str, Callable[[str, NetworkConfig], nn.Module]] = {
    "kernel": KernelSupernet,
    "peer": Peer,
    "peer once": peer_once,
}


Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
KERNEL_STEPS = 3  # in a round, of which the median counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a process is to measure. `candidates`: only so many of IN_ORDER, 0 for all of `darts`."""

    side: str
    size: int
    clock: str
    dtype: str = "float32"  # of a kernel-space supernet
    candidates: int = 0
    cells: int = 6


def steps(case: Case) -> Iterator[float]:
    """Seconds of one search step after the other; the first one warms up."""
    torch.manual_seed(0)
    keep_freed_memory()
    primitives, clock = ALL, CLOCKS[case.clock]
    if case.candidates:
        primitives = f"first {case.candidates}"
        PRIMITIVES[primitives] = {name: PRIMITIVES[ALL][name] for name in IN_ORDER[: case.candidates]}
    shape = (3, case.size, case.size)
    settings = NetworkConfig(channels=8, cells=case.cells, time_steps=2, classes=10, input_shape=shape)
    network = SIDES[case.side](primitives, settings).train()
    calculate_in(network, DTYPES[case.dtype])
    parameters = network.weights()
    weights = torch.optim.SGD(parameters, lr=0.025, momentum=0.9, weight_decay=3e-4)
    alphas = torch.optim.Adam(network.architecture(), lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    batches = [(torch.rand(32, *shape), torch.randint(0, 10, (32,))) for _ in range(2)]
    while True:
        start = clock()
        alpha_step(network, alphas, batches[0])
        reset_net(network)
        weights.zero_grad()
        images, labels = batches[1]
        cross_entropy(network(images), labels).backward(inputs=parameters)
        nn.utils.clip_grad_norm_(parameters, 5.0)
        weights.step()
        yield clock() - start


def serve(case: Case) -> None:
    """Answers every line of stdin: a step's seconds, or the peak of the resident set in MiB."""
    run = steps(case)
    for question in sys.stdin:
        print(next(run) if question.strip() == "step" else peak_mib(), flush=True)


def peak_mib() -> float:
    # Not getrusage: its peak is that of the parent where that was larger.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


# Fastest for both sides, on a machine that does nothing else: one thread per core, which waits without sleeping.
THREADS = {"OMP_PROC_BIND": "true", "GOMP_SPINCOUNT": "100000"}


class Side:
    """A process that does steps of a case."""

    def __init__(self, case: Case) -> None:
        command = [sys.executable, __file__, "--serve", json.dumps(asdict(case))]
        environment = os.environ | THREADS
        self._process = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True, env=environment)
        self.step()  # warms up

    def step(self) -> float:
        return self._ask("step")

    def peak_mib(self) -> float:
        return self._ask("peak")

    def _ask(self, question: str) -> float:
        assert self._process.stdin and self._process.stdout
        print(question, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def end(self) -> None:
        self._process.communicate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Medians over the rounds."""

    ratio: float
    kernel_s: float
    peer_s: float
    kernel_mib: float
    peer_mib: float


def compare(kernel_case: Case, peer_case: Case, rounds: int) -> Comparison:
    kernel, peer = Side(kernel_case), Side(peer_case)
    taken = [(statistics.median(kernel.step() for _ in range(KERNEL_STEPS)), peer.step()) for _ in range(rounds)]
    kernel_s, peer_s = (statistics.median(column) for column in zip(*taken, strict=True))
    found = Comparison(
        ratio=statistics.median(slow / fast for fast, slow in taken),
        kernel_s=kernel_s,
        peer_s=peer_s,
        kernel_mib=kernel.peak_mib(),
        peer_mib=peer.peak_mib(),
    )
    kernel.end()
    peer.end()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: for a machine that others use, too")
    parser.add_argument("--once", action="store_true", help="the peer's separable convolutions once, not twice")
    parser.add_argument("--sizes-only", action="store_true", help="not the cost against candidates and cells")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(Case(**json.loads(options.serve)))
        return
    side = "peer once" if options.once else "peer"
    fast = str(fast_dtype(torch.device("cpu"))).removeprefix("torch.")

    def against_peer(size: int, dtype: str, **changes: int) -> Comparison:
        same: dict[str, Any] = {"size": size, "clock": options.clock, **changes}
        return compare(Case(side="kernel", dtype=dtype, **same), Case(side=side, **same), options.rounds)

    def tell(line: str) -> None:
        if not options.json:
            print(line, flush=True)

    result: dict[str, object] = {"threads": torch.get_num_threads(), "clock": options.clock, "loaded_mib": peak_mib()}
    tell(f"{result['threads']} threads; a process with torch loaded has {result['loaded_mib']:.0f} MiB")
    heads = f"{'kernel s':>9} {'peer s':>9} {'ratio':>6} {'kernel MiB':>11} {'peer MiB':>9}"
    tell(f"{'images':>8} {'precision':>10} {heads}")
    for size in SIZES:
        for precision in dict.fromkeys((fast, "float32")):
            found = against_peer(size, precision)
            name = f"{size}x{size}" if precision == fast else f"{size}x{size}_{precision}"
            result |= {f"{key}_{name}": value for key, value in asdict(found).items()}
            tell(
                f"{f'{size}x{size}':>8} {precision:>10} {found.kernel_s:9.3f} {found.peer_s:9.3f} {found.ratio:6.1f} "
                f"{found.kernel_mib:11.0f} {found.peer_mib:9.0f}"
            )
    if not options.sizes_only:
        candidates = {number: against_peer(8, fast, candidates=number) for number in range(2, len(IN_ORDER) + 1)}
        cells = {number: against_peer(8, fast, cells=number) for number in (2, 4, 6, 8)}
        for word, numbers in (("candidates", candidates), ("cells", cells)):
            tell(f"{word + ', 8x8':>16} {'kernel s':>9} {'peer s':>9}")
            for number, found in numbers.items():
                tell(f"{number:>16} {found.kernel_s:9.3f} {found.peer_s:9.3f}")
            result[word] = {number: asdict(found) for number, found in numbers.items()}
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
