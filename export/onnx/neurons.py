"""Layers of neurons as nodes of ONNX: one function for each kind, called once a step, or by a Scan over many steps.

A function's body has SpikingJelly's operations in its order (`_ops/lif/reference.py`, `_ops/if_/reference.py` and
`_ops/plif/reference.py` of 2.0), so that both round alike; half of a number is exact, so v - v / 2 is v * 0.5.

Images between two convolutions have a layout of their own in ONNX Runtime's memory, and to leave it costs as much as a
layer of neurons does. Where a membrane is kept or erased, a function therefore has only what stays in it: a spike is
HardSigmoid(slope * h + offset), where the slope is so steep (2^24 at a threshold of 1) that of the numbers of float32
those below the threshold give 0 and all others 1; none lies between. What is kept of the membrane is h * 0 or h times
the decay, by the same step upside down, made by a convolution with one weight for each channel.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from onnx import AttributeProto, TensorProto, helper
from spikingjelly.activation_based import neuron

from ..trace.walk import population_name
from .nodes import BATCH, SCANNED, Nodes, NoRule, Shape, Value

DOMAIN = "spikeport"
OPSETS = [helper.make_opsetid("", 18)]
KINDS: dict[type, str] = {neuron.IFNode: "IF", neuron.LIFNode: "LIF", neuron.ParametricLIFNode: "PLIF"}


def neurons(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    """h = charge(v, x), a spike where h >= threshold, then the reset. The layer goes on where it ended before."""
    if module.step_mode != "m":
        return Value(
            shape=value.shape, name=step_of_neurons(writer, name, module, writer.plain(value), value.shape, name)
        )
    if value.shape[0] == BATCH:
        raise NoRule(f"{name} of samples where it wants time steps")
    if value.shape[0] >= SCANNED and not writer.one_step:
        return _scanned(writer, name, module, value)
    entering, shape = writer.steps(value), value.shape[1:]
    count = 1 if writer.one_step else len(entering)
    fired = []
    for t, x in enumerate(entering[:count]):
        ends = t + 1 == count and name in writer.called_once
        fired.append(step_of_neurons(writer, name, module, x, shape, f"{name}/{t}" if count > 1 else name, ends=ends))
    return Value(shape=value.shape, steps=tuple(fired * (len(entering) // count)))


def step_of_neurons(writer: Nodes, name: str, module: Any, x: str, shape: Shape, at: str, *, ends: bool = False) -> str:
    """The spikes of one step; what the membrane is left at waits in `writer.states`, unless this is the last step."""
    if name not in writer.states:
        if writer.one_step:
            writer.carried[name] = (shape, float(module.v_reset or 0.0))
            writer.states[name] = f"state.{population_name(name)}"
        else:
            writer.states[name] = writer.number(module.v_reset or 0.0)
    elif writer.one_step:
        raise NoRule(f"{name} is called again in the same step")
    body = _body(module, shape, ends=ends, resident=not writer.one_step and name in writer.called_once)
    writer.functions[body.function.name] = body.function
    spikes = writer.fresh(f"{at}/spikes")
    results = [spikes] if ends else [spikes, writer.fresh(f"{at}/v")]
    given = [x, writer.states[name]]
    writer.nodes.append(
        helper.make_node(body.function.name, given, results, name=writer.fresh(at), domain=DOMAIN, **body.attributes)
    )
    writer.states[name] = results[-1]
    return spikes


def _scanned(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    whole, shape = writer.plain(value), value.shape[1:]
    body = _body(module, shape, ends=False, resident=False)
    writer.functions[body.function.name] = body.function
    if name not in writer.states:
        size = writer.node("Shape", [whole], f"{name}/size", start=1)
        rest = helper.make_tensor("rest", TensorProto.FLOAT, [1], [module.v_reset or 0.0])
        writer.states[name] = writer.node("ConstantOfShape", [size], f"{name}/rest", value=rest)
    dims: list[str | int | None] = ["batch" if n == BATCH else n for n in shape]
    v, x, left, spikes = (
        helper.make_tensor_value_info(word, TensorProto.FLOAT, dims) for word in ("v", "x", "left", "spikes")
    )
    call = helper.make_node(
        body.function.name, ["x", "v"], ["spikes", "left"], name=name, domain=DOMAIN, **body.attributes
    )
    after, fired = writer.fresh(f"{name}/v"), writer.fresh(f"{name}/spikes")
    step = helper.make_graph([call], "step", [v, x], [left, spikes])
    writer.nodes.append(
        helper.make_node(
            "Scan", [writer.states[name], whole], [after, fired], name=writer.fresh(name), body=step, num_scan_inputs=1
        )
    )
    writer.states[name] = after
    return Value(shape=value.shape, name=fired)


@dataclass(slots=True)
class _Body:
    """A function (x, v) -> (spikes, left), and the numbers of one layer that calls it."""

    attributes: dict[str, Any] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    function: onnx.FunctionProto = field(default_factory=onnx.FunctionProto)

    def constant(self, word: str, kind: str, value: Any) -> str:
        """A number of the layer, by its name; kind: of the attribute."""
        self.attributes[word] = value
        constant = helper.make_node("Constant", [], [word])
        name = {"FLOAT": "value_float", "INTS": "value_ints"}[kind]
        constant.attribute.append(AttributeProto(name=name, ref_attr_name=word, type=kind))
        self.nodes.append(constant)
        return word

    def number(self, word: str, value: float) -> str:
        return self.constant(word, "FLOAT", float(np.float32(value)))

    def node(self, kind: str, inputs: list[str], output: str, **options: Any) -> str:
        """An option may be the name of an attribute of the layer, after '@'."""
        named = {key: value for key, value in options.items() if isinstance(value, str)}
        made = helper.make_node(kind, inputs, [output], **{k: v for k, v in options.items() if k not in named})
        for key, value in named.items():
            kinds = AttributeProto.INT if isinstance(self.attributes[value[1:]], int) else AttributeProto.FLOAT
            made.attribute.append(AttributeProto(name=key, ref_attr_name=value[1:], type=kinds))
        self.nodes.append(made)
        return output

    def named(self, kind: str, results: list[str]) -> "_Body":
        self.function = helper.make_function(
            DOMAIN, kind, ["x", "v"], results, self.nodes, OPSETS, list(self.attributes)
        )
        return self


def _body(module: Any, shape: Shape, *, ends: bool, resident: bool) -> _Body:
    kept = _kept(module)
    words = [KINDS[type(module)], *(["charging"] if not getattr(module, "decay_input", True) else [])]
    if resident and kept is not None and len(shape) == 4:
        words = [KINDS[type(module)], "images", *(["last"] if ends else [])]
        return _resident(module, shape[1], kept, ends=ends).named("_".join(words), ["spikes", "v_kept"][: 2 - ends])
    words += {None: ["soft_reset"], 0.0: []}.get(module.v_reset, ["reset"]) + (["last"] if ends else [])
    return _as_spikingjelly(module, ends=ends).named("_".join(words), ["spikes", "left"][: 2 - ends])


def _kept(module: Any) -> float | None:
    """What a silent neuron's membrane is multiplied by before the next current comes in, where that rounds alike."""
    if module.v_reset != 0.0 or module.v_threshold <= 0:
        return None
    if type(module) is neuron.IFNode:
        return 1.0
    if type(module) is neuron.LIFNode and not module.decay_input and math.frexp(module.tau)[0] == 0.5:
        return 1.0 - 1.0 / float(module.tau)
    return None


def _resident(module: Any, channels: int, kept: float, *, ends: bool) -> _Body:
    """v is what is kept of the membrane, already decayed."""
    body = _Body()
    threshold = np.float32(module.v_threshold)
    below = threshold - np.nextafter(threshold, np.float32(0))
    slope, offset = 1.0 / float(below), 1.0 - float(threshold) / float(below)
    body.attributes |= {"threshold": float(threshold), "slope": slope, "offset": offset}
    h = body.node("Add", ["x", "v"], "h")
    if ends:
        body.node("HardSigmoid", [h], "spikes", alpha="@slope", beta="@offset")
        return body
    body.attributes["channels"] = channels
    each, single = body.constant("kernel", "INTS", [channels, 1, 1, 1]), body.constant("bias", "INTS", [channels])
    names = ("rise", "above", "kept", "fall", "under")
    numbers = (slope, offset, kept, -kept * slope, kept * slope * float(threshold))
    rise, above, most, fall, under = (body.number(word, n) for word, n in zip(names, numbers, strict=True))
    zero, one = (helper.make_node("Constant", [], [word], value_float=n) for word, n in (("zero", 0.0), ("one", 1.0)))
    body.nodes += [zero, one]

    def stepped(weight: str, shift: str, top: str, output: str) -> str:
        kernel = body.node("Expand", [weight, each], f"{weight}_kernel")
        bias = body.node("Expand", [shift, single], f"{shift}_bias")
        steep = body.node("Conv", [h, kernel, bias], f"{output}_steep", group="@channels")
        return body.node("Clip", [steep, "zero", top], output)

    stepped(rise, above, "one", "spikes")
    body.node("Mul", [h, stepped(fall, under, most, "silent")], "v_kept")
    return body


def _as_spikingjelly(module: Any, *, ends: bool) -> _Body:
    body = _Body()
    threshold = body.number("threshold", module.v_threshold)
    reset = body.number("v_reset", module.v_reset) if module.v_reset else ""
    h = _charged(body, module, reset)
    body.node("GreaterOrEqual", [h, threshold], "fires")
    body.node("Cast", ["fires"], "spikes", to=TensorProto.FLOAT)
    if ends:
        return body
    if module.v_reset is None:
        body.node("Sub", [h, body.node("Mul", ["spikes", threshold], "taken")], "left")
    elif reset:
        body.node("Where", ["fires", reset, h], "left")
    else:
        silent = body.node("Cast", [body.node("Not", ["fires"], "rests")], "silent", to=TensorProto.FLOAT)
        body.node("Mul", [h, silent], "left")
    return body


def _charged(body: _Body, module: Any, reset: str) -> str:
    """The membrane before the threshold."""
    if type(module) is neuron.IFNode:
        return body.node("Add", ["v", "x"], "h")
    if type(module) is neuron.ParametricLIFNode:
        kind, rate = "Mul", body.number("rate", float(torch.sigmoid(module.w.detach())))
    else:
        kind, rate = "Div", body.number("tau", module.tau)
    above = body.node("Sub", ["v", reset], "above") if reset else "v"
    if module.decay_input:
        driven = body.node(kind, [body.node("Sub", ["x", above], "difference"), rate], "driven")
        return body.node("Add", ["v", driven], "h")
    return body.node("Add", [body.node("Sub", ["v", body.node(kind, [above, rate], "lost")], "decayed"), "x"], "h")
