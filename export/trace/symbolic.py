"""torch.fx: a network as a graph of the modules and functions that it calls, in multi-step mode whatever it was in.

Leaves are the modules that tracing has a rule for. What SpikingJelly computes step by step inside (containers,
`multi_step_forward`) and what a network computes in a loop over time becomes layers that take all steps (`steps.py`).
Options of the forward pass have their defaults.
"""

import inspect
import linecache
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import spikingjelly
import torch
from spikingjelly.activation_based import base, functional, layer
from torch import fx, nn

from ...errors import UnsupportedError
from .following import Following
from .neurons import is_neuron
from .registry import rule_of
from .steps import all_steps, each_image, each_step, in_multi_step

RECURRENT = (layer.LinearRecurrentContainer, layer.ElementWiseRecurrentContainer)
CONTAINERS = (layer.MultiStepContainer, layer.SeqToANNContainer, layer.StepModeContainer)
STEP_BY_STEP: dict[Any, Callable[..., Any]] = {
    functional.multi_step_forward: each_step,
    functional.seq_to_ann_forward: each_image,
}
NOT_FOLLOWED = (fx.proxy.TraceError, TypeError, AttributeError, NotImplementedError)
FOREIGN = tuple(str(Path(path).parent) for path in (torch.__file__, str(spikingjelly.__file__), __file__))


def symbolic(network: nn.Module, example: torch.Tensor | None = None) -> fx.GraphModule:
    """The network as an fx graph. An example tells shapes, where its control flow depends on them.

    Raises UnsupportedError that names the line that torch.fx cannot follow.
    """
    modules: Any = (functional, functional.forward)
    tracer = _Tracer(modules, tuple(STEP_BY_STEP))
    try:
        graph = tracer.trace(network, concrete_args=_options(network))
    except NOT_FOLLOWED as error:
        if example is not None:
            return _followed(network, example, tracer.is_leaf_module)
        raise _depends_on_data(error) from error
    _without_assertions(graph)
    return in_multi_step(fx.GraphModule(network, graph))


def _followed(network: nn.Module, example: torch.Tensor, leaf: Callable[[nn.Module, str], bool]) -> fx.GraphModule:
    """Likewise, computed on an example as it goes."""
    functional.reset_net(network)
    try:
        return in_multi_step(fx.GraphModule(network, Following(example, leaf).trace(network)))
    except NOT_FOLLOWED as error:
        raise _depends_on_data(error) from error


def _depends_on_data(error: Exception) -> UnsupportedError:
    return UnsupportedError(
        f"The network's forward pass must not depend on the data, but torch.fx says: {_reason(error)}{_line(error)}. "
        "Let it compute the same for every input; numbers, as of time steps, can be attributes of the network."
    )


def spiking_layers(module: fx.GraphModule) -> dict[str, fx.Node]:
    """Population name -> node of every spiking layer, in the order of execution."""
    modules = dict(module.named_modules())
    nodes = [n for n in module.graph.nodes if n.op == "call_module" and is_spiking(modules[str(n.target)])]
    return {population_name(str(n.target)): n for n in nodes}


def is_spiking(module: Any) -> bool:
    """Whether a leaf of the graph gives spikes: neurons, alone or in a recurrent container."""
    return is_neuron(module) or isinstance(module, RECURRENT)


def population_name(path: str) -> str:
    """A population is named by the module path of its neurons, or of their recurrent container, without the attribute
    `lif` itself; of a network that was imported by the path inside it."""
    return path.removesuffix(".lif").removeprefix("imported.")


class _Tracer(fx.Tracer):
    trace_asserts = True

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if type(m) in CONTAINERS:
            return isinstance(m, layer.SeqToANNContainer) and all(rule_of(part) is not None for part in m)
        known = isinstance(m, base.StepModule) or rule_of(m) is not None or is_neuron(m)
        return known or super().is_leaf_module(m, module_qualified_name)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *more: Any, **others: Any) -> Any:
        enters = STEP_BY_STEP.get(target) if kind == "call_function" else None
        if enters is None:
            return super().create_proxy(kind, target, args, kwargs, *more, **others)
        given: tuple[Any, ...] = (*args, *kwargs.values())
        x, parts = given
        value = super().create_proxy("call_function", enters, (x,), {})
        for part in parts if isinstance(parts, list | tuple) else (parts,):
            value = part(value)
        return super().create_proxy("call_function", all_steps, (value,), {})

    def to_bool(self, obj: fx.Proxy) -> bool:
        """What is asserted is taken to be true."""
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_filename.startswith(FOREIGN):
            frame = frame.f_back
        if linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip().startswith("assert "):
            return True
        return super().to_bool(obj)


def _options(network: nn.Module) -> dict[str, Any] | None:
    """The defaults of what the forward pass takes beside the first argument."""
    parameters = list(inspect.signature(type(network).forward).parameters.values())[2:]
    found = {p.name: p.default for p in parameters if p.default is not p.empty and p.kind is not p.VAR_KEYWORD}
    return found or None


def _without_assertions(graph: fx.Graph) -> None:
    """fx writes into the graph that options have their defaults; they are no part of the network."""
    for node in list(graph.nodes):
        if node.target is torch._assert:
            graph.erase_node(node)
    for node in reversed(list(graph.nodes)):
        if not node.users and (node.op in ("call_function", "call_method") or _is_option(graph, node)):
            graph.erase_node(node)


def _is_option(graph: fx.Graph, node: fx.Node) -> bool:
    return node.op == "placeholder" and node is not next(n for n in graph.nodes if n.op == "placeholder")


def _reason(error: Exception) -> str:
    """The first sentence."""
    return str(error).strip().splitlines()[0].split(". ")[0].rstrip(".")


def _line(error: Exception) -> str:
    """The last line of the user's that led to it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(FOREIGN)]
    if not frames:
        return ""
    return f" (line {frames[-1].lineno} of {Path(frames[-1].filename).name}: `{(frames[-1].line or '').strip()}`)"
