"""Attention that was trained, as constants: every gate by its mean over images, for a chip whose weights are constant.

A network with attention multiplies a current x by gates that depend on the input. Here its module becomes one factor
per channel, the one that is nearest to what it did in squares,

    factor[C] = sum of x * gated(x) / sum of x^2        over images, steps and positions,

the mean of the gates' product where each counts as much as the current there. A factor per channel folds into the
weights before it exactly. What it loses is reported: how far gates differ between images and between positions, and the
share of the gated currents' square that the factors miss.

A gate that differs between the time steps is no constant factor, and is refused: neurons remember, so that the mean
over steps would be another network.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from ...errors import InputError, UnsupportedError

BATCH = 64
SAME_IN_EVERY_STEP = 0.01  # the largest difference between an image's gates of two steps that is taken for none

Network = TypeVar("Network", bound=nn.Module)


class HasGates(Protocol):
    """A module that multiplies currents [T, N, C, H, W] by these gates (attention.py), each of as many axes."""

    def factors(self, current: Tensor) -> Mapping[str, Tensor]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """What became of one module. factor: one number for each channel. missed: the share of the gated currents' square
    that is lost, 0..1. gates: by name their `mean`, and the standard deviations `over_images` and `over_positions`."""

    factor: tuple[float, ...]
    missed: float
    gates: Mapping[str, Mapping[str, float]]


class ChannelFactor(nn.Module):
    """[T, N, C, H, W] times one number for each channel."""

    factor: Tensor

    def __init__(self, factor: Tensor) -> None:
        super().__init__()
        self.register_buffer("factor", factor)

    def forward(self, current: Tensor) -> Tensor:
        return current * self.factor[:, None, None]

    def as_convolution(self) -> nn.Conv2d:
        """What an export takes it for (export/trace/registry.py)."""
        channels = len(self.factor)
        convolution = nn.Conv2d(channels, channels, 1, bias=False, device="meta")
        convolution.weight = nn.Parameter(torch.diag(self.factor)[:, :, None, None])
        return convolution


def fold_attention(network: Network, images: NDArray[np.float32 | np.uint8]) -> tuple[Network, dict[str, Folded]]:
    """(a copy of the network with factors in place of its attention, what became of each module by its path).

    images [N, C, H, W], or frames [N, T, C, H, W], of the train split; the network is in eval mode. Raises InputError
    where there is no attention or no image, UnsupportedError where a gate differs between time steps.
    """
    for path, module in network.named_modules():
        if hasattr(module, "not_folded"):
            raise UnsupportedError(f"Layer '{path}': {type(module).__name__} is not folded: {module.not_folded}.")
    modules = attention_modules(network)
    if not modules:
        raise InputError("The network has no attention that depends on its input, so there is nothing to fold.")
    if not len(images):
        raise InputError("Gates are folded to their means over images, but there is no image.")
    means = {path: _Means() for path in modules}
    handles = [module.register_forward_hook(_listener(means[path])) for path, module in modules.items()]
    try:
        with torch.no_grad():
            for start in range(0, len(images), BATCH):
                functional.reset_net(network)
                network(torch.from_numpy(images[start : start + BATCH]).float())
    finally:
        functional.reset_net(network)
        for handle in handles:
            handle.remove()
    found = {path: mean.folded(path) for path, mean in means.items()}
    return with_factors(network, {path: folded.factor for path, folded in found.items()}), found


def attention_modules(network: nn.Module) -> dict[str, nn.Module]:
    """Path -> module, of all that have gates."""
    return {path: module for path, module in network.named_modules() if callable(getattr(module, "factors", None))}


def with_factors(network: Network, factors: Mapping[str, tuple[float, ...]]) -> Network:
    """A copy of the network with these factors in place of the modules at these paths."""
    folded = copy.deepcopy(network)
    known = attention_modules(network)
    for path, factor in factors.items():
        if path not in known:
            raise InputError(f"The network has no attention at '{path}' to fold; export the run again.")
        folded.set_submodule(path, ChannelFactor(torch.tensor(factor)))
    return folded.eval()


@dataclass(slots=True)
class _Means:
    """Sums over images, float64."""

    images: int = 0
    squares: Tensor = field(default_factory=lambda: torch.zeros(()))  # of the current, [C]
    products: Tensor = field(default_factory=lambda: torch.zeros(()))  # of the current and the gated one, [C]
    gated: Tensor = field(default_factory=lambda: torch.zeros(()))  # squares of the gated current, [C]
    gates: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)  # sums and squares, [C, H, W] or 1 of each
    apart: dict[str, float] = field(default_factory=dict)  # the largest difference between two steps

    def add(self, current: Tensor, gated: Tensor, gates: Mapping[str, Tensor]) -> None:
        x, y = current.double(), gated.double()
        others = (0, 1, 3, 4)
        self.images += current.shape[1]
        self.squares = self.squares + x.square().sum(others)
        self.products = self.products + (x * y).sum(others)
        self.gated = self.gated + y.square().sum(others)
        for name, gate in gates.items():
            one, two = self.gates.get(name, (torch.zeros(()), torch.zeros(())))
            steps = float((gate.amax(0) - gate.amin(0)).max())
            self.apart[name] = max(steps, self.apart.get(name, 0.0))
            each = gate.double().mean(0).expand(current.shape[1], -1, -1, -1)
            self.gates[name] = (one + each.sum(0), two + each.square().sum(0))

    def folded(self, path: str) -> Folded:
        gates = {name: self._gate(path, name, *sums) for name, sums in self.gates.items()}
        silent = self.squares == 0  # nothing to multiply
        factor = torch.where(silent, 1.0, self.products / torch.where(silent, 1.0, self.squares))
        left = self.gated - factor * self.products
        missed = float(left.sum() / self.gated.sum()) if self.gated.any() else 0.0
        return Folded(factor=tuple(factor.float().tolist()), missed=max(0.0, missed), gates=gates)

    def _gate(self, path: str, name: str, sums: Tensor, squares: Tensor) -> Mapping[str, float]:
        if self.apart[name] > SAME_IN_EVERY_STEP:
            raise UnsupportedError(
                f"Layer '{path}': its gate '{name}' differs by {self.apart[name]:.2g} between time steps, which is no "
                f"constant factor (at most {SAME_IN_EVERY_STEP:g} is taken for one); train with --attention eca, cbam "
                "or spike."
            )
        mean = sums / self.images  # [C, H, W], or 1 of each
        over_images = (squares / self.images - mean.square()).clamp(min=0).mean().sqrt()
        places = mean.flatten(1)
        over_positions = places.std(1, correction=0).square().mean().sqrt()
        return {"mean": float(mean.mean()), "over_images": float(over_images), "over_positions": float(over_positions)}


def _listener(means: _Means) -> Any:
    def listen(module: nn.Module, inputs: tuple[Tensor, ...], gated: Tensor) -> None:
        means.add(inputs[0], gated, cast(HasGates, module).factors(inputs[0]))

    return listen
