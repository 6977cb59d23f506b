"""What is to be counted of a network whose neurons all spike at one rate: the means of counts.py and traffic.py.

Nobody knows the rates of a network that was not trained. At a rate r, the share of the time steps in which a neuron
spikes, independent of everything else:

    spikes                 r * T * neurons that spike: relays and ORs as often as all others
    synaptic operations    r * T * synapses
    active updates         neurons and readout in every step, for their bias is not zero; a relay or an OR when it fires
    messages, hops         r * T * those of one spike of every neuron
    step                   barrier + the busiest core at its mean load

The last is a little less than the mean over steps of the busiest core, which is another one from step to step.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....export.graph import SpikingGraph, neurons
from ...mapping.core_mapping import CoreMapping
from ...synapses import KINDS, fan_out, kind_of
from ..profiles import Price, Profile
from ..traffic import MOVED, TrafficCounter

Loads = Mapping[str, NDArray[np.float64]]
FIRES_WHEN_ACTIVE = ("relay", "or")  # they have no bias and forget everything


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What does not depend on the rate: of a graph that is lowered, or is still to be."""

    time_steps: int
    inputs: int  # neurons of inputs, which are on the host
    spiking: int  # neurons on the chip that spike
    always_active: int  # neurons that have a bias
    neurons: int  # on the chip
    synapses: Mapping[str, int]  # by kind


def sizes_of(graph: SpikingGraph) -> Sizes:
    shapes = graph.shapes()
    synapses: dict[str, int] = dict.fromkeys(KINDS, 0)
    for projection in graph.projections:
        leaving = fan_out(projection, shapes[projection.source], shapes[projection.target])
        synapses[kind_of(projection)] += int(leaving.sum())
    of_role = [(population.role, neurons(population.shape)) for population in graph.populations]
    return Sizes(
        time_steps=graph.time_steps,
        inputs=sum(neurons(node.shape) for node in graph.inputs),
        spiking=sum(size for role, size in of_role if role != "readout"),
        always_active=sum(size for role, size in of_role if role not in FIRES_WHEN_ACTIVE),
        neurons=sum(size for _, size in of_role),
        synapses=synapses,
    )


def expected_counts(sizes: Sizes, rate: float, moved: Mapping[str, float]) -> dict[str, float]:
    """Of one inference, by the names that a price can be for. moved: name of MOVED -> sum over all neurons' one spike;
    empty where the network is not mapped, and then it is not among the counts."""
    steps, fired = sizes.time_steps, rate * sizes.time_steps
    operations = {f"synaptic_operations_{kind}": fired * number for kind, number in sizes.synapses.items()}
    updates = float(steps * sizes.neurons)
    active = steps * sizes.always_active + fired * (sizes.neurons - sizes.always_active)
    return {
        "spikes": fired * sizes.spiking,
        "input_spikes": fired * sizes.inputs,
        "synaptic_operations": sum(operations.values()),
        **operations,
        "neuron_updates": updates,
        "active_updates": active,
        "idle_updates": updates - active,
        **{name: fired * number for name, number in moved.items()},
    }


class ExpectedTraffic:
    """What moves on a mapping, and what every core does in a chip step."""

    def __init__(self, graph: SpikingGraph, mapping: CoreMapping) -> None:
        self.mapping = mapping
        counter = TrafficCounter(graph, mapping)
        found = np.sum([fans.moved.sum(0) for fans in counter.fans.values()], axis=0)
        self.moved = dict(zip(MOVED, found.tolist(), strict=True))
        zeros = np.zeros(counter.cores)
        self._of_core = {name: zeros.copy() for name in ("spiking", "always_active", "neurons", "messages")}
        self._received = {name: zeros.copy() for name in ("messages", *(f"synaptic_operations_{k}" for k in KINDS))}
        roles = {population.name: population.role for population in graph.populations}
        for name, home in counter.homes.items():
            self._of_core["neurons"][home.cores] += home.sizes
            self._of_core["spiking"][home.cores] += home.sizes * (roles[name] != "readout")
            self._of_core["always_active"][home.cores] += home.sizes * (roles[name] not in FIRES_WHEN_ACTIVE)
            if name in counter.fans:
                messages = counter.fans[name].moved[:, MOVED.index("messages")]
                self._of_core["messages"][home.cores] += home.parts @ messages
        for fans in counter.fans.values():
            self._received["messages"][fans.receivers] += fans.reached.sum(1)
            for kind, fan in fans.of_kind.items():
                self._received[f"synaptic_operations_{kind}"][fans.receivers] += fan.sum(1)

    def sent(self, rate: float) -> Loads:
        """Name of SENT -> [cores]."""
        each = self._of_core
        active = each["always_active"] + rate * (each["neurons"] - each["always_active"])
        return {
            "neuron_updates": each["neurons"],
            "active_updates": active,
            "idle_updates": each["neurons"] - active,
            "spikes": rate * each["spiking"],
            "messages": rate * each["messages"],
        }

    def received(self, rate: float) -> Loads:
        """Name of RECEIVED -> [cores]."""
        found = {name: rate * number for name, number in self._received.items()}
        return found | {"synaptic_operations": sum((found[f"synaptic_operations_{k}"] for k in KINDS), np.zeros(1))}


def step_seconds(profile: Profile, traffic: ExpectedTraffic | None, rate: float) -> float | None:
    """One chip step; None where the profile has no times, or needs a mapping for them and there is none."""
    if profile.step is not None:
        return profile.step.seconds
    if traffic is None or not (profile.sender or profile.receiver):
        return None
    busy = np.maximum(_busy(profile.sender, traffic.sent(rate)), _busy(profile.receiver, traffic.received(rate)))
    return profile.barrier_seconds(traffic.mapping.tiles) + float(busy.max())


def joules(
    profile: Profile, counts: Mapping[str, float], step: float | None, chips: int, time_steps: int
) -> float | None:
    """Of one inference; None where the profile prices nothing, or something that was not counted."""
    if not profile.energy or not profile.energy.keys() <= counts.keys():
        return None
    dynamic = sum(price.joules * counts[name] for name, price in profile.energy.items())
    powers = [power.watts for power in (profile.static, profile.host) if power is not None]
    return dynamic + (0.0 if step is None else sum(powers) * chips * time_steps * step)


def _busy(prices: Mapping[str, Price], counts: Loads) -> NDArray[np.float64]:
    zero = np.zeros(1)
    return np.asarray(sum((price.seconds * counts[name] for name, price in prices.items()), zero), np.float64)
