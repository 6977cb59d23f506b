"""What the tests of cost share: small populations and graphs, chips with other limits, a population before its cut."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spikeport.deploy.mapping.capacity import Chip, find_chip
from spikeport.deploy.mapping.core_demand import Site
from spikeport.deploy.mapping.memory import loihi1_memory, loihi2_memory
from spikeport.deploy.mapping.wiring import wiring_of
from spikeport.export.graph import (
    Conv,
    Dense,
    Kernel,
    Population,
    Projection,
    Role,
    Shape,
    SpikeInput,
    SpikingGraph,
    check,
)

RULES = {"loihi1": loihi1_memory, "loihi2": loihi2_memory}


def population(name: str, shape: Shape, role: Role = "neuron") -> Population:
    return Population(name=name, shape=shape, decay=0.5, threshold=1.0, bias=np.zeros(shape[0]), role=role)


def chip_with(name: str = "loihi1", **limits: int) -> Chip:
    """The chip with other limits."""
    chip = find_chip(name)
    changed = {key: replace(chip.limits[key], value=value) for key, value in limits.items()}
    return replace(chip, limits={**chip.limits, **changed})


def chain(channels: int = 8, size: int = 8) -> SpikingGraph:
    """in 2 -> a -> b -> out 4, images of size x size, 1x1 kernels; out reads the first neuron of each channel."""
    shape = (channels, size, size)
    sees = np.zeros((4, channels, size, size))
    sees[:, :, 0, 0] = 2.0
    return check(
        SpikingGraph(
            inputs=(SpikeInput(name="in", shape=(2, size, size)),),
            populations=(population("a", shape), population("b", shape), population("out", (4,), "readout")),
            projections=(
                Projection(source="in", target="a", kernel=Conv(weight=np.full((channels, 2, 1, 1), 2.0))),
                Projection(source="a", target="b", kernel=Conv(weight=np.full((channels, channels, 1, 1), 2.0))),
                Projection(source="b", target="out", kernel=Dense(weight=sees.reshape(4, -1))),
            ),
            time_steps=2,
            arithmetic="loihi",
        )
    )


def site(chip: Chip, shape: Shape, kernels: dict[tuple[str, Shape], Kernel], fans: NDArray[np.int64] | int = 0) -> Site:
    """A population "out" that reads through kernels: (name, shape) of the source -> kernel."""
    graph = SpikingGraph(
        inputs=tuple(SpikeInput(name=name, shape=source) for name, source in kernels if name != "out"),
        populations=(Population(name="out", shape=shape, decay=0.0, threshold=1.0, bias=np.zeros(shape[0])),),
        projections=tuple(
            Projection(source=name, target="out", kernel=kernel) for (name, _), kernel in kernels.items()
        ),
        time_steps=1,
        arithmetic="loihi",
    )
    wirings = [wiring_of(projection, graph) for projection in graph.projections]
    return Site("out", shape, wirings, np.broadcast_to(fans, shape).astype(np.int64), chip, RULES[chip.rule])
