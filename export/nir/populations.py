"""The populations and projections of a NIR graph whose signals are read."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from ...errors import InputError, UnsupportedError
from ..graph import Array, Dense, Population, Projection, Shape, SpikingGraph, neurons
from ..trace import linear
from ..trace.linear import Term
from .delays import joined
from .file import Node
from .linear_nodes import Spikes, expression, matrix_of
from .metadata import Fires
from .neurons import NEURONS, READOUTS, Step
from .order import sorted_by
from .signals import Signals, refusing

Reset = Literal["zero", "subtract", "subtract later"]
Answer = Literal["sum", "mean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a file does not say."""

    time_steps: int
    fires: Fires
    reset: Reset
    answer: Answer


@dataclass(slots=True, kw_only=True)
class Populations:
    """notes: what was decided is added to them."""

    signals: Signals
    choices: Choices
    notes: list[str]
    populations: list[Population] = field(default_factory=list)
    projections: list[tuple[int, Projection]] = field(default_factory=list)  # with the place of its edge in the file

    def read(self) -> None:
        integrator = self.signals.integrator()
        if integrator:
            self.notes.append(f"the answer is the membrane of '{integrator}' after the last step")
        for name in self.signals.order.nodes:
            node = self.signals.node(name)
            if node.kind in READOUTS and name != integrator:
                raise UnsupportedError(
                    f"{node.where} is not what the network ends in, and a spiking graph has one readout; take it out, "
                    "or say by `output` that it is meant."
                )
            if node.kind in NEURONS:
                self._populate(node)
        if not integrator:
            self._sum_up(self.signals.node(self.signals.last))

    def graph(self) -> SpikingGraph:
        """Populations after their sources, projections in the order of their edges; the readout last."""
        after: dict[str, list[str]] = {p.name: [] for p in self.populations}
        ready = sorted(self.populations, key=lambda p: p.role == "readout")
        waits = {p.name: 0 for p in ready}
        projections = joined([p for _, p in sorted(self.projections, key=lambda pair: pair[0])])
        for projection in projections:
            if projection.source in after and projection.source != projection.target:
                after[projection.source].append(projection.target)
                waits[projection.target] += 1
        by_name = {p.name: p for p in self.populations}
        return SpikingGraph(
            inputs=tuple(self.signals.inputs),
            populations=tuple(by_name[name] for name in sorted_by(after, waits)),
            projections=tuple(projections),
            time_steps=self.choices.time_steps,
        )

    def _populate(self, node: Node) -> None:
        step, shape = NEURONS[node.kind](node, self.signals.clock), self.signals.shapes[node.name]
        spiking = node.kind not in READOUTS
        if step.starts_elsewhere:
            self.notes.append(f"{node.where} starts at v_reset, not at v_leak, where Norse starts")
        constant = self._join(node, step.gain, shape)
        if step.current_decay and constant.any():
            constant = self._filtered(node.name, constant, shape)
        population = Population(
            name=node.name,
            shape=shape,
            decay=step.decay,
            current_decay=step.current_decay,
            threshold=self._threshold(step) if spiking else np.inf,
            bias=constant + step.bias,
            reset="zero" if self.choices.reset == "zero" or not spiking else "subtract",
            role="neuron" if spiking else "readout",
        )
        self.populations.append(population)
        if spiking and self.choices.reset == "subtract later" and step.decay < 1:
            self._take_off_later(node, population)

    def _threshold(self, step: Step) -> float:
        """v > x holds where v >= the next number after x."""
        return float(np.nextafter(step.threshold, np.inf)) if self.choices.fires == ">" else step.threshold

    def _join(self, node: Node, gain: float | Array, shape: Shape) -> Array:
        """Adds the projections into a node; what arrives in every step, [C] or [N]."""
        constant, order = np.zeros(shape[0]), self.signals.order
        for edge in order.into[node.name]:
            signal = self.signals.signal(order.network.edges[edge][0])
            if signal.shape != shape:
                raise InputError(
                    f"{node.where} has shape {list(shape)}, but reads {list(signal.shape)}; write the file again."
                )
            with refusing(node):
                x = expression(signal)
                if np.any(gain != 1.0):
                    x = linear.scaled(x, gain)
                self.projections += [(edge, self._projection(term, node.name, shape)) for term in x.terms]
            constant = constant + x.constant
        return constant

    def _projection(self, term: Term, target: str, shape: Shape) -> Projection:
        source, waits = self.signals.delays.real(term.source)
        if waits is None:
            return Projection(source=source, target=target, kernel=term.kernel)
        kernel = matrix_of(term, shape)
        delay = np.array(np.broadcast_to(waits, kernel.weight.shape))
        return Projection(source=source, target=target, kernel=kernel, delay=delay)

    def _filtered(self, target: str, constant: Array, shape: Shape) -> Array:
        """A bias that goes through the synaptic filter is a synapse of a neuron that fires in every step."""
        name = f"{target}.bias"
        self.notes.append(f"the bias of '{target}' goes through its synaptic filter: '{name}' fires it in every step")
        self.populations.append(Population(name=name, shape=(1,), decay=0.0, threshold=1.0, bias=np.ones(1)))
        weight = np.repeat(constant, neurons(shape[1:]))[:, None]
        last = len(self.signals.order.network.edges)
        self.projections.append((last, Projection(source=name, target=target, kernel=Dense(weight=weight))))
        return np.zeros(shape[0])

    def _take_off_later(self, node: Node, population: Population) -> None:
        """The part of the threshold that the decay spares: decay (v - th) - (1 - decay) th = decay v - th."""
        if population.current_decay:
            raise UnsupportedError(
                f"{node.where}: a threshold taken off one step later would go through the synaptic filter; train it "
                "with reset_mechanism='zero', reset_delay=False."
            )
        taken = linear.identity(population.shape)
        weight = -(1.0 - float(population.decay)) * float(population.threshold) * taken.weight
        joins = Projection(source=node.name, target=node.name, kernel=replace(taken, weight=weight))
        self.projections.append((len(self.signals.order.network.edges), joins))

    def _sum_up(self, node: Node) -> None:
        """The readout behind a network that ends without one."""
        x = self.signals.total(node)
        what = "spikes" if isinstance(x, Spikes) else "what comes out of the last layer"
        self.notes.append(f"the answer is the {self.choices.answer} over time of {what}")
        share = 1.0 / self.choices.time_steps if self.choices.answer == "mean" else 1.0
        bias = self._join(node, share, x.shape)
        self.populations.append(
            Population(name=node.name, shape=x.shape, decay=1.0, threshold=np.inf, bias=bias, role="readout")
        )
