"""Small NetX files, their input and what unmodified lava-dl 0.6.0 made of it: `python tests/golden/make.py [NAME ...]`.

Each `<name>.npz` holds `net` (the bytes of the file), `spikes` (the input, uint8 [S, T, N] or [S, T, C, H, W]; samples
stream back to back, state is zero at the first step of each), `spikes_<i>` of every layer/<i> and `membrane` [S, T, N]
of the last. They hold the arithmetic where Lava cannot be installed.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

FOLDER = Path(__file__).parent
Layers = list[dict[str, Any]]


def write(path: Path, layers: Layers) -> Path:
    """`neuron` is a dict of its own; everything else stands as it is given."""
    with h5py.File(path, "w") as file:
        for i, layer in enumerate(layers):
            group = file.create_group(f"layer/{i}")
            for key, value in layer.items():
                if isinstance(value, dict):
                    for register, number in value.items():
                        group[f"{key}/{register}"] = number
                else:
                    group[key] = value
    return path


def neuron(i_decay: Any = 4096, v_decay: Any = 0, threshold: Any = 100, kind: Any = b"CUBA") -> dict[str, Any]:
    return {"type": kind, "iDecay": i_decay, "vDecay": v_decay, "vThMant": threshold, "refDelay": 1}


def layer(kind: Any, shape: Any, weight: Any, cell: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"type": kind, "shape": shape, "weight": weight, **({"neuron": cell} if cell else {}), **more}


def cases() -> dict[str, tuple[Layers, Any]]:
    """name -> (layers, input spikes)."""
    random = np.random.default_rng(0)

    def spikes(*shape: int, rate: float = 0.4) -> Any:
        return (random.random(shape) < rate).astype(np.uint8)

    def weights(*shape: int, size: int = 60) -> Any:
        """Even, of both signs, somewhat more of them positive."""
        return 2 * random.integers(size // 4 - size, size, shape)

    found: dict[str, tuple[Layers, Any]] = {}

    # recurrence across samples; words as arrays of one, float32 weights, registers as arrays, no neuron at the end
    recurrent, dense = np.array([b"dense_rec"], "S10"), "dense"
    cell = neuron(np.array([1200]), np.array([1500]), np.array([180]), b"LOIHI")
    floats = {"weight_rec": weights(8, 8, size=40).astype(np.float32), "bias": random.integers(-10, 20, 8)}
    found["recurrent"] = (
        [
            {"type": np.array([b"input"], "S10"), "shape": np.array([9])},
            layer(recurrent, np.array([8, 1, 1]), weights(8, 9).astype(np.float32), cell, **floats),
            layer(b"dense_rec", 5, weights(5, 8).ravel(), neuron(2048, 4096, 60), weight_rec=weights(25)),
            layer(dense, [4], weights(4, 5)),
        ],
        spikes(3, 7, 9),
    )

    # every form of delays; some pass the end of a sample, one the limit of 62; layer 1 fires before the start
    delays = random.integers(0, 4, (6, 5)).astype(np.float32)
    delays[2, 1], delays[4, 4] = 66, 23
    found["delays"] = (
        [
            layer(b"dense", [6], weights(6, 5), neuron(3000, 200, 60), delay=delays),
            layer(b"dense", [7], weights(7, 6), neuron(4096, 128, 80), delay=random.integers(0, 5, 7), bias=[90.0]),
            layer(b"dense", [5], weights(5, 7), neuron(4096, 0, 300), delay=random.integers(0, 7, 7)),
            layer(b"dense", [3], weights(3, 5), neuron(1024, 1024, 150), delay=3),
        ],
        spikes(4, 20, 5),
    )

    # recurrence with delays: lava-dl shifts the small weights left and not back
    small = 2 * random.integers(-4, 8, (6, 6)), 2 * random.integers(-6, 4, (6, 6))
    more = {"weight_rec": small[1], "delay": random.integers(0, 4, (6, 6)), "bias": random.integers(0, 200, 6)}
    found["recurrent_delays"] = (
        [
            layer(b"dense", [6], weights(6, 6), neuron(4096, 0, 120), bias=np.full(6, 50)),
            layer(b"dense_rec", [6], small[0], neuron(3500, 400, 120), **more),
        ],
        spikes(3, 9, 6),
    )

    # matrices that lava-dl changes: no positive weight and a least one of -2^k, with and without a zero; two signs
    inhibitory = -2 * random.integers(1, 30, (5, 6))
    inhibitory[1, 2] = -64
    nothing = inhibitory[:, :5].copy()
    nothing[0, 0], nothing[1, 2] = 0, -128
    halves = weights(5, 5), -2 * random.integers(0, 40, (5, 5))
    halves[0][0, 0], halves[1][3, 3] = 254, -256
    held, cell = {"bias": random.integers(60, 200, 5)}, neuron(4096, 512, 130)
    found["changed"] = (
        [
            layer(b"dense", [5], inhibitory, cell, **held),
            layer(b"dense", [5], nothing, cell, **held),
            layer(b"dense_rec", [5], halves[0], cell, weight_rec=halves[1], **held),
            layer(b"dense", [5], 2 * random.integers(0, 120, (5, 5)), neuron(4096, 0, 300), bias=7),
        ],
        spikes(2, 10, 6),
    )

    # currents that wrap and membranes that clip
    rows = np.repeat([[254], [-256], [250], [-2], [2]], 200, 1)
    bias = np.array([4095, -4096, 12, -4000, 3])
    found["limits"] = ([layer(b"dense", [5], rows, neuron(100, 0, 131071), bias=bias)], spikes(2, 40, 200, rate=0.7))

    # an image; trailing axes, geometry as numbers and as pairs, a spiking convolution at the end
    kernel = weights(4, 2, 3, 3)[..., None].astype(np.float32)
    one = {"stride": 2, "padding": [1, 0], "dilation": 1, "groups": 1, "bias": random.integers(-9, 20, 4)}
    two = {"stride": [1, 1], "padding": [0, 1], "dilation": [1, 1], "groups": 2}
    found["image"] = (
        [
            layer(b"conv", [4, 4, 5], kernel, neuron(3000, 2000, 160), **one),
            layer(b"conv", [6, 3, 5], weights(6, 2, 2, 3), neuron(4096, 2048, 120), **two),
        ],
        spikes(2, 5, 2, 7, 11),
    )
    # registers for each channel and each neuron, spread over (column, row, channel); 1250 << 6 leaves 16 bits
    each = random.integers(0, 4097, (5, 4, 3))
    cell = neuron(np.array([4096, 900, 2500, 100]), np.array([0, 4096, 700, 2000], np.uint16), [90, 140, 60, 200])
    own = neuron(each, each[:, :1, :1] // 2, random.integers(60, 200, (4, 1)))
    flat = neuron(
        [[4096, 2048, 1024, 512, 100]], [100, 4000, 0, 512, 1024], np.array([90, 300, 160, 1250, 211], np.int16)
    )
    geometry = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1}
    biases = random.integers(-20, 60, (5, 4, 3))
    found["channels"] = (
        [
            layer(b"conv", [4, 4, 5], weights(4, 2, 3, 3), cell, bias=random.integers(-9, 20, 4), **geometry),
            layer(b"conv", [3, 4, 5], weights(3, 4, 3, 3), own, bias=biases, **geometry),
            {"type": b"flatten"},
            layer(
                b"dense_rec",
                [5],
                weights(5, 60, size=12),
                flat,
                weight_rec=weights(5, 5),
                bias=random.integers(0, 90, 5),
            ),
            layer(b"dense", [2], weights(2, 5), neuron([4096, 500], [0, 100], 131071)),
        ],
        spikes(3, 8, 2, 4, 5),
    )

    # weights that the chip does not hold: of a conv as they are, of one sign up to 255, of two signs clipped, of one
    # sign beyond 8 bits lost; biases that wrap
    clipped = random.integers(-300, 400, (6, 6))
    more = {"bias": np.array([32768 + 7, 70, 65536 + 90, 5, -65536, 99])}
    found["wide"] = (
        [
            layer(b"conv", [4, 3, 3], random.integers(-3000, 4000, (4, 1, 2, 2)), neuron(4096, 900, 600), **geometry),
            {"type": b"flatten"},
            layer(b"dense", [6], random.integers(0, 256, (6, 36)), neuron(4096, 900, 1400)),
            layer(b"dense", [6], clipped, neuron(4096, 300, 400), **more),
            layer(b"dense", [6], random.integers(0, 300, (6, 6)), neuron(4096, 300, 200), bias=np.arange(0, 120, 20)),
        ],
        spikes(3, 8, 1, 2, 2),
    )

    # an input layer of two axes; shapes that lava-dl multiplies
    found["axes"] = (
        [
            {"type": b"input", "shape": [2, 4]},
            layer(b"dense", [5, 1], weights(5, 8), neuron(4096, 128, 60)),
            layer(b"dense", [1, 2, 2], weights(4, 5), neuron(4096, 128, 60)),
        ],
        spikes(3, 8, 2, 4),
    )
    return found


def flat(spikes: Any) -> Any:
    """[S, T, H, W] -> [S, T, N]: a file whose input has two axes begins with a full matrix."""
    return spikes.reshape(*spikes.shape[:2], -1) if spikes.ndim == 4 else spikes


def main(*names: str) -> None:
    from spikeport.deploy.run.lava import run_lava_on

    with tempfile.TemporaryDirectory() as folder:
        made = {name: case for name, case in cases().items() if name in names or not names}
        jobs = [(write(Path(folder, f"{name}.net"), layers), spikes) for name, (layers, spikes) in made.items()]
        results = run_lava_on([(path, flat(spikes)) for path, spikes in jobs], progress=sys.stderr.write)
        for name, (path, spikes), result in zip(made, jobs, results, strict=True):
            recorded = {f"spikes_{i}": fired for i, fired in result.spikes.items()}
            net = np.frombuffer(path.read_bytes(), np.uint8)
            np.savez_compressed(FOLDER / f"{name}.npz", net=net, spikes=spikes, **recorded, membrane=result.membrane)


if __name__ == "__main__":
    main(*sys.argv[1:])
