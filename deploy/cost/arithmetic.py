"""Arithmetic and memory in 45 nm at 0.9 V: what an operation of an ANN, and of an SNN, costs on the same device."""

import math
from dataclasses import dataclass, replace

from .profiles import Price

TECHNOLOGY = "45 nm"
WORD_BITS = 64  # a memory's price is that of one word

_HOROWITZ = "Horowitz 2014, ISSCC, fig. 1.1.9"
_SCALED = "of INT8 {bits} x 8 bits instead of 8 x 8, in proportion, as arXiv:2409.08290 compares SNN and quantized ANN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """Numbers of one kind. membrane_bits: in which an SNN of this arithmetic keeps a membrane between two steps."""

    name: str
    title: str
    add: Price
    multiply: Price
    weight_bits: int
    activation_bits: int
    membrane_bits: int

    @property
    def mac(self) -> float:
        """Joules of one multiply-accumulate."""
        return self.multiply.joules + self.add.joules

    @property
    def update(self) -> float:
        """Joules of one neuron update: the decay multiplies, the current or bias adds, the threshold is subtracted."""
        return self.multiply.joules + 2 * self.add.joules


FP32 = Arithmetic(
    name="fp32",
    title="FP32",
    add=Price(value=0.9, unit="pJ", source=f"{_HOROWITZ}: FP32 add", grade="S"),
    multiply=Price(value=3.7, unit="pJ", source=f"{_HOROWITZ}: FP32 multiply", grade="S"),
    weight_bits=32,
    activation_bits=32,
    membrane_bits=32,
)
INT8 = Arithmetic(
    name="int8",
    title="INT8",
    add=Price(value=0.03, unit="pJ", source=f"{_HOROWITZ}: INT8 add", grade="S"),
    multiply=Price(value=0.2, unit="pJ", source=f"{_HOROWITZ}: INT8 multiply", grade="S"),
    weight_bits=8,
    activation_bits=8,
    membrane_bits=16,  # Speck keeps 16 beside 8-bit weights: 8 overflow after a spike or two
)


def quantized(time_steps: int) -> Arithmetic:
    """INT8 weights and activations of b = ceil(log2(T + 1)) bits, which count from 0 to T as T steps of spikes do.

    arXiv:2409.08290 sets this ANN against a rate-coded SNN. Its multiplication is b / 8 of INT8's, an array multiplier
    with b rows instead of 8; the addition stays.
    """
    bits = time_steps.bit_length()  # ceil(log2(T + 1))
    scaled = Price(value=INT8.multiply.value * bits / 8, unit="pJ", source=_SCALED.format(bits=bits), grade="D")
    return replace(
        INT8, name="quantized", title=f"INT8 weights x {bits}-bit activations", multiply=scaled, activation_bits=bits
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of one size. word: the energy of reading or writing 64 bits."""

    name: str
    title: str
    bits: float
    word: Price


MEMORIES = (  # smallest first; the last holds anything
    Memory(
        name="sram_8kb",
        title="8 KB of SRAM",
        bits=8 * 2**13,
        word=Price(value=10, unit="pJ", source=f"{_HOROWITZ}: 64 bits of an 8 KB cache", grade="S"),
    ),
    Memory(
        name="sram_32kb",
        title="32 KB of SRAM",
        bits=32 * 2**13,
        word=Price(value=20, unit="pJ", source=f"{_HOROWITZ}: 64 bits of a 32 KB cache", grade="S"),
    ),
    Memory(
        name="sram_1mb",
        title="1 MB of SRAM",
        bits=2**23,
        word=Price(value=100, unit="pJ", source=f"{_HOROWITZ}: 64 bits of a 1 MB cache", grade="S"),
    ),
    Memory(
        name="dram",
        title="DRAM",
        bits=math.inf,
        word=Price(
            value=1.3, unit="nJ", source=f"{_HOROWITZ}: 64 bits of DRAM", grade="S", note="the least of a range"
        ),
    ),
)


def smallest_memory(values: int, bits: int) -> Memory:
    """The smallest one that holds so many values of so many bits."""
    return next(memory for memory in MEMORIES if values * bits <= memory.bits)


def access(values: int, bits: int) -> float:
    """Joules of reading or writing one of `values` values of `bits` bits: its share of a word of their memory."""
    return smallest_memory(values, bits).word.joules * bits / WORD_BITS
