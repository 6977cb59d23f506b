"""torch.fx: a trained SpikingJelly network -> SpikingGraph and the encoder that stands before it.

SpikingJelly's modules are leaves. Every value is either *real* (computed on the host, before the first spiking layer:
the encoder) or a linear expression of spikes (`linear.py`). A spiking layer turns an expression into a Population; all
that lies between two spiking layers disappears into Projections by the rules of `rules.py`. What has no rule stops the
trace.
"""

import operator
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import torch
from spikingjelly.activation_based import base, functional, layer, neuron
from torch import fx, nn

from ...errors import InputError, UnsupportedError
from ..graph import Conv, Population, Projection, SpikeInput, SpikingGraph, check
from . import linear, views
from .arrange import arranged, bound
from .following import Following
from .layout import canonical
from .linear import Expression
from .registry import rule_of
from .rules import FUNCTIONS, pair
from .shapes import Real, asks_shape, known, note_shapes, shape_asked, turns
from .tokens import applied, as_map


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """graph, and the module images [N, C, H, W] -> spikes [T, N, ...] of the graph's input (None: it reads spikes)."""

    graph: SpikingGraph
    encoder: nn.Module | None


# Real, Expression, tuples of them, or what is known before any spike is: numbers, shapes, constants
Value = Any


def trace(network: nn.Module, example: torch.Tensor, time_steps: int, *, reads_spikes: bool = False) -> Traced:
    """Trace a network in eval mode and multi-step mode.

    example: one input, images [1, C, H, W], or spikes [T, 1, C, H, W] when reads_spikes is set; frames of spikes
    [1, T, C, H, W] where the network transposes them first, `frames.transpose(0, 1)`. The network's result must be a
    linear layer averaged over time. Raises UnsupportedError that names the module that cannot be carried, and
    InputError where the network does not run on the example. Membranes are reset.

    >>> network, images = spikeport.example_network()
    >>> traced = spikeport.trace(network, images[:1], 4)
    >>> [population.name for population in traced.graph.populations]
    ['hidden', 'readout']
    """
    if any(module.training for module in network.modules()):
        raise UnsupportedError("Tracing needs the trained network in eval mode: call network.eval() first.")
    try:
        module = symbolic(network, example)
        note_shapes(module, example, reads_spikes)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"The network must run on an example of shape {list(example.shape)}, but stops: "
            f"{str(error).splitlines()[0]}"
        ) from error
    finally:
        functional.reset_net(network)
    walk = _Walk(module, time_steps, reads_spikes)
    spiking = walk.run()
    encoder = None if reads_spikes else _encoder(module, walk.encoder_nodes)
    return Traced(graph=check(spiking), encoder=encoder)


def symbolic(network: nn.Module, example: torch.Tensor | None = None) -> fx.GraphModule:
    """The network as an fx graph whose leaves are the modules that tracing has a rule for.

    Where its control flow depends on shapes, an example tells them.
    """
    tracer = _Tracer()
    try:
        return fx.GraphModule(network, tracer.trace(network))
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        if example is None:
            if not isinstance(error, fx.proxy.TraceError):
                raise
            raise _depends_on_data(error) from error
    try:
        functional.reset_net(network)
        return fx.GraphModule(network, Following(example, tracer.is_leaf_module).trace(network))
    except fx.proxy.TraceError as error:
        raise _depends_on_data(error) from error


def _depends_on_data(error: Exception) -> UnsupportedError:
    return UnsupportedError(f"The network's forward pass must not depend on the data, but torch.fx says: {error}.")


def spiking_layers(module: fx.GraphModule) -> dict[str, fx.Node]:
    """Population name -> node of every spiking layer, in the order of execution."""
    modules = dict(module.named_modules())
    nodes = [n for n in module.graph.nodes if n.op == "call_module"]
    return {population_name(str(n.target)): n for n in nodes if isinstance(modules[str(n.target)], neuron.BaseNode)}


def population_name(path: str) -> str:
    """A population is named by the module path of its neurons, without the attribute `lif` itself; of a network that
    was imported by the path inside it."""
    return path.removesuffix(".lif").removeprefix("imported.")


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        known = isinstance(m, base.StepModule) or rule_of(m) is not None
        return known or super().is_leaf_module(m, module_qualified_name)


class _Walk:
    """One pass over the fx graph: node -> value, collecting populations and projections."""

    def __init__(self, module: fx.GraphModule, time_steps: int, reads_spikes: bool) -> None:
        self.root = module
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
                raise UnsupportedError(f"Layer '{where}': {error}.") from error
        return SpikingGraph(
            inputs=tuple(self.inputs),
            populations=tuple(self.populations),
            projections=tuple(self.projections),
            time_steps=self.time_steps,
        )

    def _value(self, node: fx.Node) -> Value:
        if node.op == "placeholder":
            if not self.reads_spikes or turns(node):
                return Real()
            return self._input(node, node.name)
        if self.reads_spikes and node.all_input_nodes and turns(node.all_input_nodes[0]):
            return self._input(node, node.all_input_nodes[0].name)
        arguments, keywords = self._values(node.args), self._values(node.kwargs)
        if node.op == "output":
            return self._readout(arguments[0])
        given = _flat([*arguments, *keywords.values()])
        if asks_shape(node) and isinstance(arguments[0], Real | Expression):
            return shape_asked(node, arguments, keywords, self.time_steps)
        if node.op == "get_attr" or (given and not any(isinstance(value, Real | Expression) for value in given)):
            return Real() if node.op == "call_module" else known(node, self.root, arguments, keywords)
        if node.target is operator.getitem and isinstance(arguments[0], tuple):
            return arguments[0][arguments[1]]
        if not any(isinstance(value, Expression) for value in given):
            is_neuron = node.op == "call_module" and isinstance(self.modules[str(node.target)], neuron.BaseNode)
            return self._encoded(node) if is_neuron else Real()
        if any(isinstance(value, Real) for value in given):
            raise UnsupportedError(
                "it mixes spikes with values that are not spikes; let one spiking layer read the image, and all others "
                "its spikes"
            )
        if node.op == "call_module":
            return self._module(node, self.modules[str(node.target)], given)
        return self._function(node, arguments, keywords)

    def _function(self, node: fx.Node, arguments: Any, keywords: Any) -> Any:
        found = arranged(node, arguments, keywords, self.time_steps, self._gate)
        if found is not None:
            return found
        rule, name = FUNCTIONS.get(node.target), getattr(node.target, "__name__", node.target)
        if rule is None:
            raise UnsupportedError(f"'{name}' has no rule for spikes; use layers that are linear, or export to onnx")
        return bound(rule, node, arguments, keywords)

    def _module(self, node: fx.Node, module: nn.Module, given: list[Any]) -> Expression:
        if len(given) != 1:
            raise UnsupportedError(f"a {type(module).__name__} with {len(given)} inputs has no rule")
        x = given[0]
        layout = views.layout_of(x, self.time_steps)
        steps_apart = x.averaged or layout[:2] == canonical((), self.time_steps)
        if getattr(module, "step_mode", "m") != "m" and (steps_apart or isinstance(module, neuron.BaseNode)):
            raise UnsupportedError("layers that read spikes must run in multi-step mode, step_mode='m'")
        if isinstance(module, neuron.BaseNode):
            return self._neurons(node, module, x)
        if type(module) in (nn.MaxPool2d, layer.MaxPool2d):
            if x.layout is None:
                return self._max_pool(node, module, x)
            x, lead = as_map(x, layout, type(module).__name__)
            y = self._max_pool(node, module, x)
            return views.shown(y, lead + canonical(y.shape, self.time_steps)[2:], self.time_steps)
        return applied(x, module, self.time_steps)

    def _encoded(self, node: fx.Node) -> Expression:
        """The spikes of a layer that reads the image: an input of the graph."""
        module: Any = self.modules[str(node.target)]
        if module.step_mode != "m":
            raise UnsupportedError("spiking layers must run in multi-step mode, step_mode='m'")
        self.encoder_nodes.append(node)
        return self._input(node, population_name(str(node.target)))

    def _input(self, node: fx.Node, name: str) -> Expression:
        steps, _, *shape = node.meta["shape"]
        if steps != self.time_steps:
            raise UnsupportedError(f"it has {steps} time steps, but the network is said to have {self.time_steps}")
        self.inputs.append(SpikeInput(name=name, shape=tuple(shape)))
        return linear.spikes_of(name, tuple(shape))

    def _neurons(self, node: fx.Node, module: Any, x: Expression) -> Expression:
        decay, scale = leak(module)
        if module.v_reset:
            raise UnsupportedError(f"`v_reset` must be 0 or None, but is {module.v_reset}; train with v_reset=0.0")
        known = {population.name for population in self.populations} | {entering.name for entering in self.inputs}
        if population_name(str(node.target)) in known:
            raise UnsupportedError("its neurons are used twice with one membrane; give every layer a module of its own")
        if x.averaged:
            raise UnsupportedError("a spiking layer after the mean over time has no rule; take the mean last")
        if views.layout_of(x, self.time_steps)[0] != canonical((), self.time_steps)[0]:
            raise UnsupportedError("a spiking layer needs time as an axis of its own, the first one, [T, N, ...]")
        x = linear.scaled(x, scale)
        spikes = self._populate(
            x,
            Population(
                name=population_name(str(node.target)),
                shape=x.shape,
                decay=decay,
                threshold=float(module.v_threshold),
                bias=x.constant,
                reset="subtract" if module.v_reset is None else "zero",
            ),
        )
        return replace(spikes, layout=x.layout)

    def _max_pool(self, node: fx.Node, module: Any, x: Expression) -> Expression:
        """The maximum of 0/1 is OR: a population that fires as soon as one of its inputs does."""
        if not x.binary:
            raise UnsupportedError("max-pool is exact on spikes only; put it directly behind a spiking layer")
        size, stride, padding = pair(module.kernel_size), pair(module.stride), pair(module.padding)
        if pair(module.dilation) != (1, 1) or module.ceil_mode:
            raise UnsupportedError("max-pool with dilation or ceil_mode has no rule; use neither")
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

    def _gate(self, node: fx.Node, role: Literal["or", "and"], a: Expression, b: Expression) -> Expression:
        """Of two spikes at every place one: a product fires when both do, a maximum when any does.

        Of a product each may be 1 - s, a spike that is missing.
        """
        allowed = [value.binary or (role == "and" and value.complement) for value in (a, b)]
        if not all(allowed) or a.shape != b.shape:
            raise UnsupportedError(
                f"a {'product' if role == 'and' else 'maximum'} is exact on spikes of the same shape only, as a * b or "
                "a * (1 - b); put a spiking layer before it, add instead, or export to onnx"
            )
        x = linear.added(a, b)
        threshold = 1.5 if role == "and" else 0.5  # of whole numbers; the middle is farthest from rounding
        population = Population(
            name=node.name, shape=x.shape, decay=0.0, threshold=threshold, bias=x.constant, role=role
        )
        return self._populate(x, population)

    def _readout(self, x: Any) -> Expression:
        if isinstance(x, Expression) and x.shape[1:] == (1, 1) and x.layout and len(x.layout) == 2 - x.averaged + 1:
            x = as_map(x, views.layout_of(x, self.time_steps), "readout")[0]
        if not isinstance(x, Expression) or len(x.shape) != 1 or not x.averaged:
            raise UnsupportedError("a network must end in a linear layer averaged over time, as x.mean(0)")
        x = linear.scaled(x, 1.0 / self.time_steps)
        return self._populate(
            x,
            Population(
                name="readout",
                shape=x.shape,
                decay=1.0,  # the membrane sums the steps up; the mean's 1/T is in weights and bias
                threshold=np.inf,
                bias=x.constant,
                role="readout",
            ),
        )

    def _populate(self, x: Expression, population: Population) -> Expression:
        self.populations.append(population)
        for term in linear.merged(x.terms):
            self.projections.append(Projection(source=term.source, target=population.name, kernel=term.kernel))
        return linear.spikes_of(population.name, population.shape)

    def _values(self, arguments: Any) -> Any:
        """The same nesting with every fx node replaced by its value."""
        return fx.node.map_arg(arguments, cast(Any, self.values.__getitem__))


def leak(module: Any) -> tuple[float, float]:
    """(decay, scale of the input current) such that v = decay * v + scale * I, as SpikingJelly charges."""
    kind: type = type(module)  # a subclass may compute something else
    if kind is neuron.IFNode:
        return 1.0, 1.0
    if kind is neuron.ParametricLIFNode:
        rate = float(torch.sigmoid(module.w.detach()))
    elif kind is neuron.LIFNode:
        rate = 1.0 / float(module.tau)
    else:
        raise UnsupportedError(f"a {kind.__name__} has no rule; use LIFNode, ParametricLIFNode or IFNode")
    return 1.0 - rate, rate if module.decay_input else 1.0


def _flat(arguments: Any) -> list[Any]:
    if isinstance(arguments, list | tuple):
        return [leaf for argument in arguments for leaf in _flat(argument)]
    return [arguments]


def _encoder(module: fx.GraphModule, outputs: list[fx.Node]) -> nn.Module:
    """The part of the network up to its first spiking layers."""
    if len(outputs) != 1:
        raise UnsupportedError(
            f"One spiking layer must read the image, but {len(outputs)} do; let the others read its spikes."
        )
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
