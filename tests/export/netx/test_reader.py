"""NetX files of any writer become graphs; files that cannot are refused in one line that names file and layer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikeport.errors import InputError, SpikeportError, UnsupportedError
from spikeport.export.graph import Conv, Dense
from spikeport.export.netx.file import MAX_NEURONS, read_layers
from spikeport.export.netx.reader import read_netx

CUBA = {"type": b"CUBA", "iDecay": 4096, "vDecay": 0, "vThMant": 100}
CONV = {"type": b"conv", "shape": [3, 4, 4], "stride": 1, "padding": 1, "dilation": 1, "groups": 1, "neuron": CUBA}
DENSE = {"type": b"dense", "shape": [5], "neuron": CUBA}

Layers = list[dict[str, Any]]
Write = Callable[[Layers], Path]


def ramp(*shape: int) -> Any:
    """2, -4, 6, -8, ..."""
    values = 2 * np.arange(1, np.prod(shape) + 1) % 240
    return (values * np.where(np.arange(values.size) % 2, -1, 1)).reshape(shape)


def image() -> Layers:
    """2x4x4 -> conv 3x3 -> 3x4x4 -> flatten -> dense -> 5."""
    return [
        {"type": b"input", "shape": [2, 4, 4]},
        {**CONV, "weight": ramp(3, 2, 3, 3)},
        {"type": b"flatten"},
        {**DENSE, "weight": ramp(5, 48), "bias": np.arange(5)},
    ]


def flat() -> Layers:
    return [{**DENSE, "weight": ramp(5, 4)}, {**DENSE, "weight": ramp(5, 5)}]


def put(group: h5py.Group, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            put(group.create_group(key), value)
        else:
            group[key] = value


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(layers: Layers) -> Path:
        with h5py.File(tmp_path / "some.net", "w") as file:
            for i, layer in enumerate(layers):
                put(file.create_group(f"layer/{i}"), layer)
        return tmp_path / "some.net"

    return to_file


def test_a_chain(write: Write) -> None:
    network = read_netx(write(image()), time_steps=3)
    graph = network.graph
    assert [(p.name, p.shape) for p in graph.populations] == [("layer1", (3, 4, 4)), ("layer3", (5,))]
    assert network.layers == {"layer1": 1, "layer3": 3}
    assert graph.inputs[0].shape == (2, 4, 4) and graph.time_steps == 3 and graph.arithmetic == "loihi"
    conv, dense = (projection.kernel for projection in graph.projections)
    assert isinstance(conv, Conv) and conv.padding == (1, 1)
    assert isinstance(dense, Dense)
    np.testing.assert_array_equal(dense.weight, ramp(5, 48))
    np.testing.assert_array_equal(graph.populations[1].bias, np.arange(5))
    assert graph.readout.role == "neuron", "the last layer of others spikes"


@pytest.mark.parametrize(
    ("layer", "change"),
    [
        (1, {"type": np.array([b"conv"], "S10")}),
        (1, {"type": "conv"}),
        (1, {"shape": np.array([3.0, 4.0, 4.0])}),
        (1, {"weight": ramp(3, 2, 3, 3)[..., None].astype(np.float32)}),
        (1, {"stride": [1, 1], "padding": np.array([1, 1], np.int32), "dilation": [1, 1]}),
        (1, {"groups": [1]}),
        (1, {"neuron": {**CUBA, "type": b"LOIHI", "refDelay": 1, "wgtExp": 0, "theta": 1600, "tauRho": 0.5}}),
        (1, {"neuron": {**CUBA, "iDecay": [4096], "vThMant": np.array([100], np.int16)}}),
        (3, {"shape": [5, 1, 1]}),
        (3, {"weight": ramp(5, 48).ravel()}),
    ],
)
def test_what_other_writers_write_reads_alike(write: Write, layer: int, change: dict[str, Any]) -> None:
    layers = image()
    wanted = read_netx(write(layers)).graph
    layers[layer] |= change
    found = read_netx(write(layers)).graph
    assert found.populations[0].shape == wanted.populations[0].shape
    assert [p.threshold for p in found.populations] == [p.threshold for p in wanted.populations]
    for one, other in zip(found.projections, wanted.projections, strict=True):
        np.testing.assert_array_equal(one.kernel.weight, other.kernel.weight)


def test_registers(write: Write) -> None:
    layers = flat()
    layers[1]["neuron"] = {**CUBA, "iDecay": 1024, "vDecay": 4096}
    population = read_netx(write(layers)).graph.populations[1]
    assert (population.current_decay, population.decay) == (0.75, 0.0)


def test_a_dense_layer_without_neuron_integrates_its_current(write: Write) -> None:
    layers = flat()
    del layers[1]["neuron"]
    population = read_netx(write(layers)).graph.populations[1]
    assert (population.current_decay, population.decay, population.threshold) == (1.0, 0.0, 131072)


def test_recurrence_and_delays(write: Write) -> None:
    delay = np.arange(25).reshape(5, 5) * 3
    recurrent = {**DENSE, "type": b"dense_rec", "weight": ramp(5, 5), "weight_rec": ramp(5, 5)[::-1], "delay": delay}
    layers = [*flat(), recurrent]
    layers[2]["weight"][0, 0] = layers[2]["weight_rec"][0, 0] = 200  # fills the 8 bits, so that nothing is shifted
    forward, back = read_netx(write(layers)).graph.incoming("layer2")
    assert (forward.source, back.source) == ("layer1", "layer2")
    np.testing.assert_array_equal(back.kernel.weight, layers[2]["weight_rec"])
    for projection in (forward, back):
        np.testing.assert_array_equal(projection.delay, np.minimum(delay, 62))


@pytest.mark.parametrize(
    ("shape", "delay", "found"),
    [
        ((3, 2), 4, [[4, 4], [4, 4], [4, 4]]),
        ((3, 2), [1, 2, 3], [[1, 1], [2, 2], [3, 3]]),
        ((3, 2), [1.0, 2.9], [[1, 2], [1, 2], [1, 2]]),
        ((2, 2), [1, 2], [[1, 1], [2, 2]]),  # one for each row, where it could be either
    ],
)
def test_forms_of_delays(write: Write, shape: tuple[int, int], delay: Any, found: Any) -> None:
    path = write([{**DENSE, "shape": [shape[0]], "weight": ramp(*shape), "delay": delay}])
    projection = read_netx(path).graph.projections[0]
    np.testing.assert_array_equal(projection.delay, found)


def test_the_input_of_a_file_without_input_layer(write: Write) -> None:
    path = write(image()[1:])
    assert not read_layers(path).input_declared
    assert read_netx(path, input_shape=(2, 4, 4)).graph.inputs[0].shape == (2, 4, 4)
    with pytest.raises(InputError, match=r"layer/0 \(conv\) must have shape \[3, 6, 6\] from \[2, 6, 6\], but"):
        read_netx(path, input_shape=(2, 6, 6))


def test_first_layers_only(write: Write) -> None:
    layers = [*image(), {"type": b"average", "shape": [1]}]
    path = write(layers)
    with pytest.raises(UnsupportedError, match=r"layer/4 \(average\).*NotImplementedError.*--layers 4"):
        read_netx(path)
    assert list(read_netx(path, layers=4).layers) == ["layer1", "layer3"]
    with pytest.raises(InputError, match="1 <= layers <= 5"):
        read_netx(path, layers=6)


def without(layer: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in layer.items() if key not in keys}


NAN = np.where(np.arange(20).reshape(5, 4) == 7, np.nan, 2.0)
REFUSED: list[tuple[str, Layers, str]] = [
    ("sigma-delta", [{**flat()[0], "neuron": {**CUBA, "type": b"SDNN"}}], r"layer/0 \(dense\).*'SDNN'.*sigma-delta"),
    ("resonate", [{**flat()[0], "neuron": {**CUBA, "type": b"RF_PHASE"}}], r"'RF_PHASE'.*resonate-and-fire"),
    ("other neuron", [{**flat()[0], "neuron": {**CUBA, "type": b"ALIF"}}], r"'ALIF', on which lava-dl fails"),
    ("graded", [{**flat()[0], "neuron": {**CUBA, "messageBits": 8}}], "graded spikes"),
    *((name, [{"type": name.encode()}], f"layer/0 \\({name}\\) has no place") for name in ("pool", "convT", "concat")),
    ("complex", [{"type": b"dense_comp"}], "complex weights"),
    ("other layer", [{"type": b"affine"}], r"layer/0 \(affine\) has an unknown type, over which lava-dl steps"),
    ("two words", [{"type": [b"conv", b"dense"]}], "one word as `type`"),
    ("no weight", [without(flat()[0], "weight")], "must have `weight`, but has none"),
    ("conv without neuron", [without(image()[1], "neuron")], "group `neuron`"),
    ("channels", [{"type": b"input", "shape": [4, 4, 4]}, *image()[1:]], r"layer/1 \(conv\) must read 4 channels"),
    ("shape", [*image()[:1], {**image()[1], "shape": [3, 4, 5]}], r"must have shape \[3, 4, 4\] from \[2, 4, 4\]"),
    ("no flatten", [*image()[:2], image()[3]], r"layer/2 \(dense\) must come after a flatten"),
    ("flatten twice", [flat()[0], {"type": b"flatten"}, flat()[1]], r"layer/2 \(dense\) must come without a flatten"),
    ("columns", [flat()[0], {**DENSE, "weight": ramp(5, 6)}], r"layer/1 \(dense\) must have a weight \[5, 5\], but"),
    ("bias", [{**flat()[0], "bias": [1, 2, 3]}], r"must have a bias \[5\], but has \[3\]"),
    ("delay", [{**flat()[0], "delay": [1, 2, 3]}], r"must have a delay of one number, \[5\], \[4\] or"),
    ("negative delay", [{**flat()[0], "delay": -1}], "delays >= 0"),
    ("delays", [{**flat()[0], "type": b"dense_rec", "weight_rec": ramp(5, 5), "delay": 1}], "both must have one shape"),
    ("NaN", [{**flat()[0], "weight": NAN}], r"layer/0 \(dense\) must have finite numbers as weight"),
    ("words", [{**flat()[0], "weight": np.array([b"a", b"b"])}], "numbers as `weight`"),
    ("fraction", [{**flat()[0], "neuron": {**CUBA, "vThMant": 2.5}}], "whole numbers as vThMant"),
    ("decay", [{**flat()[0], "neuron": {**CUBA, "iDecay": 5000}}], r"layer/0 \(dense\): `0 <= iDecay <= 4096`"),
    ("weights", [{**flat()[0], "weight": ramp(5, 4) * 2.0**30}], r"dense\): weights lie in .* beyond the 32 bits"),
    ("decays", [{**flat()[0], "neuron": {**CUBA, "iDecay": [1, 2, 3]}}], r"iDecay as one .* over \[5\] .* has \[3\]"),
    ("rows", [{**flat()[0], "neuron": {**CUBA, "vDecay": np.ones((5, 1))}}], r"vDecay .* has \[5, 1\], on which"),
    ("axes", [{**flat()[0], "neuron": {**CUBA, "vThMant": np.ones((1, 5))}}], r"vThMant .* has \[1, 5\], on"),
    ("channel decays", [*image()[:1], {**image()[1], "neuron": {**CUBA, "vDecay": [1, 2]}}], r"over \[4, 4, 3\]"),
    ("zeros", [{**flat()[0], "weight": np.zeros((5, 4))}], "all weights are 0"),
    ("wide bias", [{**flat()[0], "bias": np.full(5, 2.0**31)}], "biases lie in .* beyond the 32 bits"),
    ("late neurons", [flat()[0], {"type": b"input", "shape": [5], "neuron": CUBA}], "must be layer/0"),
    ("no layers", [{"type": b"input", "shape": [2, 4, 4]}], "must have a conv or dense layer"),
    ("sizes", [{**flat()[0], "shape": [5, 0, 1]}], "positive sizes"),
    ("neurons", [{**flat()[0], "shape": [2**40, 2**40, 2**40]}], f"more than the limit of {MAX_NEURONS}"),
]  # fmt: skip


@pytest.mark.parametrize(("layers", "said"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refused(write: Write, layers: Layers, said: str) -> None:
    path = write(layers)
    with pytest.raises(SpikeportError, match=said) as error:
        read_netx(path)
    assert str(error.value).startswith(f"{path}: layer/") or "a network must" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["weight", "bias", "delay"])
def test_terabytes_are_refused_before_they_are_read(write: Write, key: str) -> None:
    path = write([without(flat()[0], key)])
    with h5py.File(path, "r+") as file:
        rows = 5 if key == "weight" else 1
        file["layer/0"].create_dataset(key, (rows, 2**38), "f4", chunks=(1, 1024))
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match=r"but it declares \d{12,13} numbers, but this file may have \d+ in all"):
        read_netx(path)


def test_numbers_in_another_file_are_refused(write: Write, tmp_path: Path) -> None:
    path = write([without(flat()[0], "weight")])
    with h5py.File(path, "r+") as file:
        file["layer/0/weight"] = h5py.ExternalLink("other.net", "/weight")
    with pytest.raises(InputError, match="`weight`, but it is a link to another file"):
        read_netx(path)
    path = write([without(flat()[0], "weight")])
    with h5py.File(path, "r+") as file:
        file["layer/0"].create_dataset("weight", (5, 4), "i2", external=[(str(tmp_path / "raw"), 0, 40)])
    with pytest.raises(InputError, match="lies in another file"):
        read_netx(path)


def test_a_file_that_is_cut_or_damaged_anywhere(write: Write) -> None:
    """A cut file is refused; with bytes overwritten it is read or refused, in one line."""
    path = write(image())
    whole = path.read_bytes()
    for length in range(0, len(whole), len(whole) // 37):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"some\.net"):
            read_netx(path)
    random = np.random.default_rng(0)
    for _ in range(150):
        damaged = np.frombuffer(whole, np.uint8).copy()
        at = random.integers(0, min(len(whole), 9000))
        damaged[at : at + 8] = random.integers(0, 256, len(damaged[at : at + 8]))
        path.write_bytes(damaged.tobytes())
        try:
            read_netx(path)
        except SpikeportError as error:
            assert "\n" not in str(error) and "some.net" in str(error)


def test_files_that_are_no_netx(tmp_path: Path, write: Write) -> None:
    with pytest.raises(InputError, match=r"There is no '.*nowhere.net'; give a NetX file"):
        read_netx(tmp_path / "nowhere.net")
    text = tmp_path / "text.net"
    text.write_text("layer")
    with pytest.raises(InputError, match="is a text file, but a NetX file"):
        read_netx(text)
    path = write([])
    with pytest.raises(InputError, match="group `layer`"):
        read_netx(path)
    with h5py.File(path, "w") as file:
        file["layer/0/type"], file["layer/2/type"] = b"flatten", b"flatten"
    with pytest.raises(InputError, match="without gaps"):
        read_netx(path)
