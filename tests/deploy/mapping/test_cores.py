"""First fit: which boxes share a core, and what they take of it together."""

import numpy as np

from spikeport.deploy.mapping.capacity import find_chip
from spikeport.deploy.mapping.core_demand import Allowed, Site
from spikeport.deploy.mapping.cores import Core, LevelCores, Part
from spikeport.deploy.mapping.memory import loihi1_memory
from spikeport.deploy.mapping.wiring import wiring_of
from spikeport.export.graph import Dense, Population, Projection, SpikeInput, SpikingGraph

ROOMY = {quantity: Allowed(limit=quantity, value=10**9) for quantity in ("neurons", "in_axons", "out_axons")}


def part(name: str, size: int, *sources: str, out_axons: int = 0) -> Part:
    """A flat population whose neuron i reads neuron i of each source, whole."""
    graph = SpikingGraph(
        inputs=tuple(SpikeInput(name=source, shape=(size,)) for source in sources),
        populations=(Population(name=name, shape=(size,), decay=0.0, threshold=1.0, bias=np.zeros(size)),),
        projections=tuple(Projection(source=s, target=name, kernel=Dense(weight=2.0 * np.eye(size))) for s in sources),
        time_steps=1,
        arithmetic="loihi",
    )
    wirings = [wiring_of(projection, graph) for projection in graph.projections]
    site = Site(name, (size,), wirings, np.zeros(size, np.int64), find_chip("loihi1"), loihi1_memory)
    return Part(site, ((0, size),), out_axons)


def placed(level: LevelCores, *parts: Part) -> list[list[str]]:
    for each in parts:
        level.place(each)
    return [[p.site.name for p in core.parts] for core in level.cores]


def cores(neurons: int = 10**9, in_axons: int = 10**9, *, mixes: bool = True) -> LevelCores:
    allowed = ROOMY | {
        "neurons": Allowed(limit="neurons", value=neurons),
        "in_axons": Allowed(limit="in_axons", value=in_axons),
        "memory_bits": Allowed(limit="memory_bits", value=10**9),
    }
    return LevelCores(allowed, mixes=mixes)


def test_a_part_goes_to_the_first_core_with_room() -> None:
    parts = [part("a", 6), part("b", 6), part("c", 3), part("d", 4), part("e", 1)]
    assert placed(cores(neurons=10), *parts) == [["a", "c", "e"], ["b", "d"]]


def test_shared_pixels_count_once() -> None:
    core = Core(part("a", 5, "x"))
    assert core.joined(part("b", 5, "x")).in_axons == 5
    assert core.joined(part("b", 5, "y")).in_axons == 10
    core.add(part("b", 5, "x", "y"))
    assert core.new_axons() == [5, 5] and core.load.in_axons == 10
    assert placed(cores(in_axons=9), part("a", 5, "x"), part("b", 5, "y"), part("c", 5, "x")) == [["a", "c"], ["b"]]


def test_a_longer_index_is_counted() -> None:
    """5 synapses of 1 bit, a word each with 6 bits of index; 70 neurons on a core need 7."""
    core = Core(part("a", 5, "x"))
    joined = core.joined(part("b", 65, "y", out_axons=3))
    assert (core.load.memory_bits, joined.memory_bits) == (5 * 64, 70 * 64)
    assert (joined.neurons, joined.out_axons) == (70, 3)


def test_a_population_may_have_to_keep_its_boxes_apart() -> None:
    whole = part("a", 4)
    again = Part(whole.site, whole.box, 0)
    assert placed(cores(), whole, again) == [["a", "a"]]
    assert placed(cores(mixes=False), whole, again, part("b", 2)) == [["a", "b"], ["a"]]


def test_many_cores() -> None:
    assert len(placed(cores(neurons=1), *(part(f"p{i}", 1) for i in range(50)))) == 50
