"""A float SpikingGraph as ONNX: spikes in, spikes of every population and the readout out. It needs no torch, so that
any graph can be written, whatever format it was read from.

Input  <input>              uint8 [T, N, C, H, W], 0 or 1
Output readout              float32 [N, classes]: the readout's membrane after the last step
       <population>/spikes  float32 [T, N, *shape]

float32, while `export/simulate.py` defines a graph in float64: a membrane within rounding of its threshold is a tie.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from ...errors import UnsupportedError
from ...files import replacing
from ..graph import Array, PerNeuron, Population, SpikingGraph
from .carried import weight_name
from .twin import Builder, model_of


def write_graph(path: Path, graph: SpikingGraph, metadata: dict[str, str] | None = None) -> Path:
    """A float graph as ONNX, which `graph_in` reads back as it was. Returns the path.

    Raises UnsupportedError for recurrent and delayed projections, and for a quantized graph.
    """
    if graph.arithmetic != "float":
        raise UnsupportedError("A quantized graph is written as its twin, `write_twin`.")
    path, model = Path(path), model_of(_FloatBuilder(graph), "graph", metadata or {})
    with replacing(path) as temporary:
        onnx.save(model, str(temporary))
    return path


class _FloatBuilder(Builder):
    def outputs(self) -> list[onnx.ValueInfoProto]:
        readout, steps = self.graph.readout, self.graph.time_steps
        found = [helper.make_tensor_value_info(readout.name, TensorProto.FLOAT, ["N", *readout.shape])]
        for p in self.graph.populations:
            if p.role != "readout":
                shape: list[str | int | None] = [steps, "N", *p.shape]
                found.append(helper.make_tensor_value_info(f"{p.name}/spikes", TensorProto.FLOAT, shape))
        return found

    def _weight(self, index: int, name: str, weight: Array) -> str:
        """As the graph has it, in float64; ONNX Runtime makes it float32 once, when it loads the model."""
        return self._node("Cast", [self._constant(weight_name(index), weight)], f"{name}/weight", to=TensorProto.FLOAT)

    def _check_exact(self, p: Population) -> None:
        """Float sums are rounded."""

    def _currents(self, p: Population) -> str:
        return self._sum(p)

    def _bias(self, p: Population) -> str:
        return self._constant(f"{p.name}/bias", self._per_neuron(p, p.bias.astype(np.float32)))

    def _current_step(self, p: Population, t: int, u: str, a: str) -> str:
        kept = self._kept(p, "u", t, u, p.current_decay)
        return a if not kept else self._node("Add", [kept, a], f"{p.name}/u/{t}")

    def _membrane_step(self, p: Population, t: int, v: str, u: str, bias: str) -> str:
        total = self._node("Add", [u, bias], f"{p.name}/input/{t}")
        kept = self._kept(p, "v", t, v, p.decay)
        return total if not kept else self._node("Add", [kept, total], f"{p.name}/v/{t}")

    def _kept(self, p: Population, word: str, t: int, state: str, decay: PerNeuron) -> str:
        """What is left of the step before; "" for nothing."""
        if not state or not np.any(decay):
            return ""
        if np.all(np.asarray(decay) == 1.0):
            return state
        factor = self._constant(f"{p.name}/{word}_decay", np.array(decay, np.float32))
        return self._node("Mul", [state, factor], f"{p.name}/{word}_kept/{t}")

    def _fire(self, p: Population, t: int, v: str) -> tuple[str, str]:
        threshold = self._constant(f"{p.name}/threshold", np.array(p.threshold, np.float32))
        spike = self._node("GreaterOrEqual", [v, threshold], f"{p.name}/fires/{t}")
        reset = self._constant("rest", np.array(0.0, np.float32))
        if p.reset == "subtract":
            reset = self._node("Sub", [v, threshold], f"{p.name}/v_less/{t}")
        return spike, self._node("Where", [spike, reset, v], f"{p.name}/v_after/{t}")

    def _results(
        self, p: Population, currents: list[str], fired: list[str], before: list[str], after: list[str]
    ) -> None:
        if p.role == "readout":
            first = self._constant("first_axis", np.array([0], np.int64))
            self._node("Squeeze", [after[-1], first], p.name)
            return
        spikes = self._node("Concat", fired, f"{p.name}/fires", axis=0)
        self._node("Cast", [spikes], f"{p.name}/spikes", to=TensorProto.FLOAT)
