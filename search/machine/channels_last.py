"""The memory layout in which a network of SpikingJelly trains fastest: the channels of a pixel lie together.

A tensor keeps its shape [T, N, C, H, W]; in memory it lies as [T, N, H, W, C]. Convolutions, batch norms and pools of
torch keep that layout. Neurons, which stack time steps, and the concatenation at the end of a cell lose it: here they
give it back. On a CPU the neurons go through the loops of window_lif.py.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import cast

import torch
from spikingjelly.activation_based.neuron import LIFNode
from torch import Tensor, nn

from ..loops.arrays import takes_loops
from ..loops.window_lif import from_rest
from ..space.cell import Cell


@contextmanager
def channels_last(network: nn.Module) -> Iterator[None]:
    """Inside the block neurons and cells of the network give their spikes in that layout.

    Shapes and arithmetic stay; torch takes the sums of convolutions and norms in another order, so results round
    otherwise. Neurons must be at rest before every pass, as `reset_net` leaves them, and keep no membrane after it.
    """
    with ExitStack() as stack:
        for module in network.modules():
            if type(module) is LIFNode:
                module.__dict__["forward"] = _forward(module)
                stack.callback(module.__dict__.pop, "forward")
            elif isinstance(module, Cell):
                module.__dict__["joined"] = _joined
                stack.callback(module.__dict__.pop, "joined")
        yield


def _forward(neurons: nn.Module) -> Callable[[Tensor], Tensor]:
    def forward(currents: Tensor) -> Tensor:
        currents = currents.permute(0, 1, 3, 4, 2).contiguous()
        if takes_loops(currents):
            spikes = from_rest(currents)
        else:
            spikes = cast(Tensor, type(neurons).forward(neurons, currents))
        return spikes.permute(0, 1, 4, 2, 3)

    return forward


def _joined(nodes: Sequence[Tensor]) -> Tensor:
    return torch.cat([node.permute(0, 1, 3, 4, 2) for node in nodes], dim=4).permute(0, 1, 4, 2, 3)
