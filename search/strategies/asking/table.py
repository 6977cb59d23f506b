"""The strategies that ask and are told: one table, name -> what makes one of its settings."""

from collections.abc import Mapping
from typing import Any

from ....setting import chosen
from ...frame.goal import Goal
from ...frame.protocol import Strategy
from ...settings.strategies import (
    BayesSettings,
    EvolutionSettings,
    GenerationsSettings,
    GuidedSettings,
    HalvingSettings,
    LocalSettings,
    MotifSettings,
    Nsga2Settings,
    PopulationsSettings,
    RaceSettings,
    RandomSettings,
    ShadeSettings,
)
from ...space.network import NetworkConfig
from ...spaces.space import G, Space
from .bayes import Bayes
from .cluster_race import ClusterRace
from .evolution import Evolution
from .generations import Generations
from .guided import GuidedSearch
from .local_search import LocalSearch
from .motifs import MotifEvolution
from .nsga2 import Nsga2
from .populations import TwoPopulations
from .random_sampling import RandomSampling
from .shade import Shade
from .successive_halving import SuccessiveHalving

# name -> (strategy, its settings)
ASKING_STRATEGIES: Mapping[str, tuple[type[Any], type[Any]]] = {
    "random": (RandomSampling, RandomSettings),
    "evolution": (Evolution, EvolutionSettings),
    "generations": (Generations, GenerationsSettings),
    "local": (LocalSearch, LocalSettings),
    "halving": (SuccessiveHalving, HalvingSettings),
    "nsga2": (Nsga2, Nsga2Settings),
    "bayes": (Bayes, BayesSettings),
    "motifs": (MotifEvolution, MotifSettings),
    "shade": (Shade, ShadeSettings),
    "populations": (TwoPopulations, PopulationsSettings),
    "race": (ClusterRace, RaceSettings),
    "guided": (GuidedSearch, GuidedSettings),
}
OF_NETWORKS = frozenset({"guided"})  # those that must know the network that a candidate is put into


def strategy_of(
    name: str,
    space: Space[G],
    goal: Goal,
    *,
    seed: int = 0,
    epochs: int = 0,
    settings: Any = None,
    network: NetworkConfig | None = None,
) -> Strategy[G]:
    """Made anew. settings: its own, its defaults by default; epochs: of a whole training of the evaluator.

    network: that a cell is put into, for strategies that look at its sizes. Raises InputError for an unknown name.
    """
    kind, of_it = ASKING_STRATEGIES[chosen("strategy", name, ASKING_STRATEGIES)]
    more = {"network": network} if name in OF_NETWORKS else {}
    made: Strategy[G] = kind(space, goal, of_it() if settings is None else settings, seed, epochs, **more)
    return made
