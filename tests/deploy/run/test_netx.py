"""NetX files run without Lava equal unmodified lava-dl bit for bit: recorded runs, its own files, real Lava again."""

import runpy
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.deploy.run import stream
from spikeport.deploy.run.advance import Runner, simulated
from spikeport.deploy.run.input_neurons import encode
from spikeport.deploy.run.kernels.runner import compiled
from spikeport.deploy.run.netx import run_netx, write_run
from spikeport.errors import InputError
from spikeport.export.netx.reader import read_netx
from spikeport.export.simulate import silence
from spikeport.reading.arrays import read_array

GOLDEN = Path(__file__).parents[2] / "golden"
NAMES = ("axes", "changed", "channels", "delays", "image", "limits", "recurrent", "recurrent_delays", "wide")
make = runpy.run_path(str(GOLDEN / "make.py"))
write, flat = make["write"], make["flat"]

Arrays = dict[str, NDArray[Any]]


def recorded(name: str, folder: Path) -> tuple[Path, Arrays]:
    """The network of a recorded run as a file, and the arrays."""
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        loaded = {key: arrays[key] for key in arrays.files}
    path = folder / f"{name}.net"
    path.write_bytes(loaded.pop("net").tobytes())
    return path, loaded


def differing(path: Path, arrays: Arrays, **options: Any) -> int:
    run = run_netx(path, arrays["spikes"], reset_interval=arrays["spikes"].shape[1], **options)
    assert {f"spikes_{i}" for i in run.spikes} | {"spikes", "membrane"} == set(arrays)
    spikes = sum(int((fired != arrays[f"spikes_{i}"]).sum()) for i, fired in run.spikes.items())
    return spikes + int((run.membrane.reshape(arrays["membrane"].shape) != arrays["membrane"]).sum())


@pytest.mark.parametrize("runner", [simulated, compiled])
@pytest.mark.parametrize("name", NAMES)
def test_equals_what_lava_recorded(tmp_path: Path, name: str, runner: Runner) -> None:
    path, arrays = recorded(name, tmp_path)
    assert differing(path, arrays, runner=runner) == 0
    assert 0 < max(fired.mean() for key, fired in arrays.items() if key.startswith("spikes_")) < 1


@pytest.mark.parametrize("runner", [simulated, compiled])
@pytest.mark.parametrize("name", NAMES)
def test_a_broken_weight_shows(tmp_path: Path, name: str, runner: Runner) -> None:
    path, arrays = recorded(name, tmp_path)
    with h5py.File(path, "r+") as file:
        weight = next(layer["weight"] for layer in file["layer"].values() if "weight" in layer)
        weight[(0,) * weight.ndim] = 30 if weight[(0,) * weight.ndim] != 30 else -60
    assert differing(path, arrays, runner=runner) > 0


def test_the_limits_are_reached(tmp_path: Path) -> None:
    _, arrays = recorded("limits", tmp_path)
    assert arrays["membrane"].min() == 1 - 2**23
    path, _ = recorded("limits", tmp_path)
    graph = read_netx(path).graph
    most = np.abs(graph.projections[0].kernel.weight).sum(1).max() * 64
    assert most / (1 - graph.populations[0].current_decay) > 2**23, "the current wraps"


@pytest.mark.parametrize("name", ["recurrent_delays", "delays"])
def test_spikes_from_before_the_stream_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path, arrays = recorded(name, tmp_path)
    monkeypatch.setattr(stream, "state_before", lambda graph, samples, phase: silence(graph, samples))
    assert differing(path, arrays) > 0


def test_samples_are_independent_without_a_reset_interval(tmp_path: Path) -> None:
    path, arrays = recorded("recurrent", tmp_path)
    together = run_netx(path, arrays["spikes"])
    for s in range(len(arrays["spikes"])):
        alone = run_netx(path, arrays["spikes"][s : s + 1], reset_interval=arrays["spikes"].shape[1])
        for i, fired in alone.spikes.items():
            np.testing.assert_array_equal(together.spikes[i][s : s + 1], fired)
        np.testing.assert_array_equal(together.membrane[s : s + 1], alone.membrane)
    assert differing(path, arrays) == 0
    assert (together.spikes[1] != arrays["spikes_1"]).any(), "spikes under way pass from sample to sample"


def test_a_stream_whose_last_interval_is_not_full(tmp_path: Path) -> None:
    """Intervals of 4 in 2 x 5 steps: equal to the same stream cut as one sample."""
    path, arrays = recorded("image", tmp_path)
    run = run_netx(path, arrays["spikes"], reset_interval=4)
    one = run_netx(path, arrays["spikes"].reshape(1, 10, 2, 7, 11), reset_interval=4)
    np.testing.assert_array_equal(run.spikes[1].reshape(1, 10, 6, 3, 5), one.spikes[1])


CUBA = {"type": b"CUBA", "iDecay": 4096, "vDecay": 2048, "vThMant": 10}


def encoded(path: Path, **layer: Any) -> Path:
    """A file whose input layer has one neuron per pixel of a 1x1x3 image."""
    first = {"type": b"input", "shape": [1, 1, 3], "neuron": CUBA, **layer}
    dense = {"type": b"dense", "shape": [3], "weight": 20 * np.eye(3), "neuron": CUBA}
    return write(path, [first, {"type": b"flatten"}, dense])


def test_an_image_drives_input_neurons_by_their_bias(tmp_path: Path) -> None:
    """bias = trunc(8 * x + 2) = 6, 10, -3: 6, 9, 10.5 > 10; 10, 15 > 10; never."""
    path = encoded(tmp_path / "a.net", weight=np.float32([8]), bias=np.float32([2]))
    run = run_netx(path, np.array([[[[0.5, 1.0, -0.7]]]]), time_steps=5)
    np.testing.assert_array_equal(run.spikes[0][0, :, 0, 0], [[0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(run.spikes[2][0], run.spikes[0][0, :, 0, 0])
    again = run_netx(path, run.spikes[0], skip_input=True)
    np.testing.assert_array_equal(again.membrane, run.membrane)


def test_streamed_images_keep_their_membranes_until_the_interval(tmp_path: Path) -> None:
    path = encoded(tmp_path / "a.net", weight=8, bias=2)
    images = np.full((2, 1, 1, 3), 0.5)
    run = run_netx(path, images, time_steps=2, reset_interval=4)
    assert run.spikes[0][:, :, 0, 0, 0].tolist() == [[0, 0], [1, 0]]
    assert not run_netx(path, images, time_steps=2).spikes[0].any()


def test_weight_and_bias_of_an_input_default_to_64_and_0(tmp_path: Path) -> None:
    encoder = read_netx(encoded(tmp_path / "a.net")).encoder
    assert encoder is not None and (encoder.weight, encoder.bias) == (64, 0)
    with pytest.raises(InputError, match=r"64 \* x \+ 0, which must lie in \[-4096, 4095\].*scale them"):
        encode(encoder, np.full((1, 1, 1, 3), 255), 2, None)


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        ((2, 5, 2, 7, 15), {}, r"layer/0 \(conv\) must have shape"),
        ((2, 5, 3, 7, 11), {}, r"reads spikes \[S, T, 2, H, W\], but the input has shape \[2, 5, 3, 7, 11\]"),
        ((2, 7, 11), {}, r"reads spikes \[S, T, 2, H, W\]"),
        ((0, 5, 2, 7, 11), {}, r"reads spikes"),
        ((2, 5, 2, 7, 11), {"time_steps": 4}, "have 5 time steps, but 4 are asked for"),
        ((2, 5, 2, 7, 11), {"time_steps": 0}, "time steps >= 1"),
        ((2, 5, 2, 7, 11), {"reset_interval": 0}, "reset interval >= 1"),
    ],
)  # fmt: skip
def test_an_input_of_the_wrong_shape(tmp_path: Path, shape: tuple[int, ...], options: Any, said: str) -> None:
    path, _ = recorded("image", tmp_path)
    with pytest.raises(InputError, match=said):
        run_netx(path, np.zeros(shape, np.uint8), **options)


def test_images_of_the_wrong_kind(tmp_path: Path) -> None:
    path = encoded(tmp_path / "a.net")
    with pytest.raises(InputError, match=r"reads images \[S, 1, 1, 3\], but .*\[2, 4, 1, 1, 3\]; .* --skip-input"):
        run_netx(path, np.zeros((2, 4, 1, 1, 3)))
    with pytest.raises(InputError, match="give --time-steps"):
        run_netx(path, np.zeros((2, 1, 1, 3)))
    with pytest.raises(InputError, match="0 or 1"):
        run_netx(path, np.full((2, 4, 1, 1, 3), 2), skip_input=True)


def test_arrays_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no '.*nowhere\.npy'; give an array that numpy\.save wrote"):
        read_array(tmp_path / "nowhere.npy")
    text = tmp_path / "text.npy"
    text.write_text("1 2 3")
    with pytest.raises(InputError, match=r"is a text file, but an array that numpy\.save wrote is needed"):
        read_array(text)
    np.save(text, np.zeros((4, 4)))
    text.write_bytes(text.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"is an array \(\.npy\), but damaged, cut short"):
        read_array(text)


def test_python_objects_are_refused_by_the_header_alone(tmp_path: Path) -> None:
    """Nothing stands behind it, so that whoever went on to read the objects would say that they are missing."""
    objects = tmp_path / "objects.npy"
    with objects.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    with pytest.raises(InputError, match=r"of Python objects \(.*\); save numbers with numpy\.save") as error:
        read_array(objects)
    assert "allow_pickle" not in str(error.value)


def test_what_is_written_is_read_without_pickle(tmp_path: Path) -> None:
    path, arrays = recorded("recurrent", tmp_path)
    run = run_netx(path, arrays["spikes"])
    write_run(tmp_path / "run.npz", run)
    with np.load(tmp_path / "run.npz", allow_pickle=False) as written:
        assert set(written.files) == {"spikes_1", "spikes_2", "spikes_3", "membrane"}
        np.testing.assert_array_equal(written["membrane"], run.membrane)
