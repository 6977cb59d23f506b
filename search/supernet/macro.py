"""The supernet of a macro search: a trellis of kernel-space cells, mixed by how likely the paths are.

trellis.py says which cells there are and how likely each is. They are mixed where spikes enter a cell, before a 1x1
convolution and neurons, and at the readouts, so that inside of a cell everything is binary as ever:

    s1           sum over the cells before of P(cell | h) * their spikes
    p0           LIF(BN(sum over the ways of P(way) * (1x1 convolution or factorized reduce of s0 along it)))
    logits       sum over h of P(h at the end) * readout_h

A width is relaxed by the channels: a state's channel c is heard with the weight

    presence[c]  sum over widths of P(width | cell) * (1 if a cell of this width has a channel c, else 0)

by the kernels and max-pools that read it, and so is the cell's output. Weights of 0 and 1 give the narrower cell. Only
the kernel space can do this: the plain supernet normalises every candidate's current, which would undo the weight.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from spikingjelly.activation_based import layer
from torch import Tensor, nn

from ..loops.window_lif import window_lif
from ..settings.network import PrimitiveSet
from ..space.genotype import NODES, CellKind, Genotype
from ..space.layout import node_channels
from ..space.network import NetworkConfig
from .kernel_space import STEPS_AXIS, KernelCell, KernelStem, Population, input_current
from .mixed_kernels import uniform
from .supernet import Supernet, one_hot
from .trellis import Chances, Stop, chances_of, decoded, even_weights, place, trellis_of, walk


class Meeting(nn.Module):
    """p0 of a cell: the currents of s0 along all of its ways meet at one membrane."""

    def __init__(self, ways: Sequence[tuple[int, bool]], channels: int) -> None:
        super().__init__()
        self.halves = [halve for _, halve in ways]
        self.weights = nn.ParameterList([uniform((heard, channels), fan_in=heard) for heard, _ in ways])
        self.population = Population(channels)

    def forward(self, s0: Sequence[Tensor]) -> Tensor:
        """[H, W, T, N, I], or twice as many rows and columns, of every way."""
        ways = zip(s0, self.weights, self.halves, strict=True)
        currents = [input_current(spikes, weight, halve=halve) for spikes, weight, halve in ways]
        return cast(Tensor, self.population(torch.stack(currents).sum(0)))


class MacroSupernet(Supernet):
    """All cells of the trellis; those of a kind share `alphas`, or are the cells of the genotype that is given.

    `betas` [layers, H + 1, kinds] and `gammas` [layers, H + 1, kinds, widths] are as in trellis.py. Layer i is
    `cells.<i>`, its cells and `plan` are in the order of the trellis. Raises InputError when no size can be halved.
    """

    def __init__(self, primitives: PrimitiveSet, config: NetworkConfig, given: Genotype | None = None) -> None:
        def build(*, kind: CellKind, place: int, **options: Any) -> nn.Module:
            return KernelCell(partial(self.edge_weights, kind), primitives, kind=kind, **options)

        trellis = trellis_of(config)
        super().__init__(primitives, config, build, [stop for stops in trellis for stop in stops])
        self.trellis, self.given = trellis, given
        self.stem = KernelStem(config)
        self._cell: dict[Stop, KernelCell] = {}
        for stop, cell in zip((stop for stops in trellis for stop in stops), self.cells, strict=True):
            self._cell[stop] = cast(KernelCell, cell)
            self._cell[stop].p0 = Meeting(stop.ways, stop.channels)
            self._cell[stop].presence = partial(self.presence, stop)
        self.cells = nn.ModuleList(nn.ModuleList(self._cell[stop] for stop in stops) for stops in trellis)
        self.readout = nn.ModuleList(
            layer.Linear(NODES * node_channels(1.0, config.channels, h), config.classes, step_mode="m")
            for h in sorted({stop.halvings for stop in trellis[-1]})
        )
        if given is not None:
            self.alphas = nn.ParameterDict()
            config.check_genotype(given)
            for stop, cell in self._cell.items():
                for node, name in enumerate(cell.nodes):
                    population = cast(Population, cell.get_submodule(name))
                    population.lif = window_lif(STEPS_AXIS, given.decay(stop.kind, node, stop.layer))
                    if given.gated(stop.kind, node, stop.layer) is False:
                        population.gates = nn.Identity()
        self.betas, self.gammas = (nn.Parameter(1e-3 * torch.randn_like(even)) for even in even_weights(trellis))

    def chances(self) -> Chances:
        return chances_of(self.trellis, self.betas, self.gammas)

    def presence(self, stop: Stop) -> Tensor:
        """[C], 0..1: how likely the cell is so wide that it has each of its channels."""
        channels = torch.arange(stop.channels, device=self.gammas.device)
        covered = channels < torch.tensor(stop.channels_at, device=self.gammas.device).unsqueeze(1)  # [widths, C]
        return torch.softmax(self.gammas[place(stop)], dim=0) @ covered.to(self.gammas.dtype)

    def mixture(self, kind: CellKind, place: int | None = None) -> Tensor:
        return super().mixture(kind) if self.given is None else one_hot(self.given, kind).to(self.betas)

    def architecture(self) -> list[nn.Parameter]:
        return [*super().architecture(), self.betas, self.gammas]

    def planned_cells(self) -> list[nn.Module]:
        return list(self._cell.values())

    def genotype(self, rng: np.random.Generator | None = None) -> Genotype:
        """What the weights have come to: the cells (with `rng`, drawn from the alphas), on the likeliest path."""
        return replace(self.given or super().genotype(rng), layers=decoded(self.chances()))

    def forward(self, images: Tensor) -> Tensor:
        start = self.stem(images)
        chances = self.chances()
        ends = walk(chances, start, lambda stop, s0, s1: cast(Tensor, self._cell[stop](s0, s1)))
        logits = [
            chances.ends[h].exp().float() * self.readout[h](spikes.mean(dim=(0, 1), dtype=torch.float32)).mean(0)
            for h, spikes in ends.items()
        ]
        return torch.stack(logits).sum(0)
