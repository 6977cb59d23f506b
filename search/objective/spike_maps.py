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

from ..space.genotype import INPUTS, NODES, CellKind
from ..space.layout import STEM_MULTIPLIER, CellShape
from ..space.network import NetworkConfig, SpikingBackbone
from .fan_out import window

STATES = ("p0", "p1", *(f"n{j + 1}" for j in range(NODES)))


class Counted(Protocol):
    """What a stem or a cell says of itself: where its spikes have images, rows and columns."""

    images_axis: int
    place_axes: tuple[int, int]


class CountedCell(Counted, Protocol):
    """And a cell of its max-pools, by source."""

    def max_pools(self) -> Mapping[int, nn.Module]: ...


@dataclass(slots=True)
class CellSpikes:
    """Maps [H, W] of p0, p1, n1 .. n4 by number, and the spikes of the max-pool of a state, a scalar."""

    kind: CellKind
    channels: int
    states: dict[int, Tensor] = field(default_factory=dict)
    pooled: dict[int, Tensor] = field(default_factory=dict)

    @property
    def output(self) -> Tensor:
        """[H, W] of the concatenated nodes."""
        return torch.stack([self.states[INPUTS + node] for node in range(NODES)]).sum(0)

    @property
    def total(self) -> Tensor:
        """Spikes of the cell's neurons."""
        return torch.stack([maps.sum() for maps in self.states.values()]).sum()

    def narrowed(self, channels: int) -> "CellSpikes":
        """What would be left with so many channels, if all of them spiked alike."""
        share = channels / self.channels
        states = {number: share * maps for number, maps in self.states.items()}
        pooled = {source: share * spikes for source, spikes in self.pooled.items()}
        return CellSpikes(self.kind, channels, states, pooled)


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
        for source, max_pool in counted.max_pools().items():
            hook(max_pool, pool(cell, source, counted.images_axis))
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()


def even_spikes(config: NetworkConfig, plan: Sequence[CellShape], rate: float) -> NetworkSpikes:
    """What would be recorded of these cells if every neuron, and every max-pool, spiked in this share of the steps."""

    def spikes(channels: int, halvings: int) -> Tensor:
        rows, columns = (size // 2**halvings for size in config.stem_size)
        return torch.full((rows, columns), rate * config.time_steps * channels, dtype=torch.float64)

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
