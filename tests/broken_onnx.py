"""A file that is wrong in one weight, for tests that must see it."""

from pathlib import Path


def break_weight(path: Path, name: str) -> None:
    """Change one weight of an ONNX file, the first whose name ends so."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(path))
    weight = next(w for w in model.graph.initializer if w.name.endswith(name))
    array = numpy_helper.to_array(weight).copy()
    array[0, 0] += 0.5
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    onnx.save(model, str(path))
