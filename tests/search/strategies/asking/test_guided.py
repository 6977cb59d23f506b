"""The wrapper passes on the best of many proposals, once there are results to learn from."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.search.frame.protocol import Proposal, Result, Told
from spikeport.search.predictors.predictor import PredictorContext
from spikeport.search.predictors.table import predictor_for
from spikeport.search.space.genotype import Genotype, random_genotype
from spikeport.search.space.network import NetworkConfig
from spikeport.search.spaces.canonical import canonical
from spikeport.search.strategies.asking.guided import Guided

CONFIG = NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(1, 8, 8))


def known(genotype: Genotype) -> float:
    return float(sum(edge.primitive == "conv_5x5" for edge in (*genotype.normal, *genotype.reduce)))


class Random:
    """Draws, and remembers."""

    name, many, budgets = "random", False, False

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.asked: list[int] = []
        self.told: list[Told[Genotype]] = []

    def ask(self, n: int) -> list[Proposal[Genotype]]:
        self.asked.append(n)
        return [Proposal(random_genotype(self.rng, "plain")) for _ in range(n)]

    def tell(self, told: Sequence[Told[Genotype]]) -> None:
        self.told += told

    def best(self) -> list[Genotype]:
        return [max(self.told, key=lambda one: one.measured["accuracy"]).candidate]


def guided(inner: Random, **more: int) -> Guided:
    forest = predictor_for("forest", PredictorContext(config=CONFIG, seed=1))
    return Guided(inner, [forest], lambda result: (result.objectives["accuracy"],), **{"pool": 40, "first": 16} | more)


def result(value: float) -> Result:
    return Result(objectives={"accuracy": value})


def told(strategy: Guided, number: int) -> list[Genotype]:
    asked = strategy.ask(number)
    strategy.tell([Told(one, result(known(one.candidate))) for one in asked])
    return [one.candidate for one in asked]


def test_what_it_passes_on_is_better_than_what_it_was_proposed() -> None:
    inner = Random(0)
    strategy = guided(inner)
    first, then = told(strategy, 16), told(strategy, 8)
    assert inner.asked == [16, 40]
    assert np.mean([known(one) for one in then]) > np.mean([known(one) for one in first]) + 1
    assert strategy.best() == inner.best()
    assert len(inner.told) == 24


def test_it_does_the_same_after_a_replay() -> None:
    one, other = guided(Random(3)), guided(Random(3))
    for strategy in (one, other):
        told(strategy, 16)
    assert one.ask(5) == other.ask(5)


def test_it_waits_for_results_that_say_something() -> None:
    inner = Random(1)
    strategy = guided(inner)
    failed = strategy.ask(20)
    strategy.tell([Told(proposal, result(math.nan)) for proposal in failed])
    assert len(strategy.ask(3)) == 3
    assert inner.asked == [20, 3]  # nothing can be learned of failures alone


def test_it_does_not_repeat_itself_while_there_is_anything_new() -> None:
    class Narrow(Random):
        """Eight genotypes again and again."""

        def ask(self, n: int) -> list[Proposal[Genotype]]:
            few = [random_genotype(np.random.default_rng(seed), "plain") for seed in range(8)]
            return [Proposal(few[i % 8]) for i in range(n)]

    strategy = guided(Narrow(0), first=4)
    before = {canonical(one) for one in told(strategy, 4)}
    assert not before & {canonical(one.candidate) for one in strategy.ask(4)}
    assert len({canonical(one.candidate) for one in strategy.ask(4)}) == 4
    assert len(strategy.ask(8)) == 8  # those that are known come last


@pytest.mark.parametrize("number", [1, 60])
def test_it_gives_as_many_as_were_asked_for(number: int) -> None:
    strategy = guided(Random(2))
    told(strategy, 16)
    assert len(strategy.ask(number)) == number


def test_short_trainings_are_refused() -> None:
    class Halving(Random):
        name, budgets = "halving", True

    with pytest.raises(InputError, match="must ask for whole trainings, but 'halving' asks for short ones"):
        guided(Halving(0))


def convolutions(genotype: Genotype) -> float:
    return float(sum("conv" in edge.primitive for edge in (*genotype.normal, *genotype.reduce)))


class Exact:
    """A predictor that knows."""

    name = "exact"

    def __init__(self, worth: Callable[[Genotype], float]) -> None:
        self.worth = worth

    def fit(self, genotypes: Sequence[Genotype], values: Sequence[float]) -> None:
        assert list(values) == [self.worth(one) for one in genotypes]

    def predict(self, genotypes: Sequence[Genotype]) -> np.ndarray[Any, Any]:
        return np.array([self.worth(one) for one in genotypes])


def test_of_two_objectives_it_passes_on_what_no_other_dominates() -> None:
    worths = (known, lambda one: -convolutions(one))
    inner = Random(4)
    strategy = Guided(inner, [Exact(one) for one in worths], lambda found: found.objectives["both"], pool=60, first=16)

    def both(one: Genotype) -> tuple[float, float]:
        return worths[0](one), worths[1](one)

    strategy.tell([Told(one, Result(objectives={"both": both(one.candidate)})) for one in strategy.ask(16)])
    proposed: list[Genotype] = []
    ask = inner.ask
    inner.ask = lambda n: [proposed.append(one.candidate) or one for one in ask(n)]  # type: ignore[func-returns-value]
    passed = [both(one.candidate) for one in strategy.ask(4)]
    others = [both(one) for one in proposed]
    for one in passed[:1]:
        assert not any(a >= one[0] and b >= one[1] and (a, b) != one for a, b in others)
    assert max(one[0] for one in passed) - min(one[0] for one in passed) >= 1  # weights differ from one to the next
    assert np.mean([sum(one) for one in passed]) > np.mean([sum(one) for one in others])
