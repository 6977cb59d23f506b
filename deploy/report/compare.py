"""Runs side by side: accuracy against energy, latency and cores, and which of them no other run beats.

A run is Pareto-optimal for a pair (accuracy, cost) if no other run has at least its accuracy for at most its cost, and
is better in one of the two. Energies and latencies of different price lists are never put on one axis: the runs are
compared by one list that all of them have, and where there is none, the page says which run lacks what.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...errors import InputError
from .figures.floor_plan import mapping_of
from .verdict import Verdict, verdict

Cost = Literal["energy", "latency", "cores"]
COSTS: tuple[Cost, ...] = ("energy", "latency", "cores")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """One run. Costs are of one inference; None where the run does not say."""

    name: str
    verdict: Verdict
    accuracy: float | None  # 0..1
    spikes: float | None
    synaptic_operations: float | None
    time_steps: int | None
    energies_j: Mapping[str, float | None]  # by price list
    energy_j: float | None  # of the list that all runs have
    energy_range_j: tuple[float, float] | None
    latency_s: float | None  # of the same list
    cores: int | None  # of the mapping of the same list
    chip: str | None
    lacks: tuple[str, ...]  # in words

    def cost(self, name: Cost) -> float | None:
        return {"energy": self.energy_j, "latency": self.latency_s, "cores": self.cores}[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """profile: the price list that all priced runs have, None without one. pareto: names of the best runs by cost."""

    runs: tuple[ComparedRun, ...]
    profile: str | None
    profiles: tuple[str, ...]  # every list that some run is priced by
    pareto: Mapping[Cost, tuple[str, ...]]


def compare(runs: Sequence[Mapping[str, Any]]) -> Comparison:
    """Compare runs, each {"name", "accuracy", "energy": energy.json or None, "equivalence": equivalence.json}.

    A run whose checks failed is listed, but never optimal: its numbers belong to another network. Raises InputError
    without a run, and where two have one name.
    """
    names = [str(run["name"]) for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        found = f"{twice} are there twice" if twice else "there is none"
        raise InputError(
            f"Runs to compare must be at least one and named differently, but {found}; name other folders."
        )
    profile = _common([run["energy"] for run in runs if run["energy"]])
    compared = tuple(_compared(run, profile) for run in runs)
    profiles = dict.fromkeys(name for run in compared for name in run.energies_j)
    return Comparison(
        runs=compared,
        profile=profile,
        profiles=tuple(profiles),
        pareto={cost: pareto(compared, cost) for cost in COSTS},
    )


def pareto(runs: Iterable[ComparedRun], cost: Cost) -> tuple[str, ...]:
    """Names of the runs that no other beats in accuracy and `cost`; without a number, or failed, a run is none."""
    found = [
        (run.name, run.accuracy, price)
        for run in runs
        if run.verdict.kind != "fail" and run.accuracy is not None and (price := run.cost(cost)) is not None
    ]
    return tuple(
        name
        for name, accuracy, price in found
        if not any(a >= accuracy and p <= price and (a > accuracy or p < price) for _, a, p in found)
    )


def _common(energies: Sequence[Mapping[str, Any]]) -> str | None:
    """The price list that all runs are priced by; the one most of them use by themselves, if there are several."""
    shared = (
        [name for name in _priced(energies[0]) if all(name in _priced(one) for one in energies)] if energies else []
    )
    preferred = [one["per_population_profile"] for one in energies]
    return max(shared, key=lambda name: (preferred.count(name), -shared.index(name)), default=None)


def _priced(energy: Mapping[str, Any]) -> dict[str, float]:
    totals = {name: (one.get("energy_j") or {}).get("total") for name, one in energy["profiles"].items()}
    return {name: joules for name, joules in totals.items() if joules is not None}


def _compared(run: Mapping[str, Any], profile: str | None) -> ComparedRun:
    energy, equivalence = run["energy"], run["equivalence"]
    said = verdict(equivalence["verdict"], equivalence["checks"])
    one = (energy["profiles"].get(profile) if energy and profile else None) or {}
    mapping = (mapping_of(one, energy["mappings"]) if energy and one else None) or {}
    counts = next(iter(energy["profiles"].values()))["counts"] if energy and energy["profiles"] else {}
    ends = one.get("energy_range_j")
    fits = bool(mapping.get("fits"))
    found = {
        "accuracy": run["accuracy"],
        "energy": (one.get("energy_j") or {}).get("total"),
        "latency": one.get("latency_s"),
        "cores": mapping.get("cores") if fits else None,
    }
    return ComparedRun(
        name=str(run["name"]),
        verdict=said,
        accuracy=found["accuracy"],
        spikes=counts.get("spikes"),
        synaptic_operations=counts.get("synaptic_operations"),
        time_steps=energy["time_steps"] if energy else None,
        energies_j=_priced(energy) if energy else {},
        energy_j=found["energy"],
        energy_range_j=(ends["low"], ends["high"]) if ends else None,
        latency_s=found["latency"],
        cores=found["cores"],
        chip=one.get("chip"),
        lacks=tuple(_lacks(run, profile, found, mapping)),
    )


def _lacks(
    run: Mapping[str, Any], profile: str | None, found: Mapping[str, Any], mapping: Mapping[str, Any]
) -> Iterable[str]:
    """What keeps a run out of a plot, and why."""
    if found["accuracy"] is None:
        yield "accuracy"
    if run["energy"] is None:
        yield "energy, latency and cores: it was not exported for a chip"
        return
    if profile is None:
        yield f"a price list that all runs have; it has {', '.join(_priced(run['energy'])) or 'none'}"
        return
    if found["latency"] is None:
        yield f"latency by {profile}"
    if found["cores"] is None:
        unfit = "it is not cut into cores" if mapping.get("fits") else "it does not fit"
        yield f"cores of {profile}" + (f": {unfit}, {mapping['reason']}" if mapping else "")
