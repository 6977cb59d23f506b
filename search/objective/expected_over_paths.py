"""Spikes and synaptic operations to be expected of a trellis: those of each cell times how likely a path visits it.

    sum over cells of P(cell) * sum over widths of P(width | cell) * (the operations of the cell at that width)

s0 and s1 of a cell are mixed from the cells before as spikes are (`trellis.walk`), given that a path gets there. Two
approximations: the width of every cell is drawn by itself, and a cell at a width emits the spikes of the whole cell
times its share of the channels, as if they spiked alike. Where all probabilities are 0 or 1 and the widths 1, it is
what synaptic_operations.py counts of the path. Differentiable by the weights of paths, widths and primitives, and by
the spikes.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..space.genotype import CellKind
from ..supernet.trellis import Chances, Stop, walk
from .spike_maps import CellSpikes, NetworkSpikes
from .synaptic_operations import cell_sops


def expected_spikes(spikes: NetworkSpikes, chances: Chances) -> Tensor:
    """Spikes per image, those of the stem, too; a scalar."""
    of_cells = [
        chances.visits[stop].exp() * _share(chances, stop) * cell.total for stop, cell in _cells(spikes, chances)
    ]
    return spikes.stem.sum() + torch.stack(of_cells).sum()


def expected_sops(
    spikes: NetworkSpikes,
    chances: Chances,
    mixture: Callable[[CellKind], Tensor],
    names: Sequence[str],
    classes: int,
) -> dict[str, Tensor]:
    """SOPs per image: `stem` of events, `cells.<layer>` and `readout`; arguments as of `sops.sops_per_cell`."""
    cells = dict(_cells(spikes, chances))
    weights = {kind: mixture(kind).double() for kind in {stop.kind for stop in cells}}
    found = {f"cells.{i}": chances.visits[stops[0]].new_zeros(()) for i, stops in enumerate(chances.trellis)}

    def count(stop: Stop, ways: tuple[Tensor, ...], s1: Tensor) -> Tensor:
        """Adds the operations of a cell, returns the map [H, W] of the spikes that are to be expected of it."""
        at_widths = [
            cell_sops(cells[stop].narrowed(channels), ways, s1, weights[stop.kind], names)
            for channels in stop.channels_at
        ]
        operations = (chances.widths[stop].exp() * torch.stack(at_widths)).sum()
        found[f"cells.{stop.layer}"] = found[f"cells.{stop.layer}"] + chances.visits[stop].exp() * operations
        return _share(chances, stop) * cells[stop].output

    ends = walk(chances, spikes.stem.double(), count)
    arriving = [chances.ends[h].exp() * output.sum() for h, output in ends.items()]
    of_stem = {} if spikes.stem_sops is None else {"stem": spikes.stem_sops}
    return of_stem | found | {"readout": classes * torch.stack(arriving).sum()}


def _cells(spikes: NetworkSpikes, chances: Chances) -> list[tuple[Stop, CellSpikes]]:
    return list(zip((stop for stops in chances.trellis for stop in stops), spikes.cells, strict=True))


def _share(chances: Chances, stop: Stop) -> Tensor:
    """Of a cell's channels, the mean over its widths."""
    chance = chances.widths[stop].exp()
    return chance @ chance.new_tensor(stop.channels_at) / stop.channels
