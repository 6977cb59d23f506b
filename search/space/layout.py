"""Where a network reduces and how wide its cells are: from a path of layers to the plan of every cell.

A node of a cell that stands behind so many reductions, its own among them, has

    channels = max(1, round(width * channels of the settings * 2^halvings))

The one row of a signal [C, 1, W] is not halved, its columns are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import InputError
from .genotype import NODES, CellKind, Layer

STEM_MULTIPLIER = 3  # channels of the stem over those of the first cell, as in DARTS


@dataclass(frozen=True, slots=True, kw_only=True)
class CellShape:
    """What can be counted of a cell: the channels of a node, and how often the nodes' maps were halved."""

    kind: CellKind
    channels: int
    halvings: int

    @property
    def halvings_before(self) -> int:
        """Of s1, p0 and p1."""
        return self.halvings - (self.kind == "reduce")


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPlan(CellShape):
    """And what it takes to build it: the channels of s0 and s1, and whether s0 has twice the size of s1."""

    in_channels: tuple[int, int]
    halve_s0: bool


def default_layers(cells: int) -> tuple[Layer, ...]:
    """Reductions at 1/3 and 2/3 of the depth, full width."""
    reductions = {cells // 3, 2 * cells // 3}
    return tuple(Layer("reduce" if i in reductions else "normal", 1.0) for i in range(cells))


def node_channels(width: float, channels: int, halvings: int) -> int:
    return max(1, round(width * (channels << halvings)))


def plan_cells(layers: Sequence[Layer], channels: int) -> tuple[CellPlan, ...]:
    """The plan of every cell, in order; `channels` are those of the settings."""
    in_channels = (STEM_MULTIPLIER * channels, STEM_MULTIPLIER * channels)
    halvings, halve_s0 = 0, False
    plan: list[CellPlan] = []
    for layer in layers:
        halvings += layer.kind == "reduce"
        nodes = node_channels(layer.width, channels, halvings)
        plan.append(
            CellPlan(kind=layer.kind, channels=nodes, halvings=halvings, in_channels=in_channels, halve_s0=halve_s0)
        )
        in_channels, halve_s0 = (in_channels[1], NODES * nodes), layer.kind == "reduce"
    return tuple(plan)


def size_over(image: tuple[int, int], factor: int) -> tuple[int, int]:
    """Rows and columns of maps that are smaller by this factor."""
    rows, columns = image
    return 1 if rows == 1 else rows // factor, columns // factor


def check_even(image: tuple[int, int], stem_stride: int, reductions: int) -> None:
    """Raises InputError unless rows and columns can be halved by the stem and by each of the reductions."""
    factor = stem_stride * 2**reductions
    for axis, size in zip(("rows", "columns"), image, strict=True):
        if size % factor and (axis, size) != ("rows", 1):
            raise InputError(
                f"The {axis} must be even before each of the {reductions} reductions behind a stem of "
                f"stride {stem_stride}, but images have {size}; pad them to {-(-size // factor) * factor}."
            )
