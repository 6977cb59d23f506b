"""torch.fx: a trained SpikingJelly network -> SpikingGraph and the encoder that stands before it.

SpikingJelly's modules are leaves. Every value is either *real* (computed on the host, before the first spiking layer:
the encoder) or a linear expression of spikes (`linear.py`). A spiking layer turns an expression into a Population; all
that lies between two spiking layers disappears into Projections by the rules of `rules.py`. What has no rule stops the
trace.
"""

import operator
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from spikingjelly.activation_based import functional, layer
from torch import fx, nn

from ...errors import InputError, UnsupportedError
from ..graph import Conv, Population, Projection, SpikeInput, SpikingGraph, check
from . import linear, views
from .arrange import arranged, bound
from .ends import ended, readout
from .layout import Batch, canonical, sizes_of
from .linear import Expression
from .neurons import population_of
from .products import PRODUCTS
from .recurrent import fed_back
from .rules import FUNCTIONS, along, pair
from .shapes import Real, asks_shape, known, note_shapes, shape_asked, turns
from .steps import ONE_STEP
from .symbolic import RECURRENT, is_spiking
from .symbolic import population_name as population_name
from .symbolic import spiking_layers as spiking_layers
from .symbolic import symbolic as symbolic
from .tokens import applied, as_map, line_of, rest_of

MAX_POOLS_OF_LINES = (nn.MaxPool1d, layer.MaxPool1d)
MAX_POOLS = (nn.MaxPool2d, layer.MaxPool2d, *MAX_POOLS_OF_LINES)


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
    [1, T, C, H, W] where the network transposes them first, `frames.transpose(0, 1)`. What it returns is a linear layer
    or spikes, averaged or summed over time, or [T, N, classes], whose mean is meant (`ends.py`).

    Raises UnsupportedError that names the module that cannot be carried, and InputError where the network does not run
    on the example. Membranes are reset.

    >>> network, images = spikeport.example_network()
    >>> traced = spikeport.trace(network, images[:1], 4)
    >>> [population.name for population in traced.graph.populations]
    ['hidden', 'readout']
    """
    if any(module.training for module in network.modules()):
        raise UnsupportedError("Tracing needs the trained network in eval mode: call network.eval() first.")
    try:
        module = symbolic(network, example)
        found = note_shapes(module, example, reads_spikes)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"The network must run on an example of shape {list(example.shape)}, but stops: "
            f"{str(error).splitlines()[0]}"
        ) from error
    finally:
        functional.reset_net(network)
    walk = _Walk(module, time_steps, reads_spikes)
    spiking = walk.run()
    _check_rolled(module, network, example, found)
    encoder = None if reads_spikes else _encoder(module, walk.encoder_nodes)
    return Traced(graph=check(spiking), encoder=encoder)


def _check_rolled(module: fx.GraphModule, network: nn.Module, example: torch.Tensor, found: Any) -> None:
    """Where steps became layers of all steps, the answer is still that of the network."""
    if "rolled" not in module.meta or not isinstance(found, torch.Tensor):
        return
    functional.reset_net(network)
    with torch.no_grad():
        wanted = network(example)
    functional.reset_net(network)
    if wanted.shape != found.shape or not torch.allclose(wanted, found, rtol=1e-4, atol=1e-5):
        raise UnsupportedError(
            "Run step by step the network answers otherwise than on all steps at once: it draws random numbers, or it "
            "keeps something from step to step that torch.fx does not see; let only neurons remember."
        )


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
        self.images = 1  # of the example
        self.pools: dict[Any, Expression] = {}  # the same max-pool twice is one population

    def run(self) -> SpikingGraph:
        for node in self.nodes:
            where = f"{node.target}" if node.op == "call_module" else f"{node.op} {node.name}"
            try:
                self.values[node] = self._fitting(self._value(node), node)
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
            return self._populate(*readout(self._answer(arguments[0]), self.time_steps))
        given = _flat([*arguments, *keywords.values()])
        if asks_shape(node) and isinstance(arguments[0], Real | Expression):
            return shape_asked(node, arguments, keywords, self.time_steps)
        if node.op == "get_attr" or (given and not any(isinstance(value, Real | Expression) for value in given)):
            return Real() if node.op == "call_module" else known(node, self.root, arguments, keywords)
        if node.target is operator.getitem and isinstance(arguments[0], tuple):
            return arguments[0][arguments[1]]
        if not any(isinstance(value, Expression) for value in given):
            fires = node.op == "call_module" and is_spiking(self.modules[str(node.target)])
            return self._encoded(node) if fires else Real()
        if any(isinstance(value, Real) for value in given):
            raise UnsupportedError(
                "it mixes spikes with values that are not spikes; let one spiking layer read the image, and all others "
                "its spikes"
            )
        if node.op == "call_module":
            return self._module(node, self.modules[str(node.target)], given)
        return self._function(node, arguments, keywords)

    def _function(self, node: fx.Node, arguments: Any, keywords: Any) -> Any:
        x = arguments[0] if arguments else None
        if isinstance(x, Expression) and x.layout is None:
            end = ended(node.target, self.time_steps, arguments, keywords)
            if end is not None:
                return end
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
        if getattr(module, "step_mode", "m") != "m" and (steps_apart or is_spiking(module)):
            raise UnsupportedError(ONE_STEP)
        if is_spiking(module):
            return self._neurons(node, module, x)
        if type(module) in MAX_POOLS:
            if x.layout is None:
                return self._max_pool(node, module, x)
            line = line_of(x, layout)
            x, lead = as_map(x, line or layout, type(module).__name__)
            y = self._max_pool(node, module, x)
            return views.shown(y, lead + rest_of(y, self.time_steps, is_line=line is not None), self.time_steps)
        return applied(x, module, self.time_steps)

    def _encoded(self, node: fx.Node) -> Expression:
        """The spikes of a layer that reads the image: an input of the graph."""
        module: Any = self.modules[str(node.target)]
        if module.step_mode != "m":
            raise UnsupportedError(ONE_STEP)
        if not node.meta["binary"]:
            raise UnsupportedError(f"what a {type(module).__name__} gives is not 0 or 1; let LIFNode read the image")
        self.encoder_nodes.append(node)
        return self._input(node, population_name(str(node.target)))

    def _input(self, node: fx.Node, name: str) -> Expression:
        """Of lines [T, N, C, L] the map has one row."""
        steps, self.images, *shape = node.meta["shape"]
        if steps != self.time_steps:
            raise UnsupportedError(f"it has {steps} time steps, but the network is said to have {self.time_steps}")
        is_line = len(shape) == 2
        shape = (shape[0], 1, shape[1]) if is_line else tuple(shape)
        self.inputs.append(SpikeInput(name=name, shape=shape))
        x, layout = linear.spikes_of(name, shape), canonical(shape, steps)
        return views.shown(x, layout[:3] + layout[4:], steps) if is_line else x

    def _neurons(self, node: fx.Node, module: nn.Module, x: Expression) -> Expression:
        name = population_name(str(node.target))
        known = {population.name for population in self.populations} | {entering.name for entering in self.inputs}
        if name in known:
            raise UnsupportedError("its neurons are used twice with one membrane; give every layer a module of its own")
        if x.averaged:
            raise UnsupportedError("a spiking layer after the mean over time has no rule; take the mean last")
        layout = views.layout_of(x, self.time_steps)
        if layout[0] != canonical((), self.time_steps)[0]:
            raise UnsupportedError("a spiking layer needs time as an axis of its own, the first one, [T, N, ...]")
        if isinstance(module, RECURRENT):
            x, module = fed_back(x, module, name, FUNCTIONS)
            layout = views.layout_of(x, self.time_steps)
        return views.shown(self._populate(*population_of(name, module, x)), layout, self.time_steps)

    def _answer(self, x: Any) -> Any:
        """What is returned, one number for each class, as a flat value."""
        if isinstance(x, Expression) and x.shape[1:] == (1, 1) and x.layout and len(x.layout) == 2 - x.averaged + 1:
            return as_map(x, views.layout_of(x, self.time_steps), "readout")[0]
        return x

    def _fitting(self, value: Value, node: fx.Node) -> Value:
        """The value, if torch's has the shape that its rule says."""
        shape = node.meta.get("shape")
        if isinstance(value, Expression) and shape is not None and node.op != "output":
            sizes = sizes_of(views.layout_of(value, self.time_steps))
            told = [size.times * self.images if isinstance(size, Batch) else size for size in sizes]
            if told != list(shape):
                raise UnsupportedError(
                    f"it gives {list(shape)}, of which the rule knows {told} only; time and batch must stay the first "
                    "two axes"
                )
        return value

    def _max_pool(self, node: fx.Node, module: Any, x: Expression) -> Expression:
        """The maximum of 0/1 is OR: a population that fires as soon as one of its inputs does."""
        unit = linear.unit_of(x)
        if unit is None:
            raise UnsupportedError(
                "max-pool is exact on spikes only; put it directly behind a spiking layer, or use an average pool"
            )
        if not x.binary:  # the larger of 0 and u
            return linear.scaled(self._max_pool(node, module, linear.spikes_in(x)), unit)
        lines = type(module) in MAX_POOLS_OF_LINES
        size, stride, padding, dilation = (
            along(getattr(module, word), across) if lines else pair(getattr(module, word))
            for word, across in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1))
        )
        if dilation != (1, 1) or module.ceil_mode:
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
        one, other = linear.unit_of(a), linear.unit_of(b)
        if node.target in PRODUCTS and one and other and not (a.binary and b.binary):
            return linear.scaled(self._gate(node, role, linear.spikes_in(a), linear.spikes_in(b)), one * other)
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

    def _populate(self, x: Expression, population: Population) -> Expression:
        self.populations.append(population)
        for term in linear.merged(x.terms):
            self.projections.append(Projection(source=term.source, target=population.name, kernel=term.kernel))
        return linear.spikes_of(population.name, population.shape)

    def _values(self, arguments: Any) -> Any:
        """The same nesting with every fx node replaced by its value."""
        return fx.node.map_arg(arguments, cast(Any, self.values.__getitem__))


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
    found = copies[outputs[0]]
    graph.output(graph.call_method("unsqueeze", (found, 3)) if len(outputs[0].meta["shape"]) == 4 else found)
    return fx.GraphModule(module, graph).eval()


def _ancestors(node: fx.Node) -> set[fx.Node]:
    found, open_nodes = {node}, [node]
    while open_nodes:
        for source in open_nodes.pop().all_input_nodes:
            if source not in found:
                found.add(source)
                open_nodes.append(source)
    return found
