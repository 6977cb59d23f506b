"""Runs a NetX file without Lava, in the integers of Lava 0.10: every spike of every layer and the last membranes.

Samples are independent, or stream back to back with `reset_interval`: then currents and membranes are zero at the first
step of each interval (Lava's `reset_offset=1`), but spikes under way in a recurrent or delayed synapse arrive after it.
An interval longer than the stream costs nothing. `stream_netx` takes memory as `stream.py` says, whatever the number of
samples and steps; `run_netx` takes the result beside it.
"""

import errno
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...export.graph import Shape, neurons
from ...export.netx.file import NetxFile, read_layers
from ...export.netx.reader import NetxNetwork, network_of
from ...export.simulate import Integers, Spikes
from ...files import replacing
from .advance import Runner, simulated
from .npz import NpzWriter
from .stream import GIB, Job, memory_bytes, pieces, totals

DEFLATE_AT_MOST = 1032  # times smaller does deflate make anything [zlib.net/zlib_tech.html, Maximum Compression Factor]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What a run did. spikes: i of `layer/<i>` -> how many, over all samples. shapes: of the same layers."""

    network: NetxNetwork
    samples: int
    time_steps: int
    shapes: dict[int, Shape]
    spikes: dict[int, int]
    seconds: float
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """How far a run is. done: of `samples`, whole ones. fraction: of all steps."""

    done: int
    samples: int
    fraction: float
    seconds: float
    seconds_left: float


def _silent(progress: RunProgress) -> None:
    """Tells nobody."""


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

    What the options mean is said at `stream_netx`, which writes a result that is too large for memory.

    Raises InputError for values or a file that do not fit, and what `read_netx` raises.
    """
    started = time.monotonic()
    job = _job(path, values, time_steps, reset_interval, reset_offset, skip_input=skip_input, layers=layers)
    size = job.result_bytes(8)
    if size > memory_bytes():
        raise InputError(
            f"The spikes and membranes of {job.samples} samples of {job.steps} steps take {size / GIB:.1f} GiB, but "
            f"this machine has {memory_bytes() / GIB:.1f}; write them to a file: `spikeport run --out`, or stream_netx."
        )
    spikes = {i: np.empty((job.samples, job.steps, *shape), np.uint8) for i, shape in job.shapes.items()}
    membrane = np.empty((job.samples, job.steps, *job.network.graph.readout.shape), np.int64)
    for piece in pieces(job, runner(job.network.graph)):
        for index, fired in piece.spikes.items():
            spikes[index][piece.samples, piece.times] = fired
        membrane[piece.samples, piece.times] = piece.membrane
    seconds = time.monotonic() - started
    return NetxRun(network=job.network, spikes=spikes, membrane=membrane, seconds=seconds, cautions=_cautions(job))


def stream_netx(
    path: Path,
    values: NDArray[np.generic],
    out: Path | None,
    *,
    time_steps: int | None = None,
    reset_interval: int | None = None,
    reset_offset: int = 1,
    skip_input: bool = False,
    layers: int | None = None,
    runner: Runner = simulated,
    progress: Callable[[RunProgress], None] = _silent,
) -> RunSummary:
    """Run a NetX file and write what `write_run` writes of it to `out` as it comes, in memory that does not grow.

    values: spikes [S, T, C, H, W] or [S, T, N], or images [S, C, H, W] or [S, N], both best memory-mapped.
    Images are what a file reads whose layer/0 is an input layer of neurons: each pixel x drives its neuron with the
    bias mantissa trunc(weight * x + bias) in all of `time_steps` steps (by default the file's simulation/tSample). With
    `skip_input`, the values are the spikes of those neurons.

    With `reset_interval` the samples are one stream, reset as by lava-dl's `Network(reset_interval=, reset_offset=)`:
    an offset of 1 resets at the first step of the stream, as every sample needs it; 0 is lava-dl's default.

    Raises InputError for values or a file that do not fit, and what `read_netx` raises; for a file to be that the disk
    cannot hold, before the work where that is certain, else when it is full.
    """
    started = time.monotonic()
    job = _job(path, values, time_steps, reset_interval, reset_offset, skip_input=skip_input, layers=layers)
    spikes = dict.fromkeys(job.shapes, 0)
    found = pieces(job, runner(job.network.graph))
    with _result(out, job) if out else nullcontext() as file:
        for piece in found:
            for index, total in totals(piece.spikes).items():
                spikes[index] += total
            if file is not None:
                for index, fired in piece.spikes.items():
                    file.add(f"spikes_{index}", fired)
                file.add("membrane", piece.membrane)
            steps = piece.samples.start * job.steps + (piece.samples.stop - piece.samples.start) * piece.times.stop
            fraction = steps / (job.samples * job.steps)
            so_far = time.monotonic() - started
            event = {"fraction": fraction, "seconds": so_far, "seconds_left": so_far * (1 - fraction) / fraction}
            progress(RunProgress(done=steps // job.steps, samples=job.samples, **event))
    return RunSummary(
        network=job.network,
        samples=job.samples,
        time_steps=job.steps,
        shapes=job.shapes,
        spikes=spikes,
        seconds=time.monotonic() - started,
        cautions=_cautions(job),
    )


@contextmanager
def _result(out: Path, job: Job) -> Iterator[NpzWriter]:
    """The file to be. Raises InputError where the disk is full, or certainly will be."""
    place = next(folder for folder in out.absolute().parents if folder.exists())
    least = job.result_bytes(4) // DEFLATE_AT_MOST
    what = f"'{out}' of {job.samples} samples of {job.steps} steps"
    if least > (free := shutil.disk_usage(place).free):
        raise InputError(
            f"{what} takes at least {least / GIB:.1f} GiB, however well it is compressed, but only {free / GIB:.1f} "
            "are free; give fewer samples, or name another place."
        )
    arrays: dict[str, Any] = {
        f"spikes_{i}": ((job.samples, job.steps, *shape), np.uint8) for i, shape in job.shapes.items()
    }
    arrays["membrane"] = (job.samples, job.steps, *job.network.graph.readout.shape), np.int32
    with replacing(out) as temporary:
        writer = NpzWriter(temporary, arrays)
        try:
            with writer:
                yield writer
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise InputError(
                f"{what} does not fit: the disk was full after {writer.written / GIB:.1f} GiB, compressed; give fewer "
                "samples, or name another place."
            ) from error


def _job(
    path: Path,
    values: NDArray[np.generic],
    time_steps: int | None,
    reset_interval: int | None,
    reset_offset: int,
    *,
    skip_input: bool,
    layers: int | None,
) -> Job:
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
    return Job(
        network=network_of(file, reset_interval or steps),
        values=values,
        shape=file.input_shape,
        steps=steps,
        images=images,
        reset_interval=reset_interval,
        phase=phase,
    )


def _cautions(job: Job) -> tuple[str, ...]:
    lagging = [p for p in job.network.graph.projections if p.delay is not None or p.source == p.target]
    if job.reset_interval is not None or job.samples == 1 or not lagging:
        return ()
    layers = ", ".join(f"layer/{i}" for i in sorted({job.network.layers[p.target] for p in lagging}))
    return (
        f"{layers} has delays or recurrence and the {job.samples} samples run independently; Lava would stream them, "
        f"with spikes under way from one into the next: give --reset-interval {job.steps} for that",
    )


def write_run(path: Path, run: NetxRun) -> None:
    """`.npz`: spikes_<i> uint8 [S, T, *shape] of every layer/<i> with neurons, membrane int32 [S, T, *shape]."""
    arrays: dict[str, NDArray[Any]] = {f"spikes_{i}": spikes for i, spikes in run.spikes.items()}
    arrays["membrane"] = run.membrane.astype(np.int32)  # it has 24 bits
    with (
        replacing(path) as temporary,
        NpzWriter(temporary, {k: (v.shape, v.dtype) for k, v in arrays.items()}) as file,
    ):
        for name, values in arrays.items():
            file.add(name, values)


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
