"""Renamed nodes: one form for all, and no two networks in one form."""

import numpy as np

from spikeport.search.scores.canonical import canonical, orders, reordered
from spikeport.search.space.genotype import Edge, Genotype, random_genotype

# n1 and n2 read the inputs alone, n3 reads n1, n4 reads n2 and n3
CELL = (
    *(Edge(0, 0, "skip_connect"), Edge(0, 1, "conv_3x3")),
    *(Edge(1, 0, "conv_3x3"), Edge(1, 1, "conv_3x3")),
    *(Edge(2, 0, "conv_5x5"), Edge(2, 2, "skip_connect")),
    *(Edge(3, 3, "conv_3x3"), Edge(3, 4, "conv_3x3")),
)


def test_orders_keep_readers_behind() -> None:
    assert orders(CELL) == [(0, 1, 2, 3), (0, 2, 1, 3), (1, 0, 2, 3)]


def test_names_move_with_their_nodes() -> None:
    moved = reordered(CELL, (1, 0, 2, 3))
    assert moved[:4] == (
        *(Edge(0, 0, "conv_3x3"), Edge(0, 1, "conv_3x3")),
        *(Edge(1, 0, "skip_connect"), Edge(1, 1, "conv_3x3")),
    )
    assert moved[4:6] == (Edge(2, 0, "conv_5x5"), Edge(2, 3, "skip_connect"))  # n3 still reads what was n1
    assert moved[6:] == (Edge(3, 2, "conv_3x3"), Edge(3, 4, "conv_3x3"))  # and n4 what was n2


def test_every_order_has_the_same_form_and_other_cells_have_others() -> None:
    for seed in range(30):
        found = random_genotype(np.random.default_rng(seed), "plain")
        form = canonical(found)
        assert canonical(form) == form
        for order in orders(found.normal):
            assert canonical(Genotype("plain", reordered(found.normal, order), found.reduce)) == form
        other = "conv_3x3" if found.normal[0].primitive != "conv_3x3" else "conv_5x5"
        changed = (Edge(0, found.normal[0].source, other), *found.normal[1:])
        assert canonical(Genotype("plain", changed, found.reduce)) != form
