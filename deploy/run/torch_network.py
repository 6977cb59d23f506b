"""The trained torch network as the reference: images -> Record, with every membrane and, if asked, forced ties."""

import copy
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue

import numpy as np
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional
from torch import nn

from ...errors import UnsupportedError
from ...export.onnx.window import with_spikes
from ...export.trace.neurons import Lif, lif_of
from ...export.trace.recurrent import neurons_of
from ...export.trace.walk import spiking_layers
from .record import Record, as_images

Hook = Callable[[nn.Module, tuple[torch.Tensor, ...]], tuple[torch.Tensor, ...]]
Nudges = Mapping[str, NDArray[np.float32]]  # population -> [T, N, *shape], added to its membrane as it charges


class TorchRunner:
    """Runs the network that was trained, in eval mode.

    A nudge decides a tie: where a membrane meets its threshold within float32's rounding, two correct implementations
    may differ, and the reference is run again with the other answer.

    Raises UnsupportedError for a neuron whose membrane has no formula here.
    """

    def __init__(self, network: nn.Module, example: NDArray[np.generic] | None = None) -> None:
        """example: an image [1, ...], for a network whose control flow depends on shapes."""
        self.module = with_spikes(network, None if example is None else torch.from_numpy(np.float32(example)))
        self.names = list(spiking_layers(self.module))
        modules = dict(self.module.named_modules())
        self.layers = {name: neurons_of(modules[str(n.target)]) for name, n in spiking_layers(self.module).items()}
        self.lifs = {name: _lif(name, layer) for name, layer in self.layers.items()}

    def first_spikes(self, images: NDArray[np.float32]) -> NDArray[np.uint8]:
        """[T, N, *shape] of the first spiking layer, which reads the image."""
        record = self(images)
        return np.asarray(record.spikes[self.names[0]])

    def all_answers(self, images: Iterable[NDArray[np.float32 | np.uint8]]) -> Iterator[tuple[NDArray[np.int64], int]]:
        """`answers` of each batch, as many side by side as torch has threads, each in one: where other work keeps a
        core busy, threads that wait for each other at every operation take ten times as long."""
        waiting, here = SimpleQueue[TorchRunner](), threading.local()
        many = torch.get_num_threads()
        for _ in range(many):
            waiting.put(copy.deepcopy(self))

        def begin() -> None:
            torch.set_num_threads(1)  # of this thread
            here.runner = waiting.get()

        with ThreadPoolExecutor(many, initializer=begin) as threads:
            left = iter(images)
            begun = deque(threads.submit(lambda some: here.runner.answers(some), i) for i in islice(left, 2 * many))
            while begun:
                yield begun.popleft().result()
                begun.extend(threads.submit(lambda some: here.runner.answers(some), i) for i in islice(left, 1))
        torch.set_num_threads(many)

    def neuron_steps(self, images: NDArray[np.float32 | np.uint8]) -> int:
        """Of all these images."""
        return sum(spikes.size for spikes in self(images).spikes.values())

    def answers(self, images: NDArray[np.float32 | np.uint8]) -> tuple[NDArray[np.int64], int]:
        """(the class of each image, how often all neurons fired); no membrane is kept."""
        functional.reset_net(self.module)
        try:
            with torch.no_grad():
                logits, *fired = self.module(torch.from_numpy(images).float())
        finally:
            functional.reset_net(self.module)
        return np.asarray(logits.numpy().argmax(1), np.int64), sum(int(torch.count_nonzero(each)) for each in fired)

    def __call__(self, images: NDArray[np.float32 | np.uint8], nudges: Nudges | None = None) -> Record:
        currents: dict[str, list[torch.Tensor]] = {name: [] for name in self.names}
        handles = [
            layer.register_forward_pre_hook(_listener(currents[name], self.lifs[name].scale, (nudges or {}).get(name)))
            for name, layer in self.layers.items()
        ]
        functional.reset_net(self.module)
        try:
            with torch.no_grad():
                logits, *fired = self.module(torch.from_numpy(images).float())
        finally:
            functional.reset_net(self.module)
            for handle in handles:
                handle.remove()
        spikes = {
            name: as_images(value.numpy().astype(np.uint8)) for name, value in zip(self.names, fired, strict=True)
        }
        margins = {
            name: _margin(self.lifs[name], torch.cat(currents[name]).numpy(), spikes[name]) for name in self.names
        }
        return Record(spikes=spikes, readout=logits.numpy(), margins=margins)


def _lif(name: str, layer: nn.Module) -> Lif:
    try:
        return lif_of(layer)
    except UnsupportedError as error:
        raise UnsupportedError(f"Layer '{name}': {error}.") from error


def _listener(currents: list[torch.Tensor], scale: float, nudge: NDArray[np.float32] | None) -> Hook:
    """Keeps the currents [steps, N, *shape] of each call: of all steps or, in a recurrent container, of one."""

    def listen(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        current, at_once = inputs[0], getattr(module, "step_mode", "m") == "m"
        if nudge is not None:
            added = torch.from_numpy(nudge / np.float32(scale))
            current = current + (added if at_once else added[len(currents)]).reshape(current.shape)
        currents.append(current if at_once else current.unsqueeze(0))
        return (current,)

    return listen


def _margin(lif: Lif, current: NDArray[np.float32], spikes: NDArray[np.uint8]) -> NDArray[np.generic]:
    """Membrane minus threshold before each reset, from the input current and the spikes that followed."""
    current = current.reshape(spikes.shape)
    u = v = np.zeros_like(current[0])
    margins = []
    for x, fired in zip(current, spikes, strict=True):
        u = lif.current_decay * u + lif.scale * x
        v = lif.decay * v + u + lif.bias
        v = np.maximum(v, 0.0) if lif.floor else v
        margins.append(v - lif.threshold)
        v = np.where(fired, 0.0 if lif.reset == "zero" else v - lif.threshold, v)
    return np.stack(margins)
