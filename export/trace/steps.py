"""A network that computes one time step after the other -> the same network on all steps at once.

    for t in range(T):                                     currents = conv(x)                    once, for all steps
        total = total + fc(lif(conv(x)))           =>      spikes = lif(stack([currents] * T))   [T, N, ...]
    return total / T                                       return fc(spikes).sum(0) / T

torch.fx has unrolled the loop. Of every value it is proved that it is step k of one that holds all steps: the k-th call
of every layer with a state reads step k of what its first call read step 0 of, and what has no state does the same to
the same. Where a step reads what another one left, only the layers themselves remember, or the network is refused.

Between `each_step(x)` and `all_steps(y)` the same is done for any number of steps.
"""

import copy
import operator
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from spikingjelly.activation_based import layer
from torch import fx, nn

from ...errors import UnsupportedError
from .neurons import remembers
from .shifted import named, of_all_steps

ONE_STEP = (
    "layers that read spikes must run in multi-step mode, step_mode='m', or in a loop over time, as "
    "spikeport.OverTime(network, time_steps) is"
)
EACH = "each step"
EACH_IMAGE = "each image"  # of all steps, as if they were one batch
At = int | str


class OverTime(nn.Module):
    """A network in single-step mode, run `time_steps` times on one image: the mean of its answers.

    frames: it reads frames [T, N, ...], one in each step, instead of one image [N, ...].

    >>> import torch
    >>> from spikingjelly.activation_based import neuron
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10), neuron.LIFNode()).eval()
    >>> traced = spikeport.trace(spikeport.OverTime(network, 4), torch.rand(1, 1, 8, 8), 4)
    >>> traced.graph.time_steps
    4
    """

    def __init__(self, network: nn.Module, time_steps: int, *, frames: bool = False) -> None:
        super().__init__()
        self.network, self.time_steps, self.frames = network, time_steps, frames
        self.train(network.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total: Any = 0.0
        for t in range(self.time_steps):
            total = total + self.network(x[t] if self.frames else x)
        return total / self.time_steps  # type: ignore[no-any-return]


def each_step(x: Any) -> Any:
    """One step of x [T, N, ...], any of them. A sign in the graph, which `in_multi_step` takes out."""
    raise NotImplementedError


def each_image(x: Any) -> Any:
    """x [T, N, ...] as one batch. A sign, too."""
    raise NotImplementedError


def all_steps(x: Any) -> Any:
    """All steps [T, N, ...] of what became of one. A sign, too."""
    raise NotImplementedError


RANDOM = ("rand", "bernoulli", "poisson", "normal")  # how names of what is drawn anew in every step begin
NEXT_STEP = (
    "only neurons and recurrent containers can remember a step; use layer.LinearRecurrentContainer, or step_mode='m'"
)


@dataclass(frozen=True, slots=True)
class Whole:
    """As it was: without time, or with all steps."""

    node: fx.Node


@dataclass(frozen=True, slots=True)
class Step:
    """Step `at` of a node of all steps."""

    node: fx.Node
    at: At


@dataclass(frozen=True, slots=True)
class Sum:
    """Of some steps of a node of all steps."""

    node: fx.Node
    at: tuple[At, ...]


Value = Whole | Step | Sum


def in_multi_step(module: fx.GraphModule) -> fx.GraphModule:
    """The network itself, where it takes all steps at once already."""
    modules = dict(module.named_modules())
    calls = Counter(
        str(n.target)
        for n in module.graph.nodes
        if n.op == "call_module" and remembers(modules[str(n.target)]) and _single(modules[str(n.target)])
    )
    signs = any(n.target in (each_step, each_image) for n in module.graph.nodes)
    if not signs and max(calls.values(), default=0) < 2:
        return module
    return _Roll(module, modules, calls).run()


def _single(module: nn.Module) -> bool:
    return getattr(module, "step_mode", "m") == "s"


class _Roll:
    """One pass over the unrolled graph: node -> which step of which node of the new graph it is."""

    def __init__(self, module: fx.GraphModule, modules: dict[str, nn.Module], calls: Counter[str]) -> None:
        self.module, self.modules, self.calls = module, modules, calls
        self.steps = most if (most := max(calls.values(), default=0)) > 1 else 0  # of a loop, if there is one
        self.graph = fx.Graph()
        self.held: dict[str, Any] = {}
        self.made: dict[Any, fx.Node] = {}
        self.values: dict[fx.Node, Value] = {}
        self.called: Counter[str] = Counter()
        self.first: dict[str, fx.Node] = {}  # layer with a state -> what its first call read

    def run(self) -> fx.GraphModule:
        for node in self.module.graph.nodes:
            where = f"{node.target}" if node.op == "call_module" else f"{node.op} {node.name}"
            try:
                if node.op == "output":
                    self.graph.output(fx.node.map_arg(node.args[0], lambda n: self._whole(self.values[n])))
                else:
                    self.values[node] = self._value(node)
            except UnsupportedError as error:
                raise UnsupportedError(f"Layer '{where}': {error}.") from error
        rolled = fx.GraphModule(self.held, self.graph)
        rolled.graph.eliminate_dead_code()
        rolled.recompile()
        rolled.meta["rolled"] = True
        return rolled.eval()

    def _value(self, node: fx.Node) -> Value:
        given = [self.values[n] for n in node.all_input_nodes]
        if node.target in (each_step, each_image):
            return Step(self._whole(given[0]), EACH if node.target is each_step else EACH_IMAGE)
        if node.target is all_steps:
            if not isinstance(given[0], Step) or isinstance(given[0].at, int):
                raise UnsupportedError("it is the same in all steps; compute it outside")
            return Whole(given[0].node)
        if node.op == "call_module" and remembers(self.modules[str(node.target)]):
            return self._layer(node, str(node.target), given)
        item = self._item(node)
        if item is not None:
            return item
        if any(isinstance(value, Sum) for value in given) or len({v.at for v in given if isinstance(v, Step)}) > 1:
            return self._over_steps(node)
        at = next((value.at for value in given if isinstance(value, Step)), None)
        if at is None:
            return Whole(self._copied(node))
        if self._adds_nothing(node):
            return next(value for value in given if isinstance(value, Step))
        return Step(self._shifted(node), at)

    def _layer(self, node: fx.Node, path: str, given: list[Value]) -> Value:
        """A call of what remembers: the k-th one is step k."""
        module = self.modules[path]
        if len(given) != 1 or len(node.args) != 1:
            raise UnsupportedError(f"a {type(module).__name__} with {len(node.args)} inputs has no rule")
        x = given[0]
        if not _single(module):
            if not isinstance(x, Whole):
                raise UnsupportedError("it reads one step, and is in multi-step mode; use step_mode='s'")
            return Whole(self._make("call_module", path, (x.node,), {}, node.name, module, once=True))
        if isinstance(x, Step) and x.at == EACH_IMAGE:
            raise UnsupportedError("neurons in a SeqToANNContainer take time for a batch; use MultiStepContainer")
        if isinstance(x, Step) and x.at == EACH:
            return Step(
                self._make("call_module", path, (x.node,), {}, node.name, _of_all_steps(module), once=True), EACH
            )
        return self._step_of_layer(node, path, x)

    def _step_of_layer(self, node: fx.Node, path: str, x: Value) -> Value:
        if not self.steps:
            raise UnsupportedError(ONE_STEP)
        at = self.called[path]
        self.called[path] += 1
        if self.calls[path] != self.steps:
            raise UnsupportedError(
                f"it runs {self.calls[path]} times, and another layer {self.steps} times; each layer must run once in "
                "every step, and its membrane cannot serve two places"
            )
        if isinstance(x, Whole):  # the image, the same in all steps
            read = self._make("call_function", torch.stack, ([x.node] * self.steps,), {}, "steps", None)
        elif isinstance(x, Step) and x.at == at:
            read = x.node
        else:
            raise UnsupportedError(
                f"in step {at} it reads another step: a step depends on the one before, or its membrane would serve "
                f"two places; {NEXT_STEP}"
            )
        if self.first.setdefault(path, read) is not read:
            raise UnsupportedError(
                f"in step {at} it reads something else than in step 0: its membrane would serve two places, or a step "
                f"depends on the one before; {NEXT_STEP}"
            )
        return Step(self._make("call_module", path, (read,), {}, node.name, _of_all_steps(self.modules[path])), at)

    def _item(self, node: fx.Node) -> Step | None:
        """x[t] of frames [T, N, ...], and x[:, t] of [N, T, ...]."""
        if node.target is not operator.getitem or not self.steps:
            return None
        (source, index), x = node.args, self.values.get(node.args[0])  # type: ignore[arg-type]
        if not isinstance(x, Whole) or not isinstance(source, fx.Node) or source.target in (getattr, "size"):
            return None
        if isinstance(index, tuple) and len(index) == 2 and index[0] == slice(None) and type(index[1]) is int:
            turned = self._make("call_method", "transpose", (x.node, 0, 1), {}, "frames", None)
            return Step(turned, index[1])
        return Step(x.node, index) if type(index) is int and 0 <= index < self.steps else None

    def _over_steps(self, node: fx.Node) -> Value:
        """What brings steps together: their sum, or a list of them that is stacked."""
        parts = node.args[0] if node.args else None
        values = [self.values[n] for n in node.all_input_nodes]
        if named(node.target) in ("stack", "cat") and isinstance(parts, list | tuple):
            return self._stacked(node, [self.values[n] for n in parts if isinstance(n, fx.Node)])
        if named(node.target) in ("add", "iadd") and not node.kwargs and len(values) == 2:
            steps = [(v.node, v.at if isinstance(v, Sum) else (v.at,)) for v in values if not isinstance(v, Whole)]
            if len(steps) == 2 and steps[0][0] is steps[1][0] and not set(steps[0][1]) & set(steps[1][1]):
                return Sum(steps[0][0], steps[0][1] + steps[1][1])
        if any(isinstance(v, Sum) and set(v.at) == {*range(self.steps)} for v in values) and not any(
            isinstance(v, Step) for v in values
        ):
            return Whole(self._copied(node))
        raise UnsupportedError(f"it brings different steps together; add them up, or stack all of them; {NEXT_STEP}")

    def _stacked(self, node: fx.Node, values: list[Value]) -> Value:
        dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
        nodes = {v.node for v in values}
        at = [v.at for v in values if isinstance(v, Step)]
        if dim != 0 or len(nodes) != 1 or at != [*range(self.steps)]:
            raise UnsupportedError("only all steps of one value stack, in order and on dim 0")
        whole = nodes.pop()
        if named(node.target) == "stack":
            return Whole(whole)
        if named(whole.target) != "unsqueeze" or whole.args[1] != 1:
            raise UnsupportedError("steps that are concatenated need x.unsqueeze(0); or use torch.stack")
        return Whole(whole.args[0])  # type: ignore[arg-type]

    def _adds_nothing(self, node: fx.Node) -> bool:
        """total = 0, total = zeros: the first step is added to nothing."""
        if named(node.target) not in ("add", "iadd") or len(node.args) != 2 or node.kwargs:
            return False
        other = next((a for a in node.args if not isinstance(self.values.get(a), Step)), 1.0)  # type: ignore[arg-type]
        if isinstance(other, fx.Node) and other.op == "get_attr":
            other = _attribute(self.module, str(other.target))
            return isinstance(other, torch.Tensor) and not other.any()
        return isinstance(other, int | float) and other == 0

    def _shifted(self, node: fx.Node) -> fx.Node:
        """What has no state, of all steps."""
        if node.op == "call_module":
            path = str(node.target)
            arguments = fx.node.map_arg(node.args, self._node)
            return self._make("call_module", path, arguments, {}, node.name, _of_all_steps(self.modules[path]))
        op, target, arguments = of_all_steps(node, self._node)
        return self._make(op, target, arguments, {}, node.name, None)

    # what is written

    def _copied(self, node: fx.Node) -> fx.Node:
        arguments, keywords = self._given(node, lambda n: self._whole(self.values[n]))
        held = None
        if node.op == "call_module":
            held = self.modules[str(node.target)]
        elif node.op == "get_attr":
            held = _attribute(self.module, str(node.target))
        drawn = named(node.target).startswith(RANDOM) or "Poisson" in type(held).__name__
        return self._make(node.op, node.target, arguments, keywords, node.name, held, once=drawn)

    def _given(self, node: fx.Node, to: Callable[[fx.Node], fx.Node]) -> tuple[Any, Any]:
        return fx.node.map_arg(node.args, to), fx.node.map_arg(node.kwargs, to)

    def _make(
        self, op: str, target: Any, arguments: Any, keywords: Any, name: str, held: Any, once: bool = False
    ) -> fx.Node:
        """A node of the new graph; the same again is the same node, unless it is `once`."""
        if held is not None and isinstance(held, nn.Module):
            target = self._hold(str(target), held)
        elif op == "get_attr":
            self.held[str(target)] = held
        key = object() if once else (op, target, _key(arguments), _key(keywords))
        if key not in self.made:
            self.made[key] = self.graph.create_node(op, target, tuple(arguments), dict(keywords), name=name)
        return self.made[key]

    def _hold(self, path: str, module: nn.Module) -> str:
        """Under its own path; a layer that is used for an image and for steps has two."""
        while _form(self.held.get(path, module)) != _form(module):
            path += "_of_steps"
        self.held.setdefault(path, module)
        return path

    def _node(self, node: Any) -> fx.Node:
        return self.values[node].node

    def _whole(self, value: Value) -> fx.Node:
        if isinstance(value, Whole):
            return value.node
        if isinstance(value, Sum):
            if set(value.at) != {*range(self.steps)}:
                raise UnsupportedError(f"a sum of {len(value.at)} of {self.steps} time steps; add all of them up")
            return self._make("call_method", "sum", (value.node, 0), {}, "total", None)
        if not isinstance(value.at, int):
            raise UnsupportedError("one step goes out of its container")
        index = -1 if value.at == self.steps - 1 else value.at
        return self._make("call_function", operator.getitem, (value.node, index), {}, "step", None)


def _form(module: nn.Module) -> tuple[Any, ...]:
    return type(module), getattr(module, "step_mode", None)


def _of_all_steps(module: nn.Module) -> nn.Module:
    """The layer for [T, N, ...], of the same parameters."""
    if not hasattr(module, "step_mode"):
        container: nn.Module = layer.SeqToANNContainer(module)
        return container.eval()
    if module.step_mode != "s":
        raise UnsupportedError("it reads one step, and is in multi-step mode; use step_mode='s'")
    twin: Any = copy.copy(module)
    if "_memories" in vars(twin):
        twin._memories = dict(twin._memories)
    twin.step_mode = "m"
    found: nn.Module = twin
    return found


def _attribute(module: Any, path: str) -> Any:
    for part in path.split("."):
        module = getattr(module, part)
    return module


def _key(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return (type(value).__name__, *map(_key, value))
    if isinstance(value, dict):
        return tuple((k, _key(v)) for k, v in sorted(value.items()))
    if isinstance(value, slice):
        return ("slice", _key(value.start), _key(value.stop), _key(value.step))
    return value
