"""A small network of a convolution and two matrices, run by a loop of the test's own, which can be told to go wrong.

Nothing of the package computes here: neither the definition nor the doctor's replay of it.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spikeport.deploy.run.record import Record
from spikeport.export.graph import Conv, Dense, Population, Projection, SpikeInput, SpikingGraph, check

LIMIT = 2**23


@dataclass(frozen=True, kw_only=True)
class Small:
    """input 2x5x5 -> a 3x5x5 (3x3, padded) -> b 6 -> c 6 -> readout 4."""

    weights: dict[str, Any]
    biases: dict[str, Any]
    decays: dict[str, float]
    threshold: float
    steps: int
    arithmetic: str
    unrounded: dict[str, Any] = field(default_factory=dict)

    def graph(self, arithmetic: str | None = None, weights: dict[str, Any] | None = None) -> SpikingGraph:
        weights = weights or self.weights
        shapes = {"a": (3, 5, 5), "b": (6,), "c": (6,), "readout": (4,)}
        sources = {"a": "input", "b": "a", "c": "b", "readout": "c"}
        last = 2.0**17 - 1 if self.arithmetic == "loihi" else np.inf
        populations = tuple(
            Population(
                name=name,
                shape=shape,
                decay=self.decays[name],
                threshold=last if name == "readout" else self.threshold,
                bias=np.asarray(self.biases[name], np.float64),
                role="readout" if name == "readout" else "neuron",
            )
            for name, shape in shapes.items()
        )
        kernels = {name: Dense(weight=weights[name]) for name in ("b", "c", "readout")}
        kernels["a"] = Conv(weight=weights["a"], padding=(1, 1))
        projections = tuple(Projection(source=sources[name], target=name, kernel=kernels[name]) for name in shapes)
        return check(
            SpikingGraph(
                inputs=(SpikeInput(name="input", shape=(2, 5, 5)),),
                populations=populations,
                projections=projections,
                time_steps=self.steps,
                arithmetic=arithmetic or self.arithmetic,
            )
        )


def small(arithmetic: str, seed: int = 0, *, steps: int = 12, scale: int = 1, ties: bool = False) -> Small:
    """Weights with which every population fires. ties: of quarters, so that floats meet the threshold exactly."""
    rng = np.random.default_rng(seed)
    shapes = {"a": (3, 2, 3, 3), "b": (6, 75), "c": (6, 6), "readout": (4, 6)}
    spread = {"a": 0.35, "b": 0.25, "c": 0.8, "readout": 0.5}
    real = {name: rng.normal(spread[name] * 0.2, spread[name], shape) for name, shape in shapes.items()}
    biases = {name: rng.normal(0.1, 0.15, shapes[name][0]) for name in shapes}
    decays = dict(zip(shapes, (0.7, 0.6, 0.85, 0.9), strict=True))
    if arithmetic == "float":
        if ties:
            real = {name: np.round(4 * w) / 4 for name, w in real.items()}
            biases = {name: np.round(4 * b) / 4 for name, b in biases.items()}
            decays = dict.fromkeys(shapes, 0.5)
        return Small(weights=real, biases=biases, decays=decays, threshold=1.0, steps=steps, arithmetic="float")
    whole = 40.0
    weights = {name: scale * 2 * np.round(whole * w / 2) for name, w in real.items()}
    return Small(
        weights=weights,
        biases={name: np.round(whole * b) for name, b in biases.items()},
        decays={name: round(4096 * d) / 4096 for name, d in decays.items()},
        threshold=scale * whole - (0 if ties else 1),
        steps=steps,
        arithmetic="loihi",
        unrounded=real,
    )


def spikes_for(net: Small, seed: int = 1, samples: int = 6, rate: float = 0.4) -> np.ndarray:
    """uint8 [T, N, 2, 5, 5], without symmetry."""
    rng = np.random.default_rng(seed)
    return (rng.random((net.steps, samples, 2, 5, 5)) < rate).astype(np.uint8)


def run(net: Small, spikes: np.ndarray, *faults: str, only: str | None = None) -> Record:
    """Every neuron of every sample by a loop over time. only: the population that goes wrong."""
    integer = net.arithmetic == "loihi"
    unit = 64 if integer else 1
    steps, samples = spikes.shape[:2]
    before, record, answer = spikes, {"input": spikes}, None
    for name in ("a", "b", "c", "readout"):
        wrong = set(faults) if only in (None, name) else set()
        size = (3, 5, 5) if name == "a" else (len(net.weights[name]),)
        fired = np.zeros((steps, samples, *size), np.uint8)
        left = np.zeros((steps, samples, *size), np.int64 if integer and "decay real" not in wrong else np.float64)
        state: Any = None
        for n in range(samples):
            if state is None or "state kept" not in wrong:
                zero = np.zeros(size, np.int64 if integer else np.float64)
                state = [zero, zero, np.zeros(size, bool)]
            for t in range(steps):
                at = t - 1 if "spikes late" in wrong and name != "readout" else t
                came = before[at, n] if at >= 0 else np.zeros_like(before[0, n])
                a = synapses(name, net.weights[name], came, wrong)
                if "input twice" in wrong and name == "a":
                    a = 2 * a
                bias = np.asarray(net.biases[name]).reshape(-1, *[1] * (len(size) - 1))
                bias = 0 * bias if "no bias" in wrong or ("bias once" in wrong and t > 0) else bias
                bias = 2 * bias if "bias twice" in wrong else bias
                if "current twice" in wrong and name != "readout":
                    a, bias = 2 * a, 2 * bias
                if "decay input" in wrong and name != "readout":
                    a, bias = (1 - net.decays[name]) * a, (1 - net.decays[name]) * bias
                state = step(net, name, state, a * unit, bias * unit, wrong, integer)
                fired[t, n], left[t, n] = state[2], state[1]
        if name == "readout":
            answer = np.concatenate([0 * left[:1], left[:-1]]) if "answer early" in wrong else left
        else:
            record[name] = before = fired
    return Record(spikes=record, readout=answer[-1], readout_steps=answer, margins={})


def step(net: Small, name: str, state: Any, a: Any, bias: Any, wrong: set[str], integer: bool) -> Any:
    _, v, fired_before = state
    threshold = (64 if integer else 1) * net.threshold
    kept = v * (1.0 if "no leak" in wrong and name != "readout" else net.decays[name])
    if integer:
        for word, cut in (("floor", np.floor), ("nearest", np.round), ("trunc", np.trunc)):
            if f"decay {word}" in wrong or word == "trunc":
                kept = cut(kept) if "decay real" not in wrong else kept
                break
        a = np.trunc(np.asarray(a, np.float64))
        bias = np.trunc(np.asarray(bias, np.float64))
        if "no current limit" not in wrong and "current saturates" not in wrong:
            a = np.where(a > LIMIT, a - 2 * LIMIT, a)
            a = np.where(a <= -LIMIT, a + 2 * LIMIT, a)
        if "current saturates" in wrong:
            a = np.clip(a, 1 - LIMIT, LIMIT - 1)
    v = kept + a + bias
    if integer:
        if "membrane wraps" in wrong:
            v = (v + LIMIT) % (2 * LIMIT) - LIMIT
        elif "no membrane limit" not in wrong:
            v = np.clip(v, 1 - LIMIT, LIMIT - 1)
    if name == "readout":
        return [a, v, fired_before]
    if "zero late" in wrong:
        v = np.where(fired_before, 0, v)
    if "subtract late" in wrong:
        v = v - threshold * fired_before
    strictly = integer != ("tie" in wrong)
    fired = v > threshold if strictly else v >= threshold
    if not {"zero late", "subtract late", "no reset", "subtract"} & wrong:
        v = np.where(fired, 0, v)
    if "subtract" in wrong:
        v = np.where(fired, v - threshold, v)
    return [a, v, fired]


def synapses(name: str, weight: Any, came: Any, wrong: set[str]) -> Any:
    if name != "a":
        if came.ndim == 3:
            order = {"flat HWC": (1, 2, 0), "flat WHC": (2, 1, 0), "flat CWH": (0, 2, 1)}
            for word, axes in order.items():
                if word in wrong:
                    came = came.transpose(axes)
        elif "matrix transposed" in wrong and weight.shape[0] == weight.shape[1]:
            weight = weight.T
        return weight @ came.reshape(-1)
    if "kernel flipped" in wrong:
        weight = weight[:, :, ::-1, ::-1]
    if "kernel transposed" in wrong:
        weight = weight.transpose(0, 1, 3, 2)
    if "rows as columns" in wrong:
        came = came.transpose(0, 2, 1)
    padded = np.pad(came, ((0, 0), (1, 1), (1, 1))).astype(np.float64)
    out = np.zeros((3, 5, 5))
    for y in range(5):
        for x in range(5):
            out[:, y, x] = np.tensordot(weight, padded[:, y : y + 3, x : x + 3], 3)
    return out
