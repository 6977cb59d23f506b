"""The quantized graph as ONNX, integer for integer what Lava computes: the fast Loihi run.

Input  <input>             uint8 [T, N, C, H, W], 0 or 1
Output <last population>   int64 [N, classes]: its membrane after the last step, of the readout the answer
       spikes/<population> int64 [N]: spikes per sample;   active/<population> int64 [N]: neuron-steps in which the
                           current or the membrane before the threshold was not zero
Inside <population>/spikes float [T, N, *shape], <population>/v_before int64 (membrane before the reset),
<population>/is_active bool and readout/membrane int64 (after each step), which `with_spikes` turns into outputs, too.

Convolutions run in float32 over all steps at once, where sums of 0/1 spikes times integer weights are exact below 2^24;
that bound is checked. Membranes are int64; ONNX integer division truncates toward zero, as the chip does.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ...errors import UnsupportedError
from ...files import replacing
from ..graph import Array, Conv, PerNeuron, Population, SpikingGraph
from ..simulate import DECAY_UNITY, MANTISSA_SHIFT, STATE_LIMIT, in_membrane_units, in_registers
from .carried import text_of, weight_name

OPSET = 18
IR_VERSION = 9  # read by ONNX Runtime 1.20 and later
EXACT = 2**24  # integers below it are exact in float32


def twin_of(graph: SpikingGraph, metadata: dict[str, str]) -> onnx.ModelProto:
    """The checked model.

    Raises UnsupportedError if a population's sum could leave float32's exact integers, or for recurrent and delayed
    projections, which a layer-by-layer model cannot hold.
    """
    if graph.arithmetic != "loihi":
        raise ValueError("twin_of takes a quantized graph")
    return model_of(Builder(graph), "twin", metadata)


def model_of(builder: "Builder", name: str, metadata: dict[str, str]) -> onnx.ModelProto:
    """The checked model of all populations, which carries its graph. Raises UnsupportedError as `twin_of` says."""
    graph = builder.graph
    for projection in graph.projections:
        if projection.source == projection.target or projection.delay is not None:
            raise UnsupportedError(
                f"Projection '{projection.source}' -> '{projection.target}' is recurrent or delayed, which an ONNX "
                f"{name} cannot hold; write it as NetX and run that with `spikeport run`."
            )
    for population in graph.populations:
        builder.population(population)
    model = helper.make_model(
        helper.make_graph(builder.nodes, name, builder.inputs(), builder.outputs(), builder.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="spikeport",
    )
    helper.set_model_props(model, {"time_steps": str(graph.time_steps), **metadata, **text_of(graph)})
    onnx.checker.check_model(model, full_check=True)
    return model


def write_twin(path: Path, graph: SpikingGraph, metadata: dict[str, str] | None = None) -> Path:
    """A quantized graph as ONNX, integer for integer what the chip computes. Returns the path.

    metadata: text to keep in the file. Raises UnsupportedError for what the arithmetic of ONNX cannot hold.

    >>> network, images = spikeport.example_network()
    >>> graph = spikeport.quantize(spikeport.lower(spikeport.trace(network, images[:1], 4).graph), peak=1.0)
    >>> spikeport.write_twin("twin.onnx", graph).exists()
    True
    """
    path, model = Path(path), twin_of(graph, metadata or {})
    with replacing(path) as temporary:
        onnx.save(model, str(temporary))
    return path


def with_spikes(model: onnx.ModelProto, graph: SpikingGraph) -> onnx.ModelProto:
    """A copy that also gives out every population's spikes and membranes, and the readout's after each step."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for population in graph.populations:
        inside = {"is_active": TensorProto.BOOL}
        if population is graph.readout:
            inside |= {"membrane": TensorProto.INT64}
        if population.role != "readout":
            inside |= {"spikes": TensorProto.FLOAT, "v_before": TensorProto.INT64}
        for word, kind in inside.items():
            shape: list[str | int | None] = [graph.time_steps, "N", *population.shape]
            copy.graph.output.append(helper.make_tensor_value_info(f"{population.name}/{word}", kind, shape))
    return copy


class Builder:
    """Population by population; a float graph's builder (`float_graph.py`) differs in its neurons."""

    def __init__(self, graph: SpikingGraph) -> None:
        self.graph = graph
        self.shapes = graph.shapes()
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.named: set[str] = set()
        for node in graph.inputs:
            self._node("Cast", [node.name], f"{node.name}/spikes", to=TensorProto.FLOAT)

    def inputs(self) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(node.name, TensorProto.UINT8, [self.graph.time_steps, "N", *node.shape])
            for node in self.graph.inputs
        ]

    def outputs(self) -> list[onnx.ValueInfoProto]:
        readout = self.graph.readout
        found = [helper.make_tensor_value_info(readout.name, TensorProto.INT64, ["N", *readout.shape])]
        for kind in ("spikes", "active"):
            for p in self.graph.populations:
                if p.role != "readout" or kind == "active":
                    found.append(helper.make_tensor_value_info(f"{kind}/{p.name}", TensorProto.INT64, ["N"]))
        return found

    def population(self, p: Population) -> None:
        """current = 64 * sum of projections for all steps at once, then the membrane step by step."""
        steps = self.graph.time_steps
        self._check_exact(p)
        current = self._currents(p)
        split = [f"{p.name}/current/{t}" for t in range(steps)]
        self.nodes.append(
            helper.make_node("Split", [current], split, name=f"{p.name}/Split", axis=0, num_outputs=steps)
        )
        bias = self._bias(p)
        u, v = "", ""
        currents, fired, before, after = [], [], [], []
        for t in range(steps):
            u = self._current_step(p, t, u, split[t])
            currents.append(u)
            v = self._membrane_step(p, t, v, u, bias)
            before.append(v)
            spike, v = self._fire(p, t, v)
            fired.append(spike)
            after.append(v)
        self._results(p, currents, fired, before, after)

    def _bias(self, p: Population) -> str:
        return self._constant(f"{p.name}/bias", self._per_neuron(p, in_membrane_units(p.bias)))

    def _current_step(self, p: Population, t: int, u: str, a: str) -> str:
        """u of this step from u of the step before and what arrives."""
        if u and np.any(p.current_decay):
            kept = self._decayed(p, f"{p.name}/u_kept/{t}", u, p.current_decay)
            a = self._node("Add", [kept, a], f"{p.name}/u_raw/{t}")
        if not np.any(p.current_decay) and self._bound(p) << MANTISSA_SHIFT <= STATE_LIMIT - 1:
            return a  # too small to leave the 24-bit range
        top, span = self._constant("state_limit", STATE_LIMIT), self._constant("state_span", 2 * STATE_LIMIT)
        over = self._node("Greater", [a, top], f"{p.name}/u_over/{t}")
        lowered = self._node("Sub", [a, span], f"{p.name}/u_lowered/{t}")
        a = self._node("Where", [over, lowered, a], f"{p.name}/u_high/{t}")
        bottom = self._constant("state_bottom", -STATE_LIMIT)
        under = self._node("LessOrEqual", [a, bottom], f"{p.name}/u_under/{t}")
        raised = self._node("Add", [a, span], f"{p.name}/u_raised/{t}")
        return self._node("Where", [under, raised, a], f"{p.name}/u/{t}")

    def _membrane_step(self, p: Population, t: int, v: str, u: str, bias: str) -> str:
        total = self._node("Add", [u, bias], f"{p.name}/input/{t}")
        if v and np.any(p.decay):
            kept = self._decayed(p, f"{p.name}/v_kept/{t}", v, p.decay)
            total = self._node("Add", [kept, total], f"{p.name}/v_raw/{t}")
        low, high = self._constant("v_low", 1 - STATE_LIMIT), self._constant("v_high", STATE_LIMIT - 1)
        return self._node("Clip", [total, low, high], f"{p.name}/v/{t}")

    def _fire(self, p: Population, t: int, v: str) -> tuple[str, str]:
        threshold = self._constant(f"{p.name}/threshold", self._per_neuron(p, in_membrane_units(p.threshold)))
        spike = self._node("Greater", [v, threshold], f"{p.name}/fires/{t}")
        return spike, self._node("Where", [spike, self._constant("zero", 0), v], f"{p.name}/v_after/{t}")

    def _results(
        self, p: Population, currents: list[str], fired: list[str], before: list[str], after: list[str]
    ) -> None:
        axes = self._constant(f"axes/{len(p.shape)}", np.array([0, *range(2, 2 + len(p.shape))], np.int64))
        current = self._node("Concat", currents, f"{p.name}/u", axis=0)
        membrane = self._node("Concat", before, f"{p.name}/v_before", axis=0)
        # A current that the membrane cancels exactly is work, too.
        is_active = []
        for word, values in (("arrives", current), ("moved", membrane)):
            still = self._node("Equal", [values, self._constant("zero", 0)], f"{p.name}/not_{word}")
            is_active.append(self._node("Not", [still], f"{p.name}/{word}"))
        active = self._node("Or", is_active, f"{p.name}/is_active")
        counted = self._node("Cast", [active], f"{p.name}/active_int", to=TensorProto.INT64)
        self._node("ReduceSum", [counted, axes], f"active/{p.name}", keepdims=0)
        if p is self.graph.readout:
            self._node("Concat", after, f"{p.name}/membrane", axis=0)
            self._node("Squeeze", [after[-1], self._constant("first_axis", np.array([0], np.int64))], p.name)
        if p.role == "readout":
            return
        spikes = self._node("Concat", fired, f"{p.name}/fires", axis=0)
        self._node("Cast", [spikes], f"{p.name}/spikes", to=TensorProto.FLOAT)
        number = self._node("Cast", [spikes], f"{p.name}/spikes_int", to=TensorProto.INT64)
        self._node("ReduceSum", [number, axes], f"spikes/{p.name}", keepdims=0)

    def _currents(self, p: Population) -> str:
        """int64 [T, N, *shape], in membrane units."""
        whole = self._node("Cast", [self._sum(p)], f"{p.name}/sum_int", to=TensorProto.INT64)
        unit = self._constant("mantissa_unit", 1 << MANTISSA_SHIFT)
        return self._node("Mul", [whole, unit], f"{p.name}/current")

    def _sum(self, p: Population) -> str:
        """float32 [T, N, *shape] of all projections."""
        parts = []
        for i, projection in enumerate(self.graph.projections):
            if projection.target != p.name:
                continue
            name, kernel = f"{p.name}/from/{projection.source}/{i}", projection.kernel
            source = self._flat(projection.source, images=isinstance(kernel, Conv))
            weight = self._weight(i, name, kernel.weight)
            if isinstance(kernel, Conv):
                part = self._node(
                    "Conv",
                    [source, weight],
                    f"{name}/conv",
                    kernel_shape=list(kernel.weight.shape[2:]),
                    strides=list(kernel.stride),
                    pads=[*kernel.padding, *kernel.padding],
                    dilations=list(kernel.dilation),
                    group=kernel.groups,
                )
            else:
                columns = self._node("Transpose", [weight], f"{name}/columns", perm=[1, 0])
                part = self._node("MatMul", [source, columns], f"{name}/matmul")
            parts.append(part)
        if not parts:
            raise UnsupportedError(f"Population '{p.name}' has no incoming projection; connect or remove it.")
        total = parts[0]
        for i, part in enumerate(parts[1:]):
            total = self._node("Add", [total, part], f"{p.name}/sum/{i}")
        shape = self._constant(f"{p.name}/shape", np.array([self.graph.time_steps, -1, *p.shape], np.int64))
        return self._node("Reshape", [total, shape], f"{p.name}/sum")

    def _weight(self, index: int, name: str, weight: Array) -> str:
        """In 16 bits, as the chip's weights fit; ONNX Runtime makes them float32 once, when it loads the model."""
        whole = weight.astype(np.int16 if np.abs(weight).max(initial=0.0) < 2**15 else np.int32)
        return self._node("Cast", [self._constant(weight_name(index), whole)], f"{name}/weight", to=TensorProto.FLOAT)

    def _flat(self, source: str, *, images: bool) -> str:
        """[T, N, *shape] -> [T * N, C, H, W] or [T * N, I]."""
        name = f"{source}/{'images' if images else 'rows'}"
        if name not in self.named:
            shape = [-1, *self.shapes[source]] if images else [-1, int(np.prod(self.shapes[source]))]
            target = self._constant(f"{name}/shape", np.array(shape, np.int64))
            self._node("Reshape", [f"{source}/spikes", target], name)
        return name

    def _per_neuron(self, p: Population, values: np.ndarray) -> np.ndarray:
        """A number stays; an array broadcasts over [1, N, *shape]."""
        if not values.ndim:
            return values
        return values.reshape(1, 1, *values.shape, *[1] * (len(p.shape) - values.ndim))

    def _decayed(self, p: Population, name: str, state: str, decay: PerNeuron) -> str:
        registers = in_registers(decay)
        if registers.ndim:
            constant = self._constant(f"{name}/kept", self._per_neuron(p, registers))
            product = self._node("Mul", [state, constant], f"{name}/product")
            return self._node("Div", [product, self._constant(f"{name}/unity", DECAY_UNITY)], name)
        kept = int(registers)
        if kept == DECAY_UNITY:
            return state
        common = int(np.gcd(kept, DECAY_UNITY))
        if kept != common:
            state = self._node("Mul", [state, self._constant(f"{name}/kept", kept // common)], f"{name}/product")
        return self._node("Div", [state, self._constant(f"{name}/unity", DECAY_UNITY // common)], name)

    def _check_exact(self, p: Population) -> None:
        if self._bound(p) >= EXACT:
            raise UnsupportedError(
                f"Population '{p.name}': its weights add up to {self._bound(p)}, but float32 is exact below {EXACT} "
                "only; make the layer narrower."
            )

    def _bound(self, p: Population) -> int:
        """No sum of weights of arriving spikes is larger."""
        rows = [np.abs(q.kernel.weight).reshape(len(q.kernel.weight), -1).sum(1) for q in self.graph.incoming(p.name)]
        return sum(int(row.max()) for row in rows)

    def _constant(self, name: str, value: int | np.ndarray) -> str:
        if name not in self.named:
            self.named.add(name)
            array = np.asarray(value, np.int64) if isinstance(value, int) else value
            self.constants.append(numpy_helper.from_array(array, name))
        return name

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.named.add(output)
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"{output}:{kind}", **attributes))
        return output
