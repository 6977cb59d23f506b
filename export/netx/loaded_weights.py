"""The weights with which lava-dl 0.6.0 runs a full matrix; they are not always those of the file.

lava-dl shifts the matrix left until it fills 8 bits (lava/lib/dl/netx/utils.py, `optimize_weight_bits`), Lava clips it
and clears low bits (lava/utils/weightutils.py, `clip_weights` and `truncate_weights`) and shifts the sum of a step back
(lava/proc/dense/models.py). With s the left shift and k the cleared bits

    sum = (sum of ((w << s) >> k) << k over arriving spikes) >> s

which is the sum of w where the sign of the matrix is judged alike in both places. It is not where the largest weight is
0, which lava-dl takes for a mixed and Lava for an inhibitory matrix, nor where one half of a recurrent layer has one
sign and the other two.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Sign = Literal["mixed", "excitatory", "inhibitory"]

WEIGHT_BITS = 8
MIN_WEIGHT, MAX_WEIGHT = -256, 254  # of 8 bits with a sign, counting in twos
MAX_EXCITATORY = 255  # of 8 bits without a sign


@dataclass(frozen=True, slots=True, kw_only=True)
class LavaMatrix:
    """What a step adds: (weight @ spikes) >> shift, all integers. weight [O, I]."""

    weight: Integers
    shift: int

    @property
    def linear(self) -> bool:
        """True where shifting the sum is shifting each weight."""
        return not (self.weight % (1 << self.shift)).any()

    @property
    def effective(self) -> Integers:
        """[O, I] what one spike adds; only where `linear`."""
        return self.weight >> self.shift


def lava_matrices(*weights: Integers) -> tuple[LavaMatrix, ...]:
    """The matrices of one layer ([O, I] each; a recurrent one has two) as Lava runs them.

    They must not all be zero. Beyond 8 bits, weights of two signs are clipped; a matrix of one sign loses all of them,
    since NumPy takes a shift by a negative number for one by more than all bits.
    """
    together = np.concatenate([weight.ravel() for weight in weights])
    low, high = int(together.min()), int(together.max())
    if (high > MAX_WEIGHT and low < 0) or (low < MIN_WEIGHT and high > 0):
        return lava_matrices(*(np.clip(weight, MIN_WEIGHT, MAX_WEIGHT) for weight in weights))
    shift, bits = _fitted(together)
    if shift < 0:
        return tuple(LavaMatrix(weight=np.zeros_like(weight), shift=0) for weight in weights)
    return tuple(LavaMatrix(weight=_stored(weight << shift, bits), shift=shift) for weight in weights)


def _fitted(weight: Integers) -> tuple[int, int]:
    """(left shift, number of weight bits)."""
    high, low = int(weight.max()), int(weight.min())
    mixed = high >= 0 > low
    up, down = (127, -128) if mixed else (255, -256)
    scale = min(up / high if high > 0 else np.inf, down / low if low < 0 else np.inf)
    shift = int(np.floor(np.log2(scale))) + mixed
    divisible = max(n for n in range(WEIGHT_BITS + 1) if not (weight % (1 << n)).any())
    return shift, WEIGHT_BITS - shift - (divisible - mixed)


def _stored(weight: Integers, bits: int) -> Integers:
    sign: Sign = "excitatory" if weight.min() >= 0 else "inhibitory" if weight.max() <= 0 else "mixed"
    low = -(1 << WEIGHT_BITS) if sign == "mixed" else 0
    size = np.clip(-weight if sign == "inhibitory" else weight, low, (1 << WEIGHT_BITS) - 1)
    cleared = WEIGHT_BITS - bits + (sign == "mixed")
    # NumPy takes a shift by -1 for one by more than all bits, so nothing is left
    size = (size >> cleared) << cleared if cleared >= 0 else np.zeros_like(size)
    return -size if sign == "inhibitory" else size
