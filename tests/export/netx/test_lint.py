"""The lint names what does not fit the registers and what lava-dl changes; a clean layer has no remarks."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikeport.export.netx.file import Remark, read_layers
from spikeport.export.netx.lint import lint
from spikeport.export.netx.loaded_weights import lava_matrices

CUBA = {"type": b"CUBA", "iDecay": 4096, "vDecay": 1024, "vThMant": 100}
EVEN = np.array([[20, -30, 40], [60, -80, 2]])


def remarks(tmp_path: Path, neuron: dict[str, Any] | None = None, **values: Any) -> tuple[Remark, ...]:
    path = tmp_path / "some.net"
    with h5py.File(path, "w") as file:
        layer = {"type": b"dense", "shape": [2], "weight": EVEN, **values}
        for key, value in layer.items():
            file[f"layer/0/{key}"] = value
        for key, value in {**CUBA, **(neuron or {})}.items():
            file[f"layer/0/neuron/{key}"] = value
    return lint(read_layers(path))


def test_a_clean_layer(tmp_path: Path) -> None:
    assert remarks(tmp_path, {"refDelay": 1, "wgtExp": 0, "theta": 6400}, inFeatures=3) == ()


CASES: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    ({}, {"weight": EVEN * 4}, "warning", "weights lie in [-320, 240], but the 8 bits of the chip hold [-256, 254]"),
    ({}, {"weight": EVEN * 4}, "warning", "1 of 6 numbers in weight: -320 at [1, 1] runs as -256"),
    ({"vThMant": 0}, {"weight": np.abs(EVEN) * 4, "bias": 9}, "warning", "80 at [0, 0] runs as 0"),
    ({}, {"weight": EVEN * 2.0**30}, "error", "beyond the 32 bits"),
    ({}, {"weight": EVEN + 1}, "warning", "6 of 6 weights are odd"),
    ({}, {"weight": EVEN + 0.5}, "warning", "6 of 6 weights are not whole"),
    ({}, {"weight": EVEN * 0}, "error", "all weights are 0"),
    ({"vThMant": 0}, {"weight": [[-2, -64, -6], [-2, -2, -2]], "bias": 9}, "warning", "-64 at [0, 1] runs as -62"),
    ({"vThMant": 0}, {"weight": [[0, -64, -7], [-2, -2, -2]], "bias": 9}, "error", "no integer weights do the same"),
    ({}, {"bias": [5000, 0]}, "warning", "beyond 13 bits"),
    ({}, {"bias": [-40000, 0]}, "warning", "wrap around the 16 bits"),
    ({}, {"bias": [-(2.0**31), 0]}, "error", "beyond the 32 bits"),
    ({}, {"bias": [0.5, 0]}, "warning", "not all biases are whole"),
    ({"vThMant": 1 << 17}, {}, "warning", "does not fit its 17 bits"),
    ({"vThMant": 1 << 26}, {}, "warning", "does not fit its 17 bits"),
    ({"vThMant": [5, -1]}, {}, "warning", "vThMant -1 does not fit its 17 bits"),
    ({"vThMant": np.int16([5, 1250])}, {}, "warning", "int16, in which Lava's shift by 6 bits overflows: 1250"),
    ({"iDecay": [5, -1]}, {}, "error", "`0 <= iDecay <= 4096` must hold, but iDecay is -1"),
    ({"iDecay": np.uint64([5, 9])}, {}, "warning", "iDecay is stored as uint64, on which Lava fails"),
    ({"vDecay": 4097}, {}, "error", "`0 <= vDecay <= 4096`"),
    ({}, {"delay": 63}, "warning", "6 of 6 delays exceed 62 steps"),
    ({}, {"delay": 1.5}, "warning", "not all delays are whole"),
    ({"refDelay": 4}, {}, "warning", "refDelay is 4, but lava-dl does not read it"),
    ({"wgtExp": 2}, {}, "warning", "wgtExp is 2"),
    ({"gradedSpike": True}, {}, "warning", "gradedSpike is 1"),
    ({"vThMant": 100.0}, {}, "warning", "vThMant is stored as float64, on which Lava fails"),
    ({"colour": 1}, {"pool": 2}, "warning", "lava-dl reads none of neuron/colour"),
    ({"iDecay": 0}, {}, "warning", "2 of 2 neurons can pass 2^23"),
    ({"vThMant": 300, "vDecay": 2048}, {}, "warning", "2 of 2 neurons can never reach the threshold"),
]  # fmt: skip


@pytest.mark.parametrize(("neuron", "values", "level", "text"), CASES, ids=[case[3][:40] for case in CASES])
def test_remarks(tmp_path: Path, neuron: dict[str, Any], values: dict[str, Any], level: str, text: str) -> None:
    found = remarks(tmp_path, neuron, **values)
    assert any(text in remark.text and remark.level == level for remark in found), found


def test_neurons_at_the_edge_of_their_threshold(tmp_path: Path) -> None:
    """60 per step, a quarter forgotten: the membrane tends to 64 * 240, which must exceed 64 * threshold."""
    assert remarks(tmp_path, {"vThMant": 239, "type": b"CUBA"}, weight=[[20, -30, 40], [20, 0, 40]]) == ()
    (remark,) = remarks(tmp_path, {"vThMant": 240}, weight=[[20, -30, 40], [20, 0, 40]])
    assert remark.text.startswith("2 of 2 neurons can never")


@pytest.mark.parametrize(
    ("weight", "runs"),
    [
        ([[254, -256], [1, 3]], [[254, -256], [1, 3]]),
        ([[3, 0], [1, 2]], [[3, 0], [1, 2]]),
        ([[-3, -5]], [[-3, -5]]),
        ([[-256, -256]], [[0, 0]]),
        ([[-2, -64]], [[-2, -62]]),
        ([[0, -64]], [[0, -32]]),
    ],
)
def test_weights_as_lava_runs_them(weight: Any, runs: Any) -> None:
    (matrix,) = lava_matrices(np.array(weight))
    assert matrix.linear
    np.testing.assert_array_equal(matrix.effective, runs)
