"""What of a NetX file does not fit Loihi's registers, saturates, or is changed by lava-dl and Lava without a word.

An "error" keeps the network from being run as Lava would; a "warning" does not. Register widths: Lava 0.10
lava/proc/lif/process.py and lava/proc/dense/process.py; Davies et al. 2018, IEEE Micro 38(1).
"""

import numpy as np

from ..graph import Array
from ..simulate import DECAY_UNITY, MANTISSA_SHIFT, STATE_LIMIT
from .file import Layer, NetxFile, Remark
from .loaded_weights import MAX_EXCITATORY, MAX_WEIGHT, MIN_WEIGHT, Integers, lava_matrices
from .registers import Register
from .values import Level

MAX_BIAS = 2**12 - 1  # 13 bits with a sign
MAX_BIAS_SIMULATED = 2**15 - 1  # Lava holds 16 bits
MAX_WHOLE = 2**31 - 1  # Lava makes 32-bit integers of weights and biases
MAX_THRESHOLD = 2**17 - 1
MAX_DELAY = 62
MAX_SUM = 2**23 - 1  # Lava holds the sum of a step in 24 bits with a sign

NEURONS = {"conv": "channels", "dense": "neurons", "dense_rec": "neurons"}

Found = list[tuple[Level, str]]


def lint(file: NetxFile) -> tuple[Remark, ...]:
    """Everything odd about the file, layer by layer; errors of a layer before its warnings."""
    remarks: list[Remark] = []
    for layer in file.layers:
        found = [Remark(layer=layer.index, level=level, text=text) for level, text in _of_layer(layer)]
        remarks += sorted((*found, *layer.remarks), key=lambda remark: remark.level)
    return tuple(remarks)


def _of_layer(layer: Layer) -> Found:
    if layer.neuron is None:
        return []
    found = _registers(layer)
    if layer.weight is None:
        return found
    found += _weights(layer)
    if layer.delay is not None:
        found += _delays(layer.delay)
    if layer.bias is not None:
        found += _bias(layer.bias)
    if not any(level == "error" for level, _ in found):
        if layer.kind != "conv":
            found += _changed(layer)
        found += _ranges(layer)
    return found


def _registers(layer: Layer) -> Found:
    neuron = layer.neuron
    if neuron is None:
        return []
    found: Found = []
    for word, value in (("iDecay", neuron.i_decay), ("vDecay", neuron.v_decay)):
        if wrong := _outside(value, 0, DECAY_UNITY):
            found.append(("error", f"`0 <= {word} <= {DECAY_UNITY}` must hold, but {word} is {wrong[0]}"))
    beyond = _outside(neuron.threshold, 0, MAX_THRESHOLD)
    if beyond and layer.declared_neuron:
        found.append(("warning", f"vThMant {beyond[0]} does not fit its 17 bits (0 to {MAX_THRESHOLD})"))
    return found


def _outside(register: Register, low: int, high: int) -> list[int]:
    """The numbers that do not lie in [low, high]."""
    values = np.asarray(register).reshape(-1)
    wrong: list[int] = values[(values < low) | (values > high)].tolist()
    return wrong


def _weights(layer: Layer) -> Found:
    weights = [weight for weight in (layer.weight, layer.weight_rec) if weight is not None]
    values = np.concatenate([weight.ravel() for weight in weights])
    found: Found = []
    fractions = int((values != np.trunc(values)).sum())
    if fractions:
        found.append(("warning", f"{fractions} of {values.size} weights are not whole; lava-dl cuts fractions off"))
    values = np.trunc(values)
    low, high = values.min(), values.max()
    allowed = (MIN_WEIGHT, MAX_WEIGHT) if low < 0 else (0, MAX_EXCITATORY)
    if np.abs(values).max() > MAX_WHOLE:
        found.append(("error", f"weights lie in [{low:g}, {high:g}], beyond the 32 bits in which Lava holds them"))
    elif low < allowed[0] or high > allowed[1]:
        does = "takes them as they are" if layer.kind == "conv" else "clips or damages them"
        found.append(
            (
                "warning",
                f"weights lie in [{low:g}, {high:g}], but the 8 bits of the chip hold [{allowed[0]}, {allowed[1]}]; "
                f"lava-dl {does}",
            )
        )
    if layer.kind != "conv" and not values.any():
        found.append(("error", "all weights are 0, on which lava-dl fails with OverflowError"))
    odd = int((values % 2 != 0).sum())
    if odd and values.min() < 0 < values.max():
        found.append(
            ("warning", f"{odd} of {values.size} weights are odd; the chip holds even ones where signs are mixed")
        )
    most = max(float(np.abs(side).max()) for weight in weights for side in _sums(weight))
    if most > MAX_SUM:
        found.append(("error", f"the weights of a neuron sum up to {most:g}, beyond the 24 bits of a step's sum"))
    return found


def _delays(delay: Array) -> Found:
    found: Found = []
    if (delay != np.trunc(delay)).any():
        found.append(("warning", "not all delays are whole; lava-dl cuts their fractions off"))
    if delay.max() > MAX_DELAY:
        late = int((delay > MAX_DELAY).sum())
        found.append(("warning", f"{late} of {delay.size} delays exceed {MAX_DELAY} steps; lava-dl takes {MAX_DELAY}"))
    return found


def _bias(bias: Array) -> Found:
    found: Found = []
    if (bias != np.trunc(bias)).any():
        found.append(("warning", "not all biases are whole; lava-dl cuts their fractions off"))
    low, high = np.trunc(bias).min(), np.trunc(bias).max()
    if max(-low, high) > MAX_WHOLE:
        found.append(("error", f"biases lie in [{low:g}, {high:g}], beyond the 32 bits into which lava-dl puts them"))
    elif low < -MAX_BIAS_SIMULATED - 1 or high > MAX_BIAS_SIMULATED:
        found.append(
            ("warning", f"biases lie in [{low:g}, {high:g}] and wrap around the 16 bits in which Lava holds them")
        )
    elif low < -MAX_BIAS - 1 or high > MAX_BIAS:
        found.append(("warning", f"biases lie in [{low:g}, {high:g}], beyond 13 bits ([{-MAX_BIAS - 1}, {MAX_BIAS}])"))
    return found


def loaded_bias(layer: Layer) -> Array | None:
    """What Lava runs in place of `bias`: whole numbers of 16 bits, which wrap."""
    if layer.bias is None:
        return None
    wrapped = (np.trunc(layer.bias).astype(np.int64) + 2**15) % 2**16 - 2**15
    return wrapped.astype(np.float64)


def loaded_weights(layer: Layer) -> tuple[Integers, ...] | None:
    """What Lava runs in place of `weight` and `weight_rec` ([O, I], [O, O]); None where no weights can say it.

    For a layer without errors.
    """
    weights = [np.trunc(w).astype(np.int64) for w in (layer.weight, layer.weight_rec) if w is not None]
    if layer.kind == "conv":
        return tuple(weights)
    matrices = lava_matrices(*weights)
    if layer.kind == "dense_rec" and layer.delay is not None:  # lava-dl does not tell Lava to shift back
        return tuple(matrix.weight for matrix in matrices)
    return tuple(matrix.effective for matrix in matrices) if all(matrix.linear for matrix in matrices) else None


def _changed(layer: Layer) -> Found:
    loaded = loaded_weights(layer)
    if loaded is None:
        return [
            (
                "error",
                "lava-dl takes a matrix whose largest weight is 0 for one of both signs and Lava then rounds the sums; "
                "no integer weights do the same",
            )
        ]
    found: Found = []
    for name, weight, runs in zip(("weight", "weight_rec"), (layer.weight, layer.weight_rec), loaded, strict=False):
        if weight is not None:
            written = np.trunc(weight).astype(np.int64)
            wrong = np.argwhere(written != runs)
            if len(wrong):
                first = tuple(wrong[0].tolist())
                why = (
                    " (with delays it forgets a shift)"
                    if layer.weight_rec is not None and layer.delay is not None
                    else ""
                )
                found.append(
                    (
                        "warning",
                        f"lava-dl changes {len(wrong)} of {weight.size} numbers in {name}{why}: {written[first]} at "
                        f"{list(first)} runs as {runs[first]}",
                    )
                )
    return found


def _sums(weight: Array) -> tuple[Array, Array]:
    """([O], [O]): the most negative and the most positive current of a step."""
    rows = weight.reshape(len(weight), -1)
    return np.minimum(rows, 0).sum(1), np.maximum(rows, 0).sum(1)


def _ranges(layer: Layer) -> Found:
    """What can wrap, and who can never fire, if every input may spike in every step."""
    neuron, loaded = layer.neuron, loaded_weights(layer)
    if neuron is None or loaded is None:
        return []
    sums = [_sums(weight.astype(np.float64)) for weight in loaded]
    low, high = (np.sum(parts, axis=0) for parts in zip(*sums, strict=True))
    unit = 1 << MANTISSA_SHIFT
    found: Found = []
    i_decay, v_decay, threshold = (_least(r) for r in (neuron.i_decay, neuron.v_decay, neuron.threshold))
    currents = _gathered(np.maximum(high, -low) * unit, i_decay)
    wraps = int((currents > STATE_LIMIT).sum())
    if wraps and layer.declared_neuron:
        found.append(
            (
                "warning",
                f"the current of {wraps} of {len(high)} {NEURONS[layer.kind]} can pass 2^23 and wrap to the other sign "
                "if its inputs keep spiking",
            )
        )
    bias = loaded_bias(layer)
    most = np.zeros_like(high) if bias is None else bias.reshape(len(high), -1).max(1)
    membranes = _gathered(_gathered(high * unit, i_decay) + most * unit, v_decay)
    silent = int((np.minimum(membranes, STATE_LIMIT - 1) <= threshold * unit).sum())
    if silent and layer.declared_neuron:
        found.append(("warning", f"{silent} of {len(high)} {NEURONS[layer.kind]} can never reach the threshold"))
    return found


def _least(register: Register) -> Integers:
    """A register -> the smallest number of each channel, [C] ([N]), or of all."""
    values = np.asarray(register)
    return values.min((1, 2)) if values.ndim == 3 else values


def _gathered(added: Array, decay: Integers) -> Array:
    """What a state tends to if a step adds `added` and forgets decay / 4096."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(added > 0, np.where(decay > 0, added * DECAY_UNITY / decay, np.inf), added)
