"""One training of one cell, and all that was measured of its network: a line of a table.

Numbers are rounded to what they are good for, and a genotype is written as short as it can be read, so that a table of
a thousand rows is a file that a repository can hold.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError

Status = Literal["ok", "diverged", "silent"]  # silent: no spike reaches the readout on any test image

DIGITS = 4  # significant, of everything that is measured in physical units
CURVES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "spikes")  # after each epoch
PARTED = ("energy_j", "latency_s", "cores")  # one number for each price list or chip


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was measured of the network of one genotype, trained with one seed.

    None, or empty, is what could not be measured: nothing of a training that diverged, energy where a price list prices
    none, cores where a chip's mapping is not known or the network does not fit; `reason` says why where it can.
    """

    key: str  # of the canonical genotype (search/spaces/canonical.py)
    genotype: Mapping[str, Any]  # as `genotype.to_dict`
    seed: int
    status: Status
    seconds: float  # of one core, for the training and everything measured
    curve: Mapping[str, Sequence[float]]  # name of CURVES -> a value for each epoch; losses in nats, spikes per image
    parameters: int
    val_accuracy: float | None = None  # 0..1, after the last epoch: what a strategy may choose by
    test_accuracy: float | None = None  # 0..1, of the float network: what is reported
    test_correct: str = ""  # which test images are answered right: bits, the first image first, as hex
    spikes: float | None = None  # per image
    sops: float | None = None  # synaptic operations per image, as the search counts them
    rates: Sequence[float] = ()  # spikes per neuron and step on the test images, of the header's populations
    init_rates: Sequence[float] = ()  # likewise before the training, on training images
    neurons: int | None = None  # on the chip, relays among them
    synapses: int | None = None  # on the chip, those of weight zero not counted
    levels: int | None = None
    relays: int | None = None  # neurons that only carry spikes on
    cores: Mapping[str, int] | None = None  # chip -> cores
    energy_j: Mapping[str, float] | None = None  # price list -> joules of an inference
    latency_s: Mapping[str, float] | None = None  # price list -> seconds of an inference
    int8_accuracy: float | None = None  # 0..1, of the twin in the chip's integers, weights of 8 bits
    int4_accuracy: float | None = None  # of 4 bits
    reason: str = ""  # why something could not be measured

    def __post_init__(self) -> None:
        if self.status not in get_args(Status):
            raise InputError(f"Unknown status '{self.status}' of a row; choose from {', '.join(get_args(Status))}.")

    @property
    def epochs(self) -> int:
        return len(self.curve.get("val_accuracy", ()))

    def value(self, name: str) -> float:
        """A number of the row by its name, or by `name:list` one of a price list or chip, as in energy_j:speck.

        NaN where it could not be measured. Raises InputError for a name that is none.
        """
        name, _, part = name.partition(":")
        if name in PARTED:
            return self._part(name, part)
        if name not in NUMBERS:
            raise InputError(f"A row has no number '{name}'; choose from {', '.join((*NUMBERS, *PARTED))}.")
        found = getattr(self, name)
        return math.nan if found is None else float(found)

    def _part(self, name: str, part: str) -> float:
        found: Mapping[str, float] = getattr(self, name) or {}
        if not part and found:
            raise InputError(f"`{name}` is one number for each of {', '.join(found)}; say {name}:{next(iter(found))}.")
        return float(found.get(part, math.nan))

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; what is empty is left out."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        found["genotype"] = compact(self.genotype)
        return {name: value for name, value in found.items() if value not in (None, "", ())}


NUMBERS = tuple(
    f.name
    for f in fields(Row)
    if f.name not in (*PARTED, "curve", "key", "genotype", "status", "test_correct", "rates", "init_rates", "reason")
)


def row_of(data: object) -> Row:
    """The inverse of `to_json`. Raises InputError that says what is wrong."""
    known = {f.name for f in fields(Row)}
    needed = {"key", "genotype", "seed", "status", "seconds", "curve", "parameters"}
    if not isinstance(data, dict) or not needed <= data.keys() <= known:
        found = ", ".join(map(str, data)) if isinstance(data, dict) else type(data).__name__
        raise InputError(f"A row must have the keys {', '.join(sorted(needed))}, and others of a row, but has {found}.")
    try:
        return Row(**data | {"genotype": expanded(data["genotype"])})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"The genotype of a row must be the edges of its nodes, source:primitive, but is not ({error})."
        ) from error


def compact(genotype: Mapping[str, Any]) -> dict[str, Any]:
    """A genotype as `to_dict` gives it, the edges `source:primitive` of each node in a word list, nodes behind |.

    "0:conv_3x3 1:skip_connect|1:conv_3x3 2:conv_3x3|0:skip_connect 3:conv_5x5|1:conv_3x3 2:max_pool_3x3"
    """
    short: dict[str, Any] = {name: genotype[name] for name in ("primitives", "gates", "decays") if name in genotype}
    short |= {kind: _short_cell(genotype[kind]) for kind in ("normal", "reduce")}
    if "cells" in genotype:
        short["cells"] = [_short_cell(cell) for cell in genotype["cells"]]
    if "layers" in genotype:
        short["layers"] = " ".join(f"{layer['kind']}:{layer['width']!r}" for layer in genotype["layers"])
    return short


def expanded(short: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `compact`; the edges of a cell are sorted by node."""
    whole: dict[str, Any] = {name: short[name] for name in ("primitives", "gates", "decays") if name in short}
    whole |= {kind: _whole_cell(short[kind]) for kind in ("normal", "reduce")}
    if "cells" in short:
        whole["cells"] = [_whole_cell(cell) for cell in short["cells"]]
    if "layers" in short:
        pairs = (layer.split(":") for layer in short["layers"].split())
        whole["layers"] = [{"kind": kind, "width": float(width)} for kind, width in pairs]
    return whole


def _short_cell(edges: Sequence[Mapping[str, Any]]) -> str:
    nodes: dict[int, list[str]] = {}
    for edge in edges:
        nodes.setdefault(edge["node"], []).append(f"{edge['source']}:{edge['primitive']}")
    return "|".join(" ".join(nodes[node]) for node in sorted(nodes))


def _whole_cell(short: str) -> list[dict[str, Any]]:
    return [
        {"node": node, "source": int(edge.partition(":")[0]), "primitive": edge.partition(":")[2]}
        for node, edges in enumerate(short.split("|"))
        for edge in edges.split()
    ]


def rounded(value: float | None, digits: int = DIGITS) -> float | None:
    """To so many significant digits; None for what is no number."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")


def to_bits(correct: NDArray[np.bool_]) -> str:
    """[images] -> hex, the first image in the first digit's highest bit."""
    return np.packbits(correct).tobytes().hex()


def from_bits(text: str, images: int) -> NDArray[np.bool_]:
    """The inverse. Raises InputError where the text does not hold so many images."""
    try:
        bits = np.frombuffer(bytes.fromhex(text), np.uint8)
    except ValueError as error:
        raise InputError(f"Bits of test images must be hex digits, but are not ({error}).") from error
    if len(bits) != -(-images // 8):
        raise InputError(f"Bits of {images} test images must be {-(-images // 8)} bytes, but are {len(bits)}.")
    return np.unpackbits(bits, count=images).astype(bool)
