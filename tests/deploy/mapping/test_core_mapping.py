"""Networks on cores: published mappings, axons and packing by hand, every core counted anew from the weights alone."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.deploy.mapping.capacity import find_chip
from spikeport.deploy.mapping.core_mapping import CoreMapping, Piece, map_graph
from spikeport.errors import UnsupportedError
from spikeport.export.graph import Conv, Dense, Kernel, Projection, Shape, SpikeInput, SpikingGraph, check, neurons
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.passes.relays import levels
from spikeport.export.simulate import apply
from spikeport.export.targets import traced
from spikeport.search.space.network import SpikingNetwork
from spikeport.tests.deploy.mapping.small import chip_with, population


def network(source: Shape, populations: dict[str, Shape], *projections: tuple[str, str, Kernel]) -> SpikingGraph:
    """A graph in the chip's integers with one input "in"; the last population is the readout."""
    *hidden, last = populations
    return check(
        SpikingGraph(
            inputs=(SpikeInput(name="in", shape=source),),
            populations=(
                *(population(name, populations[name]) for name in hidden),
                population(last, populations[last], "readout"),
            ),
            projections=tuple(Projection(source=s, target=t, kernel=kernel) for s, t, kernel in projections),
            time_steps=1,
            arithmetic="loihi",
        )
    )


def point(channels: int = 1) -> Conv:
    return Conv(weight=254.0 * np.eye(channels)[:, :, None, None])


def of(mapping: CoreMapping, name: str) -> list[Piece]:
    return [piece for piece in mapping.pieces if piece.population == name]


@pytest.mark.parametrize(("inputs", "outputs", "cores", "largest"), [(784, 1024, 13, 79), (390, 256, 2, 128)])
def test_dense_layers_take_as_many_cores_of_loihi_1_as_published(
    inputs: int, outputs: int, cores: int, largest: int
) -> None:
    graph = network((inputs,), {"out": (outputs,)}, ("in", "out", Dense(weight=np.full((outputs, inputs), 254.0))))
    mapping = map_graph(graph, find_chip("loihi1"))
    assert (mapping.cores, mapping.chips, mapping.tiles) == (cores, 1, -(-cores // 4))
    first = mapping.pieces[0]
    assert (first.core, first.box, first.neurons, first.in_axons) == (0, ((0, largest),), largest, inputs)
    # a list of 79 synapses, 8 bits and 7 of index: 970 and 235 bits; of 128: twice 970
    assert first.memory_bits == inputs * {79: 1024 + 256, 128: 2 * 1024}[largest]


# Layer: shape, kernel size, stride, padding. Intel's log: neurons per core, cores.
PILOTNET: tuple[tuple[Shape, int, tuple[int, int], tuple[int, int], int, int], ...] = (
    ((24, 32, 99), 3, (2, 2), (0, 0), 3072, 25),
    ((36, 15, 49), 3, (2, 2), (0, 0), 2160, 13),
    ((48, 7, 24), 3, (2, 2), (0, 0), 2688, 3),
    ((64, 4, 22), 3, (2, 1), (1, 0), 2048, 3),
    ((64, 2, 20), 3, (1, 1), (0, 0), 2048, 2),
)
PILOTNET_DENSE = ((100, 9, 12), (50, 50, 1), (10, 10, 1), (1, 1, 1))


def pilotnet() -> SpikingGraph:
    """PilotNet-LIF of lava-dl, its shapes and strides with weights of our own."""
    rng = np.random.default_rng(0)
    shape: Shape = (3, 66, 200)
    populations: dict[str, Shape] = {}
    projections: list[tuple[str, str, Kernel]] = []
    source = "in"
    for i, (target, size, stride, padding, _, _) in enumerate(PILOTNET):
        weight = 2.0 * rng.integers(1, 100, (target[0], shape[0], size, size))
        projections.append((source, f"conv{i}", Conv(weight=weight, stride=stride, padding=padding)))
        populations[f"conv{i}"] = shape = target
        source = f"conv{i}"
    for i, (outputs, _, _) in enumerate(PILOTNET_DENSE):
        weight = 2.0 * rng.integers(1, 100, (outputs, neurons(shape)))
        projections.append((source, f"dense{i}", Dense(weight=weight)))
        populations[f"dense{i}"] = shape = (outputs,)
        source = f"dense{i}"
    return network((3, 66, 200), populations, *projections)


def used(mapping: CoreMapping, name: str) -> tuple[int, int]:
    """(neurons on the fullest core, cores)."""
    pieces = of(mapping, name)
    return max(piece.neurons for piece in pieces), len({piece.core for piece in pieces})


def test_pilotnet_on_loihi_2_as_intel_maps_it() -> None:
    """Neurons per core and cores of every layer, 74 cores in all, from the log in lava-dl's benchmark.ipynb.

    Its dense layer of 100 shows 8 neurons and 12 cores, which makes 96: four of the twelve hold 9.
    """
    mapping = map_graph(pilotnet(), find_chip("loihi2"), on_chip_inputs=frozenset({"in"}))
    assert used(mapping, "in") == (3168, 13)
    assert [used(mapping, f"conv{i}") for i in range(5)] == [layer[4:] for layer in PILOTNET]
    assert [used(mapping, f"dense{i}") for i in range(4)] == [layer[1:] for layer in PILOTNET_DENSE]
    assert sorted(piece.neurons for piece in of(mapping, "dense0")) == [8] * 8 + [9] * 4
    assert (mapping.cores, mapping.chips) == (74, 1)
    words = {name: of(mapping, name)[0].memory_bits / 64 for name in ("conv0", "dense2", "dense3")}
    assert words == {"conv0": 81, "dense2": 150, "dense3": 10}


def test_one_neuron_more_and_intels_mapping_is_another() -> None:
    mapping = map_graph(pilotnet(), chip_with("loihi2", lif_neurons_per_core=4096))
    assert used(mapping, "conv3") == (4096, 2) != PILOTNET[3][4:]
    narrow = map_graph(pilotnet(), chip_with("loihi2", lif_neurons_per_core=3071))
    assert used(narrow, "conv0") == (1536, 50) != PILOTNET[0][4:]


def row(width: int, *taps: float) -> Conv:
    """A kernel of one row over one channel."""
    return Conv(weight=np.array(taps).reshape(1, 1, 1, -1), padding=(0, len(taps) // 2))


def test_axons_by_hand() -> None:
    """in -> a -> b on rows of 4 with 2 neurons a core; b reads three neighbours.

    in  0 1 2 3        a's box 0..1 reads the pixels 0 1, b's box 0..1 the pixels 0 1 2
    a   0 1|2 3        a's neurons reach 1, 2, 2, 1 cores of b
    b   0 1|2 3        b ends here
    """
    graph = network((1, 1, 4), {"a": (1, 1, 4), "b": (1, 1, 4)}, ("in", "a", point()), ("a", "b", row(4, 2, 4, 6)))
    mapping = map_graph(graph, chip_with(neurons_per_core=2))
    found = [(p.core, p.population, p.box[2], p.neurons, p.in_axons, p.out_axons) for p in mapping.pieces]
    assert found == [
        (0, "a", (0, 2), 2, 2, 3),
        (1, "a", (2, 4), 2, 2, 3),
        (2, "b", (0, 2), 2, 3, 0),
        (3, "b", (2, 4), 2, 3, 0),
    ]
    # a: one list, of 254: 7 bits need 8; b: 2, 4, 6 are 1, 2, 3: 2 bits. Lists of 1 or 2 synapses: one word each.
    # b's box 0..1 is read by tap 1 and 0 from pixel 0, taps 2 and 1 from pixel 1, tap 2 from pixel 2: three lists.
    assert [p.memory_bits for p in mapping.pieces] == [64, 64, 192, 192]
    broken = network((1, 1, 4), {"a": (1, 1, 4), "b": (1, 1, 4)}, ("in", "a", point()), ("a", "b", row(4, 0, 4, 6)))
    other = map_graph(broken, chip_with(neurons_per_core=2))
    assert [(p.in_axons, p.out_axons) for p in other.pieces] == [(2, 2), (2, 3), (3, 0), (2, 0)]


def test_the_host_sends_what_is_not_on_the_chip() -> None:
    graph = network((1, 1, 4), {"a": (1, 1, 4)}, ("in", "a", point()))
    assert {p.population for p in map_graph(graph, find_chip("loihi1")).pieces} == {"a"}
    whole = map_graph(graph, find_chip("loihi1"), on_chip_inputs=frozenset({"in"}))
    found = [(p.core, p.population, p.neurons, p.in_axons, p.out_axons, p.memory_bits) for p in whole.pieces]
    assert found == [(0, "in", 4, 0, 4, 0), (1, "a", 4, 4, 0, 64)]


def fork(size: int, *, shared: bool) -> SpikingGraph:
    """in -> a, b; c and d read a both, or one each; out reads the first neuron of c and of d."""
    shape, first = (1, 1, size), Dense(weight=2.0 * np.eye(1, size))
    return network(
        shape,
        {"a": shape, "b": shape, "c": shape, "d": shape, "out": (1,)},
        ("in", "a", point()),
        ("in", "b", point()),
        ("a", "c", point()),
        ("a" if shared else "b", "d", point()),
        ("c", "out", first),
        ("d", "out", first),
    )


def test_populations_of_a_level_share_cores_while_all_limits_hold() -> None:
    cores = [piece.core for piece in map_graph(fork(300, shared=False), find_chip("loihi1")).pieces]
    assert cores == [0, 0, 1, 1, 2]  # levels never share
    apart = [piece.core for piece in map_graph(fork(600, shared=False), find_chip("loihi1")).pieces]
    assert apart == [0, 1, 2, 3, 4]  # 1200 neurons do not fit


def test_populations_that_read_the_same_pixels_share_their_axons() -> None:
    """c and d read 300 pixels each: of one source 300 axons on their core, of two sources 600, too many for 500."""
    chip = chip_with(in_axons_per_core=500)
    together = [(p.core, p.in_axons) for p in map_graph(fork(300, shared=True), chip).pieces if p.population in "cd"]
    assert together == [(1, 300), (1, 0)]
    apart = [(p.core, p.in_axons) for p in map_graph(fork(300, shared=False), chip).pieces if p.population in "cd"]
    assert apart == [(1, 300), (2, 300)]


def test_the_index_grows_with_the_neurons_that_share_a_core() -> None:
    """A full matrix 8 -> 60, twice on a core: 60 neurons need 6 bits, 120 need 7.

    60 synapses of 8 + 6 bits and 10 are 850 bits, 14 words; of 8 + 7 bits 910, 15 words.
    """
    dense = Dense(weight=np.full((60, 8), 254.0))
    last = Dense(weight=np.full((1, 60), 2.0))
    graph = network(
        (8,),
        {"a": (60,), "b": (60,), "out": (1,)},
        *(("in", "a", dense), ("in", "b", dense), ("a", "out", last), ("b", "out", last)),
    )
    pieces = map_graph(graph, find_chip("loihi1")).pieces
    assert [(p.core, p.memory_bits) for p in pieces[:2]] == [(0, 8 * 15 * 64), (0, 8 * 15 * 64)]
    tight = map_graph(graph, chip_with(synapse_bits_per_core=2 * 8 * 15 * 64 - 1)).pieces
    assert [(p.core, p.memory_bits) for p in tight[:2]] == [(0, 8 * 14 * 64), (1, 8 * 14 * 64)]


def test_boxes_of_one_population_share_no_core_of_loihi_2() -> None:
    graph = network((1, 1, 20), {"a": (1, 1, 20)}, ("in", "a", point()))
    assert map_graph(graph, chip_with("loihi2", lif_neurons_per_core=31)).cores == 2  # 16 + 4, though 20 would fit
    assert map_graph(fork(300, shared=True), find_chip("loihi2")).cores == 3


def test_a_recurrent_population_sends_to_its_own_cores() -> None:
    graph = network(
        (4,),
        {"a": (4,), "out": (1,)},
        ("in", "a", Dense(weight=np.full((4, 4), 2.0))),
        ("a", "a", Dense(weight=np.array([[0, 2, 0, 0], [2, 0, 0, 0], [0, 0, 0, 2], [0, 0, 0, 0.0]]))),
        ("a", "out", Dense(weight=np.full((1, 4), 2.0))),
    )
    # neurons 0 and 1 reach each other, 3 reaches 2; each one reaches out
    found = [(p.core, p.in_axons, p.out_axons) for p in map_graph(graph, chip_with(neurons_per_core=2)).pieces]
    assert found == [(0, 4 + 2, 2 + 2), (1, 4 + 1, 2 + 1), (2, 4, 0)]
    found = [(p.core, p.in_axons, p.out_axons) for p in map_graph(graph, chip_with(neurons_per_core=1)).pieces]
    assert found == [(0, 5, 2), (1, 5, 2), (2, 5, 1), (3, 4, 2), (4, 4, 0)]


def test_cores_tiles_and_chips() -> None:
    graph = network((1, 1, 300), {"a": (1, 1, 300)}, ("in", "a", point()))
    mapping = map_graph(graph, chip_with(neurons_per_core=1))
    assert (mapping.cores, mapping.tiles, mapping.chips) == (300, 75, 3)
    assert (mapping.cores_per_chip, mapping.cores_per_tile, mapping.columns) == (128, 4, 8)
    # tile = core // 4, x = tile // 4, y = tile % 4
    assert [mapping.tile_of(core) for core in (0, 3, 4, 15, 16, 127, 128)] == [
        *((0, 0, 0), (0, 0, 0), (0, 0, 1), (0, 0, 3), (0, 1, 0), (0, 7, 3), (1, 0, 0))
    ]


def test_the_use_of_a_core_adds_up() -> None:
    mapping = map_graph(fork(300, shared=True), find_chip("loihi1"))
    uses = [mapping.use(piece) for piece in mapping.pieces if piece.core == 1]
    assert [use["neurons"] for use in uses] == [300 / 1024] * 2
    assert [use["in_axons"] for use in uses] == [300 / 4096, 0.0]
    assert list(uses[0]) == ["neurons", "in_axons", "out_axons", "memory"]
    other = map_graph(fork(300, shared=True), find_chip("loihi2"))
    assert list(other.use(other.pieces[0])) == ["neurons", "memory"]  # its axons are not published


@pytest.mark.slow
def test_a_population_that_fits_on_no_core_is_named_with_its_limit() -> None:
    """The first of two that do not fit is named, though the last is met first."""
    graph = network(
        (5000,),
        {"a": (5001,), "b": (8,)},
        ("in", "a", Dense(weight=np.full((5001, 5000), 2.0))),
        ("a", "b", Dense(weight=np.full((8, 5001), 2.0))),
    )
    with pytest.raises(UnsupportedError, match="Population 'a': one neuron alone needs 5,000 of in_axons_per_core"):
        map_graph(graph, find_chip("loihi1"))


def test_a_chip_of_totals_maps_nothing() -> None:
    graph = network((4,), {"out": (2,)}, ("in", "out", Dense(weight=np.full((2, 4), 2.0))))
    with pytest.raises(UnsupportedError, match=r"core of Speck 2e is not known.*spikeport fit --chip speck"):
        map_graph(graph, find_chip("speck"))


# Every core counted anew, from the projections as full matrices.


def matrix(projection: Projection, source: Shape) -> NDArray[np.bool_]:
    """[targets, sources]: where the weights are not zero, by the definition of `apply`."""
    size = neurons(source)
    columns = apply(projection.kernel, np.eye(size).reshape(size, *source)).reshape(size, -1)
    return np.asarray(columns.T != 0)


def inside(shape: Shape, piece: Piece) -> NDArray[np.bool_]:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*span) for span in piece.box)] = True
    return mask.ravel()


def recount(graph: SpikingGraph, mapping: CoreMapping) -> dict[int, tuple[int, int, int]]:
    """core -> (neurons, in-axons, out-axons), and that every neuron lies on one core."""
    shapes = graph.shapes()
    cores: dict[int, dict[str, NDArray[np.bool_]]] = {}
    for piece in mapping.pieces:
        here = cores.setdefault(piece.core, {})
        mask = inside(shapes[piece.population], piece)
        assert not (here.get(piece.population, np.zeros_like(mask)) & mask).any()
        here[piece.population] = here.get(piece.population, np.zeros_like(mask)) | mask
    for one in graph.populations:
        assert (sum(here.get(one.name, 0) for here in cores.values()) == np.ones(neurons(one.shape))).all()
    matrices = [(p, matrix(p, shapes[p.source])) for p in graph.projections]
    level, found = levels(graph), {}
    for core, here in cores.items():
        assert len({level[name] for name in here}) == 1
        pixels: dict[str, NDArray[np.bool_]] = {}
        for p, full in matrices:
            if p.target in here:
                reached = full[here[p.target]].any(axis=0).reshape(shapes[p.source])
                reached = reached.any(axis=0) if reached.ndim == 3 else reached
                pixels[p.source] = pixels.get(p.source, np.zeros_like(reached)) | reached
        leaving = 0
        for there in cores.values():
            sent = {name: np.zeros(mask.shape, bool) for name, mask in here.items()}
            for p, full in matrices:
                if p.source in here and p.target in there:
                    sent[p.source] |= full[there[p.target]].any(axis=0)
            leaving += sum(int((sent[name] & mask).sum()) for name, mask in here.items())
        found[core] = (
            sum(int(mask.sum()) for mask in here.values()),
            sum(int(read.sum()) for read in pixels.values()),
            leaving,
        )
    return found


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", ["loihi1", "loihi2"])
def test_every_core_of_a_traced_network_is_counted_right(
    spiking_network: Callable[..., SpikingNetwork], seed: int, name: str
) -> None:
    network = spiking_network(seed, "plain", channels=2, time_steps=2, rows=8, columns=8)
    graph = quantize(lower(traced(network).graph), 8.0)
    chip = chip_with(name, neurons_per_core=100)
    if name == "loihi1":
        chip = chip_with(neurons_per_core=100, in_axons_per_core=150, out_axons_per_core=250)
    mapping = map_graph(graph, chip)
    counted = recount(graph, mapping)
    assert sorted(counted) == list(range(mapping.cores))
    for core, expected in counted.items():
        pieces = [piece for piece in mapping.pieces if piece.core == core]
        summed = tuple(sum(getattr(p, key) for p in pieces) for key in ("neurons", "in_axons", "out_axons"))
        assert summed == expected
        if name == "loihi1":
            assert summed[0] <= 100 and summed[1] <= 150 and summed[2] <= 250
            assert sum(piece.memory_bits for piece in pieces) <= chip.allows("synapse_bits_per_core")
    assert [piece.core for piece in mapping.pieces] == sorted(piece.core for piece in mapping.pieces)
    shared = len(mapping.pieces) - mapping.cores
    assert shared > 0, "no core holds two pieces: the network is too small for this test"


def test_a_network_that_is_not_mapped_whole_is_noticed(spiking_network: Callable[..., SpikingNetwork]) -> None:
    graph = quantize(lower(traced(spiking_network(1, "plain", channels=2, time_steps=2, rows=8, columns=8)).graph), 8.0)
    mapping = map_graph(graph, find_chip("loihi1"))
    with pytest.raises(AssertionError):
        recount(graph, replace(mapping, pieces=mapping.pieces[1:]))
