"""SHADE on a continuous code, with the trigonometric mutation of SHSADE-PIDS.

Tanabe and Fukunaga (CEC 2013): F ~ Cauchy(M_F, 0.1), CR ~ N(M_CR, 0.1) of a random pair of a memory;
v = x + F (x_pbest - x) + F (x_r1 - x_r2), r2 also from an archive of parents that were replaced; binomial crossover;
the memory learns from what succeeded, weighted by the gain (F by the Lehmer mean). Trigonometric mutation of Fan and
Lampinen (2003): v = (a + b + c) / 3 + (p_b - p_a)(a - b) + (p_c - p_b)(b - c) + (p_a - p_c)(c - a), p = |f| / sum |f|.

Ours: x in [0, 1)^d means the code floor(x * radix); what leaves [0, 1) is put halfway between its parent and the
border. Differential evolution takes the order of primitives for a distance, which it is not: a baseline.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...frame.goal import Goal, Losses
from ...frame.protocol import Archive, Proposal, Told
from ...random_streams import generator
from ...settings.strategies import ShadeSettings
from ...spaces.space import G, Space

Point = NDArray[np.float64]
BELOW_ONE = 1 - 1e-9


@dataclass(frozen=True, slots=True)
class _Trial:
    """member: whom it may replace; None while the population is drawn."""

    point: Point
    member: int | None = None
    f: float = 0.5
    cr: float = 0.5


class Shade(Archive[G]):
    """One objective."""

    name: ClassVar[str] = "shade"
    many: ClassVar[bool] = False
    budgets: ClassVar[bool] = False

    def __init__(self, space: Space[G], goal: Goal, settings: ShadeSettings, seed: int, epochs: int = 0) -> None:
        super().__init__(space, goal, epochs)
        self.settings, self.rng = settings, generator(seed, "strategy")
        self.members: list[tuple[Point, Losses]] = []
        self.replaced: list[Point] = []
        self.memory = np.full((settings.shade_memory, 2), 0.5)  # M_F, M_CR
        self.slot, self.turn, self.begun = 0, 0, 0
        self.succeeded: list[tuple[float, float, float]] = []  # F, CR, gain of this generation
        self.waiting = deque[_Trial]()

    def ask(self, n: int) -> list[Proposal[G]]:
        found = []
        for _ in range(n):
            drawing = self.begun < self.settings.shade_population or len(self.members) < 4
            self.begun += drawing
            trial = _Trial(self.rng.random(len(self.space.radices))) if drawing else self._trial()
            self.waiting.append(trial)
            code = [int(x * radix) for x, radix in zip(trial.point, self.space.radices, strict=True)]
            found.append(Proposal(self.space.decode(code)))
        return found

    def tell(self, told: Sequence[Told[G]]) -> None:
        self.add(told)
        for one in told:
            trial, losses = self.waiting.popleft(), self.goal.rank(one.measured)
            if trial.member is None:
                self.members.append((trial.point, losses))
                continue
            before, worse = self.members[trial.member]
            if losses <= worse:
                if losses < worse:
                    self.replaced.append(before)
                    self.succeeded.append((trial.f, trial.cr, _gain(worse, losses)))
                self.members[trial.member] = (trial.point, losses)

    def _trial(self) -> _Trial:
        if self.turn >= len(self.members):
            self._learn()
        member, self.turn = self.turn, self.turn + 1
        m_f, m_cr = self.memory[int(self.rng.integers(len(self.memory)))]
        cr = float(np.clip(self.rng.normal(m_cr, 0.1), 0, 1))
        f = 0.0
        while f <= 0:
            f = min(1.0, float(m_f + 0.1 * self.rng.standard_cauchy()))
        x = self.members[member][0]
        v = self._triangle() if self.rng.random() < self.settings.shade_trigonometric else self._attracted(x, f)
        v = np.where(v < 0, x / 2, np.where(v >= 1, (x + 1) / 2, v))
        taken = self.rng.random(len(x)) < cr
        taken[int(self.rng.integers(len(x)))] = True
        return _Trial(np.minimum(np.where(taken, v, x), BELOW_ONE), member, f, cr)

    def _attracted(self, x: Point, f: float) -> Point:
        order = sorted(range(len(self.members)), key=lambda place: self.members[place][1])
        best = order[: max(2, round(self.settings.shade_share * len(order)))]
        p = self.members[best[int(self.rng.integers(len(best)))]][0]
        one = self.members[int(self.rng.integers(len(self.members)))][0]
        everyone = [point for point, _ in self.members] + self.replaced[-len(self.members) :]
        return np.asarray(x + f * (p - x) + f * (one - everyone[int(self.rng.integers(len(everyone)))]))

    def _triangle(self) -> Point:
        places = self.rng.choice(len(self.members), 3, replace=False)
        (a, f_a), (b, f_b), (c, f_c) = (self.members[place] for place in places)
        f = np.abs([f_a[-1], f_b[-1], f_c[-1]])
        p: Any = f / f.sum() if np.isfinite(f).all() and f.sum() > 0 else np.full(3, 1 / 3)
        move: Point = (a + b + c) / 3 + (p[1] - p[0]) * (a - b) + (p[2] - p[1]) * (b - c) + (p[0] - p[2]) * (c - a)
        return move

    def _learn(self) -> None:
        """The end of a generation: one pair of the memory is written anew, where anything succeeded."""
        self.turn = 0
        if self.succeeded:
            f, cr, gain = np.array(self.succeeded).T
            weight = gain / gain.sum()
            self.memory[self.slot] = (weight * f**2).sum() / (weight * f).sum(), (weight * cr).sum()
            self.slot = (self.slot + 1) % len(self.memory)
        self.succeeded = []


def _gain(worse: Losses, better: Losses) -> float:
    """Of the first number that differs; 1 where it was infinite."""
    gain = next(a - b for a, b in zip(worse, better, strict=True) if a != b)
    return gain if math.isfinite(gain) else 1.0
