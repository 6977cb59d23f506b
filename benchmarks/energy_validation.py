"""Estimates beside what was measured on chips: energy, time and cores, each row with what it does not explain.

    python benchmarks/energy_validation.py [--json]

PilotNet-LIF is the network of lava-dl's own tests with the input spikes that come with it; its spikes are its own. The
keyword spotter's spikes were never published, so its rows are bounds: no neuron fires, every neuron fires.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from spikeport.deploy.cost.counts import Activity, Counter, Counts
from spikeport.deploy.cost.energy import Energy, estimate
from spikeport.deploy.cost.latency import StepTimes, step_times
from spikeport.deploy.cost.profiles import find_profile
from spikeport.deploy.cost.traffic import TrafficCounter
from spikeport.deploy.mapping.capacity import find_chip
from spikeport.deploy.mapping.core_mapping import CoreMapping, map_graph
from spikeport.deploy.run.lava import environment
from spikeport.export.graph import Dense, Population, Projection, SpikeInput, SpikingGraph, check
from spikeport.export.netx.reader import read_netx
from spikeport.export.simulate import simulate

PILOTNET = "lib/python3.10/site-packages/tests/lava/lib/dl/netx/gts/pilotnet_lif"
PILOTNET_STEPS = 16
# Intel's run of PilotNet-LIF on Loihi 2, per inference of 16 steps [P]
PILOTNET_MEASURED = {"dynamic_j": 1.0935e-3, "total_j": 1.661e-3, "step_s": 152.85e-6, "cores": 74}
# Blouw et al. 2019 (arXiv:1812.01739) and its power logs: 10 steps per inference [P]
SPOTTER_STEPS = 10
SPOTTER_MEASURED = {"dynamic_j": 0.272e-3, "branch_j": 16.5e-6}
# TrueNorth, 0.8 V, 2^20 neurons of 128 synapses each: mean rate in Hz -> W [S]
TRUENORTH_MEASURED = {11.58: 68e-3, 20.07: 71e-3, 95.93: 94e-3}
TRUENORTH_SYNAPSES = 2**20 * 128


@dataclass(frozen=True)
class Row:
    """measured and estimated in `unit`; ratio: estimated over measured. note: what is not explained."""

    name: str
    measured: float
    estimated: float
    unit: str
    note: str

    @property
    def ratio(self) -> float:
        return self.estimated / self.measured


@dataclass(frozen=True)
class Estimate:
    mapping: CoreMapping
    counts: Counts
    energy: Energy
    times: dict[str, StepTimes]


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def estimated(
    graph: SpikingGraph,
    activity: dict[str, Activity],
    profile_name: str,
    on_chip: frozenset[str] = frozenset(),
    *,
    zeros: bool = False,
) -> Estimate:
    """Map, count and price a network that did this. zeros: synapses of weight zero count."""
    profile = find_profile(profile_name)
    assert profile.chip is not None
    mapping = map_graph(graph, find_chip(profile.chip), on_chip_inputs=on_chip)
    counter, moved = Counter(graph, on_chip_inputs=on_chip, zeros=zeros), TrafficCounter(graph, mapping, zeros=zeros)
    for part in (counter, moved):
        part.add(activity)
    counts, traffic = counter.counts(), moved.traffic()
    times = {}
    for end in ("low", "value", "high"):
        found = step_times(
            profile, traffic, samples=counts.samples, time_steps=graph.time_steps, depth=traffic.depth, end=end
        )
        assert found is not None
        times[end] = found
    energy = estimate(profile, counts, traffic, times["value"], mapping.chips)
    return Estimate(mapping=mapping, counts=counts, energy=energy, times=times)


def pilotnet() -> list[Row]:
    tell("PilotNet-LIF: the integers of lava-dl on its own input, then cores, counts and prices")
    folder = environment(progress=tell).parents[1] / PILOTNET
    graph = replace(read_netx(folder / "network.net").graph, time_steps=PILOTNET_STEPS)
    (entry,) = graph.inputs
    spikes = np.load(folder / "input.npy").transpose(3, 2, 1, 0)[:PILOTNET_STEPS].astype(np.uint8)[:, None]
    trace = simulate(graph, {entry.name: spikes})
    activity = {entry.name: Activity(spikes=spikes)} | {
        p.name: Activity(spikes=trace.spikes.get(p.name), active=trace.active[p.name]) for p in graph.populations
    }
    steps, entries = PILOTNET_STEPS, frozenset({entry.name})
    found = estimated(graph, activity, "loihi2-proxy", entries)
    full = estimated(graph, activity, "loihi2-proxy", entries, zeros=True)
    return [
        *(
            Row(
                f"PilotNet-LIF on Loihi 2: dynamic energy of a step, {words}",
                PILOTNET_MEASURED["dynamic_j"] / steps,
                float(one.energy.dynamic.mean()) / steps,
                "J",
                f"{one.counts.total.synaptic_operations / steps:,.0f} SOPs and "
                f"{one.counts.total.neuron_updates / steps:,.0f} updates a step; the prices are those of Loihi 1 "
                "(14 nm), because Loihi 2's own (Intel 4) are not published",
            )
            for words, one in (("weights of zero left out", found), ("weights of zero counted", full))
        ),
        Row(
            "PilotNet-LIF on Loihi 2: time of a step, nominal",
            PILOTNET_MEASURED["step_s"],
            found.times["value"].step,
            "s",
            "the busiest core at the published speed ratios to Loihi 1; links, memory words and waiting for the input "
            "are not modelled",
        ),
        Row(
            "PilotNet-LIF on Loihi 2: time of a step, low end",
            PILOTNET_MEASURED["step_s"],
            found.times["low"].step,
            "s",
            "the bracket's lower end: inactive updates at half of Loihi 1's time",
        ),
        Row(
            "PilotNet-LIF on Loihi 2: time of a step, high end",
            PILOTNET_MEASURED["step_s"],
            found.times["high"].step,
            "s",
            "the bracket's upper end: Loihi 1's own times, maxima of Davies et al. 2018",
        ),
        Row(
            "PilotNet-LIF on Loihi 2: energy of an inference, static included",
            PILOTNET_MEASURED["total_j"],
            found.energy.total,
            "J",
            "static power times the nominal time, so its error is that of the time",
        ),
        Row(
            "PilotNet-LIF on Loihi 2: cores",
            PILOTNET_MEASURED["cores"],
            found.mapping.cores,
            "cores",
            "every layer has Intel's number of cores; in the dense layer of 100, four of the 12 hold 9 neurons",
        ),
    ]


def spotter(branches: int) -> SpikingGraph:
    """390 -> 256 -> `branches` of ten layers of 256 -> 256 -> 29, dense; without branches 390 -> 256 -> 256 -> 29."""
    populations, projections = [], []

    def layer(name: str, size: int, sources: list[tuple[str, int]], role: str = "neuron") -> tuple[str, int]:
        populations.append(
            Population(name=name, shape=(size,), decay=0.5, threshold=1.0, bias=np.zeros(size), role=role)  # type: ignore[arg-type]
        )
        for source, width in sources:
            kernel = Dense(weight=np.ones((size, width)))
            projections.append(Projection(source=source, target=name, kernel=kernel))
        return name, size

    first = layer("first", 256, [("features", 390)])
    ends = []
    for branch in range(branches):
        end = first
        for number in range(10):
            end = layer(f"branch{branch}.{number}", 256, [end])
        ends.append(end)
    last = layer("last", 256, ends or [first])
    layer("characters", 29, [last], "readout")
    return check(
        SpikingGraph(
            inputs=(SpikeInput(name="features", shape=(390,)),),
            populations=tuple(populations),
            projections=tuple(projections),
            time_steps=SPOTTER_STEPS,
        )
    )


def spotter_energy(branches: int, firing: bool) -> float:
    """Dynamic joules of an inference in which no neuron fires, or every neuron in every step; the input likewise."""
    graph = spotter(branches)
    activity = {
        name: Activity(
            spikes=None if name == graph.readout.name else np.full((SPOTTER_STEPS, 1, *shape), firing, np.uint8),
            active=None if name == "features" else np.full((SPOTTER_STEPS, 1, *shape), firing),
        )
        for name, shape in graph.shapes().items()
    }
    return float(estimated(graph, activity, "loihi1-davies2018").energy.dynamic.mean())


def keyword_spotting() -> list[Row]:
    tell("keyword spotting: bounds for spikes that were not published")
    silent, firing = (spotter_energy(2, fires) - spotter_energy(1, fires) for fires in (False, True))
    measured = SPOTTER_MEASURED["branch_j"]
    rate = (measured - silent) / (firing - silent)
    note = "a branch adds 10 layers of 256 neurons and their synapses, 10 steps"
    return [
        Row("keyword spotting on Loihi 1: slope per branch, no spike", measured, silent, "J", f"lower bound; {note}"),
        Row(
            "keyword spotting on Loihi 1: slope per branch, every neuron fires",
            measured,
            firing,
            "J",
            f"upper bound; {note}; {rate:.3f} spikes per neuron and step would explain the measured slope",
        ),
        Row(
            "keyword spotting on Loihi 1: energy of an inference, every neuron fires",
            SPOTTER_MEASURED["dynamic_j"],
            spotter_energy(0, True),
            "J",
            "at most: operations cannot explain it; x86 cores, host traffic and idle power over time can",
        ),
    ]


def truenorth() -> list[Row]:
    profile = find_profile("truenorth")
    assert profile.static is not None
    joules, watts = profile.energy["synaptic_operations"].joules, profile.static.watts
    return [
        Row(
            f"TrueNorth: power at {rate} Hz",
            measured,
            watts + joules * rate * TRUENORTH_SYNAPSES,
            "W",
            "2^20 neurons of 128 synapses; neuron updates and routing are inside the two fitted prices",
        )
        for rate, measured in TRUENORTH_MEASURED.items()
    ]


PARTS: tuple[Callable[[], list[Row]], ...] = (pilotnet, keyword_spotting, truenorth)


def as_markdown(rows: list[Row]) -> str:
    lines = ["| | measured | estimated | ratio | not explained |", "|---|---|---|---|---|"]
    for row in rows:
        numbers = f"{row.measured:.4g} {row.unit} | {row.estimated:.4g} {row.unit} | {row.ratio:.3f}"
        lines.append(f"| {row.name} | {numbers} | {row.note} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout: rows")
    as_json = parser.parse_args().json
    rows = [row for part in PARTS for row in part()]
    if as_json:
        print(json.dumps({"rows": [asdict(row) | {"ratio": row.ratio} for row in rows]}, indent=2))
    else:
        print(as_markdown(rows))


if __name__ == "__main__":
    main()
