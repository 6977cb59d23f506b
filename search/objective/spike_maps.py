"""The spikes of one pass by state and place, with their gradients: what the price of a network is computed from.

A map [H, W] is the sum over time steps and channels, the mean over images. Supernets of both forms and the derived
network are recorded alike, because their cells are `CountedCell`s.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..space.attention import channels_heard
from ..space.genotype import INPUTS, NODES, CellKind
from ..space.layout import STEM_MULTIPLIER, CellShape, size_over
from ..space.network import NetworkConfig, SpikingBackbone
from ..space.spike_gates import SpikeGates
from .fan_out import band, window

STATES = ("p0", "p1", *(f"n{j + 1}" for j in range(NODES)))


class Counted(Protocol):
    """What a stem or a cell says of itself: where its spikes have images, rows and columns."""

    images_axis: int
    place_axes: tuple[int, int]


class CountedCell(Counted, Protocol):
    """And a cell of its max-pools, by source."""

    def max_pools(self) -> Mapping[int, nn.Module]: ...


@dataclass(frozen=True, slots=True)
class GateSpikes:
    """Of a state whose spikes go through gates, scalars: the spikes of its neurons and of its gates; the synaptic
    operations of the gates and of their products with the spikes (spike_gates.py). Where a search decides whether there
    are gates, those to be expected."""

    fired: Tensor
    sops: Tensor


@dataclass(slots=True)
class CellSpikes:
    """Maps [H, W] of p0, p1, n1 .. n4 by number, as others see them, and the spikes of the max-pool of a state, a
    scalar; `gates` of the states that have them."""

    kind: CellKind
    channels: int
    states: dict[int, Tensor] = field(default_factory=dict)
    pooled: dict[int, Tensor] = field(default_factory=dict)
    gates: dict[int, GateSpikes] = field(default_factory=dict)

    @property
    def output(self) -> Tensor:
        """[H, W] of the concatenated nodes."""
        return torch.stack([self.states[INPUTS + node] for node in range(NODES)]).sum(0)

    @property
    def total(self) -> Tensor:
        """Spikes of the cell's neurons, gates among them."""
        fired = [self.gates[n].fired if n in self.gates else maps.sum() for n, maps in self.states.items()]
        return torch.stack(fired).sum()

    @property
    def gate_sops(self) -> Tensor:
        """Of all gates of the cell, a scalar."""
        return sum((gate.sops for gate in self.gates.values()), torch.zeros((), dtype=torch.float64))

    def narrowed(self, channels: int) -> "CellSpikes":
        """What would be left with so many channels, if all of them spiked alike."""
        share = channels / self.channels
        states = {number: share * maps for number, maps in self.states.items()}
        pooled = {source: share * spikes for source, spikes in self.pooled.items()}
        gates = {number: GateSpikes(share * gate.fired, share * gate.sops) for number, gate in self.gates.items()}
        return CellSpikes(self.kind, channels, states, pooled, gates)


@dataclass(slots=True)
class NetworkSpikes:
    """Per image, all time steps."""

    cells: list[CellSpikes]
    stem: Tensor = field(default_factory=lambda: torch.zeros(0))  # [H, W]
    stem_sops: Tensor | None = None  # what the events of an image do at the stem; None: it reads images, on the host

    def per_cell(self) -> dict[str, Tensor]:
        """As `spikes.counting_spikes` names the cells."""
        return {"stem": self.stem.sum()} | {f"cells.{i}": cell.total for i, cell in enumerate(self.cells)}

    @property
    def total(self) -> Tensor:
        return torch.stack(list(self.per_cell().values())).sum()


@contextmanager
def recording(network: SpikingBackbone) -> Iterator[NetworkSpikes]:
    """Record the last forward pass inside the block."""
    record = NetworkSpikes([CellSpikes(cell.kind, cell.channels) for cell in network.plan])
    handles = []

    def hook(module: nn.Module, tell: Callable[[Tensor], None]) -> None:
        handles.append(module.register_forward_hook(lambda module, inputs, spikes: tell(spikes)))

    def stem(module: nn.Module, inputs: tuple[Tensor, ...], spikes: Tensor) -> None:
        counted = cast(Counted, module)
        record.stem = _map(spikes, counted.images_axis, counted.place_axes)
        if network.config.reads == "spikes":
            record.stem_sops = _stem_sops(network.config, _map(inputs[0], 0, (3, 4)))

    def state(cell: CellSpikes, number: int, images: int, places: tuple[int, int]) -> Callable[[Tensor], None]:
        def tell(spikes: Tensor) -> None:
            cell.states[number] = _map(spikes, images, places)

        return tell

    def pool(cell: CellSpikes, source: int, images: int) -> Callable[[Tensor], None]:
        def tell(spikes: Tensor) -> None:
            cell.pooled[source] = spikes.sum(dtype=torch.float32).double() / spikes.shape[images]

        return tell

    handles.append(network.stem.register_forward_hook(stem))
    for module, cell in zip(network.planned_cells(), record.cells, strict=True):
        counted = cast(CountedCell, module)
        for number, name in enumerate(STATES):
            hook(module.get_submodule(name), state(cell, number, counted.images_axis, counted.place_axes))
            for gates in module.get_submodule(name).modules():
                if isinstance(gates, SpikeGates):
                    handles += _watch_gates(gates, cell, number)
        for source, max_pool in counted.max_pools().items():
            hook(max_pool, pool(cell, source, counted.images_axis))
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()


def _watch_gates(gates: SpikeGates, cell: CellSpikes, number: int) -> list[RemovableHandle]:
    """Record what the gates of a state did in the last pass."""
    said: dict[str, Tensor] = {}

    def hear(name: str) -> Callable[..., None]:
        return lambda module, inputs, fired: said.__setitem__(name, fired)

    def both(module: nn.Module, inputs: tuple[Tensor, ...], passed: Tensor) -> None:
        cell.gates[number] = _gate_spikes(gates, inputs[0], said["channel"], said["position"])

    children = [getattr(gates, name).register_forward_hook(hear(name)) for name in ("channel", "position")]
    return [*children, gates.register_forward_hook(both)]


def _gate_spikes(gates: SpikeGates, spikes: Tensor, channel: Tensor, position: Tensor) -> GateSpikes:
    """Of spikes and gates [T, N, C or 1, H, W]. Every spike meets the window of both gates, and its product with the
    channel's gate; a position's gate is heard by all channels."""
    images, channels, rows, columns = spikes.shape[1:]
    around = window((rows, columns), gates.window, 1, 1).to(spikes.device)
    heard = band(channels, channels_heard(channels)).to(spikes.device)
    maps = spikes.sum((0, 1), dtype=torch.float32).double()  # [C, H, W]
    each, of_channels, of_positions = (_spikes(fired) for fired in (spikes, channel, position))
    products = _spikes(spikes * channel)
    sops = (maps * around * (heard[:, None, None] + 1)).sum() + each + of_channels + products + channels * of_positions
    chance = 1.0 if gates.chance is None else gates.chance().double()
    return GateSpikes((each + chance * (of_channels + of_positions)) / images, chance * sops / images)


def _spikes(fired: Tensor) -> Tensor:
    return fired.sum(dtype=torch.float32).double()


def even_spikes(config: NetworkConfig, plan: Sequence[CellShape], rate: float) -> NetworkSpikes:
    """What would be recorded of these cells if every neuron, and every max-pool, spiked in this share of the steps."""

    def spikes(channels: int, halvings: int) -> Tensor:
        return torch.full(
            size_over(config.stem_size, 2**halvings), rate * config.time_steps * channels, dtype=torch.float64
        )

    record = NetworkSpikes([], spikes(STEM_MULTIPLIER * config.channels, 0))
    if config.reads == "spikes":
        channels, *size = config.input_shape
        record.stem_sops = _stem_sops(config, torch.full(size, rate * config.time_steps * channels).double())
    for shape in plan:
        cell = CellSpikes(shape.kind, shape.channels)
        before, nodes = (spikes(shape.channels, halvings) for halvings in (shape.halvings_before, shape.halvings))
        cell.states |= dict.fromkeys(range(INPUTS), before)
        cell.states |= {INPUTS + node: nodes for node in range(NODES)}
        cell.pooled |= {source: nodes.sum() for source in range(INPUTS + NODES - 1)}
        record.cells.append(cell)
    return record


def _stem_sops(config: NetworkConfig, events: Tensor) -> Tensor:
    """Of a map of events [H, W], both polarities and all steps."""
    size = (events.shape[0], events.shape[1])
    fan = STEM_MULTIPLIER * config.channels * window(size, 3, 1, config.stem_stride)
    return (events * fan.to(events.device)).sum()


def _map(spikes: Tensor, images: int, places: tuple[int, int]) -> Tensor:
    """Spikes of any layout -> [H, W], float64."""
    others = [axis for axis in range(spikes.ndim) if axis not in places]
    return spikes.sum(others, dtype=torch.float32).double() / spikes.shape[images]
