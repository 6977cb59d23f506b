"""The kernel-space supernet: an edge is one convolution with the mixed kernel of its candidates.

Because the edges carry binary spikes, sum over o of weight_o * K_o(spikes) = (sum over o of weight_o * K_o)(spikes) for
every primitive but max-pool. So the cost of a step hardly depends on the number of candidates. The max-pool of a state
is computed once and its weighted copies are added at the nodes. kernels.py says how candidates are normalised.

What makes it fast is exact in float32, too: convolutions as products of spectra (spectra.py), batch norm and neurons
over the whole window at once (norm_lif.py) and one memory layout for all of it, [H, W, T, N, C]: rows, columns, steps,
images, channels. In bfloat16 (`calculate_in`) currents are rounded to about 1 %. On a GPU the loops are kernels (gpu/).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..gpu.blocks import takes_kernels
from ..loops.arrays import takes_loops
from ..loops.max_pool import max_pool, weighted_sum
from ..loops.window_lif import MixedLIF, window_lif
from ..machine import processes
from ..machine.device import on
from ..settings.network import Attention, PrimitiveSet
from ..space.attention import ATTENTION
from ..space.genotype import INPUTS, NODES, CellKind
from ..space.layout import STEM_MULTIPLIER, CellPlan
from ..space.network import NetworkConfig
from ..space.primitives import MAX_POOL, PRIMITIVES, to_one_row
from ..space.spike_gates import gates_behind
from .chip_bits import gain_of, through_bits
from .mixed_kernels import SMALLEST_VARIANCE, MixedKernels, Variances, edge_hits, uniform
from .moments import moments_of
from .spectra import grid, phases, product
from .supernet import EDGES, SOURCES, Supernet

STEPS_AXIS = 2  # of [H, W, T, N, C]

# (sources, nodes): the edges from these to those are one product. After group j, node j has all its currents.
GROUPS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((0, 1), (0, 1, 2, 3)),
    ((2,), (1, 2, 3)),
    ((3,), (2, 3)),
    ((4,), (3,)),
)
ORDER = [EDGES.index((node, source)) for sources, nodes in GROUPS for source in sources for node in nodes]
FROM = [EDGES[edge][1] for edge in ORDER]
INCOMING = [[row for row, edge in enumerate(ORDER) if EDGES[edge][0] == node] for node in range(NODES)]
FROM_INPUTS = sum(source < INPUTS for source in FROM)  # the first group, whose stride is 2 in a reduction cell


MOMENTUM = 0.1  # of the running variances, as of a batch norm's
VARIANCE_AT_START = 0.25


class Population(nn.Module):
    """Currents [H, W, T, N, C] -> spikes: batch norm, attention, LIF neurons, gates, as in the blocks of cell.py."""

    def __init__(self, channels: int, attention: Attention = "none") -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)
        self.attention = ATTENTION[attention](channels)
        self.lif = window_lif(STEPS_AXIS)
        self.gates = gates_behind(attention, channels)

    @property
    def binary(self) -> bool:
        """Whether it gives 0 and 1; else what is between them: spikes that are to be expected of what is searched."""
        return getattr(self.gates, "chance", None) is None and not isinstance(self.lif, MixedLIF)

    def forward(self, current: Tensor) -> Tensor:
        spikes = self._fired(current)
        if isinstance(self.gates, nn.Identity):
            return spikes
        passed = self.gates(_usual(spikes).float())  # the gates of bfloat16 spikes are float32, too
        return _here(passed).to(spikes.dtype).contiguous()

    def _fired(self, current: Tensor) -> Tensor:
        in_one = (takes_loops(current) or takes_kernels(current)) and processes.world() == 1
        if isinstance(self.attention, nn.Identity) and in_one:
            return cast(Tensor, self.lif(current, self.norm))
        current = self.norm(current.flatten(0, 3)).view(current.shape)
        current = _here(self.attention(_usual(current)))
        return cast(Tensor, self.lif(current))


def _usual(maps: Tensor) -> Tensor:
    """[H, W, T, N, C] -> [T, N, C, H, W]."""
    return maps.permute(2, 3, 4, 0, 1)


def _here(maps: Tensor) -> Tensor:
    """[T, N, C, H, W] -> [H, W, T, N, C]."""
    return maps.permute(3, 4, 0, 1, 2)


class MaxPool(nn.Module):
    """The max-pool of a state's spikes [H, W, ...], with the stride of the edges that leave it."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, spikes: Tensor, binary: bool = True) -> Tensor:
        return max_pool(spikes, self.stride, binary=binary)


class Preprocess(nn.Module):
    """Brings a cell's input to the cell's channels and, after a reduction, to its size by the factorized reduce."""

    bits = 0  # of its weights, as a chip would hold them; 0: floats

    def __init__(self, in_channels: int, channels: int, *, halve: bool) -> None:
        super().__init__()
        self.halve = halve
        self.weight = uniform((in_channels, channels), fan_in=in_channels)
        self.population = Population(channels)

    def forward(self, spikes: Tensor) -> Tensor:
        weights: list[Tensor] = [self.weight]
        if self.bits:
            weights = through_bits(weights, gain_of(self.population.norm), self.bits)
        return cast(Tensor, self.population(input_current(spikes, *weights, halve=self.halve)))


class KernelStem(nn.Module):
    """The stems of cell.py, their spikes [H, W, T, N, C]."""

    images_axis, place_axes = 3, (0, 1)  # of the spikes
    bits = 0  # of the weights that hear events; the stem of images is on the host

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        channels = STEM_MULTIPLIER * config.channels
        self.time_steps = config.time_steps
        self.conv = nn.Conv2d(config.input_shape[0], channels, 3, stride=config.stem_stride, padding=1, bias=False)
        self.population = Population(channels)
        if config.one_row:
            to_one_row(self.conv)

    def forward(self, images: Tensor) -> Tensor:
        if images.ndim == 5:  # a frame for each step
            heard = self._heard(images.flatten(0, 1))
            current = heard.view(*images.shape[:2], *heard.shape[1:])
            return cast(Tensor, self.population(current.permute(3, 4, 1, 0, 2)))
        current = self.conv(images).permute(2, 3, 0, 1).unsqueeze(STEPS_AXIS)
        return cast(Tensor, self.population(current.expand(-1, -1, self.time_steps, -1, -1)))

    def _heard(self, frames: Tensor) -> Tensor:
        if not self.bits:
            return cast(Tensor, self.conv(frames))
        (weight,) = through_bits([self.conv.weight.movedim(0, -1)], gain_of(self.population.norm), self.bits)
        return functional.conv2d(frames, weight.movedim(-1, 0), stride=self.conv.stride, padding=self.conv.padding)


def input_current(spikes: Tensor, weight: Tensor, *, halve: bool) -> Tensor:
    """[H, W, T, N, I] and [I, O] -> [H, W, T, N, O], by the 1x1 convolution or the factorized reduce."""
    weight = weight.to(spikes.dtype)
    if halve:
        middle = (weight.shape[1] + 1) // 2
        second_rows = spikes if len(spikes) == 1 else spikes[1::2]  # one row is not halved
        first, second = spikes[::2, ::2] @ weight[:, :middle], second_rows[:, 1::2] @ weight[:, middle:]
        current = torch.cat([first, second], dim=-1)
    else:
        current = spikes @ weight
    return current if takes_kernels(current) else current.float()


class KernelCell(nn.Module):
    """The cell of cell.py with mixed edges, on spikes [H, W, T, N, C]; its nodes are `n1` to `n4`.

    `mixture()` gives the weights [14 edges in the order of `EDGES`, primitives]. `variances` are running averages, as
    those of a batch norm: of the spikes of each source, their max-pool and their avg-pool, [3, sources, channels].
    `presence()` gives a factor per channel [C] by which all that reads a state of this cell, the cells behind it, too,
    multiplies its spikes (macro.py); the neurons stay binary.
    """

    variances: Tensor
    p0: nn.Module
    presence: Callable[[], Tensor] | None = None
    images_axis, place_axes = 3, (0, 1)
    dtype = torch.float32  # of spikes and spectra
    bits = 0  # of its kernels, as a chip would hold them; 0: floats

    def __init__(
        self,
        mixture: Callable[[], Tensor],
        primitives: PrimitiveSet,
        *,
        kind: CellKind,
        in_channels: tuple[int, int],
        channels: int,
        attention: Attention,
        halve_s0: bool,
    ) -> None:
        super().__init__()
        self._mixture = mixture
        self._stride = 2 if kind == "reduce" else 1
        self._max_pool = list(PRIMITIVES[primitives]).index(MAX_POOL)
        self.p0 = Preprocess(in_channels[0], channels, halve=halve_s0)
        self.p1 = Preprocess(in_channels[1], channels, halve=False)
        self.kernels = MixedKernels(primitives, len(EDGES), channels, FROM_INPUTS if kind == "reduce" else 0)
        self.nodes = [f"n{j + 1}" for j in range(NODES)]
        for name in self.nodes:
            self.add_module(name, Population(channels, attention))
        self.pools = nn.ModuleList([MaxPool(self._stride if s < INPUTS else 1) for s in range(SOURCES)])
        self.register_buffer("variances", torch.full((3, SOURCES, channels), VARIANCE_AT_START))

    def forward(self, s0: Tensor, s1: Tensor) -> Tensor:
        dilations = self.kernels.dilations
        mixture = self._mixture()
        device = mixture.device
        weights = mixture.index_select(0, on(device, *ORDER))
        states = [self.p0(s0), self.p1(s1)]
        pooled = [pool(spikes) for pool, spikes in zip(self.pools, states, strict=False)]
        rows, columns, *window, channels = pooled[0].shape

        strides = tuple(self._stride if source < INPUTS else 1 for source in FROM)
        hits = {
            dilation: edge_hits(rows, columns, strides, dilation, device, one_row=self.kernels.rows == 1)
            for dilation in dilations
        }
        spikes, max_pooled, avg_pooled = self.variances.index_select(1, on(device, *FROM)) + SMALLEST_VARIANCE
        variances = Variances(spikes, max_pooled, avg_pooled, hits)
        kernels = self.kernels(weights, variances)
        shares = weights[:, self._max_pool, None] * variances.max_pooled.rsqrt()  # of the max-pools, [14, C]
        if self.bits:
            kernels, shares = self._through_bits(kernels, shares)
        presence = None if self.presence is None else self.presence()
        if presence is not None:
            kernels, shares = kernels * presence[:, None], shares * presence
        from_inputs, *between = group_kernels(kernels)

        points = grid(rows, columns, dilations, self.dtype, device)
        inputs = phases(torch.cat(states, dim=-1).flatten(2, 3), self._stride)
        # What the nodes to come have heard so far, as spectra.
        heard = product(points.spectrum(inputs), points.kernel(from_inputs, dilations, self._stride))
        for j, name in enumerate(self.nodes):
            if j > 0:
                spectrum = points.spectrum(states[-1].flatten(2, 3))
                heard = product(spectrum, points.kernel(between[j - 1], dilations, 1), heard)
            mine, heard = torch.split(heard, [channels, heard.shape[-1] - channels], dim=-1)
            maps = [pooled[FROM[edge]] for edge in INCOMING[j]]
            heard_shares = shares.index_select(0, on(device, *INCOMING[j]))
            current = points.maps(mine).view(rows, columns, *window, channels)
            current = weighted_sum(current, heard_shares, maps, binary=self.binary)
            states.append(self.get_submodule(name)(current))
            if j + 1 < NODES:
                pooled.append(self.pools[INPUTS + j](states[-1], self.binary))
        if self.training:
            self._measure(states, pooled)
        spikes = torch.cat(states[INPUTS:], dim=-1)
        return spikes if presence is None else spikes * presence.repeat(NODES).to(spikes.dtype)

    def _through_bits(self, kernels: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Of what each node hears, its max-pools among it, in the order of `ORDER`."""
        found: dict[int, tuple[Tensor, Tensor]] = {}
        for name, rows in zip(self.nodes, INCOMING, strict=True):
            gain = gain_of(cast(Population, self.get_submodule(name)).norm)
            heard = [kernels[:, rows], shares[rows]]
            of_kernels, of_shares = through_bits(heard, gain, self.bits)
            found |= {row: (of_kernels[:, i], of_shares[i]) for i, row in enumerate(rows)}
        each = [found[row] for row in range(len(ORDER))]
        return torch.stack([kernel for kernel, _ in each], dim=1), torch.stack([share for _, share in each])

    @property
    def binary(self) -> bool:
        """Whether all nodes give spikes, and none a mixture of them."""
        return all(cast(Population, self.get_submodule(name)).binary for name in self.nodes)

    def max_pools(self) -> Mapping[int, nn.Module]:
        """Source -> the module that gives its max-pool."""
        return dict(enumerate(self.pools))

    @torch.no_grad()
    def _measure(self, states: Sequence[Tensor], pooled: Sequence[Tensor]) -> None:
        images = states[0].shape[self.images_axis]
        means, squares = moments_of(states[:SOURCES], pooled, images, binary=self.binary)
        if self.kernels.rows == 1:  # the avg-pool of one row is a third of what it hears, not a ninth
            means[2], squares[2] = 3 * means[2], 9 * squares[2]
        self.variances.lerp_((squares - means.square()).to(self.variances), MOMENTUM)


def group_kernels(kernels: Tensor) -> list[Tensor]:
    """[taps, 14 edges in the order of `ORDER`, I, O] -> for each group [taps, sources * I, nodes * O]."""
    taps, _, inward, outward = kernels.shape
    sizes = [len(sources) * len(nodes) for sources, nodes in GROUPS]
    return [
        block.reshape(taps, len(sources), len(nodes), inward, outward).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        for block, (sources, nodes) in zip(torch.split(kernels, sizes, dim=1), GROUPS, strict=True)
    ]


class KernelSupernet(Supernet):
    """The search network of `KernelCell`s."""

    def __init__(self, primitives: PrimitiveSet, config: NetworkConfig, plan: Sequence[CellPlan] | None = None) -> None:
        def build(*, kind: CellKind, place: int, **options: Any) -> nn.Module:
            return KernelCell(partial(self.edge_weights, kind, place), primitives, kind=kind, **options)

        super().__init__(primitives, config, build, plan)
        self.stem = KernelStem(config)

    def forward(self, images: Tensor) -> Tensor:
        s0 = s1 = self.stem(images)
        for cell in self.cells:
            s0, s1 = s1, cell(s0, s1)
        return cast(Tensor, self.readout(s1.mean(dim=(0, 1), dtype=torch.float32)).mean(0))


def calculate_in(network: nn.Module, dtype: torch.dtype) -> None:
    """The type of the spikes and spectra of kernel-space cells; their currents, weights and gradients are float32."""
    for module in network.modules():
        if isinstance(module, KernelCell):
            module.dtype = dtype
        elif isinstance(module, Population):
            module.lif.spikes_in = dtype


def hold_in_bits(network: nn.Module, bits: int) -> None:
    """Kernel-space cells and what stands before them have weights of so many bits from now on; 0: floats."""
    for module in network.modules():
        if isinstance(module, KernelCell | Preprocess | KernelStem):
            module.bits = bits
