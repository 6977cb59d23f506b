"""Containers whose neurons read what they fired in the step before: step by step, however many there are."""

from collections.abc import Callable
from typing import Any

from .folding import weight_and_bias
from .modules import NEURONS
from .neurons import step_of_neurons
from .nodes import BATCH, Nodes, NoRule, Shape, Value


def linear_recurrent(writer: Nodes, name: str, module: Any, value: Value) -> Value:
    """The neurons read rc([x, y]), y being their spikes of the step before, none in the first."""
    outside = module.sub_module_out_features
    weights, biases = weight_and_bias(module.rc)
    weight = writer.constant(f"{name}.rc.weight", weights.T)
    bias = None if biases is None else writer.constant(f"{name}.rc.bias", biases)

    def mixed(x: str, y: str, at: str) -> str:
        both = writer.node("Concat", [x, y], f"{at}/both", axis=1)
        made = writer.node("MatMul", [both, weight], f"{at}/rc")
        return made if bias is None else writer.node("Add", [made, bias], f"{at}/current")

    return _recurrent(writer, name, module, value, (BATCH, outside), (BATCH, module.rc.out_features), mixed)


def _recurrent(
    writer: Nodes,
    name: str,
    module: Any,
    value: Value,
    given: Shape,
    shape: Shape,
    mixed: Callable[[str, str, str], str],
) -> Value:
    """given: the shape of y. shape: of the neurons' current."""
    if module.step_mode != "m" or type(module.sub_module) not in NEURONS or len(value.shape) != 3:
        raise NoRule(f"{name} holds something else than neurons, or runs step by step")
    entering, kept = writer.steps(value), f"{name}.y"
    count = 1 if writer.one_step else len(entering)
    fired = []
    for t, x in enumerate(entering[:count]):
        at = f"{name}/{t}" if count > 1 else name
        if kept not in writer.states:
            writer.states[kept] = f"state.{kept}" if writer.one_step else _nothing(writer, x, given[1], at)
            if writer.one_step:
                writer.carried[kept] = (given, 0.0)
        current = mixed(x, writer.states[kept], at)
        spikes = step_of_neurons(writer, f"{name}.sub_module", module.sub_module, current, shape, f"{at}/sub_module")
        writer.states[kept] = spikes
        fired.append(spikes)
    return Value(shape=(value.shape[0], *shape), steps=tuple(fired * (len(entering) // count)))


def _nothing(writer: Nodes, like: str, features: int, at: str) -> str:
    """Zeros [N, features]."""
    size = writer.node("Shape", [like], f"{at}/samples", start=0, end=1)
    whole = writer.node("Concat", [size, writer.integers([features])], f"{at}/size", axis=0)
    return writer.node("ConstantOfShape", [whole], f"{at}/nothing")
