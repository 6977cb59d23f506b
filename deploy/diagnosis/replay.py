"""The reference replayed on what another form fired: every population gets the candidate's own spikes.

A population is given the spikes that the candidate's populations sent it, and its membranes are reset where the
candidate fired. So a rule that is not shared shows where it acts, and nowhere else: what follows from a wrong spike is
no second difference. If then no spike differs anywhere, both forms compute the same from the first step on (by
induction over steps and populations).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...export.graph import Array, Dense, Population, Projection
from ...export.simulate import Spikes, apply
from .rules import Meaning, Rules, Values, neurons_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a population ought to have done, [T, N, *shape] each. margins: membrane minus threshold, before the reset.
    left: the membrane after each step."""

    spikes: Spikes
    margins: Values
    left: Values


class Replay:
    """recorded: population or input -> [T, N, *shape], of the candidate, inputs included.

    What the candidate did not record is computed, from what it did.
    """

    def __init__(self, recorded: Mapping[str, Spikes], reference: Meaning) -> None:
        self.recorded, self.reference = recorded, reference
        self.steps, self.samples = next(iter(recorded.values())).shape[:2]
        self._unchanged = {id(p) for p in reference.graph.projections}
        self._arrived: dict[object, Array] = {}  # of unchanged projections: most changes leave them alone
        self._computed: dict[str, Replayed] = {}
        self._of: Meaning | None = None

    def population(self, meaning: Meaning, name: str) -> Replayed:
        """One population, under a meaning that may be the reference's or a changed one."""
        if self._of is not meaning:
            self._of, self._computed = meaning, {}
        if name not in self._computed:
            self._computed[name] = self._run(meaning, name)
        return self._computed[name]

    def spikes(self, meaning: Meaning, name: str) -> Spikes:
        """What the candidate fired; where it did not record, what it ought to have fired."""
        return self.recorded[name] if name in self.recorded else self.population(meaning, name).spikes

    def current(self, meaning: Meaning, name: str) -> Array:
        """[T, N, *shape] the sum of what arrives in each step, in the order of time that the population's rules say."""
        rules, population = meaning.rules[name], meaning.population(name)
        if name in meaning.currents:
            current = _later(meaning.currents[name], rules.late)
            return _stream(current) if rules.streamed else current
        total: Array | float = 0.0
        for projection in meaning.graph.incoming(name):
            if projection.source == name and name not in self.recorded:
                continue  # its own spikes are not known yet
            total = total + self._of_projection(meaning, projection, rules, population)
        if not isinstance(total, float):
            return total
        shape = (self.steps * self.samples, 1) if rules.streamed else (self.steps, self.samples)
        return np.zeros((*shape, *population.shape))

    def _of_projection(self, meaning: Meaning, projection: Projection, rules: Rules, to: Population) -> Array:
        key = (id(projection), rules.axes, rules.late, rules.streamed)
        if key in self._arrived:
            return self._arrived[key]
        spikes = self.spikes(meaning, projection.source)
        found = arrived(projection, _stream(spikes) if rules.streamed else spikes, rules, to)
        if id(projection) in self._unchanged and projection.source in self.recorded:
            self._arrived[key] = found
        return found

    def _run(self, meaning: Meaning, name: str) -> Replayed:
        population, rules, own = meaning.population(name), meaning.rules[name], self.recorded.get(name)
        neurons = neurons_of(population, rules, "float" if name in meaning.currents else meaning.graph.arithmetic)
        current = self.current(meaning, name)
        loops = [p for p in meaning.graph.incoming(name) if p.source == name and own is None]
        given = np.zeros((self.steps, self.samples, *population.shape), np.uint8) if own is None else own
        fired = _stream(given) if rules.streamed else given
        u = v = np.zeros(current.shape[1:], np.int64 if neurons.integer else np.float64)
        margins, left, late = [], [], np.zeros(current.shape[1:], np.bool_)
        for t in range(len(current)):
            a = current[t]
            for loop in loops:
                a = a + _one_step(loop, fired, t, rules).reshape(a.shape)
            u = neurons.current(u, a)
            v = neurons.membrane(v, u, first=t % self.steps == 0)
            if rules.reset_late:
                v = neurons.after(v, late)
            margins.append(v - neurons.threshold)
            if own is None:
                fired[t] = _fires(margins[-1], rules)
            late = fired[t] != 0
            if not rules.reset_late:
                v = neurons.after(v, late)
            left.append(v)
        back = partial(_unstream, samples=self.samples) if rules.streamed else np.asarray
        found = np.stack(margins)
        return Replayed(
            spikes=back(_fires(found, rules)).astype(np.uint8), margins=back(found), left=back(np.stack(left))
        )


def arrived(projection: Projection, spikes: Spikes, rules: Rules, to: Population) -> Array:
    """[T, N, *shape of the target] what a projection adds to the current of each step. spikes [T, N, *shape]."""
    steps, samples = spikes.shape[:2]
    x = in_axes(spikes, rules.axes, flat=isinstance(projection.kernel, Dense))
    x = x.reshape(steps * samples, *x.shape[2:])
    back = int(projection.source == projection.target) + rules.late
    shape = (steps, samples, *to.shape)
    if projection.delay is None:
        return _later(apply(projection.kernel, x).reshape(shape), back)
    total = np.zeros(shape)
    for delay in np.unique(projection.delay).tolist():
        weight = np.where(projection.delay == delay, projection.kernel.weight, 0.0)
        total += _later(apply(Dense(weight=weight), x).reshape(shape), back + delay)
    return total


def in_axes(spikes: Spikes, axes: tuple[int, int, int], *, flat: bool) -> Spikes:
    """Spikes [T, N, C, H, W] with their axes read in another order, where the kernel can read them so."""
    if spikes.ndim != 5 or axes == (0, 1, 2):
        return spikes
    turned = spikes.transpose(0, 1, *(2 + axis for axis in axes))
    return turned if flat or turned.shape == spikes.shape else spikes


def _one_step(loop: Projection, fired: Spikes, t: int, rules: Rules) -> Array:
    """What a population that is not recorded gets from itself in step t."""
    delay = np.zeros(loop.kernel.weight.shape, np.int64) if loop.delay is None else loop.delay
    total: Array | float = 0.0
    for back in np.unique(delay).tolist():
        at = t - 1 - back - rules.late
        seen = fired[at] if at >= 0 else np.zeros_like(fired[0])
        kernel = loop.kernel
        if loop.delay is not None:
            kernel = Dense(weight=np.where(delay == back, loop.kernel.weight, 0.0))
        total = total + apply(kernel, seen)
    return np.asarray(total)


def _fires(margins: Values, rules: Rules) -> NDArray[np.bool_]:
    return np.asarray(margins > 0 if rules.strictly else margins >= 0)


def _later(values: Array, steps: int) -> Array:
    if steps == 0:
        return values
    found = np.zeros_like(values)
    found[steps:] = values[: max(0, len(values) - steps)]
    return found


def _stream(values: NDArray[Any]) -> NDArray[Any]:
    """[T, N, ...] -> [N * T, 1, ...], the samples one after the other."""
    turned = np.swapaxes(values, 0, 1)
    return turned.reshape(-1, 1, *values.shape[2:])


def _unstream(values: NDArray[Any], samples: int) -> NDArray[Any]:
    turned = values.reshape(samples, -1, *values.shape[2:])
    return np.swapaxes(turned, 0, 1)
