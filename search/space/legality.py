"""What a target takes without a change, so that a search looks at nothing else.

tests/search/space/test_legality.py holds the table and the exporters together: it exports every primitive of both sets
with every size of stride, and sees every attention that is not listed refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from ...errors import InputError
from ..settings.network import ATTENTION_FOR, Attention
from .primitives import PRIMITIVES

ALL_PRIMITIVES = frozenset(name for table in PRIMITIVES.values() for name in table)
ALL_ATTENTION: frozenset[str] = frozenset(get_args(Attention))


@dataclass(frozen=True, slots=True)
class Legality:
    """Names of primitives and kinds of attention. A primitive that is missing is masked in the search."""

    primitives: frozenset[str]
    attention: frozenset[str]


LEGAL: Mapping[str, Legality] = {
    "onnx": Legality(ALL_PRIMITIVES, frozenset(ATTENTION_FOR["onnx"])),
    # A max-pool of spikes is a population, everything else a kernel.
    "loihi": Legality(ALL_PRIMITIVES, frozenset(ATTENTION_FOR["loihi"])),
    "nir": Legality(ALL_PRIMITIVES, frozenset(ATTENTION_FOR["nir"])),
}
ANY = Legality(ALL_PRIMITIVES, ALL_ATTENTION)


def legality_of(target: str) -> Legality:
    """What a target takes; "" is no target. Raises InputError for an unknown one."""
    if not target:
        return ANY
    if target not in LEGAL:
        raise InputError(f"Unknown target '{target}' to search for; choose from {', '.join(LEGAL)}.")
    return LEGAL[target]
