"""The trellis of paths that a macro search chooses from, and how likely each is (after MA-DARTS' two-level space).

Layer i has, for maps that were halved h times, a normal cell that leaves them so and, where h < H, a reduction cell
that halves them once more. A path takes one cell of each layer and starts at h = 0. With weights beta and gamma

    P(cell | h)      softmax over the kinds of beta[i, h, kind] + log(paths that go on behind the cell)
    P(width | cell)  softmax of gamma[i, h, kind] over WIDTHS
    P(cell)          P(h at layer i) * P(cell | h)
    P(h at i + 1)    sum of P(cell) over the cells of layer i that end at h
    P(cell | h at i + 1) = P(cell) / P(h at i + 1)

where h are the halvings before the cell. The number of paths is there so that with weights of 0 all of them are alike;
else a search would begin with reductions, behind which, at H, nothing is left to be decided. All are kept as
logarithms: these are finite however sure a search has become. `decoded` finds the likeliest path.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ..space.genotype import CELL_KINDS, NODES, CellKind, Layer
from ..space.layout import STEM_MULTIPLIER, CellPlan, check_even, node_channels
from ..space.network import NetworkConfig

WIDTHS = (0.5, 0.75, 1.0)  # of the channels at a cell's place
MOST_HALVINGS = 3
DIGITS = 9  # of log-probabilities that are compared
SMALLEST_MAP = 2  # rows and columns; where there is one pixel, a kernel has no neighbours to hear


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop(CellPlan):
    """One cell of the trellis, at full width.

    s0 comes along the `ways`, one per cell that can stand before this one: its channels, and whether it is halved.
    """

    layer: int
    ways: tuple[tuple[int, bool], ...]
    channels_at: tuple[int, ...]  # each of WIDTHS


Trellis = tuple[tuple[Stop, ...], ...]  # the cells of every layer


def trellis_of(config: NetworkConfig) -> Trellis:
    """All paths of so many cells on which every reduction finds even sizes and leaves no map of one pixel.

    Raises InputError when there is no room for a single reduction.
    """
    check_even(config.input_shape[1:], config.stem_stride, 1)
    halved = config.stem_size[1:] if config.one_row else config.stem_size
    most = min(MOST_HALVINGS, config.cells, *(_halvings(size) for size in halved))
    if most == 0:
        raise InputError(
            f"A search over paths needs maps that can be halved to {SMALLEST_MAP} rows and columns, but behind the "
            f"stem they are {' x '.join(map(str, config.stem_size))}; take larger images or leave --level out."
        )
    layers: list[tuple[Stop, ...]] = []
    for i in range(config.cells):
        earlier = layers[-1] if layers else ()
        layers.append(
            tuple(
                _stop(config.channels, i, kind, h, [stop for stop in earlier if stop.halvings == h])
                for h in range(min(i, most) + 1)
                for kind in CELL_KINDS
                if kind == "normal" or h < most
            )
        )
    return tuple(layers)


def _halvings(size: int) -> int:
    """How often a size can be."""
    return 0 if size % 2 or size // 2 < SMALLEST_MAP else 1 + _halvings(size // 2)


def _stop(channels: int, layer: int, kind: CellKind, before: int, earlier: Sequence[Stop]) -> Stop:
    """A cell that gets maps which were halved `before` times, from the `earlier` cells; without any, from the stem."""
    s1 = NODES * node_channels(1.0, channels, before) if earlier else STEM_MULTIPLIER * channels
    ways = tuple((stop.in_channels[1], stop.kind == "reduce") for stop in earlier) or ((s1, False),)
    halvings = before + (kind == "reduce")
    return Stop(
        kind=kind,
        channels=node_channels(1.0, channels, halvings),
        halvings=halvings,
        in_channels=(ways[0][0], s1),
        halve_s0=ways[0][1],
        layer=layer,
        ways=ways,
        channels_at=tuple(node_channels(width, channels, halvings) for width in WIDTHS),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chances:
    """Logarithms of the probabilities above, float64, differentiable by beta and gamma.

    `arrivals[i][h]` are the cells of layer i that end at h, with P(cell | h at i + 1), no logarithm.
    """

    trellis: Trellis
    moves: Mapping[Stop, Tensor]  # P(cell | h)
    widths: Mapping[Stop, Tensor]  # P(width | cell), [WIDTHS]
    visits: Mapping[Stop, Tensor]  # P(cell)
    arrivals: tuple[Mapping[int, tuple[tuple[Stop, Tensor], ...]], ...]
    ends: Mapping[int, Tensor]  # P(h behind the last layer)


def even_weights(trellis: Trellis) -> tuple[Tensor, Tensor]:
    """Beta [layers, H + 1, kinds] and gamma [layers, H + 1, kinds, widths], all 0: all paths and widths alike."""
    shape = paths_behind(trellis).shape
    return torch.zeros(shape), torch.zeros(*shape, len(WIDTHS))


@functools.cache
def paths_behind(trellis: Trellis) -> Tensor:
    """[layers, H + 1, kinds], float64: how many ways there are to go on behind a cell; 0: there is no such cell."""
    most = max(stop.halvings for stop in trellis[-1])
    counts = torch.zeros(len(trellis), most + 1, len(CELL_KINDS), dtype=torch.float64)
    behind = torch.ones(most + 1, dtype=torch.float64)
    for layer in reversed(trellis):
        for stop in layer:
            counts[place(stop)] = behind[stop.halvings]
        behind = counts[layer[0].layer].sum(-1)
    return counts


def chances_of(trellis: Trellis, betas: Tensor, gammas: Tensor) -> Chances:
    """Of weights in the shapes of `even_weights`; those of cells that there are not have no say."""
    counts = paths_behind(trellis).to(betas.device)
    nowhere = counts.sum(-1, keepdim=True) == 0  # halvings that no path has at this layer
    moves_of = torch.log_softmax(betas.double() + counts.masked_fill(nowhere, 1.0).log(), dim=-1)
    widths_of = torch.log_softmax(gammas.double(), dim=-1)

    moves = {stop: moves_of[place(stop)] for layer in trellis for stop in layer}
    widths = {stop: widths_of[place(stop)] for stop in moves}
    visits: dict[Stop, Tensor] = {}
    arrivals: list[dict[int, tuple[tuple[Stop, Tensor], ...]]] = []
    at = {0: moves_of.new_zeros(())}
    for layer in trellis:
        visits |= {stop: at[stop.halvings_before] + moves[stop] for stop in layer}
        ending = {h: [stop for stop in layer if stop.halvings == h] for h in sorted({stop.halvings for stop in layer})}
        reached = {h: torch.stack([visits[stop] for stop in stops]) for h, stops in ending.items()}
        arrivals.append({h: tuple(zip(ending[h], torch.softmax(reached[h], 0), strict=True)) for h in ending})
        at = {h: torch.logsumexp(logarithms, 0) for h, logarithms in reached.items()}
    return Chances(trellis=trellis, moves=moves, widths=widths, visits=visits, arrivals=tuple(arrivals), ends=at)


def place(stop: Stop) -> tuple[int, int, int]:
    """In beta and gamma."""
    return stop.layer, stop.halvings_before, CELL_KINDS.index(stop.kind)


# (cell, s0 along each of its ways, times the probability of the way; s1) -> what the cell gives
Run = Callable[[Stop, tuple[Tensor, ...], Tensor], Tensor]


def walk(chances: Chances, start: Tensor, run: Run) -> dict[int, Tensor]:
    """Carry maps through the trellis, from the stem to those behind the last layer, by their halvings.

    s1 of a cell is the sum over the cells before it that end at its size of P(cell | h) * its maps. s0 is s1 of the
    cell before, which has this size or twice it: one way for each. Whatever is linear in maps can be carried: spikes,
    or the spikes to be expected.
    """
    before, now = {0: start}, {0: start}
    arriving: Mapping[int, tuple[tuple[Stop, Tensor], ...]] = {}
    for layer, ending in zip(chances.trellis, chances.arrivals, strict=True):
        along = {h: tuple(_part(before[cell.halvings_before], share) for cell, share in arriving[h]) for h in arriving}
        given = {
            stop: run(stop, along.get(stop.halvings_before, (start,)), now[stop.halvings_before]) for stop in layer
        }
        before, arriving = now, ending
        now = {h: _sum([_part(given[stop], share) for stop, share in cells]) for h, cells in ending.items()}
    return now


def _part(maps: Tensor, share: Tensor) -> Tensor:
    return share.to(maps.dtype) * maps


def _sum(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else parts[0] + _sum(parts[1:])


def decoded(chances: Chances) -> tuple[Layer, ...]:
    """The path with the largest sum of log P(cell | h) + log P(width | cell), by dynamic programming from the end.

    best(i, h) = max over cells of layer i that start at h of log P(cell | h) + max log P(width | cell)
                 + best(i + 1, h behind the cell)
    Of equals, to within rounding, the earlier wins: at the first layer where two paths differ normal before reduce,
    narrow before wide.
    """
    best = dict.fromkeys(chances.ends, 0.0)
    choices: list[dict[int, Stop]] = []
    for layer in reversed(chances.trellis):
        value = {
            stop: chances.moves[stop].item() + max(chances.widths[stop].tolist()) + best[stop.halvings]
            for stop in layer
        }
        starts = {h: [stop for stop in layer if stop.halvings_before == h] for h in {s.halvings_before for s in layer}}
        choices.append({h: max(stops, key=lambda stop: round(value[stop], DIGITS)) for h, stops in starts.items()})
        best = {h: value[stop] for h, stop in choices[-1].items()}
    path: list[Layer] = []
    halvings = 0
    for choice in reversed(choices):
        stop = choice[halvings]
        widths = chances.widths[stop].tolist()
        path.append(Layer(stop.kind, WIDTHS[widths.index(max(widths))]))
        halvings = stop.halvings
    return tuple(path)


def random_path(rng: np.random.Generator, trellis: Trellis) -> tuple[Layer, ...]:
    """Cell by cell one of those that can follow, and a width, all alike."""
    path: list[Layer] = []
    halvings = 0
    for layer in trellis:
        following = [stop for stop in layer if stop.halvings_before == halvings]
        stop = following[rng.integers(len(following))]
        path.append(Layer(stop.kind, WIDTHS[rng.integers(len(WIDTHS))]))
        halvings = stop.halvings
    return tuple(path)
