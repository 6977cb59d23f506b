"""Changes of a network's meaning: pure functions Meaning -> Meaning, or None where there is nothing to change.

Rules are those of neurons and readouts; relays, ORs and ANDs are ours, and nobody else has them.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ...export.graph import Array, Kernel, Population, Projection, SpikingGraph
from ...export.simulate import in_registers
from .rules import Meaning, Rules

Change = Callable[[Meaning], Meaning | None]


def computes(population: Population) -> bool:
    """Whether it has learnt weights: a neuron or the readout, no relay or gate."""
    return population.role in ("neuron", "readout")


def of_rules(change: Callable[[Rules, Population], Rules]) -> Change:
    """The rules of every population that computes, changed."""

    def changed(meaning: Meaning) -> Meaning | None:
        rules = {p.name: change(meaning.rules[p.name], p) for p in meaning.populations if computes(p)}
        found = {**meaning.rules, **rules}
        return None if found == meaning.rules else replace(meaning, rules=found)

    return changed


def rule(**values: Any) -> Change:
    """One rule set to a value, of neurons and readouts."""
    return of_rules(lambda rules, population: replace(rules, **values))


def rule_of_neurons(**values: Any) -> Change:
    """Likewise, of those that spike."""
    return of_rules(lambda rules, p: rules if p.role == "readout" else replace(rules, **values))


def of_integers(**values: Any) -> Change:
    """One rule of the chip's integers; a float network has none of it."""
    return of_rules(lambda rules, p: rules if rules.decay_rounding == "none" else replace(rules, **values))


def of_populations(change: Callable[[Population], Population]) -> Change:
    """The numbers of every population that computes, changed."""

    def changed(meaning: Meaning) -> Meaning | None:
        encoders = tuple(change(p) for p in meaning.encoders)
        populations = tuple(change(p) if computes(p) else p for p in meaning.graph.populations)
        before, after = (*meaning.encoders, *meaning.graph.populations), (*encoders, *populations)
        if not any(_differ(a, b) for a, b in zip(before, after, strict=True)):
            return None
        return replace(meaning, encoders=encoders, graph=replace(meaning.graph, populations=populations))

    return changed


def _differ(a: Population, b: Population) -> bool:
    words = ("decay", "current_decay", "threshold", "bias")
    return any(not np.array_equal(getattr(a, word), getattr(b, word)) for word in words)


def of_kernels(change: Callable[[Projection, SpikingGraph], Kernel | None]) -> Change:
    """The kernel of every projection onto what computes; None leaves it as it is."""

    def changed(meaning: Meaning) -> Meaning | None:
        computing = {p.name for p in meaning.graph.populations if computes(p)}
        projections, moved = [], False
        for projection in meaning.graph.projections:
            kernel = change(projection, meaning.graph) if projection.target in computing else None
            if kernel is None or np.array_equal(kernel.weight, projection.kernel.weight):
                projections.append(projection)
                continue
            moved = True
            projections.append(replace(projection, kernel=kernel))
        return replace(meaning, graph=replace(meaning.graph, projections=tuple(projections))) if moved else None

    return changed


def of_weights(change: Callable[[Array], Array]) -> Change:
    """The numbers of every kernel."""
    return of_kernels(lambda projection, graph: replace(projection.kernel, weight=change(projection.kernel.weight)))


def of_delays(change: Callable[[Any], Any]) -> Change:
    """The delay of every synapse that has one."""

    def changed(meaning: Meaning) -> Meaning | None:
        found, moved = [], False
        for projection in meaning.graph.projections:
            before = projection.delay
            if before is None:
                found.append(projection)
                continue
            after = change(before)
            moved = moved or not np.array_equal(before, after)
            found.append(replace(projection, delay=after))
        return replace(meaning, graph=replace(meaning.graph, projections=tuple(found))) if moved else None

    return changed


def scaled(factor: Callable[[Population, SpikingGraph], float | Array | None]) -> Change:
    """All that a population gets, synapses and bias, times a factor; None leaves it as it is."""

    def changed(meaning: Meaning) -> Meaning | None:
        asked = {p.name: factor(p, meaning.graph) for p in meaning.populations if computes(p)}
        factors = {name: by for name, by in asked.items() if by is not None and np.any(np.asarray(by) != 1.0)}
        if not factors:
            return None
        populations = [
            replace(p, bias=p.bias * _along(factors[p.name], p.bias)) if p.name in factors else p
            for p in meaning.graph.populations
        ]
        projections = [
            replace(p, kernel=replace(p.kernel, weight=p.kernel.weight * _along(factors[p.target], p.kernel.weight)))
            if p.target in factors
            else p
            for p in meaning.graph.projections
        ]
        graph = replace(meaning.graph, populations=tuple(populations), projections=tuple(projections))
        currents = {name: values * factors.get(name, 1.0) for name, values in meaning.currents.items()}
        return replace(meaning, graph=graph, currents=currents)

    return changed


def _along(factor: Any, values: Array) -> Any:
    """A factor for each of the first axis, where it is not one number."""
    found = np.asarray(factor)
    return found.reshape(-1, *([1] * (values.ndim - 1))) if found.ndim else factor


def scaled_input(factor: float) -> Change:
    """What enters the network from outside, times a factor."""

    def weights(projection: Projection, graph: SpikingGraph) -> Kernel | None:
        entering = {node.name for node in graph.inputs}
        kernel = projection.kernel
        return replace(kernel, weight=kernel.weight * factor) if projection.source in entering else None

    return of_kernels(weights)


def decay_by(registers: int) -> Change:
    """Decays of so many 1/4096 more or less, or, with 0, of whole 1/4096."""

    def moved(population: Population) -> Population:
        decay = np.clip((in_registers(population.decay) + registers) / 4096, 0.0, 1.0)
        return replace(population, decay=decay if isinstance(population.decay, np.ndarray) else float(decay))

    return of_populations(lambda p: p if p.role == "readout" else moved(p))
