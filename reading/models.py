"""ONNX models that anyone may have written; see `reading/__init__.py` for what is promised.

A model may say that its numbers lie in another file. Neither `onnx` nor ONNX Runtime gets to see one that does.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from ..errors import InputError
from ..path_kind import itself

MAX_BYTES = 2**31  # the limit of protobuf


def read_model(path: Path) -> onnx.ModelProto:
    """The model in an ONNX file. Raises InputError for a file that is missing, damaged or refers to another one."""
    try:
        with itself(path).open("rb") as file:
            data = file.read(MAX_BYTES)
        model = onnx.load_model_from_string(data)
    except FileNotFoundError as error:
        raise InputError(f"There is no file '{path}'; write it with `spikeport export`.") from error
    except (DecodeError, OSError, ValueError) as error:
        raise InputError(f"'{path}' is no readable ONNX file ({error}); export it again.") from error
    inside = (tensor for function in model.functions for tensor in _of_nodes(function.node))
    for tensor in (*_tensors(model.graph), *inside):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise InputError(
                f"'{path}' must hold its numbers itself, but those of '{tensor.name}' lie in another file; export it "
                "again as one file."
            )
    return model


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All of a graph, of the graphs in its nodes, too."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
    for inner in _inner(nodes):
        yield from _tensors(inner)


def _inner(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.GraphProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield attribute.g
            yield from attribute.graphs
