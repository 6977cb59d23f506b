"""The registers of a layer's neurons: one number for all of them, or an array that Lava spreads over the layer.

Lava 0.10 keeps iDecay, vDecay and vThMant as the file has them (magma/compiler/builders/py_builder.py builds what is
typed `int` without a shape), and NumPy spreads them over currents and membranes step by step (proc/lif/models.py):

    dense  [N]                    an array [N], or what broadcasts to it
    conv   [column, row, channel] an array [C], or what broadcasts to it: the last axis is the channel

Other arrays make Lava fail. SLAYER's `shared_param=False` writes [N] and [C]. An array of thresholds is shifted by 6
bits in the type in which it is stored, and may overflow there; a single number is not.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, UnsupportedError
from ...reading.hdf5 import Group
from ..graph import Shape
from ..simulate import MANTISSA_SHIFT
from .values import Values

Integers = NDArray[np.int64]
Register = int | Integers  # of all neurons, or [C] ([N]), or of each neuron, [*shape]

NEURONS_REFUSED = {
    "SDNN": "lava-dl loads it as sigma-delta neurons, which send graded values instead of spikes",
    "RF": "lava-dl loads it as resonate-and-fire neurons, whose state is complex",
}
REGISTERS = {"type", "iDecay", "vDecay", "vThMant"}
READ = REGISTERS | {"refDelay", "wgtExp", "gradedSpike"}
SILENT = {"scaleRho", "tauRho", "theta"}  # of the training; lava-dl has no use for them


@dataclass(frozen=True, slots=True, kw_only=True)
class Neuron:
    """i_decay, v_decay: what a step forgets, in 1/4096. threshold: counts 64 membrane units."""

    i_decay: Register
    v_decay: Register
    threshold: Register


# iDecay 0, vDecay 4096, vThMant 1 << 17: the current is the integral, no membrane reaches the threshold
INTEGRATOR = Neuron(i_decay=0, v_decay=4096, threshold=1 << 17)


def read_neuron(values: Values, group: Group, shape: Shape) -> Neuron:
    """The group `neuron` of a layer of this shape, (C, H, W), (H, W) or (N,)."""
    kind = values.text(group, "type")
    refused = next((name for name in NEURONS_REFUSED if name in kind), None)
    if refused:
        raise UnsupportedError(
            f"{values.where} has neurons of type '{kind}', which have no place in a spiking graph "
            f"({NEURONS_REFUSED[refused]}); only CUBA and LOIHI have one."
        )
    if kind not in ("CUBA", "LOIHI"):
        raise UnsupportedError(
            f"{values.where} has neurons of type '{kind}', on which lava-dl fails; only CUBA and LOIHI have a place."
        )
    if "messageBits" in group:
        raise UnsupportedError(f"{values.where} sends graded spikes (messageBits), on which lava-dl fails.")
    for key, quiet in (("refDelay", 1), ("wgtExp", 0), ("gradedSpike", 0)):
        if key in group and (numbers := np.unique(_whole(values, group, key))).tolist() != [quiet]:
            told = ", ".join(map(str, numbers[:5].tolist()))
            values.warn(f"{key} is {told}, but lava-dl does not read it: it runs as {quiet}")
    unread = sorted(set(group) - READ - SILENT)
    if unread:
        values.warn(f"lava-dl reads none of {', '.join('neuron/' + key for key in unread)}")
    return Neuron(
        i_decay=_register(values, group, "iDecay", shape),
        v_decay=_register(values, group, "vDecay", shape),
        threshold=_register(values, group, "vThMant", shape, shifted=True),
    )


def spread(numbers: Integers, shape: Shape, *, strict: bool = False) -> Integers | None:
    """An array as Lava spreads it over a layer -> [*shape], or None where Lava fails.

    strict: without the leading axes of one that NumPy drops when it assigns, but not when it indexes.
    """
    theirs = shape[::-1]  # (column, row, channel)
    while numbers.ndim > len(theirs) and numbers.shape[0] == 1 and not strict:
        numbers = numbers[0]
    try:
        return np.broadcast_to(numbers, theirs).transpose()
    except ValueError:
        return None


def shortest(each: NDArray[np.int64]) -> Register:
    """[*shape] -> a number if all are alike, [C] if those of each channel are, else [*shape]; (H, W) as (N,)."""
    if (each == each.flat[0]).all():
        return int(each.flat[0])
    if each.ndim == 3 and (each == each[:, :1, :1]).all():
        return each[:, 0, 0].copy()
    return each.reshape(-1) if each.ndim == 2 else each.copy()


def _register(values: Values, group: Group, key: str, shape: Shape, *, shifted: bool = False) -> Register:
    data = values.dataset(group, key)
    dtype = values.stored(data)
    numbers = _whole(values, group, key)
    if dtype.kind == "f" or (dtype == np.uint64 and not (shifted and data.shape)):
        values.warn(f"{key} is stored as {dtype}, on which Lava fails; write a signed integer")
    elif shifted and data.shape and dtype.kind != "b":
        numbers = _shifted(values, key, numbers, dtype)
    each = spread(numbers, shape, strict=shifted)
    if each is None:
        raise InputError(
            f"{values.where} must have {key} as one number or an array that NumPy spreads over {list(shape[::-1])} "
            f"(column, row, channel), but has {list(numbers.shape)}, on which Lava fails; write one for each channel."
        )
    return shortest(each)


def _shifted(values: Values, key: str, numbers: Integers, dtype: np.dtype[np.integer]) -> Integers:
    """What the thresholds are after Lava's shift by 6 bits in their own type."""
    runs: Integers = (numbers.astype(dtype) << dtype.type(MANTISSA_SHIFT)).astype(np.int64) >> MANTISSA_SHIFT
    wrong = np.argwhere(runs != numbers)
    if len(wrong):
        first = tuple(wrong[0].tolist())
        values.warn(
            f"{key} is an array of {dtype}, in which Lava's shift by 6 bits overflows: {numbers[first]} at "
            f"{list(first)} runs as {runs[first]}; store it as int32"
        )
    return runs


def _whole(values: Values, group: Group, key: str) -> Integers:
    numbers = values.numbers(group, key)
    whole = bool((numbers == np.round(numbers)).all()) and float(np.abs(numbers).max()) < 2**53
    values.need(whole, f"must have whole numbers as {key}, but has {numbers.reshape(-1)[:5].tolist()}")
    return numbers.astype(np.int64)
