"""What a torch module is to the trace: by a rule that was registered for its type, or by what it says of itself.

Types are looked up exactly: a subclass may compute something else (SpikingJelly's WSConv2d standardises its weights),
so it has no rule until it is given one. A module of one's own needs no change here. Its class may have

    as_convolution(self) -> nn.Conv2d     it is linear, and this convolution computes the same of one time step
    not_a_synapse: str                    it is not linear: why, and what to do instead
    factors(self, current) -> dict        the gates that it multiplies its input by, [T, N, C, H, W] or 1 of each: what
                                          --fold-attention makes constants of (search/space/folding.py)

or a rule is registered for it:

    @register(MyModule)
    def _mine(x: Expression, module: MyModule) -> Expression: ...
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from ...errors import UnsupportedError
from .linear import Expression

Rule = Callable[[Expression, Any], Expression]

RULES: dict[type, Rule] = {}
NO_RULE = "replace it, or export to onnx; a layer of your own that is linear gets a rule by spikeport.register"


def register(*kinds: type) -> Callable[[Rule], Rule]:
    """The rule below is that of modules of these types, not of their subclasses.

    >>> import torch
    >>> class Mine(torch.nn.Identity): ...
    >>> @spikeport.register(Mine)
    ... def mine(x, module):
    ...     return x
    """

    def add(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, rule))
        return rule

    return add


def rule_of(module: nn.Module) -> Rule | None:
    """What is done to an expression that enters the module; None: the trace knows nothing of it."""
    kind = type(module)
    if kind in RULES:
        return RULES[kind]
    if "as_convolution" in vars(kind):
        return _as_convolution
    if hasattr(kind, "not_a_synapse"):
        return _refused
    return None


def _as_convolution(x: Expression, module: Any) -> Expression:
    return RULES[nn.Conv2d](x, module.as_convolution())


def _refused(x: Expression, module: Any) -> Expression:
    raise UnsupportedError(f"{type(module).__name__} cannot be a synapse: {module.not_a_synapse}")
