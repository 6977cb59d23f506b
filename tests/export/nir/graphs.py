"""NIR graphs for tests, and what they do when they are read."""

from itertools import pairwise
from typing import Any

import nir
import numpy as np

from spikeport.export.graph import SpikingGraph
from spikeport.export.nir.reader import NirNetwork, read_nir
from spikeport.export.simulate import Trace, simulate

DT = 1e-3


def chain(*nodes: nir.NIRNode, shape: tuple[int, ...]) -> nir.NIRGraph:
    """Input -> n0 -> n1 -> ... -> Output, unchecked, so that a node may lack its shape."""
    named = {"input": nir.Input(input_type={"input": np.array(shape)})}
    named |= {f"n{i}": node for i, node in enumerate(nodes)}
    named |= {"output": nir.Output(output_type={"output": None})}
    names = list(named)
    return nir.NIRGraph(named, list(pairwise(names)), type_check=False)


def lif(n: int | tuple[int, ...], tau: float = 2 * DT, **given: Any) -> nir.LIF:
    """Decay 1 - DT / tau, weights as they are."""
    values = {"tau": tau, "r": tau / DT, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | given
    return nir.LIF(**{key: np.broadcast_to(np.asarray(value, np.float64), n).copy() for key, value in values.items()})


def cuba(n: int, tau_syn: float = 2 * DT, tau_mem: float = 2 * DT, **given: Any) -> nir.CubaLIF:
    values = {"tau_syn": tau_syn, "tau_mem": tau_mem, "r": tau_mem / DT, "w_in": tau_syn / DT}
    values |= {"v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | given
    return nir.CubaLIF(**{key: np.full(n, value) for key, value in values.items()})


def if_(n: int, **given: Any) -> nir.IF:
    values = {"r": 1 / DT, "v_threshold": 1.0, "v_reset": 0.0} | given
    return nir.IF(**{key: np.full(n, value) for key, value in values.items()})


def read(graph: Any, **given: Any) -> NirNetwork:
    return read_nir(graph, **{"time_steps": 4, "dt": DT, "fires": ">="} | given)


def run(graph: SpikingGraph, *steps: Any) -> Trace:
    """One sample; a step is what enters in it."""
    entry = graph.inputs[0]
    spikes = np.array(steps, np.uint8).reshape(len(steps), 1, *entry.shape)
    return simulate(graph, {entry.name: spikes})


def fired(trace: Trace, name: str) -> list[Any]:
    """Steps first; the sample's axis and axes of one neuron are left out."""
    return trace.spikes[name][:, 0].squeeze().tolist()


def equal(a: Any, b: Any) -> bool:
    """Two graphs, field for field, arrays with == and of the same type."""
    if hasattr(a, "__dataclass_fields__"):
        return type(a) is type(b) and all(equal(getattr(a, key), getattr(b, key)) for key in a.__dataclass_fields__)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b) and a.dtype == b.dtype
    return bool(a == b)
