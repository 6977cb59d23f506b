"""A float network, as the fx graph of its modules, written as ONNX node by node: the same operations in the same order.

A weight stands in the file once, whatever T is. Up to `APART` time steps a layer is a node for each step, and what is
the same in every step, as all that stands before the first neurons, is calculated once; beyond, time and batch are one
axis wherever SpikingJelly makes them one. A layer of neurons is a function, called once for each step, from `SCANNED`
steps on by a Scan. What has no rule here raises `NoRule`; `window.py` leaves such a network to torch's own exporter,
which knows every operation.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import TensorProto, helper
from spikingjelly.activation_based import layer
from torch import fx, nn

from ...errors import UnsupportedError
from ..trace.walk import population_name, symbolic
from .folding import folded
from .modules import MODULES, convolution_of_steps
from .neurons import DOMAIN
from .nodes import BATCH, Nodes, NoRule, Shape, Value
from .operations import FUNCTIONS, spelled
from .recurrent import linear_recurrent

OPSET = 18
IR_VERSION = 9  # read by ONNX Runtime 1.20 and later


def model_of(
    module: fx.GraphModule, image: Shape, outputs: Sequence[str], metadata: Mapping[str, str]
) -> onnx.ModelProto:
    """The checked model of a module in eval mode: images [batch, *image] -> its results, under these names.

    Raises NoRule where one of its operations has none.
    """
    writer = _Walk({"images", *outputs})
    given = Value(shape=(BATCH, *image), name="images")
    found = _results(writer, module, given)
    for name, value in zip(outputs, found, strict=True):
        writer.result(writer.plain(value), name)
    named = [_info(name, value.shape) for name, value in zip(outputs, found, strict=True)]
    return _model(writer, "window", [_info("images", given.shape)], named, metadata)


def step_of(
    module: fx.GraphModule, image: Shape, outputs: Sequence[str], metadata: Mapping[str, str]
) -> onnx.ModelProto:
    """The checked model of one time step: image [batch, *image], or one of its frames where it begins with
    frames.transpose(0, 1), and `state.<layer>` of every layer of neurons -> the same results of this step alone, and
    `next.<layer>`. The first result is the step's share: its mean over the steps is the window's.

    Raises NoRule where an operation has none, or takes several steps together.
    """
    writer = _Walk({*outputs}, one_step=True)
    frames = next((turned for node in module.graph.nodes if (turned := turns(node))), None)
    given = Value(shape=(BATCH, *image), name="image" if frames is None else "")
    name, shape = "image", given.shape
    if frames is not None:
        name, shape = "frame", (BATCH, *image[1:])
        writer.turned[frames.name] = Value(shape=(image[0], *shape), steps=("frame",) * image[0])
    writer.names.add(name)
    found = _results(writer, module, given)
    _check_share(writer, writer.plain(found[0]))
    inputs, made = [_info(name, shape)], []
    for output, value in zip(outputs, found, strict=True):
        by_time = output != outputs[0]
        writer.result(writer.steps(value)[0] if by_time else writer.plain(value), output)
        made.append(_info(output, value.shape[by_time:]))
    for carried, (shape, _) in writer.carried.items():
        path = population_name(carried)
        writer.result(writer.states[carried], f"next.{path}")
        inputs.append(_info(f"state.{path}", shape))
        made.append(_info(f"next.{path}", shape))
    rests = {f"rest.{population_name(path)}": str(rest) for path, (_, rest) in writer.carried.items() if rest}
    steps = {"time_steps": str(found[1].shape[0])} if len(found) > 1 else {}
    return _model(writer, "step", inputs, made, {**metadata, **steps, **rests})


# what may stand behind a mean over time: the mean of its results is its result of the mean
LINEAR = (
    "MatMul",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Reshape",
    "Unsqueeze",
    "Transpose",
    "Concat",
    "Conv",
    "AveragePool",
    "Identity",
)


def _check_share(writer: "_Walk", answer: str) -> None:
    """A step's answer must be its share of a mean or sum over time, or an affine function of that."""
    shares = set(writer.averaged)
    for node in writer.nodes:
        read = [name for name in node.input if name in shares]
        if read and not (node.op_type in LINEAR and (len(read) == 1 or node.op_type in ("Add", "Sub", "Concat"))):
            raise NoRule(f"{node.name} reads the mean over time and is not linear")
        if read and node.op_type == "Div" and node.input[0] not in shares:
            raise NoRule(f"{node.name} divides by the mean over time")
        shares.update(node.output if read else ())
    if answer not in shares:
        raise NoRule("its answer is no mean or sum over time")


def turns(node: fx.Node) -> fx.Node | None:
    """What makes frames [N, T, ...] frames [T, N, ...], where nothing else reads them."""
    if node.op != "placeholder" or len(node.users) != 1:
        return None
    (user,) = node.users
    dims = (*user.args[1:], *user.kwargs.values())
    return user if "transpose" in (user.target, spelled(user.target)) and dims in ((0, 1), (1, 0)) else None


def _results(writer: "_Walk", module: fx.GraphModule, given: Value) -> list[Value]:
    results = writer.run(module, [given], "")
    found = list(results) if isinstance(results, list | tuple) else [results]
    if not all(isinstance(value, Value) for value in found):
        raise NoRule("a result that is no tensor")
    return found


def _model(
    writer: "_Walk",
    name: str,
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    metadata: Mapping[str, str],
) -> onnx.ModelProto:
    for node in writer.nodes:
        for names in (node.input, node.output):
            for i, found in enumerate(names):
                names[i] = writer.renamed.get(found, found)
    graph = helper.make_graph(writer.nodes, name, inputs, outputs, writer.constants)
    model = helper.make_model(
        graph,
        functions=list(writer.functions.values()),
        opset_imports=[helper.make_opsetid("", OPSET), *([helper.make_opsetid(DOMAIN, 1)] if writer.functions else [])],
        ir_version=IR_VERSION,
        producer_name="spikeport",
    )
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model


def _info(name: str, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch" if n == BATCH else n for n in shape])


class _Walk(Nodes):
    def run(self, module: fx.GraphModule, given: Sequence[Any], prefix: str) -> Any:
        values: dict[fx.Node, Any] = {}
        entering = iter(given)
        modules: Mapping[str, nn.Module] = folded(module)
        called = [node.target for node in module.graph.nodes if node.op == "call_module"]
        for node in module.graph.nodes:
            arguments = fx.node.map_arg(node.args, values.__getitem__)
            keywords = fx.node.map_arg(node.kwargs, values.__getitem__)
            name = f"{prefix}{node.target if node.op == 'call_module' else node.name}"
            if node.op == "placeholder":
                values[node] = next(entering)
            elif node.op == "output":
                return arguments[0]
            elif node.op == "get_attr":
                raise NoRule(f"the attribute {node.target}")
            elif node.op == "call_module":
                if called.count(node.target) == 1 and not self.one_step:
                    self.called_once.add(name)
                values[node] = self.module(name, modules[str(node.target)], arguments, keywords)
            else:
                rule = FUNCTIONS.get(node.target if node.op == "call_method" else spelled(node.target))
                if rule is None:
                    raise NoRule(f"{node.op} {node.target}")
                try:
                    inspect.signature(rule).bind(self, name, *arguments, **keywords)
                except TypeError as error:  # an option that the rule lacks
                    raise NoRule(f"{node.target}: {error}") from error
                values[node] = rule(self, name, *arguments, **keywords)
        raise NoRule("a graph without a result")

    def module(self, name: str, module: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        if module.training:
            raise NoRule(f"{name} is in training mode")
        rule = linear_recurrent if type(module) is layer.LinearRecurrentContainer else MODULES.get(type(module))
        if rule is None and "as_convolution" in vars(type(module)):
            behind = getattr(module, "folded", None)
            rule, module = convolution_of_steps, module.as_convolution()
            module.folded = behind
        if rule is not None and len(arguments) == 1 and not keywords and isinstance(arguments[0], Value):
            return rule(self, name, module, arguments[0])
        if rule is not None or keywords:
            raise NoRule(f"{name} with other arguments")
        try:
            inner = symbolic(module)
        except (UnsupportedError, TypeError, ValueError, RuntimeError) as error:
            raise NoRule(f"{name} is a {type(module).__name__}") from error
        return self.run(inner, arguments, f"{name}.")
