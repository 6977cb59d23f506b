"""The memory layout in which a network of SpikingJelly trains fastest: the channels of a pixel lie together.

A tensor keeps its shape [T, N, C, H, W]; in memory it lies as [T, N, H, W, C]. Convolutions, batch norms and pools of
torch keep that layout. Neurons, which stack time steps, and the concatenation at the end of a cell lose it: here they
give it back. On a CPU the neurons go through the loops of window_lif.py. On a GPU a batch norm and its neurons are one
kernel (gpu/norm_lif.py), and so are depthwise convolutions and pools.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from spikingjelly.activation_based.neuron import LIFNode
from torch import Tensor, nn
from torch.nn import functional

from ..gpu.blocks import takes_kernels
from ..loops.arrays import takes_loops
from ..loops.neurons import DECAY
from ..loops.window_lif import SHARPNESS, from_rest
from ..space.cell import Cell, Node, Preprocess
from . import processes

Forward = Callable[[Tensor], Tensor]


@contextmanager
def channels_last(network: nn.Module) -> Iterator[None]:
    """Inside the block neurons and cells of the network give their spikes in that layout.

    Shapes and arithmetic stay; torch takes the sums of convolutions and norms in another order, so results round
    otherwise. Neurons must be at rest before every pass, as `reset_net` leaves them, and keep no membrane after it.
    """
    with ExitStack() as stack:

        def replace(module: nn.Module, name: str, function: Callable[..., Tensor]) -> None:
            module.__dict__[name] = function
            stack.callback(module.__dict__.pop, name)

        pairs = _norms_of_neurons(network) if _kernels_do(network) else {}
        for module in network.modules():
            if type(module) is LIFNode:
                norm = pairs.get(module)
                replace(module, "forward", _neurons(module, norm))
                if norm is not None:
                    replace(norm, "forward", _as_it_is)
            elif isinstance(module, Cell):
                replace(module, "joined", _joined)
            elif _kernels_do(network) and (forward := _by_a_kernel(module)) is not None:
                replace(module, "forward", forward)
        yield


def _kernels_do(network: nn.Module) -> bool:
    return takes_kernels(next(network.parameters()))


def _norms_of_neurons(network: nn.Module) -> dict[nn.Module, nn.Module]:
    """The neurons that stand right behind a batch norm, and it; of several processes each norm needs all their sums."""
    blocks = [module for module in network.modules() if isinstance(module, Preprocess | Node)]
    bare = [block for block in blocks if isinstance(getattr(block, "attention", None), nn.Identity | None)]
    return {block.lif: block.norm for block in bare} if processes.world() == 1 else {}


def _neurons(neurons: Any, norm: nn.Module | None) -> Forward:
    def forward(currents: Tensor) -> Tensor:
        decay, sharpness = 1 - 1 / neurons.tau, neurons.surrogate_function.alpha
        if takes_kernels(currents) and (decay, sharpness) != (DECAY, SHARPNESS):  # others the kernels do not know
            currents = currents if norm is None else type(norm).forward(norm, currents)
            return cast(Tensor, type(neurons).forward(neurons, currents))
        currents = _last(currents).contiguous()
        if takes_kernels(currents):
            from ..gpu.norm_lif import lif, norm_lif  # imports Triton

            dtype = currents.dtype
            spikes = lif(currents, dtype, 0) if norm is None else norm_lif(currents, norm, dtype, 0)
        elif takes_loops(currents):
            spikes = from_rest(currents, decay=decay, sharpness=sharpness)
        else:
            spikes = cast(Tensor, type(neurons).forward(neurons, currents))
        return _usual(spikes)

    return forward


def _as_it_is(currents: Tensor) -> Tensor:
    return currents


def _by_a_kernel(module: nn.Module) -> Forward | None:
    """What a GPU does faster than torch's own operation of this module: [T, N, C, H, W] -> the same axes."""
    if isinstance(module, nn.Conv2d):
        return _convolution(module)
    if isinstance(module, nn.MaxPool2d):
        return _max_pool(_columns(module.stride))
    if isinstance(module, nn.AvgPool2d) and not isinstance(module.kernel_size, tuple):  # of one row it is 1x3
        return _avg_pool(_columns(module.stride))
    return None


def _columns(stride: int | tuple[int, int]) -> int:
    """One row has no other."""
    return stride[1] if isinstance(stride, tuple) else stride


def _convolution(module: nn.Conv2d) -> Forward | None:
    from ..gpu.depthwise import SIZES, depthwise

    size, stride, dilation = module.kernel_size[0], module.stride[1], module.dilation[1]
    if not hasattr(module, "step_mode") or module.bias is not None:  # the stem, on images
        return None
    if module.kernel_size == (1, 1) and stride == 1:
        return lambda spikes: _usual(functional.linear(_last(spikes), module.weight.flatten(1)))
    if module.groups == module.in_channels == module.out_channels and size == module.kernel_size[1] in SIZES:
        return lambda spikes: _folded(spikes, lambda maps: depthwise(maps, module.weight, stride, dilation))
    return None


def _max_pool(stride: int) -> Forward:
    from ..gpu.max_pool import max_pool

    return lambda spikes: _folded(spikes, lambda maps: max_pool(maps, stride))


def _avg_pool(stride: int) -> Forward:
    from ..gpu.depthwise import depthwise

    def forward(spikes: Tensor) -> Tensor:
        mean = torch.full((spikes.shape[2], 1, 3, 3), 1 / 9, device=spikes.device)
        return _folded(spikes, lambda maps: depthwise(maps, mean, stride, 1))

    return forward


def _folded(spikes: Tensor, function: Forward) -> Tensor:
    """The time steps as images: [T, N, C, H, W], by a function of [B, H, W, C]."""
    maps = function(_last(spikes).flatten(0, 1))
    return _usual(maps.view(*spikes.shape[:2], *maps.shape[1:]))


def _joined(nodes: Sequence[Tensor]) -> Tensor:
    return _usual(torch.cat([_last(node) for node in nodes], dim=4))


def _last(maps: Tensor) -> Tensor:
    """[T, N, C, H, W] -> [T, N, H, W, C]."""
    return maps.permute(0, 1, 3, 4, 2)


def _usual(maps: Tensor) -> Tensor:
    """[T, N, H, W, C] -> [T, N, C, H, W]."""
    return maps.permute(0, 1, 4, 2, 3)
