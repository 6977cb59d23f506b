"""NSGA-II through Optuna: fronts of several objectives, within limits.

Deb, Pratap, Agarwal and Meyarivan (IEEE TEVC 6(2), 2002), as `optuna.samplers.NSGAIISampler` computes it on one integer
for each number of the code. Optuna proposes some candidates twice; the loop looks them up. Ours: what is no number is
told as a trial that failed, of which NSGA-II takes no parents.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import ClassVar

import optuna

from ...frame.goal import Goal
from ...frame.protocol import Archive, Proposal, Told
from ...random_streams import generator
from ...settings.strategies import Nsga2Settings
from ...spaces.space import G, Space

ABOVE = "above its limits"  # a constraint of a trial, 0 within


class Nsga2(Archive[G]):
    """Any number of objectives."""

    name: ClassVar[str] = "nsga2"
    many: ClassVar[bool] = True
    budgets: ClassVar[bool] = False

    def __init__(self, space: Space[G], goal: Goal, settings: Nsga2Settings, seed: int, epochs: int = 0) -> None:
        super().__init__(space, goal, epochs)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.NSGAIISampler(
            population_size=settings.nsga2_population, seed=int(generator(seed, "strategy").integers(2**31))
        )
        self.study = optuna.create_study(sampler=sampler, directions=["minimize"] * len(goal.objectives))
        self.waiting = deque[optuna.Trial]()

    def ask(self, n: int) -> list[Proposal[G]]:
        return [self._one() for _ in range(n)]

    def _one(self) -> Proposal[G]:
        trial = self.study.ask()
        code = [trial.suggest_int(str(place), 0, radix - 1) for place, radix in enumerate(self.space.radices)]
        self.waiting.append(trial)
        return Proposal(self.space.decode(code))

    def tell(self, told: Sequence[Told[G]]) -> None:
        self.add(told)
        for one in told:
            trial, losses = self.waiting.popleft(), self.goal.losses(one.measured)
            above = self.goal.excess(one.measured)
            if all(map(math.isfinite, (*losses, above))):
                if self.goal.limits:
                    trial.set_constraint(ABOVE, above)
                self.study.tell(trial, list(losses))
            else:
                self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
