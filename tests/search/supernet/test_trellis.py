"""Trellis, probabilities and dynamic programming against the enumeration of all paths."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spikeport.errors import InputError
from spikeport.search.space.genotype import CELL_KINDS, Layer
from spikeport.search.space.layout import plan_cells
from spikeport.search.space.network import NetworkConfig
from spikeport.search.supernet.trellis import (
    WIDTHS,
    Chances,
    Stop,
    Trellis,
    chances_of,
    decoded,
    even_weights,
    place,
    random_path,
    trellis_of,
    walk,
)


def settings(**changes: Any) -> NetworkConfig:
    known: dict[str, Any] = {"channels": 3, "cells": 4, "time_steps": 2, "classes": 3, "input_shape": (1, 8, 8)}
    return NetworkConfig(**known | changes)


def paths_of(trellis: Trellis) -> Iterator[tuple[Stop, ...]]:
    """All paths, in the order of their kinds."""
    for kinds in itertools.product(CELL_KINDS, repeat=len(trellis)):
        path: list[Stop] = []
        for layer, kind in zip(trellis, kinds, strict=True):
            halvings = path[-1].halvings if path else 0
            path += [stop for stop in layer if (stop.halvings_before, stop.kind) == (halvings, kind)]
        if len(path) == len(trellis):
            yield tuple(path)


def random_chances(trellis: Trellis, seed: int, scale: float = 1.0) -> Chances:
    torch.manual_seed(seed)
    return chances_of(trellis, *(scale * torch.randn_like(even) for even in even_weights(trellis)))


def probability(chances: Chances, path: tuple[Stop, ...]) -> float:
    return math.exp(sum(chances.moves[stop].item() for stop in path))


def test_only_what_can_be_reached_is_there() -> None:
    """Three cells, two halvings at most: h -> kinds, by layer."""
    trellis = trellis_of(settings(cells=3))
    found = [[(stop.halvings_before, stop.kind) for stop in layer] for layer in trellis]
    first = [(0, "normal"), (0, "reduce")]
    second = [*first, (1, "normal"), (1, "reduce")]
    assert found == [first, second, [*second, (2, "normal")]]


@pytest.mark.parametrize(
    ("shape", "stride", "cells", "most"),
    [
        ((1, 8, 8), 1, 8, 2),
        ((1, 64, 64), 1, 8, 3),
        ((1, 64, 12), 1, 8, 2),
        ((1, 16, 16), 4, 8, 1),
        ((1, 64, 64), 1, 2, 2),
    ],
)
def test_as_many_halvings_as_sizes_and_cells_allow(shape: Any, stride: int, cells: int, most: int) -> None:
    trellis = trellis_of(settings(input_shape=shape, stem_stride=stride, cells=cells))
    assert max(stop.halvings for stop in trellis[-1]) == most


@pytest.mark.parametrize(
    ("shape", "message"),
    [((1, 7, 8), "The rows must be even .* have 7; pad them to 8"), ((1, 8, 2), r"are 8 x 2; take larger images")],
)
def test_no_room_for_a_reduction(shape: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        trellis_of(settings(input_shape=shape))


@pytest.mark.parametrize("seed", range(3))
def test_every_path_can_be_built_as_its_cells_are_planned(seed: int) -> None:
    """Channels of s0 and s1 and whether s0 is halved: along one of a cell's ways as in the network of the path."""
    trellis = trellis_of(settings())
    paths = list(paths_of(trellis))
    for path in paths:
        plan = settings().plan(tuple(Layer(stop.kind, 1.0) for stop in path))
        for stop, cell in zip(path, plan, strict=True):
            assert (stop.kind, stop.channels, stop.halvings) == (cell.kind, cell.channels, cell.halvings)
            assert stop.in_channels[1] == cell.in_channels[1]
            assert (cell.in_channels[0], cell.halve_s0) in stop.ways
    rng = np.random.default_rng(seed)
    drawn = [random_path(rng, trellis) for _ in range(300)]
    kinds = {tuple(stop.kind for stop in path) for path in paths}
    assert {tuple(layer.kind for layer in path) for path in drawn} == kinds
    assert {layer.width for path in drawn for layer in path} == set(WIDTHS)


def test_channels_at_each_width_are_those_of_the_layout() -> None:
    for layer in trellis_of(settings(channels=5)):
        for stop in layer:
            before = [Layer("reduce", 1.0)] * stop.halvings_before
            assert stop.channels_at == tuple(plan_cells([*before, Layer(stop.kind, w)], 5)[-1].channels for w in WIDTHS)


@pytest.mark.parametrize("seed", range(5))
def test_probabilities_are_those_of_all_paths(seed: int) -> None:
    trellis = trellis_of(settings())
    chances = random_chances(trellis, seed)
    paths = {path: probability(chances, path) for path in paths_of(trellis)}
    assert sum(paths.values()) == pytest.approx(1, abs=1e-12)
    for i, layer in enumerate(trellis):
        for stop in layer:
            through = sum(p for path, p in paths.items() if path[i] == stop)
            assert chances.visits[stop].exp().item() == pytest.approx(through, rel=1e-9)
        for h, cells in chances.arrivals[i].items():
            there = sum(p for path, p in paths.items() if path[i].halvings == h)
            for stop, share in cells:
                through = sum(p for path, p in paths.items() if path[i] == stop)
                assert share.item() == pytest.approx(through / there, rel=1e-9)
    for h, end in chances.ends.items():
        assert end.exp().item() == pytest.approx(sum(p for path, p in paths.items() if path[-1].halvings == h))


def test_what_a_walk_carries_is_the_mean_over_all_paths() -> None:
    """Of a map that each cell makes anew from its inputs, linearly: as if every path were walked by itself."""
    trellis = trellis_of(settings())
    chances = random_chances(trellis, 3)
    factor = {stop: 0.5 + i for i, stop in enumerate(stop for layer in trellis for stop in layer)}

    def run(stop: Stop, ways: tuple[Tensor, ...], s1: Tensor) -> Tensor:
        return factor[stop] * s1 + 3 * torch.stack(ways).sum(0)

    ends = walk(chances, torch.ones(1, dtype=torch.float64), run)
    expected: dict[int, float] = dict.fromkeys(ends, 0.0)
    for path in paths_of(trellis):
        s0 = s1 = 1.0
        for stop in path:
            s0, s1 = s1, factor[stop] * s1 + 3 * s0
        expected[path[-1].halvings] += probability(chances, path) * s1
    assert {h: (chances.ends[h].exp() * maps).item() for h, maps in ends.items()} == pytest.approx(expected)


def score(chances: Chances, path: tuple[Stop, ...], widths: tuple[int, ...]) -> float:
    parts = zip(path, widths, strict=True)
    return sum(chances.moves[stop].item() + chances.widths[stop].tolist()[width] for stop, width in parts)


def likeliest(chances: Chances) -> tuple[Layer, ...]:
    """The first of the best, of every path with every choice of widths."""
    candidates = [
        (path, widths)
        for path in paths_of(chances.trellis)
        for widths in itertools.product(range(len(WIDTHS)), repeat=len(path))
    ]
    path, widths = max(candidates, key=lambda found: round(score(chances, *found), 9))
    return tuple(Layer(stop.kind, WIDTHS[width]) for stop, width in zip(path, widths, strict=True))


def greedy(chances: Chances) -> tuple[Layer, ...]:
    """A wrong decoder: the best cell of each layer, without a look at what follows."""
    path: list[Layer] = []
    halvings = 0
    for layer in chances.trellis:
        following = [stop for stop in layer if stop.halvings_before == halvings]
        stop = max(following, key=lambda s: chances.moves[s].item() + max(chances.widths[s].tolist()))
        widths = chances.widths[stop].tolist()
        path.append(Layer(stop.kind, WIDTHS[widths.index(max(widths))]))
        halvings = stop.halvings
    return tuple(path)


@pytest.mark.parametrize("seed", range(30))
def test_decoded_is_the_likeliest_of_all_paths(seed: int) -> None:
    chances = random_chances(trellis_of(settings()), seed, scale=2.0)
    assert decoded(chances) == likeliest(chances)


def test_a_greedy_decoder_would_be_wrong() -> None:
    """At first to stay has 3 / 5.5, but there three paths are as likely as another; behind the reduction is one."""
    trellis = trellis_of(settings(cells=3, input_shape=(1, 4, 4)))
    betas, gammas = even_weights(trellis)
    betas[0, 0, 1] = math.log(2.5)
    chances = chances_of(trellis, betas, gammas)
    assert decoded(chances) == likeliest(chances) != greedy(chances)
    assert [layer.kind for layer in decoded(chances)] == ["reduce", "normal", "normal"]
    assert [layer.kind for layer in greedy(chances)] == ["normal"] * 3


def test_with_weights_of_zero_all_paths_are_alike() -> None:
    trellis = trellis_of(settings())
    paths = list(paths_of(trellis))
    chances = chances_of(trellis, *even_weights(trellis))
    assert len(paths) == 1 + 4 + 6  # of four cells none, one or two reduce
    for path in paths:
        assert probability(chances, path) == pytest.approx(1 / 11, rel=1e-12)


def test_of_equals_the_earlier_wins() -> None:
    trellis = trellis_of(settings())
    betas, gammas = even_weights(trellis)
    even = chances_of(trellis, betas, gammas)
    assert decoded(even) == likeliest(even) == (Layer("normal", 0.5),) * 4
    betas[0, 0, 1] = 1.0  # a reduction first; where the other is, or whether, is all the same
    gammas[..., 0] = -1.0
    chances = chances_of(trellis, betas, gammas)
    assert decoded(chances) == likeliest(chances) == (Layer("reduce", 0.75), *(Layer("normal", 0.75),) * 3)


def test_sure_weights_stay_finite() -> None:
    trellis = trellis_of(settings())
    betas, gammas = even_weights(trellis)
    betas[..., 0], gammas[..., 2] = 2000.0, 2000.0
    betas.requires_grad_()
    chances = chances_of(trellis, betas, gammas)
    assert all(torch.isfinite(logarithm) for logarithm in chances.visits.values())
    chances.ends[2].backward()
    assert torch.isfinite(betas.grad).all()
    assert decoded(chances) == (Layer("normal", 1.0),) * 4


def test_places_are_apart() -> None:
    trellis = trellis_of(settings())
    stops = [stop for layer in trellis for stop in layer]
    betas, gammas = even_weights(trellis)
    assert len({place(stop) for stop in stops}) == len(stops)
    assert all(betas[place(stop)].shape == () and gammas[place(stop)].shape == (3,) for stop in stops)
