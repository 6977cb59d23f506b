"""A float SpikingGraph -> the NIR file that `nir.read` and the frameworks' readers read (layout: `file.py`).

    population, decay d    node                                               read by forward Euler as
    0 < d < 1              LIF, tau = dt / (1 - d), r = tau / dt              d, weights as they are
    d = 1                  IF, r = 1 / dt                                     no leak
    d = 0, or with a       CubaLIF, tau_mem = dt / (1 - d), r = tau_mem / dt, d and c; tau = dt forgets all
    current decay c        tau_syn = dt / (1 - c), w_in = tau_syn / dt
    readout, d = 1         none: the last layer leads to the Output           a sum over time
    readout, d < 1         LI or CubaLI                                       its membrane after the last step

Or, and and relay populations forget everything in each step (d = 0). An LIF with tau = dt does that too, but
SpikingJelly 2.0 reads none (nir_exchange/from_nir.py, `map_lif`: tau / dt must be greater than 1), but the CubaLIF.

A projection is a node of its own, `SOURCE_to_TARGET`: Conv2d, or Linear, or Affine where it carries the target's bias,
behind a Flatten where the source is an image; a delay is a Delay before it, one for each number of steps. What goes
into the synaptic filter would be filtered, so a population with a current decay has its bias as v_leak.

nirtorch 2.6, which most frameworks read by, adds up what enters any node but an Output (nir_interpreter.py): where
several layers lead to a sum over time, they lead through a Linear of ones on its diagonal.

Convolutions in groups are written in one, zero between the groups: nir 1.0.8 takes those in groups to read fewer
channels than they do (nir/ir/conv.py), and SpikingJelly reads none. nir also takes every kernel for square, so a file
with another kernel must be read by `nir.read(path, type_check=False)`.

NIR's neurons fire on v > threshold, a graph's on v >= threshold. Thresholds are written as they are, as SpikingJelly,
which has >= too, does; the metadata say so. A reader that fires on > differs where a membrane is its threshold exactly.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, UnsupportedError
from ...files import replacing
from ..graph import Array, Conv, Population, Projection, Shape, SpikingGraph, check
from ..taps import ungrouped
from .metadata import noted

DT = 1e-4  # seconds; what SpikingJelly 2.0 and snnTorch 1.0.0 take for a step where nobody says otherwise
VERSION = "1.0.8"  # of the nir whose layout this is

Values = dict[str, Any]  # of a node: its type, and arrays


def write_nir(path: Path | str, graph: SpikingGraph, *, dt: float = DT) -> Path:
    """A float graph as a NIR file, whole or not at all. dt: seconds of a step, by which decays become time constants.

    Returns the path. Raises UnsupportedError that names the population or projection that NIR cannot hold: reset by
    subtraction, a current or membrane under a filter that forgets nothing, a full matrix onto an image, integers of a
    chip.

    >>> network, images = spikeport.example_network()
    >>> graph = spikeport.trace(network, images[:1], 4).graph
    >>> spikeport.write_nir("network.nir", graph).exists()
    True
    """
    if not 0 < dt < np.inf:
        raise InputError(f"`dt > 0` must hold, in seconds, but dt={dt}.")
    path, written = Path(path), _Writer(graph=check(graph), dt=float(dt)).run()
    # In memory first: where the disk is full, HDF5 fails in ways that leave the file open.
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        file["version"] = VERSION
        _write(file.create_group("node"), written)
        file.flush()
        whole = file.id.get_file_image()
    with replacing(path) as temporary:
        temporary.write_bytes(whole)
    return path


def _write(group: h5py.Group, values: Values) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            _write(group.create_group(key), value)
        elif isinstance(value, np.ndarray) and value.ndim:
            group.create_dataset(key, data=value, compression="gzip")
        elif isinstance(value, list):  # the edges
            group.create_dataset(key, data=np.array(value, object).reshape(-1, 2), dtype=h5py.string_dtype())
        else:
            group[key] = value


@dataclass(slots=True, kw_only=True)
class _Writer:
    graph: SpikingGraph
    dt: float
    nodes: dict[str, Values] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)

    def run(self) -> Values:
        graph = self.graph
        if graph.arithmetic != "float":
            raise UnsupportedError(
                "NIR has no integers of a chip, whose decays round and whose membranes saturate; write the float "
                "graph, or the integers with write_netx."
            )
        names = {node.name for node in graph.inputs} | {p.name for p in graph.populations}
        for name in sorted(names):
            if "/" in name or name in ("", ".") or "\0" in name:
                raise UnsupportedError(f"Population '{name}': HDF5 takes '/' for a folder; rename it.")
        for entry in graph.inputs:
            self.nodes[entry.name] = {"type": "Input", "shape": _sizes(entry.shape)}
        for population in graph.populations:
            if not _is_sum(population):
                self.nodes[population.name] = self._neurons(population)
        output = last = self._free("output", names)
        if _is_sum(graph.readout) and len(graph.incoming(graph.readout.name)) > 1:
            last = graph.readout.name
            self.nodes[last] = _matrix(np.eye(graph.readout.shape[0]), None)
            if len(graph.readout.shape) != 1:
                raise UnsupportedError(
                    f"Population '{last}' adds up several projections in the shape of an image, for which NIR has no "
                    "node; flatten it."
                )
        carries = self._bias_carriers()
        ends = {p.name: last if _is_sum(p) else p.name for p in graph.populations}
        for number, projection in enumerate(graph.projections):
            bias = carries.get(number)
            self._join(projection, ends[projection.target], bias)
        if graph.readout.name in self.nodes:
            self.edges.append((graph.readout.name, output))
        self.nodes[output] = {"type": "Output", "shape": _sizes(graph.readout.shape)}
        carried = {graph.projections[number].target for number in carries}
        own = frozenset(p.name for p in graph.populations if p.name not in carried and p.bias.any())
        read_as = {graph.readout.name: output if _is_sum(graph.readout) else graph.readout.name}
        return {
            "type": "NIRGraph",
            "nodes": self.nodes,
            "edges": self.edges,
            "metadata": noted(graph, self.dt, ends | read_as, own, output),
        }

    # -- populations

    def _neurons(self, population: Population) -> Values:
        where = f"Population '{population.name}'"
        fires, shape = population.role != "readout", population.shape
        decay, current = float(population.decay), float(population.current_decay)
        if fires and population.reset != "zero" and decay:
            raise UnsupportedError(
                f"{where} resets by subtraction, which no node of NIR does, though some exporters write it as a "
                "reset to zero; train it with a reset to zero (v_reset=0.0)."
            )
        if current == 1 or (current and decay == 1):
            raise UnsupportedError(
                f"{where} keeps its {'current' if current == 1 else 'membrane'} for ever behind a synaptic filter, and "
                "NIR's CubaLIF and CubaLI have finite time constants; use a decay below 1."
            )
        if not fires and np.isfinite(population.threshold):
            raise UnsupportedError(f"{where} has a threshold, and NIR's LI has none; give the readout threshold=inf.")
        bias = np.zeros(shape[0]) if current == 0 and self._feeds(population) else population.bias
        if bias.any() and decay == 1:
            raise UnsupportedError(f"{where} has a bias but no synapse that could carry it and no leak; add a synapse.")
        leak = np.zeros(shape) + (bias / (1.0 - decay) if bias.any() else bias).reshape(-1, *[1] * (len(shape) - 1))
        kind, told = self._constants(decay, current, leak, fires)
        values: Values = {"type": kind}
        values |= {key: np.array(np.broadcast_to(value, shape), np.float64) for key, value in told.items()}
        if fires:
            values |= {"v_threshold": np.full(shape, float(population.threshold)), "v_reset": np.zeros(shape)}
        return values

    def _constants(
        self, decay: float, current: float, leak: Array, fires: bool
    ) -> tuple[str, dict[str, float | Array]]:
        """(kind of node, its constants but for threshold and reset)."""
        dt = self.dt
        if decay == 1:
            return "IF", {"r": 1.0 / dt}
        tau = dt / (1.0 - decay)
        if current == 0 and (decay > 0 or not fires):
            return "LIF" if fires else "LI", {"tau": tau, "r": tau / dt, "v_leak": leak}
        tau_syn = dt / (1.0 - current)
        told: dict[str, float | Array] = {
            "tau_syn": tau_syn,
            "tau_mem": tau,
            "r": tau / dt,
            "v_leak": leak,
            "w_in": tau_syn / dt,
        }
        return "CubaLIF" if fires else "CubaLI", told

    def _feeds(self, population: Population) -> bool:
        """Whether a projection can carry its bias."""
        return bool(self.graph.incoming(population.name))

    def _bias_carriers(self) -> dict[int, Array]:
        """Place of a projection -> the bias of its target: of those that enter it the first, a recurrent one last."""
        found: dict[int, Array] = {}
        for population in self.graph.populations:
            if population.current_decay == 0 and population.bias.any():
                places = [i for i, p in enumerate(self.graph.projections) if p.target == population.name]
                places.sort(key=lambda i: self.graph.projections[i].source == population.name)
                if places:
                    found[places[0]] = population.bias
                elif _is_sum(population):
                    raise UnsupportedError(f"Population '{population.name}' has a bias but no synapse; add one.")
        return found

    # -- projections

    def _join(self, projection: Projection, end: str, bias: Array | None) -> None:
        source, shape = projection.source, self.graph.shapes()[projection.source]
        name = f"{source}_to_{projection.target}"
        kernel = projection.kernel
        if isinstance(kernel, Conv):
            rows, columns = shape[1:]
            zeros = np.zeros(len(kernel.weight))
            values: Values = {
                "type": "Conv2d",
                "input_shape": np.array([rows, columns], np.int64),
                "weight": ungrouped(kernel).weight,
                "bias": zeros if bias is None else bias,
                "groups": np.int64(1),
            }
            values |= {key: np.array(getattr(kernel, key), np.int64) for key in ("stride", "padding", "dilation")}
            self._chain(source, [(name, values)], end)
            return
        if len(self.graph.shapes()[projection.target]) == 3:
            raise UnsupportedError(
                f"Projection '{source}' -> '{projection.target}' is a full matrix onto an image, and NIR has no node "
                "that makes images of vectors; use a convolution, or a flat target."
            )
        if projection.delay is None:
            self._chain(source, [*self._flatten(source, shape), (name, _matrix(kernel.weight, bias))], end)
            return
        for number in np.unique(projection.delay).tolist():
            weight = np.where(projection.delay == number, kernel.weight, 0.0)
            waits: Values = {"type": "Delay", "delay": np.full(shape, number * self.dt)}
            steps = [(f"{name}_delay_{number}", waits)] if number else []
            matrix = (f"{name}_after_{number}", _matrix(weight, bias))
            self._chain(source, [*steps, *self._flatten(source, shape, number), matrix], end)
            bias = None

    def _flatten(self, source: str, shape: Shape, number: int = 0) -> list[tuple[str, Values]]:
        if len(shape) == 1:
            return []
        values = {"type": "Flatten", "input_type": _sizes(shape), "start_dim": np.int64(0), "end_dim": np.int64(-1)}
        return [(f"{source}_flat{f'_after_{number}' if number else ''}", values)]

    def _chain(self, source: str, nodes: list[tuple[str, Values]], end: str) -> None:
        for name, values in nodes:
            if values["type"] == "Flatten" and name in self.nodes and (source, name) in self.edges:
                source = name  # one for all that read this source
                continue
            name = self._free(name, set(self.graph.shapes()))
            self.nodes[name] = values
            self.edges.append((source, name))
            source = name
        self.edges.append((source, end))

    def _free(self, name: str, taken: set[str]) -> str:
        """The name, or one like it that nothing has."""
        found, number = name, 1
        while found in taken or found in self.nodes:
            number += 1
            found = f"{name}_{number}"
        return found


def _is_sum(population: Population) -> bool:
    """A readout that only adds up what arrives, for which NIR needs no node."""
    return population.role == "readout" and population.decay == 1 and population.current_decay == 0


def _matrix(weight: Array, bias: Array | None) -> Values:
    return {"type": "Linear", "weight": weight} if bias is None else {"type": "Affine", "weight": weight, "bias": bias}


def _sizes(shape: Shape) -> NDArray[np.int64]:
    return np.array(shape, np.int64)
