"""What a weight of so many bits can be, and the largest scale at which weights fit: plain arithmetic.

With b bits the weights that are learnt are w = step * m, m = -2^(b - 1) .. 2^(b - 1) - 1, step = 2, 4, .. 2^(9 - b):
passes/scales.py says of which levels, a search uses it of the populations of its supernet.
"""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

WEIGHT_BITS = (2, 3, 4, 5, 6, 8)  # of a weight with a sign; Loihi 1 has no 7 [nengo-loihi block.py, WEIGHT_BITS_MAP]
WEIGHT_MAX = 254  # 8-bit weights in steps of 2: [-256, 254] [lava-dl 0.6.0 netx/utils.py optimize_weight_bits]
BIAS_MAX = 4095  # 13-bit signed mantissa, exponent 6 [Lava 0.10 PyLifModelBitAcc docstring]
THRESHOLD_MAX = 2**17 - 1  # 17-bit unsigned mantissa [same]
SCALE_MAX = 252  # even, and so that the relay's weight 254 stays above the register S - 1
NO_LIMIT = sys.float_info.max  # finite, so that a weight of 0 stays 0 at any scale


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelScale:
    """scale: chip's units of a threshold, or of a logit in the readout. step: what weights are multiples of."""

    scale: float
    step: int = 2
    bits: int = 8

    @property
    def top(self) -> int:
        """The highest weight."""
        return ((1 << self.bits - 1) - 1) * self.step

    @property
    def bottom(self) -> int:
        return -(1 << self.bits - 1) * self.step

    @property
    def carrier(self) -> int:
        """The weight of a relay or a pool, above the register S - 1 of every scale up to `highest_scale`."""
        return carrier(self.bits)


def carrier(bits: int) -> int:
    """254 at 8 bits, 240 at 4, 192 at 2: even, and none of so many bits without a sign is higher."""
    return min(WEIGHT_MAX, ((1 << bits) - 1) << (8 - bits))


def highest_scale(bits: int) -> int:
    """Of a level that fires."""
    return min(SCALE_MAX, carrier(bits))


def even(scale: float) -> float:
    """The next even integer that is not above it."""
    return 2 * int(scale / 2)


def largest_scale(
    weight: float, limits: Iterable[float], bits: int, rounded: Callable[[float], float] = even
) -> LevelScale:
    """The largest at which the bits hold a weight, in thresholds (or logits), that is above none of the limits."""
    limit = min(limits)
    found = LevelScale(scale=0.0)
    for exponent in range(9 - bits, 0, -1):  # the largest step lets biases be finest
        step = 1 << exponent
        top = LevelScale(scale=0.0, step=step, bits=bits).top
        wanted = top / weight if weight else NO_LIMIT
        found = LevelScale(scale=rounded(min(wanted, limit)), step=step, bits=bits)
        if wanted <= limit:
            break
    return found
