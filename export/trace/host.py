"""What the host computes before the chip: the multiply-accumulates of an encoder."""

from typing import Any

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def multiply_accumulates(encoder: nn.Module, example: Tensor) -> int:
    """Of the convolutions and linear layers of an encoder, for one image and step.

    example: one image [1, C, H, W]. A layer that runs on the image once, before it is repeated, counts as it runs in
    one step, because a chip that is shown a stream has a new image in every step.
    """
    found: list[int] = []

    def count(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        axes = output.ndim - (0 if isinstance(module, nn.Linear) else module.weight.ndim - 2)
        steps = output.shape[0] if axes == 3 else 1  # [T, N, C, ...]
        found.append(output.numel() // steps * module.weight[0].numel())

    layers = [m for m in encoder.modules() if isinstance(m, (nn.Linear, *CONVOLUTIONS))]
    handles = [layer.register_forward_hook(count) for layer in layers]
    functional.reset_net(encoder)
    try:
        with torch.no_grad():
            encoder(example)
    finally:
        functional.reset_net(encoder)
        for handle in handles:
            handle.remove()
    return sum(found)
