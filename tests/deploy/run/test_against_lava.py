"""NetX files run without Lava equal unmodified lava-dl bit for bit, in one start of it for this whole file."""

import json
import runpy
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.deploy.run import lava
from spikeport.deploy.run.advance import Runner, simulated
from spikeport.deploy.run.input_neurons import encode
from spikeport.deploy.run.kernels.runner import compiled
from spikeport.deploy.run.netx import run_netx
from spikeport.errors import UnsupportedError
from spikeport.export.netx.loaded_weights import lava_matrices
from spikeport.export.netx.reader import read_netx

from .as_lava import AS_LAVA, FEW, KERNEL, LARGE, LAVA_FAILS

pytestmark = pytest.mark.lava

GOLDEN = Path(__file__).parents[2] / "golden"
PHASE = "recurrent from the second step"
NAMES = ("axes", "changed", "channels", "delays", "image", "limits", "recurrent", "recurrent_delays", "wide")
RUNNERS = pytest.mark.parametrize("runner", [simulated, compiled])
make = runpy.run_path(str(GOLDEN / "make.py"))
write, flat = make["write"], make["flat"]

ASK_LAVA = """
import json
from lava.lib.dl.netx.utils import optimize_weight_bits
from lava.utils.weightutils import clip_weights, determine_sign_mode, truncate_weights
answers = []
for parts in json.load(open({given!r})):
    parts = [np.array(part) for part in parts]
    together, bits, exponent, _ = optimize_weight_bits(np.hstack(parts))
    stored, at = [], 0
    for part in parts:
        block = together[:, at : at + part.shape[1]]
        at += part.shape[1]
        sign = determine_sign_mode(block)
        stored.append(truncate_weights(clip_weights(block, sign, num_bits=8), sign, bits).tolist())
    answers.append([stored, -int(exponent)])
json.dump(answers, open({answer!r}, "w"))
"""


@dataclass(frozen=True)
class Ran:
    """A NetX file and what Lava made of its spikes."""

    path: Path
    spikes: NDArray[np.uint8]
    lava: lava.LavaResult

    def differing(self, path: Path | None = None, runner: Runner = simulated, **options: Any) -> int:
        """Spikes and membranes that differ where the file, or another one in its place, is run without Lava."""
        options = {"reset_interval": self.spikes.shape[1], "skip_input": True} | options
        made = run_netx(path or self.path, self.spikes, runner=runner, **options)
        assert set(made.spikes) == set(self.lava.spikes)
        found = self.lava.spikes.items()
        wrong = sum(int((made.spikes[i].reshape(fired.shape) != fired).sum()) for i, fired in found)
        return wrong + int((made.membrane.reshape(self.lava.membrane.shape) != self.lava.membrane).sum())


def recorded(name: str) -> dict[str, NDArray[Any]]:
    """The arrays of a recorded run; `net` is its file."""
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def matrices() -> list[list[NDArray[Any]]]:
    """Random weights, some in two parts side by side, as of a recurrent layer."""
    random, found = np.random.default_rng(0), []
    for k in range(400):
        low, high = [(-256, 255), (-256, 0), (-256, 1), (0, 255), (-64, 1), (-9, 9)][k % 6]
        unit = int(random.choice([1, 2, 4]))
        parts = [random.integers(low, high, (3, 4)) // unit * unit for _ in range(1 + k % 2)]
        if k % 3 == 0:
            parts[-1] = -np.abs(parts[-1])
        if np.any(parts):
            found.append(parts)
    return found


@pytest.fixture(scope="module")
def wheel(real_lava: None) -> Path:
    """lava-dl's own test files."""
    folder = next(lava.environment().parents[1].glob("lib/python3.10/site-packages")) / "tests/lava/lib/dl/netx"
    assert folder.exists(), "lava-dl 0.6.0 carries them in its wheel"
    return folder


def jobs(folder: Path, wheel: Path) -> dict[str, tuple[Path, NDArray[np.uint8]]]:
    """name -> (file, spikes): the recorded runs, lava-dl's own files, and networks with every kind of register."""
    found, random = {}, np.random.default_rng(0)
    for name in (*NAMES, PHASE):
        arrays = recorded(name.split()[0])
        path = folder / f"{name}.net"
        path.write_bytes(arrays["net"].tobytes())
        found[f"recorded {name}"] = path, flat(arrays["spikes"])
    digits = folder / "ntidigits.net"
    digits.write_bytes((wheel / "gts/ntidigits/ntidigits.net").read_bytes())
    with h5py.File(digits, "r+") as file:
        del file["layer/5"]  # an average, which is refused
    touches = np.load(wheel / "gts/ntidigits/input.npy").T[None, 300:420].astype(np.uint8)
    found["ntidigits"] = digits, touches
    found["mnist"] = wheel / "mnist.net", (random.random((2, 6, 784)) < 0.3).astype(np.uint8)
    pilotnet = (random.random((1, 3, 3, 66, 200)) < 0.5).astype(np.uint8)
    found["pilotnet"] = wheel / "gts/pilotnet_lif/network.net", pilotnet
    for number, (name, layers) in enumerate(AS_LAVA.items()):
        if name in (set(AS_LAVA) - LAVA_FAILS if LARGE else FEW):
            shape = layers[0].get("shape", [8])
            spikes = random.random((2, 8, *(shape if len(shape) == 3 else [8]))) < 0.4
            found[name] = write(folder / f"{number}.net", layers), spikes.astype(np.uint8)
    return found


@dataclass(frozen=True)
class InLava:
    ran: dict[str, Ran]
    weights: list[Any]  # of each of `matrices`: as Lava stores its parts, and their common shift


@pytest.fixture(scope="module")
def in_lava(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> InLava:
    """What Lava makes of all. Its runner asks Lava's functions first, and leaves one file lava-dl's reset_offset."""
    folder = tmp_path_factory.mktemp("lava")
    given, answer, runner = folder / "given.json", folder / "answer.json", folder / "lava_runner.py"
    given.write_text(json.dumps([[part.tolist() for part in parts] for parts in matrices()]))
    ask = textwrap.indent(ASK_LAVA.format(given=str(given), answer=str(answer)), "    ")
    text = lava.RUNNER.read_text()
    for old, new in (
        ("reset_offset=1,", f"reset_offset=int(network.stem != '{PHASE}'),"),
        ("    jobs = sys.argv[1:]\n", f"{ask}\n    jobs = sys.argv[1:]\n"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    runner.write_text(text)
    python, wanted = lava.environment(), jobs(folder, wheel)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lava, "environment", lambda report: python)
        patch.setattr(lava, "RUNNER", runner)
        results = lava.try_lava_on(list(wanted.values()), silence_s=120)
    found = dict(zip(wanted, results, strict=True))
    assert {name: said for name, said in found.items() if isinstance(said, str)} == {}
    ran = {name: Ran(*wanted[name], said) for name, said in found.items() if not isinstance(said, str)}
    return InLava(ran, json.loads(answer.read_text()))


def test_lava_still_does_what_was_recorded(in_lava: InLava) -> None:
    for name in NAMES:
        arrays, result = recorded(name), in_lava.ran[f"recorded {name}"].lava
        np.testing.assert_array_equal(result.membrane, arrays["membrane"])
        for i, fired in result.spikes.items():
            np.testing.assert_array_equal(fired, arrays[f"spikes_{i}"])


def test_a_reset_phase_equals_lava(in_lava: InLava) -> None:
    """The same file with lava-dl's default reset_offset 0; every other run here has 1."""
    run = in_lava.ran[f"recorded {PHASE}"]
    assert run.differing(reset_offset=0) == 0
    assert run.differing(reset_offset=1) > 0


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


@pytest.mark.parametrize("name", ["ntidigits", "mnist", "pilotnet"])
def test_lavas_own_files_in_real_lava(in_lava: InLava, name: str) -> None:
    """mnist has no neuron at the end, ntidigits delays."""
    run = in_lava.ran[name]
    assert any(fired.any() for fired in run.lava.spikes.values())
    assert run.differing() == 0


def test_an_average_is_refused(wheel: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"layer/5 \(average\)"):
        read_netx(wheel / "gts/ntidigits/ntidigits.net")


@pytest.mark.parametrize("name", ["network.net", "square_network.net"])
def test_lavas_sigma_delta_networks_are_refused(wheel: Path, name: str) -> None:
    with pytest.raises(UnsupportedError, match=r"layer/0 \(input\) has neurons of type 'SDNN'.*sigma-delta"):
        read_netx(wheel / "gts/pilotnet_sdnn" / name)


def test_weights_against_lavas_own_functions(in_lava: InLava) -> None:
    for parts, (stored, shift) in zip(matrices(), in_lava.weights, strict=True):
        found = lava_matrices(*parts)
        assert [matrix.weight.tolist() for matrix in found] == stored, parts
        assert {matrix.shift for matrix in found} == {shift}, parts


@pytest.mark.budget
@RUNNERS
def test_what_lava_runs_is_run_bit_for_bit(in_lava: InLava, runner: Runner) -> None:
    ran = {name: run for name, run in in_lava.ran.items() if name in AS_LAVA}
    assert set(ran) == (set(AS_LAVA) - LAVA_FAILS if LARGE else FEW)
    wrong = {name: run.differing(runner=runner) for name, run in ran.items()}
    assert {name: count for name, count in wrong.items() if count} == {}
    firing = [any(0 < fired.mean() < 1 for fired in run.lava.spikes.values()) for run in ran.values()]
    assert sum(firing) > 0.8 * len(ran)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("decays int8", lambda g: g["neuron/vDecay"].write_direct(np.array([90, 1, 20, 30, 4], np.int8))),
        ("thresholds beyond 32 bits", lambda g: g["neuron/vThMant"].write_direct(np.arange(5, 55, 10, np.int32))),
        ("conv (3, 4)", lambda g: g["neuron/vDecay"].write_direct(np.full((3, 4), 70))),
        ("excitatory 255", lambda g: g["weight"].write_direct(np.full((5, 8), 200))),
        ("conv of 20 bits", lambda g: g["weight"].write_direct(KERNEL * 5000 + 64)),
        ("biases that wrap", lambda g: g["bias"].write_direct(np.array([1, 2, 3, 4, 5]))),
    ],
)  # fmt: skip
@RUNNERS
def test_another_number_is_seen(in_lava: InLava, name: str, change: Callable[[Any], None], runner: Runner) -> None:
    run = in_lava.ran[name]
    broken = run.path.with_suffix(".broken.net")
    broken.write_bytes(run.path.read_bytes())
    with h5py.File(broken, "r+") as file:
        change(file["layer/1"])
    assert run.differing(broken, runner) > 0
