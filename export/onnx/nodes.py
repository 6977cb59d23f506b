"""The nodes and constants of an ONNX model of a float network, and tensors in the forms that its layers take."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

BATCH = -1  # an axis of which the batch is a factor; a shape has one at the most
APART = 4  # time steps: up to so many, a layer is a node for each step; beyond, one for all
SCANNED = 32  # time steps: from so many on, neurons are a Scan

Shape = tuple[int, ...]


class NoRule(Exception):
    """An operation that has none."""


@dataclass(slots=True, eq=False)
class Value:
    """A tensor: its names in the model as it is, with its first two axes as one, and of each step [N, ...] along the
    first axis; each is written when needed. What is the same in every step has one name for all."""

    shape: Shape
    name: str = ""
    folded: str = ""
    steps: tuple[str, ...] = ()


Apply = Callable[[Sequence[str], str], str]  # (names of tensors, name of the node) -> name of the result


class Nodes:
    """names: those that are taken. one_step: all steps are one and the same, that which the model computes.
    states: layer of neurons -> its membrane after the step that was written last."""

    def __init__(self, names: set[str], *, one_step: bool = False) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.functions: dict[str, onnx.FunctionProto] = {}
        self.names = names
        self.one_step = one_step
        self.states: dict[str, str] = {}
        self.called_once: set[str] = set()  # layers of neurons
        self.renamed: dict[str, str] = {}  # results, to what they are called outside
        # of one step:
        self.carried: dict[str, tuple[Shape, float]] = {}  # layer of neurons -> its shape, and its membrane at rest
        self.turned: dict[str, Value] = {}  # name of a node that gives the frames
        self.averaged: set[str] = set()  # what stands for a mean or sum over time

    # what is written

    def node(self, kind: str, inputs: Sequence[str], name: str, domain: str = "", **attributes: Any) -> str:
        name = self.fresh(name)
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, domain=domain, **attributes))
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
        self.constants.append(
            numpy_helper.from_array(np.ascontiguousarray(value, dtype).reshape(np.shape(value)), name)
        )
        return name

    def number(self, value: float) -> str:
        return self.constant(f"number/{np.float32(value)!s}", np.float32(value))

    def index(self, value: int) -> str:
        return self.constant(f"index/{value}", np.int64(value), np.int64)

    def integers(self, values: Sequence[int]) -> str:
        return self.constant("integers/" + ",".join(map(str, values)), list(values), np.int64)

    def result(self, found: str, name: str) -> None:
        """Calls a tensor by the name of an output of the model."""
        if found in self.renamed or not any(found in node.output for node in self.nodes):
            self.nodes.append(helper.make_node("Identity", [found], [name], name=name))
        else:
            self.renamed[found] = name

    # the forms of a tensor

    def plain(self, value: Value) -> str:
        if not value.name:
            if value.steps:
                self._together(value)
                ahead = {
                    x: self.node("Unsqueeze", [x, self.integers([0])], f"{x}/one") for x in dict.fromkeys(value.steps)
                }
                value.name = ahead[value.steps[0]]
                if len(value.steps) > 1:
                    value.name = self.node("Concat", [ahead[x] for x in value.steps], f"{value.steps[0]}/steps", axis=0)
            else:
                value.name = self._reshaped(value.folded, value.shape, "steps")
        return value.name

    def folded(self, value: Value) -> str:
        """[T, N, ...] -> [T * N, ...]."""
        if not value.folded and value.steps:
            self._together(value)
            value.folded = value.steps[0]
            if len(value.steps) > 1:
                value.folded = self.node("Concat", value.steps, f"{value.steps[0]}/all_steps", axis=0)
        elif not value.folded:
            value.folded = self._reshaped(value.name, (BATCH, *value.shape[2:]), "all_steps")
        return value.folded

    def steps(self, value: Value) -> tuple[str, ...]:
        if not value.steps:
            self._together(value)
            count, whole = value.shape[0], self.folded(value)
            value.steps = (whole,)
            if count > 1:
                value.steps = tuple(self.fresh(f"{whole}/step{t}") for t in range(count))
                self.nodes.append(
                    helper.make_node("Split", [whole], value.steps, name=f"{whole}/step", axis=0, num_outputs=count)
                )
        return value.steps

    def _together(self, value: Value) -> None:
        if self.one_step and value.shape[0] != 1:
            raise NoRule(f"{value.steps[0] if value.steps else value.name} takes several time steps together")

    def _reshaped(self, name: str, shape: Shape, word: str) -> str:
        return self.node("Reshape", [name, self.integers(shape)], f"{name}/{word}")

    # by step or not

    def apart(self, *values: Value) -> bool:
        """Whether each step has nodes of its own: all are [T, N, ...] or the same in each step, [1, N, ...]."""
        lengths = {value.shape[0] for value in values}
        timed = all(len(value.shape) >= 2 and value.shape[1] in (1, BATCH) for value in values)
        if not timed or BATCH in lengths or len(lengths - {1}) > 1 or len({len(v.shape) for v in values}) > 1:
            return False
        return any(value.steps for value in values) or (max(lengths) <= APART and any(v.folded for v in values))

    def each(self, values: Sequence[Value], shape: Shape, apply: Apply, name: str) -> Value:
        """A node for each step that differs: names of [N, ...] -> name of the result [N, *shape]."""
        count = max(value.shape[0] for value in values)
        entering = [steps * (count // len(steps)) for steps in map(self.steps, values)]
        made: dict[tuple[str, ...], str] = {}
        kinds = len(set(zip(*entering, strict=True)))
        for t, given in enumerate(zip(*entering, strict=True)):
            if given not in made:
                made[given] = apply(given, name if kinds == 1 else f"{name}/{t}")
        return Value(shape=(count, BATCH, *shape), steps=tuple(made[given] for given in zip(*entering, strict=True)))

    def images(
        self, module: Any, value: Value, rank: int, shape: Shape, apply: Callable[[str, str], str], name: str
    ) -> Value:
        """A module for tensors of a rank, on each step or all; shape: of what it gives for one sample."""
        stepped = getattr(module, "step_mode", "s") == "m"
        if len(value.shape) != rank + stepped:
            raise NoRule(f"{type(module).__name__} of {len(value.shape)} axes")
        if not stepped:
            return Value(shape=(value.shape[0], *shape), name=apply(self.plain(value), name))
        if value.shape[0] == BATCH:
            raise NoRule(f"{name} of samples where it wants time steps")
        if value.shape[0] <= APART or (value.steps and len(set(value.steps)) == 1):
            return self.each([value], shape, lambda given, at: apply(given[0], at), name)
        return Value(shape=(*value.shape[:2], *shape), folded=apply(self.folded(value), name))
