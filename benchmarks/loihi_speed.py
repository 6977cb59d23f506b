"""PilotNet-LIF, the network of lava-dl's own tests: the compiled kernels beside stock Lava, in one run.

    python benchmarks/loihi_speed.py [--json] [--rounds 3] [--steps 16]

First the same input spikes go through unmodified Lava, every layer recorded, and every spike is compared.
Then rounds: our time, Lava's time per step without recording, our time again; the ratio of a round uses both of ours,
and the median over the rounds is printed. Start-up is in neither side. Then where the time goes, and how it grows.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np

from spikeport.deploy.run.kernels import tables as kernel_tables
from spikeport.deploy.run.kernels.runner import KernelRunner
from spikeport.deploy.run.kernels.tables import Span
from spikeport.deploy.run.lava import environment, run_lava
from spikeport.export.graph import Conv, Dense, Population, Projection, SpikeInput, SpikingGraph, neurons
from spikeport.export.netx.reader import read_netx

PILOTNET = "lib/python3.10/site-packages/tests/lava/lib/dl/netx/gts/pilotnet_lif"
TIME_STEPS = 16  # the file's simulation/tSample
BATCH = 32
WINDOW_S = 0.5  # our runs are repeated for that long


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def seconds_of(call: Callable[[], object], window_s: float = WINDOW_S) -> float:
    """Median seconds of a call that is repeated for a while."""
    call()
    found: list[float] = []
    begin = time.perf_counter()
    while len(found) < 3 or time.perf_counter() - begin < window_s:
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def road_spikes(folder: Path, samples: int) -> np.ndarray:
    """[S, T, C, H, W]: the input layer's spikes that lava-dl's test keeps; each further sample is shifted."""
    golden = np.load(folder / "input.npy").transpose(3, 2, 1, 0)[:TIME_STEPS].astype(np.uint8)
    return np.stack([np.roll(golden, 6 * k, axis=3) for k in range(samples)])


def compare(network, runner: KernelRunner, file: Path, spikes: np.ndarray) -> tuple[int, int, bool]:
    """(spikes compared, spikes that differ, a twin with one broken weight differs)."""
    lava = run_lava(file, spikes, progress=tell)
    ours = runner.run(np.ascontiguousarray(spikes.swapaxes(0, 1)))

    def differing(result) -> int:
        parts = ((result.spikes(name).swapaxes(0, 1) != lava.spikes[i]).sum() for name, i in network.layers.items())
        return int(sum(parts)) + int((result.readout.swapaxes(0, 1) != lava.membrane).sum())

    kernel = network.graph.projections[0].kernel
    weight = kernel.weight.copy()
    weight[0, 0, 1, 1] += 2
    broken = replace(network.graph.projections[0], kernel=replace(kernel, weight=weight))
    twin = KernelRunner(replace(network.graph, projections=(broken, *network.graph.projections[1:])))
    compared = sum(lava.spikes[i].size for i in network.layers.values())
    return compared, differing(ours), differing(twin.run(np.ascontiguousarray(spikes.swapaxes(0, 1)))) > 0


def lava_step_s(python: Path, file: Path, spikes: np.ndarray, steps: int) -> float:
    """Seconds that stock Lava takes for one step of one sample."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "spikes.npy"), spikes)
        command = [
            python,
            Path(__file__).with_name("peers") / "lava_clock.py",
            file,
            Path(folder, "spikes.npy"),
            str(steps),
        ]
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=True, timeout=1800)
    return min(json.loads(done.stdout.splitlines()[-1])["seconds"]) / steps


def by_layer(runner: KernelRunner, spikes: np.ndarray, threads: int) -> list[dict[str, float | str]]:
    """Microseconds per step and sample: of packing the input, and of each layer's spikes and membranes."""
    numba.set_num_threads(threads)
    samples, program = spikes.shape[1], runner.program
    work = runner.work(np.zeros((samples, TIME_STEPS, len(program.masks)), np.uint64))
    span, unit = Span(0, TIME_STEPS, 0, False), 1e6 / samples / TIME_STEPS
    silent = program.populations.copy()
    silent[:, kernel_tables.LAST] = silent[:, kernel_tables.FIRST]
    packing = seconds_of(lambda: runner._pack({runner.graph.inputs[0].name: spikes}, work), 0.2) * unit
    rows: list[dict[str, float | str]] = [{"layer": "packing", "synapses_us": 0.0, "membranes_us": packing}]
    for k, p in enumerate(runner.graph.populations):
        runner.program = program._replace(populations=silent)
        membranes = seconds_of(lambda k=k: runner.compute(work, span, k, k + 1), 0.2) * unit
        runner.program = program
        whole = seconds_of(lambda k=k: runner.compute(work, span, k, k + 1), 0.2) * unit
        rows.append({"layer": p.name, "synapses_us": max(0.0, whole - membranes), "membranes_us": membranes})
    return rows


@numba.njit
def add_rows(sums: np.ndarray, row: np.ndarray, times: int) -> None:
    for _ in range(times):
        for i in range(len(sums)):
            sums[i] += row[i]


def limit_us(graph: SpikingGraph, runner: KernelRunner, spikes: np.ndarray) -> dict[str, float]:
    """What one core of this machine needs at least, in microseconds per step and sample.

    Synapses: every weight that the events move is added once, at the measured speed of adding 16-bit rows in the first
    cache. Membranes: one 32-bit addition each at its measured speed in the second cache.
    """
    result = runner.run(spikes, keep=False)
    steps = spikes.shape[0] * spikes.shape[1]
    adds = 0.0
    for projection in graph.projections:
        fired = result.totals[projection.source] / steps
        fewer = np.minimum(fired.sum(), fired.size - fired.sum()) / max(fired.size, 1)  # events, spikes or silences
        if isinstance(projection.kernel, Dense):
            adds += fewer * projection.kernel.weight.size
        else:
            size = neurons(runner.layout[projection.target].shape[1:])
            adds += fewer * projection.kernel.weight.size * size
    row, sums = np.ones(4096, np.int16), np.zeros(4096, np.int16)
    add_s = seconds_of(lambda: add_rows(sums, row, 1000), 0.2) / 1000 / row.size
    step, state = np.ones(64 * 1024, np.int32), np.zeros(64 * 1024, np.int32)
    touch_s = seconds_of(lambda: add_rows(state, step, 50), 0.2) / 50 / state.size
    cells = sum(neurons(p.shape) for p in graph.populations)
    return {"additions": adds, "synapses_us": adds * add_s * 1e6, "membranes_us": cells * touch_s * 1e6}


def growth(graph: SpikingGraph, spikes: np.ndarray) -> list[dict[str, float | str]]:
    """Our time when one size doubles, others fixed: at most twice is linear."""
    rows: list[dict[str, float | str]] = []

    def add(what: str, sizes: list[int], cost: Callable[[int], float]) -> None:
        before = None
        for size in sizes:
            took = cost(size)
            rows.append({"what": what, "size": size, "ms": took * 1e3, "factor": took / before if before else 1.0})
            before = took

    def steps(size: int) -> float:
        runner = KernelRunner(replace(graph, time_steps=size))
        given = np.concatenate([spikes] * -(-size // len(spikes)))[:size, :4]
        return seconds_of(lambda: runner.run(given, keep=False, totals=False))

    def batch(size: int) -> float:
        runner = KernelRunner(graph)
        given = np.concatenate([spikes] * -(-size // spikes.shape[1]), axis=1)[:, :size]
        return seconds_of(lambda: runner.run(given, keep=False, totals=False))

    def width(size: int) -> float:
        """The same spikes arrive from outside; the first layer has `size` channels, fires as before, feeds 8."""
        rng = np.random.default_rng(0)
        first = graph.populations[0]
        weight = graph.projections[0].kernel.weight
        wide = np.concatenate([weight] * -(-size // len(weight)))[:size]
        bias = np.concatenate([first.bias] * -(-size // len(weight)))[:size]
        a = replace(first, name="a", shape=(size, *first.shape[1:]), bias=bias)
        b = Population(
            name="b", shape=(8, *first.shape[1:]), decay=1.0, threshold=131071.0, bias=np.zeros(8), role="readout"
        )
        wider = SpikingGraph(
            inputs=(SpikeInput(name="input", shape=graph.inputs[0].shape),),
            populations=(a, b),
            projections=(
                Projection(source="input", target="a", kernel=replace(graph.projections[0].kernel, weight=wide)),
                Projection(
                    source="a", target="b", kernel=Conv(weight=rng.integers(-9, 9, (8, size, 1, 1)).astype(float))
                ),
            ),
            time_steps=TIME_STEPS,
            arithmetic="loihi",
        )
        runner = KernelRunner(wider)
        return seconds_of(lambda: runner.run(spikes[:, :4], keep=False, totals=False))

    def spiking(percent: int) -> float:
        rng = np.random.default_rng(0)
        given = (rng.random((TIME_STEPS, 4, 48, 16, 16)) < percent / 100).astype(np.uint8)
        a = Population(name="a", shape=(48, 16, 16), decay=0.75, threshold=100000.0, bias=np.zeros(48))
        b = Population(name="b", shape=(2,), decay=1.0, threshold=131071.0, bias=np.zeros(2), role="readout")
        three = SpikingGraph(
            inputs=(SpikeInput(name="input", shape=(48, 16, 16)),),
            populations=(a, b),
            projections=(
                Projection(
                    source="input",
                    target="a",
                    kernel=Conv(weight=rng.integers(-9, 9, (48, 48, 3, 3)).astype(float), padding=(1, 1)),
                ),
                Projection(source="a", target="b", kernel=Dense(weight=np.ones((2, 48 * 256)))),
            ),
            time_steps=TIME_STEPS,
            arithmetic="loihi",
        )
        runner = KernelRunner(three)
        return seconds_of(lambda: runner.run(given, keep=False, totals=False))

    add("time steps", [8, 16, 32, 64], steps)
    add("batch", [4, 8, 16, 32, 64], batch)
    add("channels", [24, 48, 96, 192], width)
    add("spikes, %", [1, 2, 5, 10, 20, 40, 80], spiking)
    return rows


def measured(rounds: int, lava_steps: int) -> dict[str, object]:
    python = environment(tell)
    folder = python.parent.parent / PILOTNET
    file = folder / "network.net"
    network = read_netx(file, time_steps=TIME_STEPS)
    spikes = road_spikes(folder, BATCH)
    runner = KernelRunner(network.graph)
    threads = numba.get_num_threads()
    compared, differing, twin_differs = compare(network, runner, file, spikes[:2])
    stream = np.ascontiguousarray(spikes.swapaxes(0, 1))
    one = np.ascontiguousarray(stream[:, :1])

    def step_s(given: np.ndarray) -> float:
        return seconds_of(lambda: runner.run(given, keep=False, totals=False), 1.0) / TIME_STEPS / given.shape[1]

    table = []
    for k in range(rounds):
        before = step_s(one), step_s(stream)
        theirs = lava_step_s(python, file, spikes[0], lava_steps)
        after = step_s(one), step_s(stream)
        single, batch = (statistics.mean(pair) for pair in zip(before, after, strict=True))
        table.append({"lava_ms": theirs * 1e3, "one_ms": single * 1e3, "batch32_ms": batch * 1e3})
        tell(f"round {k + 1}: Lava {theirs * 1e3:.1f} ms, one sample {single * 1e3:.3f} ms, batch {batch * 1e3:.3f} ms")
    layers = by_layer(runner, stream[:, :1], 1)
    numba.set_num_threads(threads)
    return {
        "ratio_one_sample": statistics.median(r["lava_ms"] / r["one_ms"] for r in table),
        "ratio_batch32": statistics.median(r["lava_ms"] / r["batch32_ms"] for r in table),
        "spikes_compared": compared,
        "spikes_differing": differing,
        "broken_weight_shows": twin_differs,
        "threads": threads,
        "rounds": table,
        "layers_one_thread": layers,
        "limit_one_thread": limit_us(network.graph, runner, stream[:, :4]),
        "growth": growth(network.graph, stream),
    }


def show(result: dict) -> None:
    print(f"Lava per step and sample   {statistics.median(r['lava_ms'] for r in result['rounds']):9.3f} ms")
    print(f"ours, one sample           {statistics.median(r['one_ms'] for r in result['rounds']):9.3f} ms", end="")
    print(f"   {result['ratio_one_sample']:7.0f} x")
    print(
        f"ours, batch {BATCH}             {statistics.median(r['batch32_ms'] for r in result['rounds']):9.3f} ms",
        end="",
    )
    print(f"   {result['ratio_batch32']:7.0f} x")
    print(f"{result['spikes_differing']} of {result['spikes_compared']} spikes differ", end="; ")
    print("a broken weight shows" if result["broken_weight_shows"] else "A BROKEN WEIGHT DOES NOT SHOW")
    print("\nus per step and sample, one thread   synapses  membranes")
    for row in result["layers_one_thread"]:
        print(f"  {row['layer']:<34} {row['synapses_us']:9.1f}  {row['membranes_us']:9.1f}")
    synapses, membranes = (sum(r[k] for r in result["layers_one_thread"]) for k in ("synapses_us", "membranes_us"))
    limit = result["limit_one_thread"]
    print(f"  {'all':<34} {synapses:9.1f}  {membranes:9.1f}")
    print(f"  {'limit of one core':<34} {limit['synapses_us']:9.1f}  {limit['membranes_us']:9.1f}")
    print("\ngrowth                  size        ms   factor")
    for row in result["growth"]:
        print(f"  {row['what']:<18} {row['size']:7d} {row['ms']:9.2f}   {row['factor']:6.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=16, help="steps of Lava that are timed, twice in each round")
    given = parser.parse_args()
    outcome = measured(given.rounds, given.steps)
    print(json.dumps(outcome)) if given.json else show(outcome)
    sys.exit(0 if outcome["spikes_differing"] == 0 and outcome["broken_weight_shows"] else 3)
