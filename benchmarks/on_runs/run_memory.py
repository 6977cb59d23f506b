"""What memory `spikeport run` takes: many long samples through 64 inputs and 256 neurons, as a process of its own.

    python benchmarks/on_runs/run_memory.py [--samples N] [--steps N] [--folder PATH]

Makes the network and its spikes (5 % of them 1) under `--folder`, runs the command line on them, tells peak memory,
sizes and time, looks at what was written, and removes all of it. The default is 20,000 samples of 1000 steps: spikes of
1.2 GiB, and 24 GiB of results before they are compressed.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np

INPUTS, NEURONS, DENSITY = 64, 256, 0.05
GIB = 2**30


def write_network(path: Path) -> None:
    with h5py.File(path, "w") as file:
        layer = file.create_group("layer/0")
        layer["type"], layer["shape"] = b"dense", [NEURONS]
        layer["weight"] = np.random.default_rng(0).integers(-60, 61, (NEURONS, INPUTS)) * 2
        for name, value in {"type": b"CUBA", "iDecay": 1024, "vDecay": 128, "vThMant": 300}.items():
            layer[f"neuron/{name}"] = value


def write_spikes(path: Path, samples: int, steps: int) -> None:
    random = np.random.default_rng(1)
    header = {"descr": "|u1", "fortran_order": False, "shape": (samples, steps, INPUTS)}
    with path.open("wb") as file:  # not through a map: Linux counts the pages of a parent in its child's peak
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(samples):
            spikes = random.integers(0, 256, (steps, INPUTS), np.uint8) < DENSITY * 256
            file.write(spikes.astype(np.uint8).tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        network, spikes, out = folder / "some.net", folder / "spikes.npy", folder / "run.npz"
        write_network(network)
        write_spikes(spikes, options.samples, options.steps)
        command = [sys.executable, "-m", "spikeport.cli", "run", network, "--input", spikes, "--out", out]
        started = time.monotonic()
        subprocess.run([str(word) for word in command], check=True)
        seconds = time.monotonic() - started
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        with zipfile.ZipFile(out) as written:
            sizes = {member.filename: member.file_size for member in written.infolist()}
        print(f"{options.samples:,} samples x {options.steps:,} steps, {INPUTS} inputs, {NEURONS} neurons")
        print(f"peak memory   {peak / GIB:.2f} GiB")
        print(f"input         {spikes.stat().st_size / GIB:.2f} GiB")
        for array, size in sizes.items():
            print(f"{array:13} {size / GIB:.2f} GiB before compression")
        print(f"run.npz       {out.stat().st_size / GIB:.2f} GiB")
        print(f"time          {seconds:.0f} s")


if __name__ == "__main__":
    main()
