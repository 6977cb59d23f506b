"""A network on more samples and steps than fit into memory: piece by piece, with the state carried from piece to piece.

Memory is bounded: beside the network and its tables, a piece takes about CHUNK_BYTES, or what one step of one sample
takes if that is more. It does not grow with the samples, nor with the steps. A piece is some whole samples, or some
steps of one, so that pieces come in the order in which results lie in a file.
"""

import itertools
import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...export.graph import Shape, neurons
from ...export.netx.reader import NetxNetwork
from ...export.simulate import Integers, Spikes, State, lag_of
from .advance import Advance
from .input_neurons import driven, fire
from .warm_up import state_before

CHUNK_BYTES = 2**28  # of a piece: input, traces and results
BYTES_PER_NEURON = 72  # current, membrane, their copies, and where a neuron lies; each step that a synapse looks back
GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A network and what it shall run on: spikes [S, T, ...], or `images` [S, ...] each shown for `steps`.

    reset_interval: samples are one stream (None: each begins anew). phase: the step at which a window begins.
    """

    network: NetxNetwork
    values: NDArray[np.generic]
    shape: Shape  # of the input's neurons
    steps: int
    images: bool
    reset_interval: int | None
    phase: int

    @property
    def samples(self) -> int:
        return len(self.values)

    @property
    def shapes(self) -> dict[int, Shape]:
        """i of `layer/<i>` -> shape, of every layer of neurons that is shown."""
        graph = self.network.graph
        shown = {0: self.shape} if self.images and self.network.encoder else {}
        return shown | {self.network.layers[p.name]: p.shape for p in graph.populations}

    def result_bytes(self, membrane_bytes: int) -> int:
        """Of all spikes and membranes, not compressed."""
        a_step = sum(map(neurons, self.shapes.values())) + membrane_bytes * neurons(self.network.graph.readout.shape)
        return self.samples * self.steps * a_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What some steps of some samples left behind. spikes: layer -> [s, t, *shape]. membrane: [s, t, *shape]."""

    samples: slice
    times: slice
    spikes: dict[int, Spikes]
    membrane: Integers


def pieces(job: Job, advance: Advance) -> Iterator[Piece]:
    """Run a job. Raises InputError, before the first piece, for a network of which one step does not fit into memory,
    and for input other than 0 and 1, or images that do not fit a bias register, where they are met."""
    graph = job.network.graph
    streamed = job.reset_interval is not None
    state = State(step=0, currents={}, membranes={}, spikes={})
    input_membrane = np.zeros(0)
    for samples, times in _cuts(job, _step_bytes(job, advance)):
        many, steps = samples.stop - samples.start, times.stop - times.start
        if times.start == 0 and not (streamed and samples.start):
            state = state_before(graph, 1 if streamed else many, job.phase)
            input_membrane = np.zeros((1 if streamed else many, *job.shape))
        given = np.asarray(job.values[samples] if job.images else job.values[samples, times])
        if job.images and job.network.encoder:
            bias = driven(job.network.encoder, given).reshape(-1, *job.shape)
            drive = (b[None] for b in bias for _ in range(steps)) if streamed else itertools.repeat(bias, steps)
            window = job.reset_interval or job.steps
            spikes, input_membrane = fire(job.network.encoder, drive, input_membrane, state.step, window)
        else:
            spikes = _binary(given, job.shape)
            spikes = spikes.reshape(-1, 1, *job.shape) if streamed else np.swapaxes(spikes, 0, 1)
        entering = {graph.inputs[0].name: np.ascontiguousarray(spikes)}
        recorded, membrane, state = advance.run(entering, state)
        found = {job.network.layers[p.name]: recorded[p.name] for p in graph.populations}
        if job.images and job.network.encoder:
            found = {0: spikes} | found

        done = {index: _by_sample(fired, many, streamed) for index, fired in found.items()}
        yield Piece(samples=samples, times=times, spikes=done, membrane=_by_sample(membrane, many, streamed))
        del given, spikes, entering, recorded, membrane, found, done  # the next piece takes their place
        let_go(job.values)


def let_go(values: NDArray[np.generic]) -> None:
    """Pages that were read from a memory-mapped file count as memory of the process until they are let go."""
    base = values.base
    while isinstance(base, np.ndarray):
        base = base.base
    read_only = isinstance(values, np.memmap) and values.mode == "r"  # what was written must stay
    if read_only and isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)  # read again from the file where it is read again


def memory_bytes() -> int:
    """Of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _step_bytes(job: Job, advance: Advance) -> int:
    """Of one step of one sample. Raises InputError where that, with the state, is more than the machine has."""
    graph = job.network.graph
    shapes = graph.shapes()
    step = advance.step_bytes + (job.values.itemsize + 24) * neurons(job.shape)
    needed = step + (BYTES_PER_NEURON + 2 * lag_of(graph)) * sum(map(neurons, shapes.values()))
    if needed > memory_bytes():
        raise InputError(
            f"One step of one sample takes {needed / GIB:.1f} GiB of memory, but this machine has "
            f"{memory_bytes() / GIB:.1f}; give smaller input, or only the first layers with --layers."
        )
    return step


def _cuts(job: Job, step_bytes: int) -> Iterator[tuple[slice, slice]]:
    """(samples, steps): as many whole samples as fit CHUNK_BYTES, else as many steps of one."""
    most = max(1, CHUNK_BYTES // step_bytes)
    some, long = max(1, most // job.steps), min(most, job.steps)
    for first in range(0, job.samples, some):
        for start in range(0, job.steps, long):
            yield slice(first, min(first + some, job.samples)), slice(start, min(start + long, job.steps))


def _by_sample(values: NDArray[Any], samples: int, streamed: bool) -> NDArray[Any]:
    """[steps, N, *shape] -> [s, t, *shape]."""
    return values.reshape(samples, -1, *values.shape[2:]) if streamed else np.swapaxes(values, 0, 1)


def _binary(spikes: NDArray[np.generic], shape: Shape) -> Spikes:
    """[s, t, ...] -> uint8 [s, t, *shape]."""
    if not np.isin(spikes, (0, 1)).all():
        raise InputError("The input must be spikes, 0 or 1, but has other values.")
    return spikes.astype(np.uint8).reshape(*spikes.shape[:2], *shape)


def totals(spikes: Mapping[int, Spikes]) -> dict[int, int]:
    return {index: int(np.count_nonzero(fired)) for index, fired in spikes.items()}
