"""Real Lava against a NumPy reference, and what happens where it cannot run."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.deploy.run import lava
from spikeport.errors import InputError, ToolError

Ints = NDArray[np.int64]
LIMIT = 2**23  # of current and membrane


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The process groups that the test starts."""
    started = list[int]()
    popen = subprocess.Popen

    def start(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        process = popen(*args, **kwargs)
        started.append(process.pid)
        return process

    monkeypatch.setattr(lava.subprocess, "Popen", start)
    return started


def alive(groups: list[int]) -> int:
    """How many processes of the groups run; Z (ended, but not collected yet) does not count."""
    count = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
            count += int(group) in groups and state != "Z"
    return count


# A chain with everything that can go wrong in the axes: image 6 x 9, strides, paddings, dilations and kernels that
# differ by axis, groups, biases, current and membrane decays.
#
#   2x6x9 -> conv 3x3 /(2,1) -> conv 3x2 /(1,2) -> conv 2x3, 2 groups -> flatten -> dense (readout)
TIME_STEPS = 3
CONVS: tuple[dict[str, Any], ...] = (
    {"shape": (3, 2, 3, 3), "stride": (2, 1), "padding": (1, 0), "dilation": (1, 1), "groups": 1, "iDecay": 3000},
    {"shape": (4, 3, 3, 2), "stride": (1, 2), "padding": (1, 2), "dilation": (1, 2), "groups": 1, "vDecay": 1024},
    {"shape": (4, 2, 2, 3), "stride": (1, 1), "padding": (0, 1), "dilation": (1, 1), "groups": 2, "vDecay": 4096},
)
READOUT = {"vThMant": 131071, "iDecay": 4096, "vDecay": 0}


def chain(seed: int) -> list[dict[str, Any]]:
    """The layers of a random chain as the file has them, with the shape that each must have."""
    random = np.random.default_rng(seed)
    shape, layers = (2, 6, 9), []
    for i, conv in enumerate(CONVS):
        layer = {"iDecay": 4096, "vDecay": 0, "vThMant": 90 + 20 * i, **conv}
        layer["weight"] = 2 * random.integers(-60, 64, layer.pop("shape"))
        layer["bias"] = random.integers(-20, 40, layer["weight"].shape[0])
        layer["shape"] = shape = convolve(np.zeros(shape, np.int64), layer).shape
        layers.append({"type": b"conv", **layer})
    inputs = int(np.prod(shape))
    layers.append({"type": b"flatten", "shape": (inputs,)})
    weight, bias = 2 * random.integers(-128, 128, (5, inputs)), random.integers(-20, 40, 5)
    layers.append({"type": b"dense", "shape": (5,), "weight": weight, "bias": bias, **READOUT})
    return layers


def write(path: Path, layers: list[dict[str, Any]]) -> Path:
    with h5py.File(path, "w") as file:
        for i, layer in enumerate(layers):
            group = file.create_group(f"layer/{i}")
            for key, value in layer.items():
                group["neuron/" + key if key in ("iDecay", "vDecay", "vThMant") else key] = value
            if layer["type"] != b"flatten":
                group["neuron/type"] = b"CUBA"
    return path


def convolve(image: Ints, layer: dict[str, Any]) -> Ints:
    """[C, H, W] -> [O, H', W'], by the definition of a convolution, one output at a time."""
    weight, (sr, sc), (pr, pc), (dr, dc) = (layer[k] for k in ("weight", "stride", "padding", "dilation"))
    outputs, inputs, kr, kc = weight.shape
    padded = np.pad(image, ((0, 0), (pr, pr), (pc, pc)))
    span_r, span_c = dr * (kr - 1) + 1, dc * (kc - 1) + 1
    rows, columns = (padded.shape[1] - span_r) // sr + 1, (padded.shape[2] - span_c) // sc + 1
    result = np.zeros((outputs, rows, columns), np.int64)
    for o, r, c in np.ndindex(*result.shape):
        first = o // (outputs // layer["groups"]) * inputs
        patch = padded[first : first + inputs, r * sr : r * sr + span_r : dr, c * sc : c * sc + span_c : dc]
        result[o, r, c] = np.sum(patch * weight[o])
    return result


def decay(state: Ints, register: int) -> Ints:
    return np.sign(state) * (np.abs(state) * (4096 - register) // 4096)


def reference(layers: list[dict[str, Any]], spikes: NDArray[np.uint8]) -> tuple[dict[int, Ints], Ints]:
    """spikes [T, ...] -> (spikes of each `layer/<i>`, membrane of the last), for one sample."""
    signal, record, membrane = spikes.astype(np.int64), {}, np.zeros(0, np.int64)
    for i, layer in enumerate(layers):
        if layer["type"] == b"flatten":
            signal = signal.reshape(len(signal), -1)
            continue
        bias = layer["bias"].reshape(-1, *(1,) * (signal.ndim - 2))
        inputs = [convolve(s, layer) if layer["type"] == b"conv" else layer["weight"] @ s for s in signal]
        u = v = np.zeros_like(inputs[0])
        fired, potential = [], []
        for a in inputs:
            u = decay(u, layer["iDecay"]) + 64 * a
            u = np.where(u > LIMIT, u - 2 * LIMIT, np.where(u <= -LIMIT, u + 2 * LIMIT, u))
            v = np.clip(decay(v, layer["vDecay"]) + u + 64 * bias, 1 - LIMIT, LIMIT - 1)
            spike = v > 64 * layer["vThMant"]
            v = np.where(spike, 0, v)
            fired.append(spike.astype(np.int64))
            potential.append(v)
        signal, membrane = np.array(fired), np.array(potential)
        record[i] = signal
    return record, membrane


def events(seed: int, samples: int = 4) -> NDArray[np.uint8]:
    return (np.random.default_rng(seed).random((samples, TIME_STEPS, 2, 6, 9)) < 0.3).astype(np.uint8)


def differing(layers: list[dict[str, Any]], spikes: NDArray[np.uint8], result: lava.LavaResult) -> tuple[int, int]:
    """-> (spikes that differ, membrane values that differ)."""
    spike_count = membrane_count = 0
    for sample, given in enumerate(spikes):
        wanted, membrane = reference(layers, given)
        assert list(result.spikes) == list(wanted)
        spike_count += sum(int(np.sum(result.spikes[i][sample] != wanted[i])) for i in wanted)
        membrane_count += int(np.sum(result.membrane[sample] != membrane))
    return spike_count, membrane_count


@pytest.mark.lava
def test_every_spike_equals_the_reference_and_one_broken_weight_and_a_failure_are_seen(
    real_lava: None, tmp_path: Path, groups: list[int]
) -> None:
    layers, spikes, stages = chain(seed=1), events(seed=2), list[str]()
    broken = [dict(layer) for layer in layers]
    broken[1]["weight"] = layers[1]["weight"].copy()
    broken[1]["weight"][0, 0, 1, 1] += 64
    network = write(tmp_path / "chain.net", layers)
    jobs = [(network, spikes), (network, spikes[..., :8]), (write(tmp_path / "broken.net", broken), spikes)]
    result, failed, other = lava.try_lava_on(jobs, progress=stages.append)
    assert isinstance(result, lava.LavaResult) and isinstance(other, lava.LavaResult)
    assert differing(layers, spikes, result) == (0, 0)
    assert all(0.02 < result.spikes[i].mean() < 0.6 for i in (0, 1, 2))  # so that being equal means something
    assert result.membrane.shape == (4, TIME_STEPS, 5)
    assert np.ptp(result.membrane) > 64
    told = [stage.split()[0] for stage in stages if "environment" not in stage]
    assert told[:4] == ["starting", "loading", "building", "running"]
    assert stages[-1] == "saving"
    assert alive(groups) == 0
    assert isinstance(failed, str) and failed.startswith("RuntimeError: Expected ") and "\n" not in failed
    spike_count, membrane_count = differing(layers, spikes, other)
    assert spike_count > 0
    assert membrane_count > 0
    assert differing(broken, spikes, other) == (0, 0)


def test_a_failure_names_file_stage_and_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script in the place of Lava's runner fails as it does."""
    runner = tmp_path / "runner.py"
    runner.write_text("import sys\nsys.exit('stage: loading the network\\nerror: ValueError: no\\n  such layer.')")
    monkeypatch.setattr(lava, "RUNNER", runner)
    monkeypatch.setattr(lava, "environment", lambda report: Path(sys.executable))
    network = write(tmp_path / "chain.net", chain(seed=1))
    with pytest.raises(ToolError, match=r"chain\.net while loading the network: ValueError: no such layer; check"):
        lava.run_lava(network, events(seed=2))


@pytest.mark.lava
def test_an_environment_that_is_built_asks_for_no_python(real_lava: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lava, "python310", lambda report: pytest.fail("it was asked for"))
    assert lava.environment() == lava.built_environment()


@pytest.mark.lava
def test_a_run_past_its_limit_names_its_stage(real_lava: None, tmp_path: Path, groups: list[int]) -> None:
    network = write(tmp_path / "slow.net", chain(seed=1))
    with pytest.raises(ToolError, match=r"slow\.net ran past its time limit of 1 s while starting Lava; raise"):
        lava.run_lava(network, events(seed=2), time_limit_s=1)
    assert alive(groups) == 0


@pytest.mark.lava
def test_an_interrupt_leaves_no_lava_process(real_lava: None, tmp_path: Path, groups: list[int]) -> None:
    """Lava has one process per layer and recorder by then."""
    seen = list[int]()

    def interrupt(stage: str) -> None:
        if stage.startswith("running"):
            seen.append(alive(groups))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lava.run_lava(write(tmp_path / "chain.net", chain(seed=1)), events(seed=2, samples=500), progress=interrupt)
    assert seen[0] > 2
    assert alive(groups) == 0


@pytest.mark.slow
def test_the_time_limit_kills_a_stubborn_process_and_its_child(
    tmp_path: Path, groups: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lava, "GRACE_S", 0.5)
    script = tmp_path / "stubborn.py"
    script.write_text(
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "os.fork()\n"
        "print('stage: running step 1/9', file=sys.stderr, flush=True)\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(ToolError, match=r"The run ran past its time limit of 1 s while running step 1/9;"):
        lava._run([sys.executable, str(script)], 1.0, "The run", lambda _: None)
    assert alive(groups) == 0


@pytest.mark.slow
def test_what_waits_without_end_and_what_fails_leave_the_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script in the place of Lava's runner fails, waits, dies or writes a record; a file that is none is told."""
    runner = tmp_path / "runner.py"
    runner.write_text(
        "import sys, time\nimport numpy as np\n"
        "for network, spikes, record in zip(*[iter(sys.argv[1:])] * 3):\n"
        "    network = network.rpartition('/')[2]\n"
        "    print('stage: loading the network', file=sys.stderr, flush=True)\n"
        "    if 'fails' in network: print('error: no such layer.', file=sys.stderr, flush=True)\n"
        "    elif 'waits' in network: time.sleep(60)\n"
        "    elif 'dies' in network: sys.exit(1)\n"
        "    else: np.savez(record, spikes_0=np.load(spikes), membrane=np.zeros((1, 1, 1), np.int64))\n"
    )
    monkeypatch.setattr(lava, "RUNNER", runner)
    monkeypatch.setattr(lava, "environment", lambda report: Path(sys.executable))
    jobs = [(write(tmp_path / f"{i}{name}.net", chain(1)), events(2)) for i, name in enumerate(["", "waits", "fails"])]
    jobs += [(tmp_path / "nowhere.net", events(2))]
    jobs += [(write(tmp_path / f"{name}.net", chain(1)), events(2)) for name in ("dies", "last")]
    found = lava.try_lava_on(jobs, silence_s=3)
    said = [result if isinstance(result, str) else "ran" for result in found]
    assert said[0] == said[5] == "ran"
    assert said[1] == "Lava's run said nothing for 3 s while loading the network; it waits without end."
    assert (said[2], said[4]) == ("no such layer", "Lava ended without a word")
    assert "nowhere.net cannot be read" in said[3]


TERMINATED = """
import sys
from spikeport.deploy.run import lava
lava._run([sys.executable, "-c", "import os, time; print('stage:', os.getpid(), flush=True); time.sleep(60)"],
          60.0, "The run", lambda stage: print(stage, flush=True))
"""


@pytest.mark.slow
def test_sigterm_leaves_no_process() -> None:
    with subprocess.Popen([sys.executable, "-c", TERMINATED], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        started = int(process.stdout.readline())
        process.terminate()
        assert process.wait() == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(started, 0)


def test_a_failure_becomes_one_line(tmp_path: Path) -> None:
    script = tmp_path / "failing.py"
    script.write_text("import sys\nprint('noise')\nprint('error: no space\\n  cause: disk full')\nsys.exit(2)\n")
    outcome = lava._run([sys.executable, str(script)], 30.0, "The run", lambda _: None)
    assert (outcome.code, outcome.reason()) == (2, "no space cause: disk full")


def test_lavas_warnings_are_passed_on(tmp_path: Path) -> None:
    script, told = tmp_path / "warning.py", list[str]()
    script.write_text("print('stage: loading')\nprint('[WARNING] clipped to 254')\nprint('noise')\n")
    assert lava._run([sys.executable, str(script)], 30.0, "The run", told.append).code == 0
    assert told == ["loading", "[WARNING] clipped to 254"]


def test_no_python_310_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lava, "_python310_candidates", lambda: iter(["", str(tmp_path / "none"), sys.executable]))
    monkeypatch.setattr(lava, "_run", lambda *_: lava._Outcome(code=1, stage="", lines=("error: no network",)))
    network = write(tmp_path / "chain.net", chain(seed=1))
    with pytest.raises(ToolError, match=r"needs Python 3\.10.*`uv python install 3\.10`.*`--no-lava`"):
        lava.run_lava(network, events(seed=2))
    assert lava.lava_missing() == lava.NO_PYTHON


def test_a_python_310_that_uv_fetched_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Path | None] = [None, Path("/fetched/python3.10")]
    told = list[str]()
    monkeypatch.setattr(lava, "find_python310", lambda: found.pop(0))
    monkeypatch.setattr(lava, "_run", lambda *_: lava._Outcome(code=0, stage="", lines=()))
    assert lava.python310(told.append) == Path("/fetched/python3.10")
    assert told == ["fetching Python 3.10 for Lava"]


def test_an_environment_that_cannot_be_built_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lava, "find_python310", lambda: Path("/usr/bin/python3.10"))
    monkeypatch.setattr(lava, "built_environment", lambda: None)
    monkeypatch.setattr(lava, "_run", lambda *_: lava._Outcome(code=2, stage="", lines=("error: dns error",)))
    told = list[str]()
    with pytest.raises(ToolError, match=r"could not be built: dns error; check network and disk"):
        lava.environment(told.append)
    assert told == ["building Lava's environment, once, about 5 GB"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"missing\.net cannot be read \(No such file or directory\)"),
        (b"", r"missing\.net must be an HDF5 file"),
        (b"\x89HD", r"missing\.net must be an HDF5 file"),
        (b"PK\x03\x04 a zip archive", r"missing\.net must be an HDF5 file"),
    ],
)
def test_a_file_that_is_not_hdf5_is_refused_before_lava_starts(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    network = tmp_path / "missing.net"
    if content is not None:
        network.write_bytes(content)
    with pytest.raises(InputError, match=message):
        lava.run_lava(network, events(seed=2))


@pytest.mark.parametrize("version", ["earliest", "latest"])
def test_a_truncated_file_is_refused_before_lava_starts(tmp_path: Path, version: str) -> None:
    network = tmp_path / "cut.net"
    with h5py.File(network, "w", libver=version) as file:
        file["layer/0/weight"] = np.arange(1000)
    whole = network.read_bytes()
    lava._check_network(network)
    network.write_bytes(whole[:-1])
    with pytest.raises(
        InputError, match=rf"cut\.net must have {len(whole)} bytes, but is cut off at {len(whole) - 1};"
    ):
        lava.run_lava(network, events(seed=2))


@pytest.mark.parametrize(
    "change",
    [lambda s: s.astype(np.float32), lambda s: s[0], lambda s: s[:0], lambda s: 2 * s],
    ids=["float", "no sample axis", "no samples", "not binary"],
)
def test_other_spikes_are_refused(tmp_path: Path, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> None:
    network = write(tmp_path / "chain.net", chain(seed=1))
    with pytest.raises(InputError, match="Input spikes must be"):
        lava.run_lava(network, change(events(seed=2)))
