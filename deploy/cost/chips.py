"""Published prices of chips and of arithmetic, each with its unit, source and grade of evidence on its line.

Grades: P primary text, data or code seen; S quoted in secondary sources; D derived or measured from P. A price without
a source is not used: what has none stands on the profile's `unpriced` list.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ...errors import InputError

Grade = Literal["P", "S", "D"]
Quantity = Literal["synaptic_operations", "neuron_updates", "active_updates", "idle_updates", "spikes"]

JOULES = {"pJ": 1e-12, "nJ": 1e-9, "J": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The energy of one event; unit is a key of JOULES."""

    value: float
    unit: str
    source: str
    grade: Grade

    @property
    def joules(self) -> float:
        return self.value * JOULES[self.unit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One summand of a profile's energy: the price of each event that `quantity` counts."""

    quantity: Quantity
    price: Price


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipProfile:
    """One published price list of one chip. Two lists of the same chip are two profiles and are never mixed."""

    name: str
    chip: str
    technology: str
    evidence: str  # what kind of numbers these are
    terms: Mapping[str, Term]
    unpriced: tuple[str, ...]


_DAVIES = "Davies et al. 2018, IEEE Micro 38(1), table 2"
_HOROWITZ = "Horowitz 2014, ISSCC, fig. 1.1.9"

SYNAPTIC_OPERATION = Price(value=23.6, unit="pJ", source=f"{_DAVIES}: synaptic operation, a minimum", grade="S")
UPDATE_ACTIVE = Price(value=81.0, unit="pJ", source=f"{_DAVIES}: neuron update, active", grade="S")
UPDATE_IDLE = Price(value=52.0, unit="pJ", source=f"{_DAVIES}: neuron update, inactive", grade="S")
SPIKE_WITHIN_TILE = Price(value=1.7, unit="pJ", source=f"{_DAVIES}: spike within a tile", grade="S")

LOIHI1_DAVIES2018 = ChipProfile(
    name="loihi1-davies2018",
    chip="Loihi 1",
    technology="14 nm",
    evidence="pre-silicon estimates at 0.75 V",
    terms={
        "synaptic_operations": Term(quantity="synaptic_operations", price=SYNAPTIC_OPERATION),
        "neuron_updates_active": Term(quantity="active_updates", price=UPDATE_ACTIVE),
        "neuron_updates_idle": Term(quantity="idle_updates", price=UPDATE_IDLE),
        "spikes": Term(quantity="spikes", price=SPIKE_WITHIN_TILE),
    },
    unpriced=(
        "Messages: every spike is priced once, as one message inside its tile; a spike whose targets lie on several "
        "cores sends more. This needs a mapping to cores, and there is none yet.",
        "Hops between tiles (east-west and north-south): they need a mapping to cores.",
        "Static power times the run time of the chip: the run time needs a mapping to cores.",
        "The x86 cores on the chip and the host that feeds it.",
        "The encoder on the host, which turns real values into spikes: shown by itself, in another technology.",
        "The barrier that ends a time step: its energy is not published.",
        "Spikes that enter and leave the chip, and the reset of the membranes between two samples.",
    ),
)

PROFILES: dict[str, ChipProfile] = {profile.name: profile for profile in (LOIHI1_DAVIES2018,)}

# One multiply and one add in 45 nm at 0.9 V; the arithmetic alone, without reading or writing an operand.
MAC_45NM: dict[str, Price] = {
    "fp32": Price(value=4.6, unit="pJ", source=f"{_HOROWITZ}: FP32 multiply 3.7 pJ + add 0.9 pJ", grade="S"),
    "int8": Price(value=0.23, unit="pJ", source=f"{_HOROWITZ}: INT8 multiply 0.2 pJ + add 0.03 pJ", grade="S"),
}
MAC_TECHNOLOGY = "45 nm"


def find(name: str) -> ChipProfile:
    """The profile of that name; raises InputError for a name that is not in PROFILES."""
    if name not in PROFILES:
        raise InputError(f"Unknown chip profile '{name}'; choose from {', '.join(sorted(PROFILES))}.")
    return PROFILES[name]


def check(profile: ChipProfile) -> ChipProfile:
    """Return the profile if every price is a finite number of joules, not negative; else raise InputError."""
    for name, term in profile.terms.items():
        price = term.price
        if price.unit not in JOULES:
            raise InputError(
                f"Profile '{profile.name}': the unit of '{name}' must be one of {', '.join(JOULES)}, but is "
                f"'{price.unit}'; convert the price."
            )
        if not (math.isfinite(price.value) and price.value >= 0):
            raise InputError(
                f"Profile '{profile.name}': `price >= 0` must hold, but '{name}' costs {price.value} {price.unit}; "
                "correct the price in its source's units."
            )
    return profile
