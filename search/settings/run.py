"""The settings of a run, composed of those of its concerns; what spans two of them is checked here.

Each setting has one place: `seed` stands alone, every other in a table, `[network]`, `[data]`, `[training]`,
`[objective]`, in `[supernet]`, `[trials]`, `[asking]` and `[elastic]` where the strategy reads them, or in
its own, as `[strategy.darts]`. All have names of their own, so that the command line and `changed` need no tables.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from ...errors import InputError
from ...setting import check_settings, chosen, nearest, setting, settings_of
from .darts import OF_THE_CELL, DartsSettings
from .data import DataSettings
from .elastic import ElasticSettings
from .network import NetworkSettings
from .objective import ObjectiveSettings
from .strategies import (
    AskingSettings,
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
from .supernet import SupernetSettings
from .training import TrainingSettings
from .trials import TrialSettings

AskingStrategySettings = (
    RandomSettings
    | EvolutionSettings
    | GenerationsSettings
    | LocalSettings
    | HalvingSettings
    | Nsga2Settings
    | BayesSettings
    | MotifSettings
    | ShadeSettings
    | PopulationsSettings
    | RaceSettings
    | GuidedSettings
)
StrategySettings = DartsSettings | AskingStrategySettings

STRATEGIES: Mapping[str, type[StrategySettings]] = {kind.name: kind for kind in get_args(StrategySettings)}
CONCERNS: Mapping[str, type] = {
    "network": NetworkSettings,
    "data": DataSettings,
    "training": TrainingSettings,
    "objective": ObjectiveSettings,
    "supernet": SupernetSettings,
    "trials": TrialSettings,
    "asking": AskingSettings,
    "elastic": ElasticSettings,
}
TABLES: Mapping[str, type] = {**CONCERNS, **{f"strategy.{name}": kind for name, kind in STRATEGIES.items()}}
FORMERLY = {"candidates": "evaluations"}  # what runs of before call a setting -> what it is called
OPTIONAL = ("supernet", "trials", "asking", "elastic")  # tables that a strategy reads, or does not

READERS: Mapping[str, str] = {  # table -> the strategies that read it, where not all do
    table: " or ".join(name for name, kind in STRATEGIES.items() if table in (*kind.reads, f"strategy.{name}"))
    for table in TABLES
    if table in OPTIONAL or table.startswith("strategy.")
}

PLACES: Mapping[str, str] = {"seed": "", "strategy": ""} | {
    name: table for table, kind in TABLES.items() for name in settings_of(kind)
}  # name of a setting -> its table


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """Raises InputError when settings contradict each other, and for one that the strategy would ignore.

    >>> spikeport.SearchSettings().network.cells
    8
    """

    seed: int = setting(
        0, "The same seed gives the same genotype and weights on the same machine.", at_least=0, common=True
    )
    network: NetworkSettings = NetworkSettings()
    data: DataSettings = DataSettings()
    training: TrainingSettings = TrainingSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    supernet: SupernetSettings = SupernetSettings()
    trials: TrialSettings = TrialSettings()
    asking: AskingSettings = AskingSettings()
    elastic: ElasticSettings = ElasticSettings()
    strategy: StrategySettings = DartsSettings()

    def __post_init__(self) -> None:
        check_settings(self)
        for table in OPTIONAL:
            found, rest = getattr(self, table), CONCERNS[table]()
            for name in settings_of(CONCERNS[table]):
                if table not in self.strategy.reads and getattr(found, name) != getattr(rest, name):
                    raise _ignored(name, self.strategy.name)
        if self.training.gradient_checkpointing and self.objective.has_a_price:
            raise InputError(
                "A price of spikes needs the spikes of every cell, but --gradient-checkpointing does not keep them; "
                "leave it out or set spike_weight, sop_weight and relay_weight to 0."
            )
        if self.training.first_size < 1 and self.data.dataset.startswith("events:"):
            raise InputError(
                "Events are spikes, 0 or 1, which the mean over an area is not, so "
                f"first_size={self.training.first_size} cannot make their frames smaller; leave it out."
            )
        if self.objective.relay_weight:
            self._check_relays()
        if isinstance(self.strategy, DartsSettings):
            self._check_darts(self.strategy)
        if "elastic" in self.strategy.reads:
            self._check_elastic()

    def _check_elastic(self) -> None:
        """Raises InputError for what the evaluator would ignore, and for what the shared weights have no place for."""
        usual, names = ElasticSettings(), settings_of(ElasticSettings)
        changed = [name for name in names if getattr(self.elastic, name) != getattr(usual, name)]
        if self.asking.evaluator != "supernet" and changed:
            raise InputError(
                f"`{changed[0]}` belongs to the evaluator supernet, but the evaluator is {self.asking.evaluator}, "
                "which would ignore it; say --evaluator supernet or leave it out."
            )
        if self.asking.evaluator == "supernet" and self.objective.has_a_price:
            raise InputError(
                "Shared weights are trained without prices, but spike_weight, sop_weight or relay_weight is set; "
                "leave it out and say --objectives accuracy,sops."
            )

    def _check_relays(self) -> None:
        """Raises InputError where relays have no price."""
        network, asked = self.network, f"relay_weight={self.objective.relay_weight:g}"
        if network.for_target not in ("", "loihi"):
            raise InputError(f"Relays are on Loihi alone, but {asked} is for {network.for_target}; leave it out.")
        if network.attention == "spike":
            raise InputError(f"Relays behind gates made of spikes have no price yet, so leave {asked} out.")
        if network.cells_per_layer:
            raise InputError(
                f"Relays of a search of cells for every layer have no price yet, so {asked} cannot be with "
                "--cells-per-layer; leave one of them out."
            )
        if network.decays == "search":
            raise InputError(
                f"Relays of nodes that leak unequally have no price yet, so {asked} cannot be with --decays search; "
                "leave one of them out."
            )
        if network.level != "micro":
            raise InputError(
                f"Relays of a search over paths have no price yet, so {asked} cannot be at --level {network.level}; "
                "leave one of them out."
            )

    def _check_darts(self, darts: DartsSettings) -> None:
        level = self.network.level
        if level != "micro" and self.supernet.supernet == "plain":
            raise InputError(
                f"--level {level} needs the kernel-space supernet, because the plain one normalises away how wide a "
                "cell is; say --supernet kernel."
            )
        if level == "macro" and self.supernet.relaxation == "gumbel":
            raise InputError(
                "At --level macro the cell is given, so relaxation=gumbel has nothing to act on; leave it out or say "
                "--level both."
            )
        if level != "micro" and darts.pipelined_epochs:
            raise InputError(
                f"pipelined_epochs={darts.pipelined_epochs} trains the weights in one cell at a time, but at --level "
                f"{level} the cells of all paths are there at once; leave it out or leave --level out."
            )
        for name in OF_THE_CELL if level == "macro" else ():
            if getattr(darts, name):
                raise InputError(
                    f"At --level macro the cell is given, so {name}={getattr(darts, name)} has nothing to act on; "
                    "leave it out or say --level both."
                )
        for name in ("gates", "decays") if level == "macro" else ():
            if getattr(self.network, name) == "search":
                raise InputError(
                    f"At --level macro the cell is given, and with it its {name}, so {name}=search has nothing to act "
                    "on; leave it out or say --level both."
                )
        if darts.shared_epochs and not self.network.cells_per_layer:
            raise InputError(
                f"shared_epochs={darts.shared_epochs} is how long layers share a cell before each has its own; say "
                "--cells-per-layer or leave it out."
            )
        if darts.zero_one_weight and self.supernet.relaxation != "sigmoid":
            raise InputError(
                f"zero_one_weight drives sigmoids to 0 or 1, but the relaxation is {self.supernet.relaxation}; "
                "say --relaxation sigmoid or leave it out."
            )
        bits, after = self.supernet.search_bits, self.supernet.search_bits_after
        if bits and level != "micro":
            raise InputError(
                f"search_bits={bits} rounds the kernels of cells, but at --level {level} these are weighed by how "
                "likely a width is, which no integer of a chip is; leave one of them out."
            )
        if bits and darts.second_order:
            raise InputError(
                f"--second-order takes small differences, which search_bits={bits} rounds away; leave one of them out."
            )
        if after >= darts.search_epochs:
            raise InputError(
                f"`search_bits_after < search_epochs` must hold, but got search_bits_after={after} and "
                f"search_epochs={darts.search_epochs}."
            )
        if self.supernet.search_precision == "bfloat16" and darts.second_order:
            raise InputError(
                "--second-order takes small differences, which would drown in bfloat16; use float32 or auto."
            )

    @property
    def darts(self) -> DartsSettings:
        """Those of the strategy darts. Raises InputError where it is another."""
        if not isinstance(self.strategy, DartsSettings):
            raise InputError(f"The strategy must be darts here, but is {self.strategy.name}.")
        return self.strategy

    def to_dict(self) -> dict[str, Any]:
        """Tables as in a settings file, with every setting that the strategy reads."""
        tables = {name: asdict(getattr(self, name)) for name in CONCERNS if read_by(self.strategy, name)}
        return {"seed": self.seed, **tables, "strategy": {self.strategy.name: asdict(self.strategy)}}


def by_option(settings: SearchSettings) -> dict[str, Any]:
    """Every setting that the strategy reads, by the name of its option: the inverse of `choose`."""
    tables = settings.to_dict()
    strategy = tables.pop("strategy")[settings.strategy.name]
    found = {"seed": tables.pop("seed"), "strategy": settings.strategy.name}
    for values in (*tables.values(), strategy):
        found |= values
    return found


def read_by(strategy: StrategySettings | type[StrategySettings], table: str) -> bool:
    """Whether a strategy looks at this table."""
    return table in strategy.reads or table == f"strategy.{strategy.name}" or table in {"", *CONCERNS} - {*OPTIONAL}


def changed(settings: SearchSettings, **options: Any) -> SearchSettings:
    """The settings with other values, by the names of the options, whatever table they are in.

    With another `strategy` the tables that it does not read return to their defaults. Raises InputError for an unknown
    name, for an option that the strategy would ignore, and for a value that is out of range.

    >>> spikeport.changed(spikeport.SearchSettings(), channels=8, search_epochs=6).network.channels
    8
    """
    options = dict(options)
    name = options.pop("strategy", settings.strategy.name)
    if not isinstance(name, str):
        raise InputError(f"`strategy` must be str, but is {name!r}.")
    kind = STRATEGIES[chosen("strategy", name, STRATEGIES)]
    parts: dict[str, Any] = {table: getattr(settings, table) for table in CONCERNS if read_by(kind, table)}
    parts["strategy"] = settings.strategy if isinstance(settings.strategy, kind) else kind()
    given: dict[str, dict[str, Any]] = {}
    for option, value in options.items():
        table = place_of(option)
        if not read_by(kind, table):
            raise _ignored(option, name)
        given.setdefault(table.partition(".")[0], {})[option] = value
    seed = given.pop("", {}).get("seed", settings.seed)
    for table, values in given.items():
        parts[table] = replace(parts[table], **values)
    return SearchSettings(seed=seed, **parts)


def choose(**options: Any) -> SearchSettings:
    """Settings by the names of the options; what is not given has its default. Raises what `changed` raises.

    >>> spikeport.choose(dataset="digits", strategy="random", evaluations=3).asking.evaluations
    3
    """
    return changed(SearchSettings(), **options)


def place_of(option: str) -> str:
    """The table of a setting; "" for those that stand alone. Raises InputError that names the nearest known ones."""
    if option not in PLACES:
        raise InputError(f"Unknown setting '{option}'; {nearest_settings(option)}")
    return PLACES[option]


def nearest_settings(option: str, tables: Iterable[str] = ()) -> str:
    """Those that an unknown name may have meant, and the table of the first. tables: names that may be meant, too."""
    words = nearest(option, dict.fromkeys((*tables, *PLACES)))
    first = words.split("'")[1]
    return words + (f" '{first}' belongs to [{PLACES[first]}]." if first not in tables and PLACES[first] else "")


def settings_from_dict(data: Mapping[str, Any]) -> SearchSettings:
    """The inverse of `to_dict`; also of runs that knew no tables yet.

    Raises InputError for what is unknown, and for a table that is none.
    """
    if not any(isinstance(data.get(table), Mapping) for table in CONCERNS):
        return choose(**readable(_as_now(data), str(data.get("strategy", DartsSettings.name))))
    options: dict[str, Any] = {name: value for name, value in data.items() if name not in (*CONCERNS, "strategy")}
    for table in CONCERNS:
        options |= _mapping(table, data.get(table, {}))
    for name, values in _mapping("strategy", data.get("strategy", {})).items():
        options |= {"strategy": name, **_mapping(f"strategy.{name}", values)}
    return choose(**_as_now(options))


def _as_now(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by the names that they have now."""
    return {FORMERLY.get(name, name): value for name, value in options.items()}


def _mapping(table: str, values: object) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise InputError(f"`{table}` must be a table, but is {values!r}.")
    return values


def readable(options: Mapping[str, Any], strategy: str) -> dict[str, Any]:
    """Of options that may be of several strategies those that this one reads, and what is unknown."""
    kind = STRATEGIES[chosen("strategy", strategy, STRATEGIES)]
    return {name: value for name, value in options.items() if name not in PLACES or read_by(kind, PLACES[name])}


def _ignored(option: str, strategy: str) -> InputError:
    """The error that a strategy would ignore an option."""
    table = PLACES[option]
    return InputError(
        f"`{option}` belongs to the strategy {READERS[table]}, but the strategy is {strategy}, which would "
        f"ignore it; say --strategy {READERS[table].split()[0]} or leave it out."
    )
