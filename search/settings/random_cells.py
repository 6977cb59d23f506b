"""The strategy random: cells drawn at random, each trained as a found one would be; the best is the result."""

from dataclasses import dataclass
from typing import ClassVar

from ...setting import check_settings, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomSettings:
    """Raises InputError when a value is out of range."""

    name: ClassVar[str] = "random"
    reads: ClassVar[tuple[str, ...]] = ()

    candidates: int = setting(8, "How many random cells.", at_least=1, common=True)

    def __post_init__(self) -> None:
        check_settings(self)
