"""A graph as one head in JSON and named arrays: how it travels inside the files of other formats (NetX, ONNX).

head     {"format": 1, "arithmetic", "time_steps", "inputs", "populations", "projections"}, small things only
arrays   weight/<i> and delay/<i> of projection i; bias/<i> and each register that is an array of population i
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .graph import REGISTERS, Conv, Dense, Population, Projection, SpikeInput, SpikingGraph, check

FORMAT = 1

Arrays = Mapping[str, NDArray[Any]]


def parts_of(graph: SpikingGraph) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """(head, arrays). null in the head stands for a register that is an array, and for a threshold without end."""
    arrays: dict[str, NDArray[Any]] = {}
    joins: list[dict[str, Any]] = []
    for i, projection in enumerate(graph.projections):
        kernel = projection.kernel
        join: dict[str, Any] = {"source": projection.source, "target": projection.target}
        if isinstance(kernel, Conv):
            geometry = ("stride", "padding", "dilation", "groups")
            join |= {word: getattr(kernel, word) for word in geometry}
        joins.append(join)
        arrays[f"weight/{i}"] = kernel.weight
        if projection.delay is not None:
            arrays[f"delay/{i}"] = projection.delay
    nodes = []
    for i, population in enumerate(graph.populations):
        arrays[f"bias/{i}"] = population.bias
        node: dict[str, Any] = {"name": population.name, "shape": population.shape}
        for word in REGISTERS:
            value = getattr(population, word)
            alone = isinstance(value, np.ndarray) or not np.isfinite(value)
            if alone:
                arrays[f"{word}/{i}"] = np.asarray(value)
            node[word] = None if alone else float(value)
        nodes.append(node | {"reset": population.reset, "role": population.role})
    head = {
        "format": FORMAT,
        "arithmetic": graph.arithmetic,
        "time_steps": graph.time_steps,
        "inputs": [{"name": node.name, "shape": node.shape} for node in graph.inputs],
        "populations": nodes,
        "projections": joins,
    }
    return head, arrays


def graph_of(head: Any, array: Callable[[str], NDArray[Any]], names: Callable[[str], bool]) -> SpikingGraph:
    """The graph of a head and of what `array` gives by name; `names` tells which there are.

    Raises KeyError, ValueError, TypeError, AttributeError or InputError for what `parts_of` did not write.
    """
    if head["format"] != FORMAT:
        raise ValueError(f"format {head['format']} instead of {FORMAT}")
    if head.get("arithmetic", "loihi") not in ("float", "loihi"):
        raise ValueError(f"unknown arithmetic {head['arithmetic']}")
    populations = []
    for i, node in enumerate(head["populations"]):
        registers = {word: _register(node[word], f"{word}/{i}", array) for word in REGISTERS}
        told = {**node, **registers, "name": _name(node["name"]), "shape": _sizes(node["shape"])}
        populations.append(Population(**told, bias=array(f"bias/{i}").astype(np.float64)))
    projections = []
    for i, join in enumerate(head["projections"]):
        weight = array(f"weight/{i}").astype(np.float64)
        geometry: dict[str, Any] = {key: _sizes(join[key]) for key in ("stride", "padding", "dilation") if key in join}
        kernel = (
            Conv(weight=weight, groups=_sizes([join["groups"]])[0], **geometry) if geometry else Dense(weight=weight)
        )
        delay = array(f"delay/{i}").astype(np.int64) if names(f"delay/{i}") else None
        projections.append(Projection(source=join["source"], target=join["target"], kernel=kernel, delay=delay))
    return check(
        SpikingGraph(
            inputs=tuple(SpikeInput(name=_name(each["name"]), shape=_sizes(each["shape"])) for each in head["inputs"]),
            populations=tuple(populations),
            projections=tuple(projections),
            time_steps=_sizes([head["time_steps"]])[0],
            arithmetic=head.get("arithmetic", "loihi"),
        )
    )


def _register(value: Any, name: str, array: Callable[[str], NDArray[Any]]) -> Any:
    if value is not None:
        return _number(value)
    found = array(name).astype(np.float64)
    return found if found.ndim else float(found)


def _sizes(values: Any) -> tuple[int, ...]:
    """A list of JSON of whole numbers, none of them beyond what a size can be."""
    if not isinstance(values, list) or not all(type(value) is int and 0 <= value < 2**31 for value in values):
        raise ValueError(f"whole numbers are needed, but there is {values}")
    return tuple(values)


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not abs(value) < 2**53:
        raise ValueError(f"a number is needed, but there is {value}")
    return value  # type: ignore[no-any-return]


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a name is needed, but there is {value}")
    return value
