"""A float network, as the fx graph of its modules, written as ONNX node by node: the same operations in the same order.

Time and batch are one axis wherever SpikingJelly makes them one, so a weight stands in the file once, whatever T is; a
layer of neurons is its equation once for each step. What has no rule here raises `NoRule`; `window.py` leaves such a
network to torch's own exporter, which knows every operation.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import TensorProto, helper
from torch import fx

from ...errors import UnsupportedError
from ..trace.walk import symbolic
from .nodes import BATCH, Nodes, NoRule, Shape, Value
from .operations import FUNCTIONS, MODULES, convolution_of_steps, spelled

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
    results = writer.run(module, [given], "")
    found = results if isinstance(results, list | tuple) else [results]
    if not all(isinstance(value, Value) for value in found):
        raise NoRule("a result that is no tensor")
    for name, value in zip(outputs, found, strict=True):
        writer.nodes.append(helper.make_node("Identity", [writer.plain(value)], [name], name=f"{name}:Identity"))
    graph = helper.make_graph(
        writer.nodes,
        "window",
        [_info("images", given.shape)],
        [_info(name, value.shape) for name, value in zip(outputs, found, strict=True)],
        writer.constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="spikeport"
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
        modules = dict(module.named_modules())
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
        rule = MODULES.get(type(module))
        if rule is None and "as_convolution" in vars(type(module)):
            rule, module = convolution_of_steps, module.as_convolution()
        if rule is not None and len(arguments) == 1 and not keywords and isinstance(arguments[0], Value):
            return rule(self, name, module, arguments[0])
        if rule is not None or keywords:
            raise NoRule(f"{name} with other arguments")
        try:
            inner = symbolic(module)
        except (UnsupportedError, TypeError, ValueError, RuntimeError) as error:
            raise NoRule(f"{name} is a {type(module).__name__}") from error
        return self.run(inner, arguments, f"{name}.")
