"""What an ensemble costs: its members' energies together, and whether they lie side by side on one chip.

A core holds neurons of one member only, for the registers of a layer are its own; so the cores of an ensemble are the
sum of its members'. Energies add up, each as it was priced alone. The time is that of all, one after another, or, side
by side, that of the slowest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..report.compare import compare
from .members import Member


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Of one inference, by one price list; None where a member does not say."""

    energy_j: float | None
    latency_s: float | None  # one after another
    latency_side_by_side_s: float | None

    @staticmethod
    def of_all(members: Sequence["Costs"]) -> "Costs":
        """Of different members together."""
        energies = [one.energy_j for one in members]
        times = [one.latency_s for one in members]
        known = [time for time in times if time is not None]
        return Costs(
            energy_j=_sum(energies),
            latency_s=_sum(times),
            latency_side_by_side_s=max(known) if len(known) == len(times) else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """Members on one kind of chip. cores: of all together, None where that is not known, and `why` says so. of_cores:
    what one chip has. chips: how many it takes."""

    cores: int | None
    of_cores: int
    chips: int | None
    fits: bool
    why: str


def costs_of(members: Sequence[Member]) -> tuple[str | None, tuple[Costs, ...]]:
    """(the price list that all have which are on a chip, each member's costs by it)."""
    runs = [
        {"name": m.name, "accuracy": None, "energy": m.energy, "equivalence": {"verdict": "pass", "checks": []}}
        for m in members
    ]
    found: Any = compare(runs)
    costs = tuple(
        Costs(energy_j=run.energy_j, latency_s=run.latency_s, latency_side_by_side_s=run.latency_s)
        for run in found.runs
    )
    return found.profile, costs


def side_by_side(members: Sequence[Member]) -> SideBySide:
    """Whether these lie on one chip together, by the cores that each takes alone."""
    chip = next((m.mapped.chip for m in members if m.mapped is not None), None)
    most = 0 if chip is None else chip.limits["cores"].value
    for member in members:
        if member.mapped is None:
            why = f"{member.name} is not exported for loihi"
        elif member.mapped.mapping is None:
            why = f"{member.name}: {member.mapped.reason}"
        else:
            continue
        return SideBySide(cores=None, of_cores=most, chips=None, fits=False, why=why)
    cores = sum(m.mapped.mapping.cores for m in members if m.mapped is not None and m.mapped.mapping is not None)
    fits = cores <= most
    why = f"{most - cores} cores stay free" if fits else f"{cores - most} cores too many"
    return SideBySide(cores=cores, of_cores=most, chips=-(-cores // most), fits=fits, why=why)


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
