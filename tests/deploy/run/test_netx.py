"""NetX files run without Lava equal unmodified lava-dl bit for bit: recorded runs, its own files, real Lava again."""

import json
import runpy
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.deploy.run import lava, stream
from spikeport.deploy.run.advance import Runner, simulated
from spikeport.deploy.run.input_neurons import encode
from spikeport.deploy.run.kernels.runner import compiled
from spikeport.deploy.run.netx import run_netx, write_run
from spikeport.errors import InputError, UnsupportedError
from spikeport.export.netx.loaded_weights import lava_matrices
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


@pytest.mark.lava
def test_a_reset_phase_equals_lava(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_lava: None) -> None:
    """The same file in stock Lava with lava-dl's default reset_offset 0; every other run here has 1."""
    path, arrays = recorded("recurrent", tmp_path)
    runner = tmp_path / "lava_runner.py"
    runner.write_text(lava.RUNNER.read_text().replace("reset_offset=1,", "reset_offset=0,"))
    python = lava.environment()
    monkeypatch.setattr(lava, "environment", lambda report: python)
    monkeypatch.setattr(lava, "RUNNER", runner)
    found = lava.run_lava(path, arrays["spikes"])
    interval = arrays["spikes"].shape[1]
    run = run_netx(path, arrays["spikes"], reset_interval=interval, reset_offset=0)
    assert {i: fired.tolist() for i, fired in run.spikes.items()} == {i: s.tolist() for i, s in found.spikes.items()}
    np.testing.assert_array_equal(run.membrane.reshape(found.membrane.shape), found.membrane)
    usual = run_netx(path, arrays["spikes"], reset_interval=interval)
    assert any((usual.spikes[i] != fired).any() for i, fired in run.spikes.items())


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


# real Lava


@pytest.fixture(scope="module")
def wheel(real_lava: None) -> Path:
    """lava-dl's own test files."""
    folder = next(lava.environment().parents[1].glob("lib/python3.10/site-packages")) / "tests/lava/lib/dl/netx"
    assert folder.exists(), "lava-dl 0.6.0 carries them in its wheel"
    return folder


@pytest.fixture(scope="module")
def in_lava(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, NDArray[Any], lava.LavaResult]]:
    """Networks, spikes, and what real Lava, started once, makes of them: the recorded runs and lava-dl's own files."""
    folder = tmp_path_factory.mktemp("lava")
    jobs = {}
    for name in NAMES:
        path, arrays = recorded(name, folder)
        jobs[name] = (path, flat(arrays["spikes"]))
    digits = folder / "ntidigits.net"
    digits.write_bytes((wheel / "gts/ntidigits/ntidigits.net").read_bytes())
    with h5py.File(digits, "r+") as file:
        del file["layer/5"]  # an average, which is refused
    random = np.random.default_rng(0)
    touches = np.load(wheel / "gts/ntidigits/input.npy").T[None, 300:420].astype(np.uint8)
    jobs["ntidigits"] = digits, touches
    jobs["mnist"] = wheel / "mnist.net", (random.random((2, 6, 784)) < 0.3).astype(np.uint8)
    pilotnet = (random.random((1, 3, 3, 66, 200)) < 0.5).astype(np.uint8)
    jobs["pilotnet"] = wheel / "gts/pilotnet_lif/network.net", pilotnet
    results = lava.run_lava_on(list(jobs.values()), time_limit_s=900)
    return {name: (*job, result) for (name, job), result in zip(jobs.items(), results, strict=True)}


@pytest.mark.lava
def test_lava_still_does_what_was_recorded(tmp_path: Path, in_lava: dict[str, Any]) -> None:
    for name in NAMES:
        _, arrays = recorded(name, tmp_path)
        result = in_lava[name][2]
        np.testing.assert_array_equal(result.membrane, arrays["membrane"])
        for i, fired in result.spikes.items():
            np.testing.assert_array_equal(fired, arrays[f"spikes_{i}"])


@pytest.mark.lava
def test_lavas_tiny_network(wheel: Path) -> None:
    """An image through input neurons and two convolutions; lava-dl's record begins one step earlier, in silence."""
    network = read_netx(wheel / "tiny.net", time_steps=15)
    assert network.encoder is not None
    bias = np.load(wheel / "gts/tinynet/input_bias.npy").transpose(2, 1, 0)[None]
    spikes = encode(replace(network.encoder, weight=1, bias=0), bias, 15, None)
    run = run_netx(wheel / "tiny.net", spikes, skip_input=True)
    for name, fired in (("input", spikes), ("layer1", run.spikes[1]), ("output", run.spikes[2])):
        truth = np.load(wheel / f"gts/tinynet/{name}.npy").transpose(0, 4, 1, 2, 3)
        assert truth.any()
        np.testing.assert_array_equal(fired, truth[:, 1:])


@pytest.mark.lava
@pytest.mark.parametrize("name", ["ntidigits", "mnist", "pilotnet"])
def test_lavas_own_files_in_real_lava(in_lava: dict[str, Any], name: str) -> None:
    """mnist has no neuron at the end, ntidigits delays."""
    path, spikes, result = in_lava[name]
    run = run_netx(path, spikes, skip_input=True, reset_interval=spikes.shape[1])
    assert set(run.spikes) == set(result.spikes)
    assert any(fired.any() for fired in result.spikes.values())
    for i, fired in run.spikes.items():
        assert int((fired.reshape(result.spikes[i].shape) != result.spikes[i]).sum()) == 0, (path.name, i)
    np.testing.assert_array_equal(run.membrane.reshape(result.membrane.shape), result.membrane)


@pytest.mark.lava
def test_an_average_is_refused(wheel: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"layer/5 \(average\)"):
        read_netx(wheel / "gts/ntidigits/ntidigits.net")


@pytest.mark.lava
@pytest.mark.parametrize("name", ["network.net", "square_network.net"])
def test_lavas_sigma_delta_networks_are_refused(wheel: Path, name: str) -> None:
    with pytest.raises(UnsupportedError, match=r"layer/0 \(input\) has neurons of type 'SDNN'.*sigma-delta"):
        read_netx(wheel / "gts/pilotnet_sdnn" / name)


ASK_LAVA = """
import json, sys
import numpy as np
from lava.lib.dl.netx.utils import optimize_weight_bits
from lava.utils.weightutils import clip_weights, determine_sign_mode, truncate_weights
answers = []
for parts in json.load(open(sys.argv[1])):
    parts = [np.array(part) for part in parts]
    together, bits, exponent, _ = optimize_weight_bits(np.hstack(parts))
    stored, at = [], 0
    for part in parts:
        block = together[:, at : at + part.shape[1]]
        at += part.shape[1]
        sign = determine_sign_mode(block)
        stored.append(truncate_weights(clip_weights(block, sign, num_bits=8), sign, bits).tolist())
    answers.append([stored, -int(exponent)])
json.dump(answers, open(sys.argv[2], "w"))
"""


@pytest.mark.lava
def test_weights_against_lavas_own_functions(tmp_path: Path, real_lava: None) -> None:
    random = np.random.default_rng(0)
    matrices = []
    for k in range(400):
        low, high = [(-256, 255), (-256, 0), (-256, 1), (0, 255), (-64, 1), (-9, 9)][k % 6]
        unit = int(random.choice([1, 2, 4]))
        parts = [random.integers(low, high, (3, 4)) // unit * unit for _ in range(1 + k % 2)]
        if k % 3 == 0:
            parts[-1] = -np.abs(parts[-1])
        if np.any(parts):
            matrices.append(parts)
    given, answer = tmp_path / "given.json", tmp_path / "answer.json"
    given.write_text(json.dumps([[part.tolist() for part in parts] for parts in matrices]))
    command = [str(lava.environment()), "-c", ASK_LAVA, str(given), str(answer)]
    subprocess.run(command, check=True, timeout=300, capture_output=True)
    for parts, (stored, shift) in zip(matrices, json.loads(answer.read_text()), strict=True):
        found = lava_matrices(*parts)
        assert [matrix.weight.tolist() for matrix in found] == stored, parts
        assert {matrix.shift for matrix in found} == {shift}, parts
