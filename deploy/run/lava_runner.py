# /// script
# requires-python = "==3.10.*"
# dependencies = ["lava-dl==0.6.0", "lava-nc==0.10.0", "numpy==1.26.4", "scipy==1.15.3", "h5py<4", "setuptools<80"]
# ///
"""Run a NetX file in unmodified lava-dl 0.6.0 and record every spike: a script of its own, for Lava's Python 3.10.

    python lava_runner.py NETWORK.net SPIKES.npy RECORD.npz [NETWORK.net SPIKES.npy RECORD.npz ...]

SPIKES.npy   uint8 0/1 [S, T, C, H, W] (channel, row, column) or [S, T, N]: S samples of T steps. Where the file begins
             with an input layer of neurons, these are that layer's spikes: it stays on the host, as the encoder.
RECORD.npz   spikes_<i>  uint8 [S, T, C, H, W] or [S, T, N], for every `layer/<i>` of the file that has neurons
             membrane    int32 [S, T, N] (N flattened as C, H, W): v of the last layer after each step and its reset

Timing. The samples stream back to back, and every synapse of Lava holds its result back by one step, so the n-th layer
of neurons (n = 0, 1, ...) answers step t of the stream at Lava's time step t + n + 2 (Lava counts from 1). There its
state must be zero for the first step of each sample: `reset_offset=1`, to which NetX adds 1, and 1 more per layer.

Axes. Lava orders an image (column, row, channel); this file turns the axes once on the way in and once on the way out.

On stderr it says `stage: ...`; an error is one line there, `error: ...`, and exit code 1.
"""

import sys
import tempfile
from pathlib import Path


def say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    say("stage: starting Lava")  # before the imports, which take seconds
    here = Path(__file__).resolve().parent  # holds a module named lava, which would hide the package
    sys.path = [folder for folder in sys.path if Path(folder).resolve() != here]

import h5py  # noqa: E402
import numpy as np  # noqa: E402
from lava.lib.dl.netx.hdf5 import Network  # noqa: E402
from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: E402
from lava.proc.io.sink import PyReadFixed, PyReceiveModelFixed, Read  # noqa: E402
from lava.proc.io.sink import RingBuffer as Sink  # noqa: E402
from lava.proc.io.source import RingBuffer as Source  # noqa: E402

PROGRESS_LINES = 20


class SpikeRecorder(PyReceiveModelFixed):
    """Lava's sink, writing to a file: Lava hands a variable back number by number, which takes longer than the run."""

    def __init__(self, proc_params):
        super().__init__(proc_params)
        self.record = np.load(proc_params["record"], mmap_mode="r+")

    def run_spk(self):
        self.record[self.time_step - 1] = self.a_in.recv()


class MembraneRecorder(PyReadFixed):
    """Lava's reader of a variable, writing to a file; it reads after all neurons of a step are done."""

    def __init__(self, proc_params):
        super().__init__(proc_params)
        self.record = np.load(proc_params["record"], mmap_mode="r+")

    def run_post_mgmt(self):
        self.record[self.time_step - 1] = self.state.read()


def text(value):
    """A string of the file: b"conv", "conv", or an array of one of them."""
    value = np.asarray(value).reshape(-1)[0]
    return value.decode() if isinstance(value, bytes) else str(value)


def layers_with_neurons(path):
    """-> (indices `i` of `layer/<i>` that become Lava layers, True if the first layer is an encoder to be skipped)."""
    with h5py.File(path, "r") as file:
        if "layer" not in file:
            raise ValueError("it has no group 'layer', so it is not a NetX file")
        indices, encoder = [], False
        for i in range(len(file["layer"])):
            layer = file[f"layer/{i}"]
            kind = text(layer["type"][()])
            if kind == "input" and "neuron" in layer:
                if i:
                    raise ValueError(f"layer/{i} is an input layer of neurons, but only layer/0 can be one")
                encoder = True
            elif kind in ("conv", "dense", "dense_rec"):
                if kind != "conv" and not np.any(layer["weight"][()]):
                    raise ValueError(f"layer/{i} is dense with all weights 0, on which lava-dl 0.6.0 fails")
                # a dense layer without a neuron gets one from lava-dl
                neuron = text(layer["neuron/type"][()]) if "neuron" in layer or kind == "conv" else "CUBA"
                if neuron not in ("CUBA", "LOIHI"):
                    raise ValueError(
                        f"layer/{i} has neurons of type {neuron}, but only CUBA and LOIHI ones are supported"
                    )
                indices.append(i)
            elif kind not in ("input", "flatten"):
                raise ValueError(f"layer/{i} has type '{kind}', which lava-dl 0.6.0 cannot load")
        if not indices:
            raise ValueError("it has no conv or dense layer")
        return indices, encoder


def create_record(path, shape, dtype):
    np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape).flush()
    return str(path)


def attach(process, record):
    process.proc_params["record"] = record
    return process


def turn(image):
    """[S, T, W, H, C] -> [S, T, C, H, W], and back; [S, T, N] stays."""
    return image.transpose(0, 1, 4, 3, 2) if image.ndim == 5 else image


def run(network, spikes, scratch):
    """-> the arrays of RECORD.npz, by name."""
    samples, time_steps = spikes.shape[:2]
    say("stage: loading the network")
    indices, encoder = layers_with_neurons(network)
    net = Network(
        net_config=str(network),
        skip_layers=int(encoder),
        input_shape=spikes.shape[:1:-1],
        reset_interval=time_steps,
        reset_offset=1,
    )
    inward = turn(spikes)
    if len(net.layers[0].inp.shape) == 1:
        inward = spikes.reshape(samples, time_steps, -1)  # a dense layer counts its inputs as (C, H, W)
    if inward.shape[2:] != net.layers[0].inp.shape:
        raise ValueError(
            f"it takes inputs of shape {net.layers[0].inp.shape[::-1]}, but the spikes have shape {spikes.shape[2:]}"
        )

    say("stage: building the Lava processes")
    stream = samples * time_steps
    steps = stream + len(net.layers)
    data = np.zeros((*inward.shape[2:], steps), np.int32)
    data[..., :stream] = np.moveaxis(inward.reshape(stream, *inward.shape[2:]), 0, -1)
    Source(data=data).s_out.connect(net.inp)

    for i, layer in zip(indices, net.layers):  # noqa: B905 (Python 3.10 has strict=, but the lengths are equal by now)
        record = create_record(scratch / f"spikes_{i}.npy", (steps, *layer.shape), np.uint8)
        layer.neuron.s_out.connect(attach(Sink(shape=layer.shape, buffer=1), record).a_in)
    last = net.layers[-1]
    reader = Read(buffer=1)
    reader.connect_var(last.neuron.v)
    attach(reader, create_record(scratch / "membrane.npy", (steps, *last.shape), np.int32))

    config = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map={Sink: SpikeRecorder, Read: MembraneRecorder})
    done, chunk = 0, -(-steps // PROGRESS_LINES)
    try:
        while done < steps:
            count = min(chunk, steps - done)
            net.run(condition=RunSteps(num_steps=count), run_cfg=config)
            done += count
            say(f"stage: running step {done}/{steps}")
    finally:
        net.stop()

    say("stage: saving")

    def aligned(name, depth):
        recorded = np.load(scratch / f"{name}.npy", mmap_mode="r")[depth + 1 : depth + 1 + stream]
        return turn(recorded.reshape(samples, time_steps, *recorded.shape[1:]))

    arrays = {f"spikes_{i}": aligned(f"spikes_{i}", depth) for depth, i in enumerate(indices)}
    arrays["membrane"] = aligned("membrane", len(indices) - 1).reshape(samples, time_steps, -1)
    return arrays


def main(network, spikes, record):
    try:
        with tempfile.TemporaryDirectory(dir=Path(record).parent) as scratch:
            np.savez(record, **run(Path(network), np.load(spikes), Path(scratch)))
    except Exception as error:  # noqa: BLE001 (the parent process gets one line; Lava raises everything there is)
        kind = "" if type(error) is ValueError else f"{type(error).__name__}: "  # a KeyError says the key alone
        say(f"error: {kind}{' '.join(str(error).split())}")
        return 1
    return 0


if __name__ == "__main__":
    jobs = sys.argv[1:]
    if not jobs or len(jobs) % 3:
        sys.exit("error: usage: lava_runner.py NETWORK.net SPIKES.npy RECORD.npz ...")
    sys.exit(max(main(*jobs[i : i + 3]) for i in range(0, len(jobs), 3)))
