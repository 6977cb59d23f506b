"""torch.fx: a trained SpikingJelly network -> SpikingGraph and the encoder that stands before it.

SpikingJelly's modules are leaves. Every value is either *real* (computed on the host, before the first spiking layer:
the encoder) or a linear expression of spikes (`export/linear.py`). A spiking layer turns an expression into a
Population; all that lies between two spiking layers disappears into Projections. What has no rule here stops the trace.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from spikingjelly.activation_based import base, neuron
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from ..errors import UnsupportedError
from ..search.attention import ATTENTION
from ..search.primitives import FactorizedReduce
from . import linear
from .graph import Array, Conv, Population, Projection, Reset, SpikeInput, SpikingGraph, check
from .linear import Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """graph, and the module images [N, C, H, W] -> spikes [T, N, ...] of the graph's input (None: it reads spikes)."""

    graph: SpikingGraph
    encoder: nn.Module | None


@dataclass(frozen=True, slots=True)
class Real:
    """A value on the host, before the first spiking layer."""


Value = Real | Expression


def trace(network: nn.Module, example: torch.Tensor, time_steps: int, *, reads_spikes: bool = False) -> Traced:
    """Trace a network in eval mode and multi-step mode.

    example: one input, images [1, C, H, W], or spikes [T, 1, C, H, W] when reads_spikes is set. The network's result
    must be a linear layer averaged over time. Raises UnsupportedError that names the module that cannot be carried.
    """
    if network.training:
        raise UnsupportedError("Tracing needs the trained network in eval mode: call network.eval() first.")
    module = symbolic(network)
    with torch.no_grad():
        ShapeProp(module).propagate(example)
    for memory in module.modules():
        if isinstance(memory, base.MemoryModule):
            memory.reset()
    walk = _Walk(module, time_steps, reads_spikes)
    spiking = walk.run()
    encoder = None if reads_spikes else _encoder(module, walk.encoder_nodes)
    return Traced(graph=check(spiking), encoder=encoder)


def symbolic(network: nn.Module) -> fx.GraphModule:
    """The network as an fx graph whose leaves are the modules that tracing has a rule for."""
    return fx.GraphModule(network, _Tracer().trace(network))


def spiking_layers(module: fx.GraphModule) -> dict[str, fx.Node]:
    """Population name -> node of every spiking layer, in the order of execution."""
    modules = dict(module.named_modules())
    nodes = [n for n in module.graph.nodes if n.op == "call_module"]
    return {population_name(str(n.target)): n for n in nodes if isinstance(modules[str(n.target)], neuron.BaseNode)}


def population_name(path: str) -> str:
    """A population is named by the module path of its neurons, without the attribute `lif` itself."""
    return path.removesuffix(".lif")


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        known = (base.StepModule, FactorizedReduce, *ATTENTIONS)
        return isinstance(m, known) or super().is_leaf_module(m, module_qualified_name)


ATTENTIONS = tuple(kind for kind in ATTENTION.values() if isinstance(kind, type) and kind is not nn.Identity)


class _Walk:
    """One pass over the fx graph: node -> value, collecting populations and projections."""

    def __init__(self, module: fx.GraphModule, time_steps: int, reads_spikes: bool) -> None:
        self.modules = dict(module.named_modules())
        self.nodes = list(module.graph.nodes)
        self.time_steps = time_steps
        self.reads_spikes = reads_spikes
        self.values: dict[fx.Node, Value] = {}
        self.inputs: list[SpikeInput] = []
        self.populations: list[Population] = []
        self.projections: list[Projection] = []
        self.encoder_nodes: list[fx.Node] = []
        self.pools: dict[Any, Expression] = {}  # the same max-pool twice is one population

    def run(self) -> SpikingGraph:
        for node in self.nodes:
            where = f"{node.target}" if node.op == "call_module" else f"{node.op} {node.name}"
            try:
                self.values[node] = self._value(node)
            except UnsupportedError as error:
                if str(error).startswith("Layer"):
                    raise
                raise UnsupportedError(f"Layer '{where}': {error}.") from error
        return SpikingGraph(
            inputs=tuple(self.inputs),
            populations=tuple(self.populations),
            projections=tuple(self.projections),
            time_steps=self.time_steps,
        )

    def _value(self, node: fx.Node) -> Value:
        if node.op == "placeholder":
            if not self.reads_spikes:
                return Real()
            shape = tuple(node.meta["tensor_meta"].shape[2:])
            self.inputs.append(SpikeInput(name=node.name, shape=shape))
            return linear.spikes_of(node.name, shape)
        if node.op == "output":
            return self._readout(self._arguments(node)[0])
        arguments = self._arguments(node)
        if node.op == "call_module":
            return self._module(node, self.modules[str(node.target)], arguments[0])
        if not any(isinstance(a, Expression) for a in _flat(arguments)):
            return Real()
        if any(isinstance(a, Real) for a in _flat(arguments)):
            raise UnsupportedError("it mixes spikes with values that are not spikes")
        rule = FUNCTIONS.get(node.target)
        if rule is None:
            raise UnsupportedError(f"'{getattr(node.target, '__name__', node.target)}' is no linear map of spikes")
        return rule(self, *arguments, **self._keywords(node))

    def _module(self, node: fx.Node, module: nn.Module, x: Any) -> Value:
        if isinstance(module, neuron.BaseNode):
            return self._neurons(node, module, x)
        if isinstance(module, nn.Identity | nn.Dropout) or type(module).__name__ in ("Dropout", "Dropout2d"):
            return x if isinstance(x, Expression) else Real()
        if isinstance(x, Real):
            return x
        if isinstance(module, nn.MaxPool2d):
            return self._max_pool(node, module, x)
        for kind, rule in MODULES.items():
            if isinstance(module, kind):
                return rule(x, module)
        raise UnsupportedError(f"a {type(module).__name__} cannot be a synapse or a neuron on the chip")

    def _neurons(self, node: fx.Node, module: Any, x: Value) -> Expression:
        name = population_name(str(node.target))
        decay, scale = leak(module)
        if module.step_mode != "m":
            raise UnsupportedError("spiking layers must run in multi-step mode, step_mode='m'")
        if isinstance(x, Real):
            shape = tuple(node.meta["tensor_meta"].shape[2:])
            self.inputs.append(SpikeInput(name=name, shape=shape))
            self.encoder_nodes.append(node)
            return linear.spikes_of(name, shape)
        if scale != 1.0:
            x = linear.scaled(x, scale)
        reset: Reset = "subtract" if module.v_reset is None else "zero"
        if module.v_reset:
            raise UnsupportedError(f"`v_reset` must be 0 or None, but is {module.v_reset}")
        return self._populate(
            x,
            Population(
                name=name, shape=x.shape, decay=decay, threshold=float(module.v_threshold), bias=x.constant, reset=reset
            ),
        )

    def _max_pool(self, node: fx.Node, module: nn.MaxPool2d, x: Expression) -> Expression:
        """The maximum of 0/1 is OR: a population that fires as soon as one of its inputs does."""
        if not x.binary:
            raise UnsupportedError("max-pool is exact on spikes only; put it directly behind a spiking layer")
        size, stride, padding = _pair(module.kernel_size), _pair(module.stride), _pair(module.padding)
        if _pair(module.dilation) != (1, 1) or module.ceil_mode:
            raise UnsupportedError("max-pool with dilation or ceil_mode has no rule")
        key = (node.args[0], size, stride, padding)
        if key not in self.pools:
            window = Conv(weight=np.ones((x.shape[0], 1, *size)), stride=stride, padding=padding, groups=x.shape[0])
            y = linear.convolved(x, window)
            # Any threshold in (0, 1] would do; the middle is farthest from rounding.
            population = Population(
                name=str(node.target), shape=y.shape, decay=0.0, threshold=0.5, bias=y.constant, role="or"
            )
            self.pools[key] = self._populate(y, population)
        return self.pools[key]

    def _readout(self, x: Any) -> Expression:
        if not isinstance(x, Expression) or len(x.shape) != 1 or not x.averaged:
            raise UnsupportedError("a network must end in a linear layer averaged over time, as x.mean(0)")
        return self._populate(
            x,
            Population(
                name="readout",
                shape=x.shape,
                decay=1.0,  # the membrane sums the steps up; the mean's 1/T is in weights and bias
                threshold=np.inf,
                bias=x.constant / self.time_steps,
                role="readout",
            ),
        )

    def _populate(self, x: Expression, population: Population) -> Expression:
        self.populations.append(population)
        for term in linear.merged(x.terms):
            self.projections.append(Projection(source=term.source, target=population.name, kernel=term.kernel))
        return linear.spikes_of(population.name, population.shape)

    def averaged(self, x: Expression, *dims: Any, **keywords: Any) -> Expression:
        dim = keywords.get("dim", dims[0] if dims else None)
        if dim not in (0, (0,), [0]):
            raise UnsupportedError(f"only the mean over time (dim 0) has a rule, but dim={dim}")
        mean = replace(linear.scaled(x, 1.0 / self.time_steps), constant=x.constant)
        return replace(mean, averaged=True)

    def _arguments(self, node: fx.Node) -> tuple[Any, ...]:
        return tuple(self._values(node.args))

    def _keywords(self, node: fx.Node) -> dict[str, Any]:
        return dict(self._values(node.kwargs))

    def _values(self, arguments: Any) -> Any:
        """The same nesting with every fx node replaced by its value."""
        return fx.node.map_arg(arguments, cast(Any, self.values.__getitem__))


def leak(module: neuron.BaseNode) -> tuple[float, float]:
    """(decay, scale of the input current) such that v = decay * v + scale * I, as SpikingJelly charges."""
    if isinstance(module, neuron.ParametricLIFNode):
        rate, scales = float(torch.sigmoid(module.w)), module.decay_input
    elif isinstance(module, neuron.LIFNode):
        rate, scales = 1.0 / float(module.tau), module.decay_input
    elif isinstance(module, neuron.IFNode):
        return 1.0, 1.0
    else:
        raise UnsupportedError(f"a {type(module).__name__} has no rule; use LIFNode, ParametricLIFNode or IFNode")
    return 1.0 - rate, rate if scales else 1.0


def _conv(x: Expression, module: Any) -> Expression:
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise UnsupportedError("only zero padding given in numbers has a rule")
    kernel = Conv(
        weight=_array(module.weight),
        stride=_pair(module.stride),
        padding=_pair(module.padding),
        dilation=_pair(module.dilation),
        groups=module.groups,
    )
    return _biased(linear.convolved(x, kernel), module.bias)


def _linear(x: Expression, module: Any) -> Expression:
    if len(x.shape) != 1:
        raise UnsupportedError("a linear layer needs a flattened value; put a flatten before it")
    return _biased(linear.multiplied(x, _array(module.weight)), module.bias)


def _batch_norm(x: Expression, module: Any) -> Expression:
    if module.running_var is None:
        raise UnsupportedError("batch norm without running statistics is not linear")
    scale = 1.0 / np.sqrt(_array(module.running_var) + module.eps)
    shift = np.zeros_like(scale)
    if module.affine:
        scale, shift = scale * _array(module.weight), _array(module.bias)
    return linear.scaled(x, scale, shift - scale * _array(module.running_mean))


def _average_pool(x: Expression, module: Any) -> Expression:
    size, padding = _pair(module.kernel_size), _pair(module.padding)
    if not module.count_include_pad and padding != (0, 0):
        raise UnsupportedError("average pool must count its padding, count_include_pad=True")
    if module.ceil_mode or module.divisor_override:
        raise UnsupportedError("average pool with ceil_mode or divisor_override has no rule")
    return linear.convolved(x, _mean_window(x.shape[0], size, _pair(module.stride), padding))


def _global_average(x: Expression, module: Any) -> Expression:
    if _pair(module.output_size) != (1, 1):
        raise UnsupportedError("adaptive average pool has a rule for output size 1 only")
    height, width = x.shape[1:]
    return linear.convolved(x, _mean_window(x.shape[0], (height, width), (1, 1), (0, 0)))


def _mean_window(channels: int, size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> Conv:
    weight = np.full((channels, 1, *size), 1.0 / (size[0] * size[1]))
    return Conv(weight=weight, stride=stride, padding=padding, groups=channels)


def _reduce(x: Expression, module: FactorizedReduce) -> Expression:
    return linear.convolved(x, Conv(weight=_array(module.effective_weight), stride=(2, 2)))


def _flatten(x: Expression, module: Any) -> Expression:
    return linear.flattened(x)


def _attention(x: Expression, module: nn.Module) -> Expression:
    raise UnsupportedError(
        f"the gates of {type(module).__name__} depend on the input and cannot be synapses; search with "
        "--attention none, or export to onnx"
    )


def _biased(x: Expression, bias: torch.Tensor | None) -> Expression:
    return x if bias is None else replace(x, constant=x.constant + _array(bias))


def _array(tensor: torch.Tensor) -> Array:
    return tensor.detach().cpu().numpy().astype(np.float64)


def _pair(value: Any) -> tuple[int, int]:
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _flat(arguments: Any) -> list[Any]:
    if isinstance(arguments, list | tuple):
        return [leaf for argument in arguments for leaf in _flat(argument)]
    return [arguments]


MODULES: dict[Any, Callable[[Expression, Any], Expression]] = {
    FactorizedReduce: _reduce,
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    nn.BatchNorm2d: _batch_norm,
    nn.AvgPool2d: _average_pool,
    nn.AdaptiveAvgPool2d: _global_average,
    nn.Flatten: _flatten,
    **dict.fromkeys(ATTENTIONS, _attention),
}


def _rule_add(walk: _Walk, a: Any, b: Any, **keywords: Any) -> Expression:
    if keywords:
        raise UnsupportedError(f"addition with {', '.join(keywords)} has no rule")
    if not isinstance(a, Expression):
        a, b = b, a
    if isinstance(b, Expression):
        return linear.added(a, b)
    return a if b == 0 else linear.scaled(a, 1.0, b)


def _rule_multiply(walk: _Walk, a: Any, b: Any) -> Expression:
    if not isinstance(a, Expression):
        a, b = b, a
    if isinstance(b, Expression):
        raise UnsupportedError("a product of spikes is no linear map")
    return linear.scaled(a, float(b))


def _rule_concatenate(walk: _Walk, parts: Any, *dims: Any, **keywords: Any) -> Expression:
    dim = keywords.get("dim", dims[0] if dims else 0)
    if dim not in (2, -3):
        raise UnsupportedError(f"only concatenation of channels (dim 2) has a rule, but dim={dim}")
    return linear.concatenated(list(parts))


def _rule_flatten(walk: _Walk, x: Expression, *dims: Any, **keywords: Any) -> Expression:
    start = keywords.get("start_dim", dims[0] if dims else 0)
    if start != 2:
        raise UnsupportedError(f"only flattening of [T, N, C, H, W] from dim 2 on has a rule, but start_dim={start}")
    return linear.flattened(x)


FUNCTIONS: dict[Any, Callable[..., Expression]] = {
    operator.add: _rule_add,
    operator.iadd: _rule_add,
    torch.add: _rule_add,
    "add": _rule_add,
    operator.mul: _rule_multiply,
    torch.mul: _rule_multiply,
    torch.cat: _rule_concatenate,
    torch.flatten: _rule_flatten,
    "flatten": _rule_flatten,
    torch.mean: _Walk.averaged,
    "mean": _Walk.averaged,
}


def _encoder(module: fx.GraphModule, outputs: list[fx.Node]) -> nn.Module:
    """The part of the network up to its first spiking layers."""
    if len(outputs) != 1:
        raise UnsupportedError(f"One spiking layer must read the image, but {len(outputs)} do.")
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    needed = _ancestors(outputs[0])
    for node in module.graph.nodes:
        if node in needed or node.op == "placeholder":
            copies[node] = graph.node_copy(node, lambda n: copies[n])
    graph.output(copies[outputs[0]])
    return fx.GraphModule(module, graph).eval()


def _ancestors(node: fx.Node) -> set[fx.Node]:
    found, open_nodes = {node}, [node]
    while open_nodes:
        for source in open_nodes.pop().all_input_nodes:
            if source not in found:
                found.add(source)
                open_nodes.append(source)
    return found
