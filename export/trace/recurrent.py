"""SpikingJelly's recurrent containers: neurons that read their own spikes of the step before.

    LinearRecurrentContainer        i[t] = W [x[t], y[t-1]] + b,  y[t] = neurons(... i[t])
    ElementWiseRecurrentContainer   i[t] = f(y[t-1], x[t]),       y[t] = neurons(... i[t])

What is fed back is a term of the neurons' current whose source is their own population, and a projection of a
population onto itself reads one step further back, as y[-1] = 0 is in SpikingJelly.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
from spikingjelly.activation_based import layer
from torch import fx, nn

from ...errors import UnsupportedError
from ..graph import Shape
from . import linear
from .linear import Expression
from .neurons import is_neuron
from .registry import rule_of


def fed_back(x: Expression, container: Any, name: str, functions: Any) -> tuple[Expression, nn.Module]:
    """(the current that enters the neurons of a container, the neurons), which will be the population `name`.

    functions: what has a rule, as in `rules.FUNCTIONS`.
    """
    *before, neurons = _parts(container.sub_module)
    if not is_neuron(neurons) or any(is_neuron(part) for part in before):
        raise UnsupportedError(
            f"a {type(container).__name__} has a rule where neurons are the last of what it contains, and nothing "
            "before them spikes"
        )
    if isinstance(container, layer.LinearRecurrentContainer):
        own: Shape = (container.sub_module_out_features,)
        current = _linear(x, linear.spikes_of(name, own), container)
    else:
        own = x.shape
        current = _elementwise(linear.spikes_of(name, own), x, container.element_wise_function, functions)
    for part in before:
        current = _through(current, part)
    if current.shape != own:
        raise UnsupportedError(f"its neurons give {current.shape}, but {own} is fed back")
    return current, neurons


def neurons_of(module: Any) -> Any:
    """Of a recurrent container its neurons, which take one step at a time; neurons are their own."""
    return _parts(module.sub_module)[-1] if hasattr(module, "sub_module") else module


def _parts(module: nn.Module) -> list[nn.Module]:
    return [leaf for part in module for leaf in _parts(part)] if isinstance(module, nn.Sequential) else [module]


def _linear(x: Expression, own: Expression, container: Any) -> Expression:
    if len(x.shape) != 1:
        raise UnsupportedError("a LinearRecurrentContainer needs a flattened value; put a flatten before it")
    return _through(linear.concatenated([x, own]), container.rc)


def _through(x: Expression, part: nn.Module) -> Expression:
    rule = rule_of(part)
    if rule is None:
        raise UnsupportedError(f"its part, a {type(part).__name__}, has no rule; put it outside")
    return rule(x, part)


def _elementwise(own: Expression, x: Expression, function: Callable[..., Any], functions: Any) -> Expression:
    """f(y, x), followed through its own fx graph."""
    entering = iter((own, x))
    values: dict[fx.Node, Any] = {}
    for node in fx.symbolic_trace(lambda y, x: function(y, x)).graph.nodes:
        arguments, keywords = (fx.node.map_arg(a, values.__getitem__) for a in (node.args, node.kwargs))
        if node.op == "placeholder":
            values[node] = next(entering)
        elif node.op == "output":
            return arguments[0]  # type: ignore[no-any-return]
        else:
            both = [a for a in arguments if isinstance(a, Expression)]
            rule = functions.get(node.target)
            if rule is None or (len(both) > 1 and node.target not in SUMS):
                raise UnsupportedError(
                    f"its function has a rule where it is linear, as y + x is, but it has '{node.name}'"
                )
            values[node] = rule(*arguments, **keywords)
    raise UnsupportedError("its function returns nothing")


SUMS: tuple[Any, ...] = (operator.add, operator.iadd, torch.add, "add", operator.sub, torch.sub, "sub")
