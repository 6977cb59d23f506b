"""The price lists that a command uses."""

from collections.abc import Iterable

from ...errors import InputError
from ..mapping.capacity import find_chip
from ..settings import PriceSettings
from .profiles import Profile, builtin_profiles, find_profile

FIRST_PROFILE = "loihi1-davies2018"  # prices the populations unless the user chooses another


def price_lists(settings: PriceSettings) -> list[Profile]:
    """The first one prices the populations. Raises InputError for one that is unknown, damaged or named twice."""
    names = [name.strip() for name in settings.profiles.split(",") if name.strip()]
    found = [find_profile(name) for name in names or _first(FIRST_PROFILE, builtin_profiles())]
    for profile in found:
        if profile.chip:
            _check_chip(profile, profile.chip)
        if sum(other.name == profile.name for other in found) > 1:
            raise InputError(
                f"Profiles must have names of their own, but two are '{profile.name}'; name it once, or rename one."
            )
    return found


def _check_chip(profile: Profile, chip: str) -> None:
    try:
        find_chip(chip)
    except InputError as error:
        raise InputError(f"The profile '{profile.name}' names a chip that cannot be read: {error}") from error


def _first(name: str, names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda other: (other != name, other))
