"""Which price lists a command uses, and what counts as a synapse."""

from collections.abc import Iterable
from dataclasses import dataclass

from ...errors import InputError
from .profiles import Profile, builtin_profiles, find_profile

FIRST_PROFILE = "loihi1-davies2018"  # prices the populations unless the user chooses another


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    profiles: str = ""  # price lists, names or paths of TOML files, separated by commas; "": all that come with us
    count_zero_weights: bool = False  # whether a synapse of weight zero counts

    def price_lists(self) -> list[Profile]:
        """The first one prices the populations. Raises InputError for one that is unknown, damaged or named twice."""
        names = [name.strip() for name in self.profiles.split(",") if name.strip()]
        found = [find_profile(name) for name in names or _first(FIRST_PROFILE, builtin_profiles())]
        for profile in found:
            if sum(other.name == profile.name for other in found) > 1:
                raise InputError(f"Profiles must have names of their own, but two are '{profile.name}'; rename one.")
        return found


def _first(name: str, names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda other: (other != name, other))
