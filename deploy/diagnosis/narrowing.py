"""Where no rule explains a population: which one number, changed, would.

Between two resets a membrane is linear in each weight, bias and threshold: margin + delta * s, where s is what one unit
of that number adds to it. Resets are the candidate's own, so they are known. A spike of the candidate asks for a margin
of 0 or more, a silent step for less, and all of them together leave an interval for delta, or none. Some number of it
is replayed then: in the chip's integers the rounding of decays makes s inexact.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...export.graph import Array, Conv, Dense, Population, Projection, per_neuron
from ...export.simulate import MANTISSA_SHIFT, Spikes, apply
from ..equivalence.verdict import TIE
from .diagnosis import Suspect, Unexplained
from .examination import Examination
from .rules import Meaning

MOST_NUMBERS = 2**26  # sensitivities that are looked at: more takes too long
MOST_SUSPECTS = 20
TRIED = 3  # numbers of an interval that are replayed in integers


def unexplained(exam: Examination, name: str) -> Unexplained:
    """What is known of a population whose numbers differ."""
    population, own = exam.meaning.population(name), exam.base[name]
    neurons = own.wrong.any((0, 1))
    rows = tuple(np.flatnonzero(neurons.reshape(neurons.shape[0], -1).any(1)).tolist())
    found = list(_suspects(exam, population, rows)) if rows and population.name not in exam.meaning.currents else []
    return Unexplained(
        population=name,
        neurons=int(neurons.sum()),
        rows=rows,
        of_rows=population.shape[0],
        suspects=tuple(found[:MOST_SUSPECTS]),
    )


def _suspects(exam: Examination, population: Population, rows: tuple[int, ...]) -> Iterator[Suspect]:
    fired = exam.replay.recorded[population.name] != 0
    margins = np.asarray(exam.base[population.name].margins, np.float64)
    unit = float(2**MANTISSA_SHIFT) if exam.meaning.graph.arithmetic == "loihi" else 1.0
    slack = unit if unit > 1 else TIE
    shape = population.shape

    def interval(s: Array, row: int | None) -> tuple[float, float] | None:
        """s [T, N, *neurons of the row], of the membrane, for one unit of a number."""
        chosen = (slice(None), slice(None)) if row is None else (slice(None), slice(None), row)
        return _interval(s * unit, margins[chosen], fired[chosen], slack)

    every = np.ones(margins.shape)
    threshold = per_neuron(population.threshold, shape)
    found = interval(-every, None)
    if found is not None and np.ndim(threshold) == 0:
        yield from _held(
            exam,
            Suspect(
                kind="threshold", source=None, index=(), reference=float(threshold), **_ends(found, float(threshold))
            ),
            population,
        )
    if len(rows) > 1:
        return
    (row,) = rows
    bias = per_neuron(population.bias, shape)
    one = float(np.asarray(bias).reshape(shape[0], -1)[row, 0])
    found = interval(_accumulated(every, population, fired, bias=True)[:, :, row], row)
    if found is not None and population.bias.ndim == 1:
        yield from _held(
            exam, Suspect(kind="bias", source=None, index=(row,), reference=one, **_ends(found, one)), population
        )
    for projection in exam.meaning.graph.incoming(population.name):
        for index, seen in _synapses(exam, projection, population, row):
            found = interval(_accumulated(seen, population, fired[:, :, row], row=row), row)
            if found is not None:
                weight = float(projection.kernel.weight[index])
                yield from _held(
                    exam,
                    Suspect(
                        kind="weight", source=projection.source, index=index, reference=weight, **_ends(found, weight)
                    ),
                    population,
                )


def _ends(interval: tuple[float, float], reference: float) -> dict[str, float]:
    return {"low": reference + interval[0], "high": reference + interval[1]}


def _interval(s: Array, margins: Array, fired: NDArray[np.bool_], slack: float) -> tuple[float, float] | None:
    """The deltas with which margin + delta * s is above 0 where it fired, and below elsewhere; None without one."""
    s, margins, fired = s.ravel(), margins.ravel(), fired.ravel()
    still = s == 0
    if (np.where(fired, margins < -slack, margins > slack) & still).any():
        return None  # it differs where this number does not reach
    s, margins, fired = s[~still], margins[~still], fired[~still]
    bounds = -margins / s
    lower = fired == (s > 0)  # a spike asks for more of what excites, and less of what inhibits
    low = float(bounds[lower].max(initial=-np.inf))
    high = float(bounds[~lower].min(initial=np.inf))
    room = slack / float(np.abs(s).min()) if s.size else 0.0
    return (low, high) if low <= high + room else None


def _accumulated(
    seen: Array, population: Population, fired: NDArray[np.bool_], *, row: int | None = None, bias: bool = False
) -> Array:
    """What a membrane holds of `seen` [T, N, ...] that came in, when its neurons reset as they fired."""
    decays: list[Any] = [per_neuron(value, population.shape) for value in (population.current_decay, population.decay)]
    if row is not None:
        decays = [value[row] if np.ndim(value) else value for value in decays]
    kept_u, kept_v = decays
    u = v = np.zeros(seen.shape[1:])
    found = []
    for t in range(len(seen)):
        u = seen[t] if bias else kept_u * u + seen[t]
        v = kept_v * v + u
        found.append(v)
        v = np.where(fired[t], 0.0, v) if population.reset == "zero" else v
    return np.stack(found)


def _synapses(
    exam: Examination, projection: Projection, population: Population, row: int
) -> Iterator[tuple[tuple[int, ...], Array]]:
    """Each weight of a row's kernel: its index, and the spikes [T, N, *neurons of the row] that it carries."""
    spikes = exam.replay.spikes(exam.meaning, projection.source)
    kernel, back = projection.kernel, int(projection.source == projection.target)
    size = int(np.prod(population.shape[1:])) * spikes.shape[0] * spikes.shape[1]
    if size * kernel.weight[row].size > MOST_NUMBERS:
        return
    if isinstance(kernel, Dense):
        flat = spikes.reshape(*spikes.shape[:2], -1)
        for i in range(kernel.weight.shape[1]):
            lag = back + (0 if projection.delay is None else int(projection.delay[row, i]))
            if flat[..., i].any():
                yield (row, i), _older(flat[..., i], lag).reshape(*spikes.shape[:2], *population.shape[1:])
        return
    yield from _taps(kernel, spikes, back, row)


def _taps(kernel: Conv, spikes: Spikes, back: int, row: int) -> Iterator[tuple[tuple[int, ...], Array]]:
    inside = kernel.weight.shape[1]
    group = row // (len(kernel.weight) // kernel.groups)
    steps, samples = spikes.shape[:2]
    read = spikes[:, :, group * inside : (group + 1) * inside].reshape(steps * samples, inside, *spikes.shape[3:])
    for index in np.ndindex(*kernel.weight.shape[1:]):
        weight = np.zeros((1, *kernel.weight.shape[1:]))
        weight[(0, *index)] = 1.0
        seen = apply(replace(kernel, weight=weight, groups=1), read)[:, 0]
        yield (row, *index), _older(seen.reshape(steps, samples, *seen.shape[1:]), back)


def _older(values: NDArray[np.generic], steps: int) -> Array:
    found = np.zeros(values.shape)
    found[steps:] = values[: max(0, len(values) - steps)]
    return found


def _held(exam: Examination, suspect: Suspect, population: Population) -> Iterator[Suspect]:
    """The suspect, if some number of its interval, replayed, leaves no difference."""
    integer = exam.meaning.graph.arithmetic == "loihi"
    low, high = suspect.low, suspect.high
    if integer:
        first, last = np.ceil(low - 1) if np.isfinite(low) else None, np.floor(high + 1) if np.isfinite(high) else None
        start = first if first is not None else last - TRIED if last is not None else suspect.reference
        end = last if last is not None else start + TRIED
        middle = np.rint((start + end) / 2)
        numbers = [n for n in dict.fromkeys((middle, start, end, start + 1, end - 1)) if start <= n <= end]
    else:
        ends = [x for x in (low, high) if np.isfinite(x)]
        numbers = [sum(ends) / len(ends)] if ends else []
        numbers += [x + TIE for x in ends[:1]] + [x - TIE for x in ends[-1:]]
    for number in numbers:
        changed = _with(exam.meaning, population, suspect, float(number))
        if exam.own(changed, population.name).count == 0:
            yield replace(suspect, low=float(np.floor(low)), high=float(np.ceil(high))) if integer else suspect
            return


def _with(meaning: Meaning, population: Population, suspect: Suspect, value: float) -> Meaning:
    """The meaning with one number changed."""
    graph = meaning.graph
    if suspect.kind == "weight":
        projections = []
        for p in graph.projections:
            if (p.source, p.target) == (suspect.source, population.name):
                weight = p.kernel.weight.copy()
                weight[suspect.index] = value
                p = replace(p, kernel=replace(p.kernel, weight=weight))
            projections.append(p)
        return replace(meaning, graph=replace(graph, projections=tuple(projections)))
    if suspect.kind == "bias":
        bias = population.bias.copy()
        bias[suspect.index] = value
        new = replace(population, bias=bias)
    else:
        new = replace(population, threshold=value)
    populations = tuple(new if p.name == population.name else p for p in graph.populations)
    return replace(meaning, graph=replace(graph, populations=populations))
