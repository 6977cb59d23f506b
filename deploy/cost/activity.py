"""Firing over time, for people: the rate of every population in each step, and the spikes of one sample."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...export.graph import SpikingGraph, neurons
from .counts import Activity

RASTER_ROWS = 64  # neurons of a population that a raster shows, evenly spaced


class ActivityRecorder:
    """Adds up batches; the raster is of the first sample of the first batch."""

    def __init__(self, graph: SpikingGraph) -> None:
        self.graph = graph
        self.roles = {node.name: "input" for node in graph.inputs} | {p.name: p.role for p in graph.populations}
        self.spiking = {name: shape for name, shape in graph.shapes().items() if self.roles[name] != "readout"}
        self.spikes = {name: np.zeros(graph.time_steps, np.int64) for name in self.spiking}
        self.rasters: dict[str, dict[str, list[Any]]] = {}
        self.samples = 0

    def add(self, activity: Mapping[str, Activity]) -> None:
        """Count one batch, as `Counter.add` checks it."""
        samples = 0
        for name, shape in self.spiking.items():
            fired = activity[name].spikes
            assert fired is not None  # a population that spikes
            samples = fired.shape[1]
            flat = fired.reshape(*fired.shape[:2], -1)
            self.spikes[name] += flat.sum((1, 2), dtype=np.int64)
            if self.samples == 0:
                shown = np.unique(np.linspace(0, neurons(shape) - 1, RASTER_ROWS).round().astype(int))
                self.rasters[name] = {"neurons": shown.tolist(), "spikes": np.argwhere(flat[:, 0, shown]).tolist()}
        self.samples += samples

    def as_json(self) -> dict[str, Any]:
        """What `activity.json` holds. rates: spikes per neuron in each step, the mean over the samples."""
        return {
            "time_steps": self.graph.time_steps,
            "samples": self.samples,
            "sample": 0,
            "populations": [
                {
                    "name": name,
                    "role": self.roles[name],
                    "shape": list(shape),
                    "neurons": neurons(shape),
                    "rates": (self.spikes[name] / (neurons(shape) * self.samples)).tolist(),
                    "raster": self.rasters[name],
                }
                for name, shape in self.spiking.items()
            ],
        }
