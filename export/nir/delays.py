"""NIR's Delay, y(t) = x(t - delay), in the algebra of traces, which knows no time.

Spikes that come later are spikes of another source, one that this table made: its name stands for a real source and
the steps that each of its neurons waits. A Delay behind a kernel is one before it; where it differs from output to
output, the kernel is split into one for each number of steps, zero elsewhere.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, UnsupportedError
from ..graph import Dense, Projection, neurons
from ..trace import linear
from ..trace.linear import Expression
from .file import Node
from .linear_nodes import Signal, Spikes, image_shape
from .neurons import Clock

Steps = NDArray[np.int64]

WHOLE = 1e-5  # how far, relative, a delay may be from a whole number of steps: rounding of float32
MAX_STEPS = 2**16


@dataclass(slots=True, kw_only=True)
class Delays:
    """later: name of a source that waits -> (the real one, [neurons] steps)."""

    clock: Clock
    later: dict[str, tuple[str, Steps]] = field(default_factory=dict)

    def node(self, node: Node, x: Signal) -> Signal:
        steps = self._steps(node, x)
        if not steps.any():
            return x
        if isinstance(x, Spikes):
            return replace(x, source=self._waiting(x.source, np.broadcast_to(steps, (neurons(x.shape),))))
        if x.constant.any():
            raise UnsupportedError("a delayed bias has no place in a spiking graph; put the Delay before the bias")
        return self._split(x, steps)

    def real(self, source: str) -> tuple[str, Steps | None]:
        """The population or input behind a name, and how many steps each of its neurons waits."""
        return self.later.get(source, (source, None))

    def _split(self, x: Expression, steps: Steps) -> Expression:
        if steps.size == 1:
            return self._renamed(x, int(steps[0]))
        flat = steps.reshape(x.shape[0], -1)
        if (flat != flat[:, :1]).any():
            raise UnsupportedError("it differs within a channel, which no kernel does; put it before the kernel")
        parts = [
            self._renamed(linear.scaled(x, (flat[:, 0] == number).astype(np.float64)), number)
            for number in np.unique(flat).tolist()
        ]
        return replace(parts[0], terms=tuple(term for part in parts for term in part.terms))

    def _renamed(self, x: Expression, steps: int) -> Expression:
        if not steps:
            return x
        terms = [
            replace(term, source=self._waiting(term.source, np.full(neurons(term.source_shape), steps)))
            for term in x.terms
        ]
        return replace(x, terms=tuple(terms), binary=False, complement=False)

    def _waiting(self, source: str, steps: Steps) -> str:
        real, before = self.real(source)
        steps = steps if before is None else before + steps
        for name, (other, known) in self.later.items():
            if other == real and np.array_equal(known, steps):
                return name
        name = f"{real}\0{len(self.later)}"  # no name of a file has a zero byte
        self.later[name] = (real, np.array(steps, np.int64))
        return name

    def _steps(self, node: Node, x: Signal) -> Steps:
        """[1], or one for each neuron of x in C-order."""
        delay = node.numbers("delay")
        if delay.size != 1 and image_shape(delay.shape) != x.shape:
            raise InputError(
                f"{node.where} has shape {list(delay.shape)}, but what enters it {list(x.shape)}; write it again."
            )
        if not delay.any():
            return np.zeros(1, np.int64)
        dt = self.clock.of(node)
        steps = delay.reshape(-1) / dt
        whole = np.rint(steps)
        if delay.min() < 0 or not (np.abs(steps - whole) <= WHOLE * np.maximum(1.0, whole)).all():
            wrong = float(delay.reshape(-1)[np.argmax(np.abs(steps - whole))])
            raise UnsupportedError(
                f"a delay must be whole steps >= 0 of dt={dt:g}, but one is {wrong:g} s; give another dt"
            )
        if whole.max() > MAX_STEPS:
            raise UnsupportedError(
                f"a delay may be {MAX_STEPS} steps of dt={dt:g}, but one is {whole.max():.0f}; give another dt"
            )
        found = whole.astype(np.int64)
        return found[:1] if (found == found[0]).all() else found


def joined(projections: list[Projection]) -> list[Projection]:
    """Full matrices between the same two that wait, as one, where no synapse would need two delays."""
    kept: list[Projection] = []
    for projection in projections:
        twins = [i for i, p in enumerate(kept) if (p.source, p.target) == (projection.source, projection.target)]
        for i in twins:
            both = _both(kept[i], projection)
            if both is not None:
                kept[i] = both
                break
        else:
            kept.append(projection)
    return kept


def _both(a: Projection, b: Projection) -> Projection | None:
    if not isinstance(a.kernel, Dense) or not isinstance(b.kernel, Dense) or (a.delay is None and b.delay is None):
        return None
    first, second = a.kernel.weight, b.kernel.weight
    if ((first != 0) & (second != 0)).any():
        return None
    none = np.zeros(first.shape, np.int64)
    before, after = (none if p.delay is None else p.delay for p in (a, b))
    delay = np.where(first != 0, before, np.where(second != 0, after, none))
    return replace(a, kernel=Dense(weight=first + second), delay=delay)
