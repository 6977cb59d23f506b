"""The twin on a whole split: what it answers after each step, what it does, and what that moves on a chip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UnsupportedError
from ..export.graph import SpikingGraph
from .activity import ActivityRecorder
from .cost.counts import Counter, Counts
from .cost.energy_json import Mapped
from .cost.profiles import Profile
from .cost.traffic import TrafficCounter
from .mapping.capacity import Chip, find_chip
from .mapping.core_mapping import RULES, map_graph
from .mapping.fit import fit
from .record import Spikes
from .runners import TwinRunner


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """predictions [T, samples]: the class after each step. activity: what activity.json holds."""

    predictions: NDArray[np.int64]
    counts: Counts
    mapped: Mapping[str, Mapped]
    activity: dict[str, Any]

    def accuracy(self, labels: NDArray[np.int64]) -> list[float]:
        """[T] of the answer after each step."""
        return [float(right) for right in (self.predictions == labels).mean(1)]


def measure(twin: TwinRunner, spikes: Spikes, profiles: Sequence[Profile], *, zeros: bool = False) -> Measured:
    """spikes [T, N, *shape] of the twin's input, any number of samples. zeros: weights of zero count as synapses."""
    graph = twin.graph
    counter, recorder = Counter(graph, zeros=zeros), ActivityRecorder(graph)
    mapped = {name: mapped_on(graph, find_chip(name)) for name in dict.fromkeys(p.chip for p in profiles) if name}
    traffic = {
        name: TrafficCounter(graph, one.mapping, zeros=zeros) for name, one in mapped.items() if one.mapping is not None
    }
    predictions = []
    for record, activity in twin.batches(spikes):
        assert record.readout_steps is not None  # a twin shows every step
        predictions.append(record.readout_steps.argmax(2))
        counter.add(activity)
        recorder.add(activity)
        for moved in traffic.values():
            moved.add(activity)
    return Measured(
        predictions=np.concatenate(predictions, axis=1),
        counts=counter.counts(),
        mapped={
            name: replace(one, traffic=traffic[name].traffic() if name in traffic else None)
            for name, one in mapped.items()
        },
        activity=recorder.as_json(),
    )


def mapped_on(graph: SpikingGraph, chip: Chip) -> Mapped:
    """The network on as many chips as it takes, or the reason why it is on none."""
    if chip.rule not in RULES:
        found = fit(graph, chip)
        reason = found.first_break.why if found.first_break else f"what lies on which core of {chip.title} is not known"
        return Mapped(chip=chip, fits=found.fits, chips=found.chips or 1, reason=reason)
    try:
        mapping = map_graph(graph, chip)
    except UnsupportedError as error:
        return Mapped(chip=chip, fits=False, chips=1, reason=str(error))
    return Mapped(chip=chip, fits=True, chips=mapping.chips, mapping=mapping)
