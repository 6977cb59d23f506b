"""Runs a NetX file without Lava, in the integers of Lava 0.10: every spike of every layer and the last membranes.

Samples are independent, or stream back to back with `reset_interval`: then currents and membranes are zero at the first
step of each interval (Lava's `reset_offset=1`), but spikes under way in a recurrent or delayed synapse arrive after it.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...export.graph import Shape, SpikingGraph, neurons
from ...export.netx.file import NetxFile, read_layers
from ...export.netx.lint import MAX_BIAS
from ...export.netx.reader import Encoder, NetxNetwork, network_of
from ...export.simulate import STEP, Integers, Spikes, simulate
from ...files import replacing
from ...reading.arrays import read_array
from .warm_up import with_warm_up

# graph, spikes [windows * T, N, *shape] by input, windows -> spikes by population, membranes of the last after reset
Runner = Callable[[SpikingGraph, Mapping[str, Spikes], int], tuple[Mapping[str, Spikes], Integers]]

CHUNK_BYTES = 2**28  # of traces held at once: as many samples are run together as fit
MAX_BYTES = 2**34  # of one sample, or of one stream
BYTES_PER_NEURON_STEP = 28  # a spike, a mark and a membrane of 8 bytes, the last two twice or thrice while stacked


@dataclass(frozen=True, slots=True, kw_only=True)
class NetxRun:
    """What a run left behind. spikes: i of `layer/<i>` -> uint8 [S, T, *shape], every layer of neurons.

    membrane: int64 [S, T, *shape] of the last layer, after each step and its reset. cautions: what the run leaves out
    that Lava would not.
    """

    network: NetxNetwork
    spikes: dict[int, Spikes]
    membrane: Integers
    seconds: float
    cautions: tuple[str, ...] = ()


def simulated(graph: SpikingGraph, spikes: Mapping[str, Spikes], windows: int) -> tuple[Mapping[str, Spikes], Integers]:
    """The plain runner: `export/simulate.py`."""
    trace = simulate(graph, spikes, windows)
    return trace.spikes, trace.readout.astype(np.int64)


def run_netx(
    path: Path,
    values: NDArray[np.generic],
    *,
    time_steps: int | None = None,
    reset_interval: int | None = None,
    reset_offset: int = 1,
    skip_input: bool = False,
    layers: int | None = None,
    runner: Runner = simulated,
) -> NetxRun:
    """Run a NetX file on spikes [S, T, C, H, W] or [S, T, N], or on images [S, C, H, W] or [S, N].

    Images are what a file reads whose layer/0 is an input layer of neurons: each pixel x drives its neuron with the
    bias mantissa trunc(weight * x + bias) in all of `time_steps` steps (by default the file's simulation/tSample). With
    `skip_input`, the values are the spikes of those neurons.

    With `reset_interval` the samples are one stream, reset as by lava-dl's `Network(reset_interval=, reset_offset=)`:
    an offset of 1 resets at the first step of the stream, as every sample needs it; 0 is lava-dl's default.

    Raises InputError for values or a file that do not fit, and what `read_netx` raises.
    """
    started = time.monotonic()
    file = read_layers(path, layers=layers)
    images = file.encoder is not None and not skip_input
    shape = values.shape[1 if images else 2 :]
    check_layout(file, values, shape, images)
    if len(shape) == 3 and not file.input_declared and shape != file.input_shape:
        file = read_layers(path, layers=layers, input_shape=shape)
    steps = _time_steps(file, values, images, time_steps)
    if reset_interval is None and reset_offset != 1:
        raise InputError(
            f"A reset offset ({reset_offset}) shifts the resets of a stream, but there is none; "
            "give --reset-interval, too."
        )
    if reset_interval is not None and reset_interval < 1:
        raise InputError(f"`reset interval >= 1` must hold, but it is {reset_interval}.")
    phase = (reset_offset - 1) % (reset_interval or 1)
    if phase and images:
        raise InputError("A reset offset other than 1 needs spikes: give those of the input neurons with --skip-input.")
    network = network_of(file, reset_interval or steps)
    spikes: dict[int, list[Spikes]] = {}
    membranes: list[Integers] = []
    for chunk in _chunks(network, len(values), steps, streamed=reset_interval is not None):
        given = np.asarray(values[chunk])
        if images and network.encoder:
            given = encode(network.encoder, given.reshape(len(given), *file.input_shape), steps, reset_interval)
            spikes.setdefault(0, []).append(given)
        recorded, membrane = _run(network.graph, _binary(given, file.input_shape), reset_interval, phase, runner)
        for name, index in network.layers.items():
            spikes.setdefault(index, []).append(recorded[name])
        membranes.append(membrane)
    return NetxRun(
        network=network,
        spikes={index: np.concatenate(parts) for index, parts in spikes.items()},
        membrane=np.concatenate(membranes),
        seconds=time.monotonic() - started,
        cautions=_cautions(network, len(values), steps, reset_interval),
    )


def _cautions(network: NetxNetwork, samples: int, steps: int, reset_interval: int | None) -> tuple[str, ...]:
    lagging = [p for p in network.graph.projections if p.delay is not None or p.source == p.target]
    if reset_interval is not None or samples == 1 or not lagging:
        return ()
    layers = ", ".join(f"layer/{i}" for i in sorted({network.layers[p.target] for p in lagging}))
    return (
        f"{layers} has delays or recurrence and the {samples} samples run independently; Lava would stream them, with "
        f"spikes under way from one into the next: give --reset-interval {steps} for that",
    )


def encode(encoder: Encoder, images: NDArray[np.generic], time_steps: int, reset_interval: int | None) -> Spikes:
    """The spikes [S, T, *shape] of an input layer's neurons, driven by images [S, *shape]; with `reset_interval`
    the samples follow each other in one stream.

    Raises InputError where a bias mantissa does not fit its register.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        drive = np.trunc(encoder.weight * np.asarray(images, np.float64) + encoder.bias)
    if not (np.isfinite(drive).all() and drive.min() >= -MAX_BIAS - 1 and drive.max() <= MAX_BIAS):
        raise InputError(
            f"The images x give input neurons the bias {encoder.weight} * x + {encoder.bias}, which must lie in "
            f"[{-MAX_BIAS - 1}, {MAX_BIAS}], but lies in [{drive.min():g}, {drive.max():g}]; scale them as in training."
        )
    population, step = encoder.population, STEP["loihi"]
    stream = np.repeat(drive[:, None], time_steps, 1)  # [S, T, *shape]
    if reset_interval:
        stream = stream.reshape(1, -1, *drive.shape[1:])
    fired = np.zeros(stream.shape, np.uint8)
    zero = np.zeros_like(stream[:, 0])
    v = zero
    for t in range(stream.shape[1]):
        if t % (reset_interval or time_steps) == 0:
            v = zero
        # a bias counts the membrane units that a weight does; nothing is left of it in the current
        _, _, fired[:, t], v = step(population, zero, v, stream[:, t])
    return fired.reshape(len(drive), time_steps, *drive.shape[1:])


def write_run(path: Path, run: NetxRun) -> None:
    """`.npz`: spikes_<i> uint8 [S, T, *shape] of every layer/<i> with neurons, membrane int64 [S, T, *shape]."""
    arrays = {f"spikes_{i}": spikes for i, spikes in run.spikes.items()}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays, membrane=run.membrane)


def read_values(path: Path) -> NDArray[np.generic]:
    """The numbers of an `.npy` file, not yet read into memory. Raises InputError for anything else."""
    return read_array(path)


def check_layout(file: NetxFile, values: NDArray[np.generic], shape: Shape, images: bool) -> None:
    """Raises InputError where values are not of the shape that a file reads. shape: of one image or step."""
    declared = file.input_shape
    fits = values.ndim - len(shape) == (1 if images else 2) and len(shape) in (1, 2, 3) and values.size > 0
    if len(declared) == 3 and not file.input_declared:  # the file says the channels only
        fits = fits and len(shape) == 3 and shape[0] == declared[0]
        axes = f"{declared[0]}, H, W"
    else:
        dense = next(layer for layer in file.layers if layer.weight is not None).kind != "conv"
        # a full matrix reads any image, in C-order, and so do input neurons of two axes, which are flat in a graph
        flat = dense and not (images and len(shape) != 2)
        fits = fits and (shape == declared or (flat and neurons(shape) == neurons(declared)))
        axes = ", ".join(map(str, declared))
    if not fits:
        wanted = f"images [S, {axes}]" if images else f"spikes [S, T, {axes}]"
        hint = "; spikes of its input neurons need --skip-input" if values.ndim == len(declared) + 2 and images else ""
        raise InputError(f"{file.path} reads {wanted}, but the input has shape {list(values.shape)}{hint}.")


def _time_steps(file: NetxFile, values: NDArray[np.generic], images: bool, asked: int | None) -> int:
    if asked is not None and asked < 1:
        raise InputError(f"`time steps >= 1` must hold, but time steps are {asked}.")
    if images:
        steps = asked or file.window
        if steps is None:
            raise InputError(f"{file.path} does not say for how many steps an image is shown; give --time-steps.")
        return steps
    if asked not in (None, values.shape[1]):
        raise InputError(f"The spikes have {values.shape[1]} time steps, but {asked} are asked for.")
    return int(values.shape[1])


def _chunks(network: NetxNetwork, samples: int, steps: int, *, streamed: bool) -> Iterator[slice]:
    """Which samples are run together: as many as fit CHUNK_BYTES; a stream is one run."""
    per_step = BYTES_PER_NEURON_STEP * sum(map(neurons, network.graph.shapes().values()))
    per_sample = steps * per_step
    whole = max(samples * steps, network.graph.time_steps) if streamed else steps
    if whole * per_step > MAX_BYTES:
        raise InputError(
            f"{whole} steps at once would take {whole * per_step / 2**30:.0f} GiB of memory, more than "
            f"{MAX_BYTES / 2**30:.0f}; give fewer samples, or a shorter --reset-interval."
        )
    size = samples if streamed else max(1, CHUNK_BYTES // per_sample)
    for first in range(0, samples, size):
        yield slice(first, first + size)


def _run(
    graph: SpikingGraph, spikes: Spikes, reset_interval: int | None, phase: int, runner: Runner
) -> tuple[dict[str, Spikes], Integers]:
    """spikes [S, T, *shape] -> ([S, T, *shape] by population, membranes [S, T, *shape])."""
    samples, steps = spikes.shape[:2]
    source = graph.inputs[0].name
    network = graph
    graph, under_way = (graph, {}) if phase else with_warm_up(graph)
    if reset_interval is None:
        windows = 1
        stream = np.ascontiguousarray(np.swapaxes(spikes, 0, 1))
    else:
        windows = -(-samples * steps // reset_interval)
        stream = np.zeros((windows * reset_interval, 1, *spikes.shape[2:]), np.uint8)  # ends in silence, cut off again
        stream[: samples * steps, 0] = spikes.reshape(-1, *spikes.shape[2:])
    inputs = {source: stream}
    for name, fired in under_way.items():
        inputs[name] = np.zeros((*stream.shape[:2], *fired.shape), np.uint8)
        inputs[name][0] = fired
    recorded: Mapping[str, Spikes]
    if phase:  # nothing is reset where the stream begins, so what the biases did before it stays in every membrane
        depths = {p.name: n + 1 for n, p in enumerate(network.populations)}
        trace = simulate(network, inputs, windows, phase=phase, warm_up=depths)
        recorded, membrane = trace.spikes, trace.readout.astype(np.int64)
    else:
        recorded, membrane = runner(graph, inputs, windows)

    def by_sample(values: NDArray[Any]) -> NDArray[Any]:
        if reset_interval is None:
            return np.swapaxes(values, 0, 1)
        return values[: samples * steps, 0].reshape(samples, steps, *values.shape[2:])

    return {p.name: by_sample(recorded[p.name]) for p in network.populations}, by_sample(membrane)


def _binary(spikes: NDArray[np.generic], shape: Shape) -> Spikes:
    """[S, T, ...] -> uint8 [S, T, *shape]."""
    if not np.isin(spikes, (0, 1)).all():
        raise InputError("The input must be spikes, 0 or 1, but has other values.")
    return spikes.astype(np.uint8).reshape(*spikes.shape[:2], *shape)
