"""A run in pieces of samples and of steps is the run as a whole, in memory that grows with neither."""

import os
import runpy
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.deploy.run import netx, npz, stream
from spikeport.deploy.run.advance import Advance, Advanced, Runner, simulated
from spikeport.deploy.run.kernels.runner import KernelRunner, compiled
from spikeport.deploy.run.netx import NetxRun, RunProgress, run_netx, stream_netx, write_run
from spikeport.errors import InputError
from spikeport.export.graph import SpikingGraph
from spikeport.export.netx.reader import read_netx
from spikeport.export.simulate import Spikes, State, lag_of
from spikeport.reading.arrays import read_array

GOLDEN = Path(__file__).parents[2] / "golden"
NAMES = ("changed", "delays", "image", "limits", "recurrent", "recurrent_delays")
LARGE = os.environ.get("SPIKEPORT_BUDGET") == "large"
RESETS = ((None, 1), (3, 1), (3, 0), (5, 2), (10**9, 1), (10**9, 10**9 - 4))  # interval, offset
write = runpy.run_path(str(GOLDEN / "make.py"))["write"]


def recorded(name: str, folder: Path) -> tuple[Path, NDArray[Any]]:
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        path = folder / f"{name}.net"
        path.write_bytes(arrays["net"].tobytes())
        return path, arrays["spikes"]


def cut(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """A piece holds so many steps of all its samples together."""
    monkeypatch.setattr(stream, "_step_bytes", lambda job, advance: stream.CHUNK_BYTES // steps)


def differing(a: NetxRun, b: NetxRun) -> int:
    assert set(a.spikes) == set(b.spikes)
    return int((a.membrane != b.membrane).sum()) + sum(int((a.spikes[i] != b.spikes[i]).sum()) for i in a.spikes)


def alternating(graph: SpikingGraph) -> Advance:
    """Plain and compiled by turns: both carry the same state."""
    both = [simulated(graph).run, KernelRunner(graph).advance]

    def run(inputs: Mapping[str, Spikes], state: State) -> Advanced:
        both.reverse()
        return both[0](inputs, state)

    return Advance(run=run, step_bytes=1)


@pytest.mark.budget
@pytest.mark.parametrize("runner", [simulated, compiled, alternating] if LARGE else [alternating])
@pytest.mark.parametrize("name", NAMES if LARGE else ["limits", "recurrent_delays"])
def test_pieces_are_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, runner: Runner) -> None:
    """Of 1, 2, 3, 5 steps and of several samples, in every way of resetting."""
    path, spikes = recorded(name, tmp_path)
    for interval, offset in RESETS:
        options: Any = {"reset_interval": interval, "reset_offset": offset}
        whole = run_netx(path, spikes, **options)
        for steps in (1, 2, 5, 2 * spikes.shape[1]):
            with monkeypatch.context() as patched:
                cut(patched, steps)
                assert differing(run_netx(path, spikes, **options, runner=runner), whole) == 0, (interval, steps)


def test_pieces_of_images_are_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    neuron = {"type": b"CUBA", "iDecay": 4096, "vDecay": 2048, "vThMant": 10}
    first = {"type": b"input", "shape": [1, 1, 3], "neuron": neuron, "weight": 8, "bias": 2}
    dense = {"type": b"dense", "shape": [3], "weight": 20 * np.eye(3), "neuron": neuron}
    path = write(tmp_path / "a.net", [first, {"type": b"flatten"}, dense])
    images = 2 * np.random.default_rng(0).random((7, 1, 1, 3))
    for interval in (None, 3, 5, 8, 10**9):
        whole = run_netx(path, images, time_steps=5, reset_interval=interval)
        assert 0 < whole.spikes[0].mean() < 1
        for steps in (1, 2, 3, 15):
            with monkeypatch.context() as patched:
                cut(patched, steps)
                assert differing(run_netx(path, images, time_steps=5, reset_interval=interval), whole) == 0


@pytest.mark.parametrize("part", ["step", "currents", "membranes", "spikes"])
@pytest.mark.parametrize("runner", [simulated, compiled])
def test_a_state_that_is_dropped_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: Runner, part: str
) -> None:
    path, spikes = recorded("recurrent_delays", tmp_path)
    whole = run_netx(path, spikes, reset_interval=4)

    def forgetful(graph: SpikingGraph) -> Advance:
        kept = runner(graph)

        def run(inputs: Mapping[str, Spikes], state: State) -> Advanced:
            recorded, membrane, after = kept.run(inputs, state)
            value = getattr(after, part)
            nothing = 1 if part == "step" else {name: np.zeros_like(array) for name, array in value.items()}
            return recorded, membrane, replace(after, **{part: nothing})

        return replace(kept, run=run)

    cut(monkeypatch, 3)
    assert differing(run_netx(path, spikes, reset_interval=4, runner=runner), whole) == 0
    assert differing(run_netx(path, spikes, reset_interval=4, runner=forgetful), whole) > 0


def test_both_runners_leave_the_same_state(tmp_path: Path) -> None:
    path, spikes = recorded("recurrent_delays", tmp_path)
    graph = read_netx(path, time_steps=100).graph
    assert lag_of(graph) > 1
    entering = {graph.inputs[0].name: np.ascontiguousarray(np.swapaxes(spikes, 0, 1))}
    state = stream.state_before(graph, len(spikes))
    plain, fast = simulated(graph).run(entering, state)[2], KernelRunner(graph).advance(entering, state)[2]
    assert plain.step == fast.step == spikes.shape[1]
    for p in graph.populations:
        np.testing.assert_array_equal(plain.membranes[p.name], fast.membranes[p.name])
        if p.current_decay:
            np.testing.assert_array_equal(plain.currents[p.name], fast.currents[p.name])
        np.testing.assert_array_equal(plain.spikes[p.name], fast.spikes[p.name])


# memory


def wide(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        layer = file.create_group("layer/0")
        layer["type"], layer["shape"] = b"dense", [64]
        layer["weight"] = np.random.default_rng(0).integers(-60, 61, (64, 16)) * 2
        for name, value in {"type": b"CUBA", "iDecay": 1024, "vDecay": 128, "vThMant": 300}.items():
            layer[f"neuron/{name}"] = value
    return path


def peak(path: Path, samples: int, steps: int, out: Path, runner: Runner, interval: int | None) -> int:
    """Bytes that Python and NumPy have at once, beside the input."""
    spikes = (np.random.default_rng(0).random((samples, steps, 16)) < 0.1).astype(np.uint8)
    tracemalloc.start()
    try:
        stream_netx(path, spikes, out, runner=runner, reset_interval=interval)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.budget
@pytest.mark.parametrize(("runner", "interval"), [(compiled, None), (compiled, 10**9), *[(simulated, 7)] * LARGE])
def test_memory_grows_neither_with_samples_nor_with_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: Runner, interval: int | None
) -> None:
    path, out = wide(tmp_path / "a.net"), tmp_path / "run.npz"
    monkeypatch.setattr(stream, "CHUNK_BYTES", 2**19)
    monkeypatch.setattr(npz, "BLOCK", 2**14)  # while a file is joined, not more than its size
    peak(path, 2, 50, out, runner, interval)  # imports, and compiles
    small = peak(path, 30, 50, out, runner, interval)
    assert peak(path, 240, 50, out, runner, interval) < 1.3 * small
    assert peak(path, 30, 400, out, runner, interval) < 1.3 * small
    monkeypatch.setattr(stream, "CHUNK_BYTES", 2**24)
    assert peak(path, 240, 50, out, runner, interval) > 1.5 * small, "it is the pieces that hold the memory"


# files


def test_what_comes_as_a_stream_is_what_is_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, spikes = recorded("recurrent_delays", tmp_path)
    np.save(tmp_path / "spikes.npy", spikes)
    run = run_netx(path, spikes, reset_interval=3)
    write_run(tmp_path / "a.npz", run)
    cut(monkeypatch, 2)
    told: list[RunProgress] = []
    values = read_array(tmp_path / "spikes.npy")
    found = stream_netx(path, values, tmp_path / "b.npz", reset_interval=3, progress=told.append)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert found.spikes == {i: int(fired.sum()) for i, fired in run.spikes.items()}
    assert found.shapes == {i: fired.shape[2:] for i, fired in run.spikes.items()}
    assert (told[-1].done, told[-1].samples, told[-1].fraction) == (len(spikes), len(spikes), 1)
    assert [t.fraction for t in told] == sorted({t.fraction for t in told})


def test_a_run_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, spikes = recorded("recurrent", tmp_path)
    cut(monkeypatch, 2)
    wrong = spikes.copy()
    wrong[-1, -1] = 2
    (tmp_path / "run.npz").write_text("an older one")
    with pytest.raises(InputError, match="0 or 1"):
        stream_netx(path, wrong, tmp_path / "run.npz")
    assert {each.name for each in tmp_path.iterdir()} == {path.name, "run.npz"}
    assert (tmp_path / "run.npz").read_text() == "an older one"


def test_a_disk_that_cannot_hold_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, spikes = recorded("recurrent", tmp_path)
    out = tmp_path / "run.npz"
    with monkeypatch.context() as patched:
        patched.setattr(netx.shutil, "disk_usage", lambda place: type("Usage", (), {"free": -1}))
        with pytest.raises(
            InputError, match=r"run\.npz' of 3 samples of 7 steps takes at least 0\.0 GiB.*another place"
        ):
            stream_netx(path, spikes, out)

    def full(member: object, values: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("spikeport.deploy.run.npz.Member.add", full)
    with pytest.raises(InputError, match=r"does not fit: the disk was full after 0\.0 GiB"):
        stream_netx(path, spikes, out)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_machine_that_cannot_hold_a_step_or_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, spikes = recorded("recurrent", tmp_path)
    monkeypatch.setattr(netx, "memory_bytes", lambda: 1000)
    with pytest.raises(InputError, match=r"of 3 samples of 7 steps take 0\.0 GiB.*spikeport run --out"):
        run_netx(path, spikes)
    monkeypatch.setattr(stream, "memory_bytes", lambda: 1000)
    with pytest.raises(InputError, match=r"One step of one sample takes 0\.0 GiB.*--layers"):
        stream_netx(path, spikes, None)
