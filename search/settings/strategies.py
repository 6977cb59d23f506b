"""What a person can choose of the strategies that ask and are told, and of the loop that carries the news."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ...setting import check_settings, require, setting

Evaluates = Literal["train", "supernet"]

ASKING = ("asking", "elastic")  # the tables of the loop, and of what may stand for trainings


@dataclass(frozen=True, slots=True, kw_only=True)
class AskingSettings:
    """What every strategy that asks is given. Raises InputError when a value is out of range."""

    evaluations: int = setting(20, "Whole trainings in all; short ones count as their share.", at_least=1, common=True)
    at_once: int = setting(1, "Candidates that are proposed before any of them is known.", at_least=1, common=True)
    evaluator: Evaluates = setting(
        "train",
        "Who measures candidates: a training of each (train), or one of weights that all share (supernet).",
        common=True,
    )
    objectives: str = setting(
        "accuracy",
        "What the search is for, separated by commas: accuracy, sops, spikes, parameters, neurons, synapses, cores, "
        "levels, relays, energy_j, latency_s, int8_accuracy, int4_accuracy, introspectability; of a supernet flatness, "
        "int8_loss_rise, int4_loss_rise, too; NAME:PART of one price list or chip.",
        common=True,
    )
    limits: str = setting("", "What a cell may have at most, as in cores=128,sops=200000.", common=True)
    executor: str = setting(
        "",
        "Where candidates train: processes:N on this machine, ray:ADDRESS, dask:ADDRESS or submitit:FOLDER, which need "
        "their package and folders that all machines see. Without it in this process.",
        common=True,
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomSettings:
    """It has nothing to choose."""

    name: ClassVar[str] = "random"
    reads: ClassVar[tuple[str, ...]] = ASKING


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolutionSettings:
    """Raises InputError when a value is out of range."""

    name: ClassVar[str] = "evolution"
    reads: ClassVar[tuple[str, ...]] = ASKING

    evolution_population: int = setting(20, "Cells of which the oldest dies.", at_least=2)
    evolution_sample: int = setting(5, "Of these drawn, the best becomes the parent.", at_least=1)

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationsSettings:
    """Raises InputError when a value is out of range."""

    name: ClassVar[str] = "generations"
    reads: ClassVar[tuple[str, ...]] = ASKING

    generations_population: int = setting(
        50, "Candidates of a generation: the best fifth stays, half are their mutants, half their children.", at_least=4
    )
    generations_rounds: int = setting(0, "Generations in all; 0: as many as --evaluations allow.", at_least=0)

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """It has nothing to choose."""

    name: ClassVar[str] = "local"
    reads: ClassVar[tuple[str, ...]] = ASKING


@dataclass(frozen=True, slots=True, kw_only=True)
class HalvingSettings:
    """Raises InputError when a value is out of range."""

    name: ClassVar[str] = "halving"
    reads: ClassVar[tuple[str, ...]] = ASKING

    halving_factor: int = setting(3, "One of so many cells goes on, with so many times the epochs.", at_least=2)

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nsga2Settings:
    """Raises InputError when a value is out of range."""

    name: ClassVar[str] = "nsga2"
    reads: ClassVar[tuple[str, ...]] = ASKING

    nsga2_population: int = setting(20, "Cells of a generation.", at_least=2)

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class BayesSettings:
    """Raises InputError when a value is out of range."""

    name: ClassVar[str] = "bayes"
    reads: ClassVar[tuple[str, ...]] = ASKING

    bayes_first: int = setting(10, "Random cells before the Gaussian processes have a say.", at_least=3)
    bayes_pool: int = setting(300, "Random cells that are compared, beside the neighbours of the front.", at_least=1)
    bayes_batch: int = setting(5, "Cells that are trained before the processes learn again.", at_least=1)

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class MotifSettings:
    """Raises InputError when a value is out of range."""

    name: ClassVar[str] = "motifs"
    reads: ClassVar[tuple[str, ...]] = ASKING

    motif_population: int = setting(20, "Cells of which parents are drawn.", at_least=2)
    motif_mutation: float = setting(0.2, "Chance of each node to be drawn anew, 0..1.", at_least=0)

    def __post_init__(self) -> None:
        check_settings(self)
        require(self, "motif_mutation", self.motif_mutation <= 1, "motif_mutation <= 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadeSettings:
    """Raises InputError when a value is out of range."""

    name: ClassVar[str] = "shade"
    reads: ClassVar[tuple[str, ...]] = ASKING

    shade_population: int = setting(20, "Points of the population.", at_least=4)
    shade_memory: int = setting(5, "Pairs of F and CR that are remembered.", at_least=1)
    shade_share: float = setting(0.2, "Of the population, the best, of which one attracts.", above=0)
    shade_trigonometric: float = setting(0.05, "Chance of a trigonometric mutation, 0..1.", at_least=0)

    def __post_init__(self) -> None:
        check_settings(self)
        for name in ("shade_share", "shade_trigonometric"):
            require(self, name, getattr(self, name) <= 1, f"{name} <= 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulationsSettings:
    """Raises InputError when a value is out of range."""

    name: ClassVar[str] = "populations"
    reads: ClassVar[tuple[str, ...]] = ASKING

    main_population: int = setting(16, "Of the population that is after the best.", at_least=2)
    vice_population: int = setting(8, "Of the population that stays different.", at_least=2)
    offspring: int = setting(20, "Children that the comparator looks at for one that is trained.", at_least=1)

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceSettings:
    """Raises InputError when a value is out of range."""

    name: ClassVar[str] = "race"
    reads: ClassVar[tuple[str, ...]] = ASKING

    race_cells: int = setting(24, "Cells of a round, each trained shortly.", at_least=2)
    race_clusters: int = setting(6, "Clusters of them; the best of each is trained whole.", at_least=1)
    race_epochs: int = setting(1, "Of a short training.", at_least=1)

    def __post_init__(self) -> None:
        check_settings(self)
        require(self, "race_clusters", self.race_clusters <= self.race_cells, "race_clusters <= race_cells")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidedSettings:
    """Raises InputError when a value is out of range."""

    name: ClassVar[str] = "guided"
    reads: ClassVar[tuple[str, ...]] = ASKING

    guided_by: Literal["random", "evolution"] = setting("random", "Who proposes the cells that are chosen from.")
    predictor: Literal["forest", "pairwise", "graph"] = setting(
        "forest", "What ranks proposals: a random forest, a perceptron that learns by pairs, or a graph encoder."
    )
    guided_first: int = setting(20, "Whole trainings before the predictor has a say.", at_least=3)
    guided_pool: int = setting(100, "Proposals of which the best are trained.", at_least=1)
    guided_batch: int = setting(10, "Of a pool, so many are trained before the predictor learns again.", at_least=1)

    def __post_init__(self) -> None:
        check_settings(self)
        require(self, "guided_batch", self.guided_batch <= self.guided_pool, "guided_batch <= guided_pool")
