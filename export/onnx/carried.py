"""A SpikingGraph inside the ONNX file that computes it, so that it can be read back: the weights are the file's own,
the rest of it is text in the file's metadata."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from ...errors import InputError
from ...reading.models import read_model
from ..graph import SpikingGraph
from ..parts import graph_of, parts_of

KEY = "spikeport.graph"


def weight_name(index: int) -> str:
    """Of the initializer that holds the weights of projection `index`, [O, I / groups, kh, kw] or [O, I]."""
    return f"weight/{index}"


def text_of(graph: SpikingGraph) -> dict[str, str]:
    """What goes into the metadata: all but the weights."""
    head, arrays = parts_of(graph)
    small = {name: array for name, array in arrays.items() if not name.startswith("weight/")}
    return {KEY: json.dumps({"head": head, "arrays": {name: _listed(array) for name, array in small.items()}})}


def graph_in(path: Path, model: onnx.ModelProto | None = None) -> SpikingGraph | None:
    """The graph that an ONNX file computes; None where it carries none. Raises InputError where it is damaged."""
    model = read_model(path) if model is None else model
    text = next((prop.value for prop in model.metadata_props if prop.key == KEY), None)
    if text is None:
        return None
    weights = {tensor.name: tensor for tensor in model.graph.initializer if tensor.name.startswith("weight/")}
    try:
        found = json.loads(text)
        small = found["arrays"]

        def array(name: str) -> NDArray[Any]:
            if name in weights:
                return np.asarray(numpy_helper.to_array(weights[name]))
            return np.array(small[name]["values"], np.float64).reshape(small[name]["shape"])

        return graph_of(found["head"], array, lambda name: name in small)
    except (InputError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"'{path}' is damaged in its metadata {KEY} ({error}); write it again.") from error


def _listed(array: NDArray[Any]) -> dict[str, Any]:
    """Python writes a float64 so that it is read as the same; Infinity is written, too."""
    return {"shape": array.shape, "values": array.ravel().tolist()}
