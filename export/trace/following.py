"""torch.fx with an example beside it: control flow that depends on shapes only can be followed.

`if x.ndim == 4`, `for t in range(x.shape[0])` and `for part in x.chunk(3)` ask a proxy for what plain torch.fx does not
know. Here every node is also computed on the example. Numbers, tuples and lengths then answer; whether a *tensor* is
true still has no answer, because another image may give another.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import fx, nn


class Following(fx.Tracer):
    """A tracer that computes as it goes. leaf: whether a module is one node."""

    def __init__(self, example: torch.Tensor, leaf: Callable[[nn.Module, str], bool]) -> None:
        super().__init__()
        self.example, self.leaf = example, leaf
        self.found: dict[fx.Node, Any] = {}
        self.computing = False

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return self.leaf(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Known(node, self)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *more: Any, **others: Any) -> fx.Proxy:
        proxy = super().create_proxy(kind, target, args, kwargs, *more, **others)
        if kind != "output":
            self.found[proxy.node] = self._computed(proxy.node)
        return proxy

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return forward(*args, **kwargs) if self.computing else super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        return attr_val if self.computing else super().getattr(attr, attr_val, parameter_proxy_cache)

    def to_bool(self, obj: fx.Proxy) -> bool:
        value = self.found[obj.node]
        return super().to_bool(obj) if isinstance(value, torch.Tensor) else bool(value)

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        parts: Any = obj
        return iter([parts[i] for i in range(len(self.found[obj.node]))])

    def _computed(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return self.example
        if node.op == "get_attr":
            value: Any = self.root
            for name in str(node.target).split("."):
                value = getattr(value, name)
            return value
        args: Any = fx.node.map_arg(node.args, self.found.__getitem__)
        kwargs: Any = fx.node.map_arg(node.kwargs, self.found.__getitem__)
        self.computing = True
        try:
            with torch.no_grad():
                if node.op == "call_module":
                    return self.root.get_submodule(str(node.target))(*args, **kwargs)
                if node.op == "call_method":
                    return getattr(args[0], str(node.target))(*args[1:], **kwargs)
                return node.target(*args, **kwargs)  # type: ignore[operator]
        finally:
            self.computing = False


class _Known(fx.Proxy):
    tracer: Following

    def __getattr__(self, k: str) -> fx.proxy.Attribute:
        return _KnownAttribute(self, k)

    def __len__(self) -> int:
        return len(self.tracer.found[self.node])

    def __index__(self) -> int:
        return int(self.tracer.found[self.node].__index__())


class _KnownAttribute(fx.proxy.Attribute, _Known):
    pass
