"""The nodes and constants of an ONNX model of a float network, and tensors in the two forms that its layers take."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

BATCH = -1  # an axis of which the batch is a factor; a shape has one at the most

Shape = tuple[int, ...]


class NoRule(Exception):
    """An operation that has none."""


@dataclass(slots=True, eq=False)
class Value:
    """A tensor: its name in the model as it is, and with its first two axes as one; each is written when needed."""

    shape: Shape
    name: str = ""
    folded: str = ""


class Nodes:
    """names: those that are taken. neurons: the layers that have run, for they do not begin at rest again."""

    def __init__(self, names: set[str]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.names = names
        self.neurons: set[str] = set()

    # what is written

    def node(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        name = self.fresh(name)
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"{name}:{kind}", **attributes))
        return name

    def fresh(self, name: str) -> str:
        number, free = 1, name
        while free in self.names:
            number += 1
            free = f"{name}_{number}"
        self.names.add(free)
        return free

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        """Named by what it is, or whose: one of this name that is there already is this one."""
        if name in self.names:
            return name
        if isinstance(value, torch.Tensor):
            if value.dtype != torch.float32:
                raise NoRule(f"{name} is {value.dtype}")
            value = value.detach().cpu().numpy()
        self.names.add(name)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype), name))
        return name

    def number(self, value: float) -> str:
        return self.constant(f"number/{np.float32(value)!s}", np.float32(value))

    def index(self, value: int) -> str:
        return self.constant(f"index/{value}", np.int64(value), np.int64)

    def integers(self, values: Sequence[int]) -> str:
        return self.constant("integers/" + ",".join(map(str, values)), list(values), np.int64)

    # two forms of a tensor

    def plain(self, value: Value) -> str:
        if not value.name:
            value.name = self.node("Reshape", [value.folded, self.integers(value.shape)], f"{value.folded}/steps")
        return value.name

    def folded(self, value: Value) -> str:
        """[T, N, ...] -> [T * N, ...]."""
        if not value.folded:
            shape = self.integers((BATCH, *value.shape[2:]))
            value.folded = self.node("Reshape", [value.name, shape], f"{value.name}/all_steps")
        return value.folded

    # by step or not

    def images(self, module: Any, value: Value, rank: int) -> tuple[str, Callable[[Shape, str], Value]]:
        """The input of a module for tensors of a rank, and how its result becomes a value of a shape (of one step)."""
        steps = getattr(module, "step_mode", "s") == "m"
        if len(value.shape) != rank + steps:
            raise NoRule(f"{type(module).__name__} of {len(value.shape)} axes")
        if not steps:
            return self.plain(value), lambda shape, name: Value(shape=(value.shape[0], *shape), name=name)
        return self.folded(value), lambda shape, name: Value(shape=(*value.shape[:2], *shape), folded=name)
