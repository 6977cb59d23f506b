"""Equal networks have one key, others another."""

from dataclasses import replace
from itertools import permutations

import numpy as np

from spikeport.search.space.genotype import INPUTS, NODES, Edge, Genotype, Layer, random_genotype
from spikeport.search.spaces.canonical import canonical, key_of
from spikeport.search.spaces.closed import closed_cells


def renamed(cell: tuple[Edge, ...], number: tuple[int, ...]) -> tuple[Edge, ...]:
    def name(source: int) -> int:
        return source if source < INPUTS else INPUTS + number[source - INPUTS]

    return tuple(Edge(number[edge.node], name(edge.source), edge.primitive) for edge in cell)


def legal(cell: tuple[Edge, ...]) -> bool:
    return all(edge.source <= edge.node + 1 for edge in cell)


def renumberings(genotype: Genotype) -> list[Genotype]:
    cells = [renamed(genotype.normal, number) for number in permutations(range(NODES))]
    return [replace(genotype, normal=cell) for cell in cells if legal(cell)]


def test_renamed_nodes_and_edges_in_another_order_have_the_same_key() -> None:
    several = 0
    for seed in range(40):
        genotype = random_genotype(np.random.default_rng(seed), "darts")
        others = renumberings(genotype)
        several += len(others) > 1
        assert {key_of(other) for other in others} == {key_of(genotype)}
        assert key_of(replace(genotype, reduce=genotype.reduce[::-1])) == key_of(genotype)
        assert key_of(canonical(genotype)) == key_of(genotype)
        assert canonical(canonical(genotype)) == canonical(genotype)
    assert several > 5  # else nothing was renamed


def test_one_edge_the_path_and_the_kind_of_cell_matter() -> None:
    genotype = random_genotype(np.random.default_rng(1), "plain")
    edge = genotype.normal[0]
    other = Edge(edge.node, edge.source, "conv_5x5" if edge.primitive != "conv_5x5" else "conv_3x3")
    keys = {
        key_of(genotype),
        key_of(replace(genotype, normal=(other, *genotype.normal[1:]))),
        key_of(replace(genotype, normal=genotype.reduce, reduce=genotype.normal)),
        key_of(replace(genotype, layers=(Layer("normal", 1.0),))),
        key_of(replace(genotype, layers=(Layer("normal", 0.5),))),
    }
    assert len(keys) == 5


def test_what_nodes_have_of_their_own_moves_with_them() -> None:
    for seed in range(30):
        genotype = random_genotype(np.random.default_rng(seed), "darts", gates=True, decays=True)
        keys = set()
        for number in permutations(range(NODES)):
            cell = renamed(genotype.normal, number)
            if legal(cell):
                rows = {
                    name: (tuple(getattr(genotype, name)[0][number.index(node)] for node in range(NODES)), row)
                    for name, (_, row) in (("gates", genotype.gates), ("decays", genotype.decays))
                }
                other = replace(genotype, normal=cell, **rows)
                keys |= {key_of(other), key_of(canonical(other))}
        assert keys == {key_of(genotype)}
        flipped = tuple(not gated for gated in genotype.gates[0])
        assert key_of(replace(genotype, gates=(flipped, genotype.gates[1]))) not in keys
        assert key_of(replace(genotype, decays=None)) not in keys


def test_a_cell_for_every_layer() -> None:
    kinds = ("normal", "reduce", "normal")
    genotype = random_genotype(np.random.default_rng(0), "plain", layers=kinds)
    assert key_of(canonical(genotype)) == key_of(genotype)
    cells = tuple(reversed(genotype.cells))
    assert key_of(replace(genotype, cells=cells)) != key_of(genotype)
    assert key_of(replace(genotype, cells=None)) != key_of(genotype)


def test_keys_stay_what_they_were() -> None:
    """Tables that are kept know cells by them."""
    assert key_of(closed_cells()[0]) == "38cdad9c1924"
    assert key_of(random_genotype(np.random.default_rng(0), "darts")) == "9fba3129eb91"


def test_random_cells_have_keys_of_their_own() -> None:
    keys = {key_of(random_genotype(np.random.default_rng(seed), "darts")) for seed in range(200)}
    assert len(keys) == 200


def test_the_closed_space_has_768_cells_none_twice() -> None:
    cells = closed_cells()
    assert len(cells) == len({key_of(cell) for cell in cells}) == 768
    for cell in (cells[0], cells[-1], cells[300]):
        found = {node: [edge.primitive for edge in cell.incoming("normal", node)] for node in range(NODES)}
        assert (found[2], found[3]) == (found[0], found[1])
        assert cell.reduce == cells[0].reduce
