"""ONNX through the door: a model whose numbers lie in another file is refused before anybody opens that."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from spikeport.errors import InputError
from spikeport.reading.models import read_model


def elsewhere() -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "words.txt"), ("offset", "0"), ("length", "16")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def model(
    *, weight: TensorProto | None = None, inner: TensorProto | None = None, called: TensorProto | None = None
) -> onnx.ModelProto:
    """Doubles an image; `inner` is a constant in a branch of an `If`, `called` one in a function."""
    nodes = [helper.make_node("Add", ["images", "images"], ["twice"])]
    if inner is not None:
        constant = helper.make_node("Constant", [], ["c"], value=inner)
        output = [helper.make_tensor_value_info("c", TensorProto.FLOAT, [4])]
        branch = helper.make_graph([constant], "branch", [], output)
        nodes.append(helper.make_node("If", ["yes"], ["other"], then_branch=branch, else_branch=branch))
    functions = []
    if called is not None:
        constant = helper.make_node("Constant", [], ["c"], value=called)
        opsets = [helper.make_opsetid("", 18)]
        functions = [helper.make_function("mine", "Inner", ["x"], ["c"], [constant], opsets)]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("images", "twice")]
    return helper.make_model(
        helper.make_graph(nodes, "g", values[:1], values[1:], [weight] if weight else []), functions=functions
    )


@pytest.mark.parametrize("made", [model(weight=elsewhere()), model(inner=elsewhere()), model(called=elsewhere())])
def test_numbers_in_another_file_are_refused(tmp_path: Path, made: onnx.ModelProto) -> None:
    (tmp_path / "words.txt").write_bytes(b"secretword" * 10)
    (tmp_path / "a.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(InputError, match=r"a\.onnx' must hold its numbers itself, but those of 'w' lie"):
        read_model(tmp_path / "a.onnx")


def test_numbers_of_its_own_are_read(tmp_path: Path) -> None:
    own = numpy_helper.from_array(np.arange(4, dtype=np.float32), "w")
    (tmp_path / "a.onnx").write_bytes(model(weight=own, inner=own).SerializeToString())
    assert read_model(tmp_path / "a.onnx").graph.initializer[0].name == "w"


@pytest.mark.parametrize(("data", "said"), [(None, "There is no file"), (b"\xff" * 9, "no readable ONNX file")])
def test_what_is_no_model(tmp_path: Path, data: bytes | None, said: str) -> None:
    if data is not None:
        (tmp_path / "a.onnx").write_bytes(data)
    with pytest.raises(InputError, match=said):
        read_model(tmp_path / "a.onnx")
