"""The layers of a NetX file as anyone may have written them: read defensively, checked, not yet interpreted.

What stock lava-dl 0.6.0 reads (lava/lib/dl/netx/hdf5.py), and how other writers vary it:

    layer/<i>/type     b"input" | b"conv" | b"flatten" | b"dense" | b"dense_rec", alone or as an array of one
    layer/<i>/shape    [C, H, W] or [N]; a dense layer takes the product, so [N, 1, 1] will do, and so does an input
                       layer before it; an input layer without neurons may have none
    layer/<i>/weight   conv [O, I / groups, kh, kw] and trailing ones; dense [O, I] or flat; input: one number, as bias
    layer/<i>/         weight_rec [O, O]: dense_rec; delay: one number, [O], [I] or [O, I]: dense and dense_rec
    layer/<i>/bias     [C] or [N]; one for each neuron of an image as [W, H, C]
    layer/<i>/neuron   type b"CUBA" or b"LOIHI", iDecay, vDecay, vThMant, numbers or arrays (`registers.py`); without
                       one a dense layer integrates

Every size is checked against the layer before it and against a limit, before a number is read: a file of a few
bytes can declare terabytes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...errors import InputError, UnsupportedError
from ...reading.hdf5 import Dataset, Group
from ..graph import Array, Conv, Shape, neurons
from .registers import INTEGRATOR, READ, Neuron, read_neuron
from .values import Level, Values, opened, steps

Kind = Literal["input", "conv", "flatten", "dense", "dense_rec"]

MAX_NEURONS = 2**24  # of a layer; Loihi 2 holds 2^20 on a chip
MAX_LAYERS = 4096

# what lava-dl 0.6.0 does with a layer or neuron type that has no place in a SpikingGraph
LAYERS_REFUSED = {
    "pool": "lava-dl raises NotImplementedError on it",
    "unpool": "lava-dl raises NotImplementedError on it",
    "convT": "lava-dl raises NotImplementedError on it",
    "average": "lava-dl raises NotImplementedError on it",
    "concat": "lava-dl raises NotImplementedError on it",
    "dense_comp": "lava-dl loads it as complex weights for resonate-and-fire neurons",
}
CHILDREN = {"type", "shape", "weight", "weight_rec", "delay", "bias", "stride", "padding", "dilation", "groups"}
DESCRIPTIONS = {"inFeatures", "outFeatures", "inChannels", "outChannels", "kernelSize"}  # say what shapes say
PATTERN = {
    "layer": {"*": dict.fromkeys(CHILDREN, True) | {"neuron": dict.fromkeys(READ, True)}},
    "simulation": {"tSample": True},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What is odd about a layer. error: the network cannot be run as Lava would; warning: it can, but mind this."""

    layer: int
    level: Level
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One `layer/<index>`, its numbers as they stand in the file."""

    index: int
    kind: Kind
    shape: Shape  # (C, H, W) or (N,), of what leaves the layer
    source: Shape = ()  # of what enters it
    weight: Array | None = None  # conv [O, I / groups, kh, kw], dense [O, I]
    weight_rec: Array | None = None  # [O, O]
    delay: Array | None = None  # [O, I]
    bias: Array | None = None  # [C] or [N], or [*shape]
    stride: tuple[int, int] = (1, 1)  # (row, column), as the next two
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    neuron: Neuron | None = None
    declared_neuron: bool = True  # False: a dense layer whose neuron is lava-dl's default
    transform: tuple[int, int] = (64, 0)  # input with neurons: weight and bias of the image
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetxFile:
    """layers in the order of the file. window: `simulation/tSample`, the time steps of a sample, if the file says."""

    path: Path
    layers: tuple[Layer, ...]
    input_shape: Shape
    input_declared: bool  # False: the smallest input that gives the first layer its shape
    window: int | None = None
    carries_graph: bool = False  # the group /spikeport

    @property
    def encoder(self) -> Layer | None:
        """The input layer of neurons, which is driven by its bias, not by spikes."""
        first = self.layers[0]
        return first if first.kind == "input" and first.neuron else None


def read_layers(path: Path, *, layers: int | None = None, input_shape: Shape | None = None) -> NetxFile:
    """The first `layers` layers (all, by default) of a NetX file.

    input_shape: (C, H, W) or (N,) of the spikes, for a file without an input layer; a file that declares
    another is refused.

    Raises InputError for a file that is no HDF5, damaged, too large or inconsistent, UnsupportedError for a layer or
    neuron that has no place in a SpikingGraph; each names file and layer.
    """
    with opened(path, PATTERN) as file:
        return _read(path, file, layers, input_shape)


def _read(path: Path, file: Group, limit: int | None, given: Shape | None) -> NetxFile:
    group = file.get("layer")
    if isinstance(group, Dataset) and group.refused:
        raise InputError(f"a NetX file must have a group `layer`, but it {group.refused}.")
    if not isinstance(group, Group) or not len(group):
        raise InputError(
            "a NetX file must have a group `layer` with layers 0, 1, ..., but this HDF5 file has none; "
            "`spikeport export --target loihi` writes one."
        )
    count = len(group)
    if count > MAX_LAYERS or set(group) != {str(i) for i in range(count)}:
        names = ", ".join(sorted(group)[:5])
        raise InputError(f"the layers must be named 0 to {count - 1} without gaps, but are {names}, ...")
    if limit is not None and not 1 <= limit <= count:
        raise InputError(f"`1 <= layers <= {count}` must hold, but layers={limit}.")
    reader = _Reader()
    for i in range(limit or count):
        reader.layer(i, group[str(i)], given)
    if not any(layer.kind in ("conv", "dense", "dense_rec") for layer in reader.layers):
        raise InputError("a network must have a conv or dense layer, but there is none.")
    window = file.get("simulation/tSample")
    return NetxFile(
        path=path,
        layers=tuple(reader.layers),
        input_shape=reader.input_shape,
        input_declared=reader.input_declared,
        window=steps(window) if isinstance(window, Dataset) else None,
        carries_graph="spikeport" in file,
    )


@dataclass(slots=True, kw_only=True)
class _Reader(Values):
    """Goes through the layers in order; each knows the shape before it."""

    layers: list[Layer] = field(default_factory=list)
    shape: Shape | None = None  # of what the next layer reads
    flatten: bool = False  # one stands before the next dense layer
    input_shape: Shape = ()
    input_declared: bool = False

    def layer(self, index: int, group: Any, given: Shape | None) -> None:
        self.where, self.remarks = f"layer/{index}", []
        group = self.group(group, "a group")
        kind = self.text(group, "type")
        self.where = f"layer/{index} ({kind})"
        if kind in LAYERS_REFUSED:
            before = f"; run the layers before it with `--layers {index}`" if index > 1 else ""
            raise UnsupportedError(f"{self.where} has no place in a spiking graph ({LAYERS_REFUSED[kind]}){before}.")
        if kind not in KINDS:
            raise UnsupportedError(
                f"{self.where} has an unknown type, over which lava-dl steps without a word; "
                f"choose from {', '.join(KINDS)}."
            )
        if given and self.shape is None and kind not in ("input", "flatten"):
            self.shape = self.input_shape = given if len(given) in (1, 3) else (neurons(given),)
            self.input_declared = True
        layer = KINDS[kind](self, index, group)
        unread = sorted(set(group) - CHILDREN - DESCRIPTIONS - {"neuron"})
        if unread:
            self.warn(f"lava-dl reads none of {', '.join(unread)}")
        remarks = tuple(Remark(layer=index, level=level, text=text) for level, text in self.remarks)
        self.layers.append(replace(layer, remarks=remarks))
        if layer.shape and kind != "flatten":
            self.shape = layer.shape
        if given and layer.shape and kind == "input" and neurons(given) != neurons(layer.shape):
            self.need(False, f"declares inputs {layer.shape}, but the spikes have shape {given}")

    # -- the kinds of layers

    def input(self, index: int, group: Group) -> Layer:
        if "neuron" not in group:
            self.need(not any(layer.kind not in ("input", "flatten") for layer in self.layers), "must stand first")
            if "shape" not in group:  # lava-dl takes the shape from the next layer
                return Layer(index=index, kind="input", shape=())
        declared = self._shape(group)
        shape = declared if len(declared) == 3 else (neurons(declared),)
        self.input_shape, self.input_declared = shape, True
        if "neuron" not in group:
            return Layer(index=index, kind="input", shape=shape)
        self.need(len(declared) <= 3, f"must have a shape [N] or [C, H, W], but has {list(declared)}")
        if len(declared) == 2:
            self.warn(f"lava-dl cannot connect neurons of shape {list(declared)}; write [C, H, W] or [N]")
        self.need(index == 0, "has neurons and must be layer/0: lava-dl connects nothing to it")
        transform = (self._transform(group, "weight", 64), self._transform(group, "bias", 0))
        neuron = self._neuron(group["neuron"], declared)
        return Layer(index=index, kind="input", shape=shape, neuron=neuron, transform=transform)

    def flattened(self, index: int, group: Group) -> Layer:
        self.flatten = True
        shape = (neurons(self.shape),) if self.shape else ()
        return Layer(index=index, kind="flatten", shape=shape, source=self.shape or ())

    def conv(self, index: int, group: Group) -> Layer:
        shape = self._shape(group)
        self.need(len(shape) == 3, f"must have a shape [C, H, W], but has {list(shape)}")
        self.need("neuron" in group, "must have a group `neuron`; lava-dl has a default for dense layers only")
        stride, padding, dilation = (self.pair(group, key) for key in ("stride", "padding", "dilation"))
        groups = self.one(group, "groups", fails_as_array=True)
        self.need(min(*stride, *dilation, groups) >= 1 and min(padding) >= 0, "must have strides, dilations >= 1")
        self.need(max(*stride, *dilation, *padding, groups) <= 127, "must have strides ... groups <= 127 (8 bits)")
        weight = self.numbers(group, "weight")
        self.need(weight.ndim >= 4 and weight.size == int(np.prod(weight.shape[:4])), _kernel_shape(weight.shape))
        weight = weight.reshape(weight.shape[:4])
        self.need(max(weight.shape[2:]) <= 127, f"must have a kernel <= 127 (8 bits), but has {weight.shape}")
        kernel = Conv(weight=weight, stride=stride, padding=padding, dilation=dilation, groups=groups)
        source = _smallest_source(kernel, shape) if self.shape is None else self.shape
        if self.shape is None:
            self.shape = self.input_shape = source
        self.need(len(source) == 3, f"reads an image [C, H, W], but the layer before gives {list(source)}")
        self.need(
            source[0] == kernel.weight.shape[1] * groups and len(weight) % groups == 0,
            f"must read {source[0]} channels, but its weight {list(weight.shape)} with {groups} groups does not",
        )
        found = kernel.output_shape(source)
        self.need(found == shape, f"must have shape {list(found)} from {list(source)}, but declares {list(shape)}")
        if "delay" in group:
            self.warn("lava-dl reads delays of dense layers only: this one has no effect")
        return Layer(
            index=index,
            kind="conv",
            shape=shape,
            source=source,
            weight=weight,
            bias=self._bias(group, shape),
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            neuron=self._neuron(group["neuron"], shape),
        )

    def dense(self, index: int, group: Group, *, recurrent: bool = False) -> Layer:
        shape = (neurons(self._shape(group)),)
        connected = any(layer.kind not in ("input", "flatten") or layer.neuron for layer in self.layers)
        if self.shape and connected:
            images = len(self.shape) == 3
            self.need(self.flatten or not images, f"must come after a flatten layer: before it are {list(self.shape)}")
            self.need(images or not self.flatten, "must come without a flatten layer, since the layer before is flat")
        self.flatten = False
        inputs = neurons(self.shape) if self.shape else None
        weight = self._matrix(group, "weight", shape[0], inputs)
        if self.shape is None:
            self.shape = self.input_shape = (weight.shape[1],)
        weight_rec = self._matrix(group, "weight_rec", shape[0], shape[0]) if recurrent else None
        declared = "neuron" in group
        if not declared:
            self.warn(
                "it has no neuron; lava-dl takes iDecay 0, vDecay 4096, vThMant 131072, so the membrane is the sum of "
                "all currents and never spikes"
            )
        return Layer(
            index=index,
            kind="dense_rec" if recurrent else "dense",
            shape=shape,
            source=self.shape,
            weight=weight,
            weight_rec=weight_rec,
            delay=self._delay(group, weight, recurrent) if "delay" in group else None,
            bias=self._bias(group, shape),
            neuron=self._neuron(group["neuron"], shape) if declared else INTEGRATOR,
            declared_neuron=declared,
        )

    # -- what layers are made of

    def _neuron(self, group: Any, shape: Shape) -> Neuron:
        return read_neuron(self, self.group(group, "given a group `neuron`"), shape)

    def _bias(self, group: Group, shape: Shape) -> Array | None:
        if "bias" not in group:
            return None
        bias = self.numbers(group, "bias")
        if bias.size == 1 and len(shape) == 1:
            return np.full(shape, bias.item())
        if bias.shape == shape[::-1] and len(shape) == 3:  # (column, row, channel)
            return np.array(bias.transpose())
        self.need(bias.shape == shape[:1], f"must have a bias {list(shape[:1])}, but has {list(bias.shape)}")
        return bias

    def _matrix(self, group: Group, key: str, outputs: int, inputs: int | None) -> Array:
        declared = self.dataset(group, key).shape
        if len(declared) == 1 and outputs and declared[0] % outputs == 0:
            declared = (outputs, declared[0] // outputs)
        wanted = f"[{outputs}, {'I' if inputs is None else inputs}]"
        fits = len(declared) == 2 and declared[0] == outputs and inputs in (None, declared[1]) and declared[1] > 0
        self.need(fits, f"must have a {key} {wanted}, but has {list(declared)}")
        return self.numbers(group, key).reshape(declared)

    def _delay(self, group: Group, weight: Array, recurrent: bool) -> Array:
        """lava-dl's rule: one number for all, one per row, else one per column, else one per synapse."""
        delay = self.numbers(group, "delay")
        outputs, inputs = weight.shape
        self.need(
            delay.ndim == 0 or delay.shape in ((outputs,), (inputs,), weight.shape),
            f"must have a delay of one number, [{outputs}], [{inputs}] or {list(weight.shape)}, but has "
            f"{list(delay.shape)}",
        )
        self.need(float(delay.min()) >= 0, f"must have delays >= 0, but has {delay.min():g}")
        self.need(
            not recurrent or outputs == inputs,
            f"has one delay matrix for inputs and recurrence, so both must have one shape, not {list(weight.shape)}",
        )
        if delay.shape == (outputs,):
            delay = delay.reshape(-1, 1)
        return np.array(np.broadcast_to(delay, weight.shape))

    def _transform(self, group: Group, key: str, default: int) -> int:
        if key not in group:
            return default
        number = self.numbers(group, key)
        self.need(number.size == 1, f"must have one number as {key}, but has {list(number.shape)}")
        return int(number.item())

    def _shape(self, group: Group) -> Shape:
        numbers = self.integers(group, "shape")
        self.need(min(numbers) >= 1, f"must have positive sizes, but has {list(numbers)}")
        product = 1
        for number in numbers:  # in Python's integers, which do not wrap
            product *= number
        self.need(product <= MAX_NEURONS, f"declares {product} neurons, more than the limit of {MAX_NEURONS}")
        return numbers


KINDS: dict[str, Callable[[_Reader, int, Group], Layer]] = {
    "input": _Reader.input,
    "conv": _Reader.conv,
    "flatten": _Reader.flattened,
    "dense": _Reader.dense,
    "dense_rec": lambda reader, index, group: _Reader.dense(reader, index, group, recurrent=True),
}


def _kernel_shape(shape: Shape) -> str:
    return f"must have a weight [O, I, kh, kw], but has {list(shape)}"


def _smallest_source(kernel: Conv, shape: Shape) -> Shape:
    """The smallest image that this kernel turns into `shape`."""
    size = [
        max(1, (n - 1) * s + d * (k - 1) + 1 - 2 * p)
        for n, k, s, p, d in zip(
            shape[1:], kernel.weight.shape[2:], kernel.stride, kernel.padding, kernel.dilation, strict=True
        )
    ]
    return (kernel.weight.shape[1] * kernel.groups, *size)
