"""What leaves each node of a NIR graph: spikes of a source, or a linear expression of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ...errors import InputError, UnsupportedError
from ..graph import Shape, SpikeInput, neurons
from ..trace import linear
from .delays import Delays
from .file import Network, Node
from .linear_nodes import RULES, Signal, Spikes, expression, image_shape
from .neurons import NEURONS, READOUTS, Clock, parameter_shape
from .order import Order

MAX_NEURONS = 2**24  # of a node, as of a layer of NetX
PASSES = ("Output", "Through")


def ending_in(network: Network, wanted: str | None) -> tuple[Network, str]:
    """The network with one Output, and its name: the one that is wanted, or one behind the only end there is."""
    sources, targets = ({edge[side] for edge in network.edges} for side in (0, 1))
    outputs = [name for name, node in network.nodes.items() if node.kind == "Output"]
    ends = outputs or [name for name in network.nodes if name not in sources]
    if wanted is not None and wanted not in ends:
        raise InputError(f"There is no Output '{wanted}'; choose from {', '.join(ends)}.")
    if wanted is None and len(ends) != 1:
        raise UnsupportedError(
            f"a spiking graph has one readout, but this one has {len(ends)} ends"
            f"{': ' if ends else ''}{', '.join(ends[:5])}; say which by `output`."
        )
    last = wanted or ends[0]
    if not outputs:
        name = next(
            name for name in ("output", *(f"output{i}" for i in range(len(ends) + 2))) if name not in network.nodes
        )
        nodes = {**network.nodes, name: Node(name=name, kind="Output", values={})}
        return Network(nodes=nodes, edges=(*network.edges, (last, name)), metadata=network.metadata), name
    if last not in targets or last in sources:
        raise InputError(f"Output '{last}' must read something and lead nowhere; write the file again.")
    kept = {name: node for name, node in network.nodes.items() if node.kind != "Output" or name == last}
    edges = tuple(edge for edge in network.edges if set(edge) <= set(kept))
    return Network(nodes=kept, edges=edges, metadata=network.metadata), last


@dataclass(slots=True, kw_only=True)
class Signals:
    """Goes through the nodes in their order."""

    order: Order
    clock: Clock
    delays: Delays
    input_shape: Shape | None
    last: str  # the Output
    values: dict[str, Signal | None] = field(default_factory=dict)  # None: a membrane, which no kernel reads
    shapes: dict[str, Shape] = field(default_factory=dict)  # of inputs and populations
    inputs: list[SpikeInput] = field(default_factory=list)

    def node(self, name: str) -> Node:
        return self.order.network.nodes[name]

    def read(self) -> None:
        for name in self.order.nodes:
            node = self.node(name)
            if node.kind == "Input":
                self._enter(node)
            elif node.kind in NEURONS:
                self._declare(node)
            elif name != self.last:
                self.values[name] = self._value(node)

    def signal(self, name: str) -> Signal:
        """What another node reads. Raises UnsupportedError for a membrane."""
        found = self.values[name]
        if found is None:
            raise UnsupportedError(
                f"{self.node(name).where} sends its membrane to others, and populations send spikes; let an LI or I "
                "lead to the Output alone."
            )
        return found

    def integrator(self) -> str | None:
        """The LI or I whose membrane is what the Output gives, if it does."""
        name = self.last
        while name == self.last or (self.node(name).kind in PASSES and self.values[name] is None):
            before = self.order.before(name)
            if len(before) != 1:
                return None
            (name,) = before
        return name if self.values[name] is None else None

    def _enter(self, node: Node) -> None:
        """An Input: its shape stands in the file, or is asked for."""
        if self.order.before(node.name):
            raise InputError(f"{node.where} must stand first, but something leads into it; take that edge out.")
        key = next((key for key in ("shape", "input_type") if key in node.values), None)
        found: Shape | None = node.whole(key) if key else None
        given = self.input_shape and tuple(self.input_shape)
        shape = found or given or self._wanted_by_next(node)
        if shape is None:
            raise InputError(f"{node.where} has no shape, and what reads it tells none; give input_shape.")
        if found and given and image_shape(given) != image_shape(found):
            raise InputError(f"{node.where} has shape {list(found)}, but input_shape is {list(given)}.")
        shape = image_shape(shape)
        if len(shape) not in (1, 3) or min(shape) < 1 or neurons(shape) > MAX_NEURONS:
            raise InputError(f"{node.where} must have a shape [N], [C, L] or [C, H, W], but has {list(shape)}.")
        self.inputs.append(SpikeInput(name=node.name, shape=shape))
        self._source(node.name, shape)

    def _wanted_by_next(self, node: Node) -> Shape | None:
        """The shape that a full matrix, or a convolution that declares one, reads."""
        for name in self.order.after[node.name]:
            after = self.node(name)
            if after.kind in ("Linear", "Affine"):
                return after.stored("weight").shape[1:]
            if after.kind == "Conv2d" and "input_shape" in after.values:
                (groups,) = after.sizes("groups", 1, 1) if "groups" in after.values else (1,)
                return (after.stored("weight").shape[1] * groups, *after.whole("input_shape")[-2:])
        return None

    def _declare(self, node: Node) -> None:
        """A population's shape, from what enters it or from its parameters; its spikes can be read from here on."""
        parameters = parameter_shape(node)
        entering = [self.signal(name) for name in self.order.before(node.name) if name in self.values]
        shape = entering[0].shape if entering else image_shape(parameters)
        if not shape:
            raise InputError(
                f"{node.where} has no shape, and nothing that enters it tells one; give its parameters one."
            )
        per_channel = (shape[0], *(1,) * len(shape[1:]))
        if image_shape(parameters) != shape and parameters not in ((1,) * len(parameters), per_channel):
            raise InputError(
                f"{node.where} has parameters {list(parameters)}, but what enters it has shape {list(shape)}"
                f"{'; put a Flatten before it' if len(shape) > len(parameters) else '; write the file again'}."
            )
        self._source(node.name, shape)
        if node.kind in READOUTS:
            self.values[node.name] = None

    def _source(self, name: str, shape: Shape) -> None:
        self.shapes[name] = shape
        self.values[name] = Spikes(source=name, source_shape=shape, shape=shape)

    def _value(self, node: Node) -> Signal | None:
        """Of a stateless node."""
        sources = self.order.before(node.name)
        if node.kind in PASSES and len(sources) == 1 and self.values[sources[0]] is None:
            return None
        if node.kind != "Delay" and node.kind not in RULES:
            raise UnsupportedError(
                f"{node.where} is no neuron, synapse, pool or delay that has a rule; known are "
                f"{', '.join(sorted({*RULES, *NEURONS, 'Delay', 'Input'} - {'Through'}))}."
            )
        x = self.total(node)
        with refusing(node):
            return self.delays.node(node, x) if node.kind == "Delay" else RULES[node.kind](node, x)

    def total(self, node: Node) -> Signal:
        """The sum of what enters a node."""
        sources = self.order.before(node.name)
        if not sources:
            raise InputError(f"{node.where} reads nothing; connect it, or leave it out.")
        total = self.signal(sources[0])
        for name in sources[1:]:
            x = self.signal(name)
            if x.shape != total.shape:
                raise InputError(f"{node.where} reads shapes {list(total.shape)} and, of '{name}', {list(x.shape)}.")
            with refusing(node):
                total = linear.added(expression(total), expression(x))
        return total


@contextmanager
def refusing(node: Node) -> Iterator[None]:
    """A refusal inside names the node."""
    try:
        yield
    except UnsupportedError as error:
        if str(error).startswith(node.where):
            raise
        raise UnsupportedError(f"{node.where}: {str(error).removesuffix('.')}.") from error
