"""The torch network as a form: what it fires, its meaning, and what only a torch network can have wrong."""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...export.graph import Population
from ...export.trace.walk import trace
from ..run.record import Record
from ..run.torch_network import TorchRunner
from .rules import Meaning, meaning_of

Values = NDArray[np.generic]
Reads = Literal["images", "spikes", "frames"]  # [N, C, H, W]; [T, N, *shape]; [N, T, *shape]
Nudged = Callable[[Mapping[str, NDArray[np.float32]]], Record]

NORMS = nn.modules.batchnorm._BatchNorm
FACTORS = {"twice": 2.0, "half of": 0.5, "255 times": 255.0, "1/255 of": 1 / 255}


class TorchForm:
    """A copy of a network, with its batch norms as they are: in training mode where they were left in it."""

    def __init__(self, network: nn.Module, reads: Reads = "images") -> None:
        self.reads = reads
        self.network = copy.deepcopy(network)
        self.training = tuple(name for name, m in network.named_modules() if isinstance(m, NORMS) and m.training)
        self.norms = tuple(name for name, m in network.named_modules() if isinstance(m, NORMS))

    def __call__(self, values: Values) -> Record:
        return self.runner(values)({})

    def runner(self, values: Values, training: tuple[str, ...] | None = None) -> Nudged:
        """Values -> nudges -> record. training: the batch norms that take the statistics of the batch."""
        whole = copy.deepcopy(self.network)
        kept = {name: copy.deepcopy(whole.get_submodule(name).state_dict()) for name in self.norms}
        given = self._given(values)
        run = TorchRunner(whole, given[:1])  # it puts everything into eval mode

        def nudged(nudges: Mapping[str, NDArray[np.float32]]) -> Record:
            for name in self.norms:  # every run begins with the statistics that were learnt
                norm = run.module.get_submodule(name)
                norm.load_state_dict(kept[name])
                norm.train(name in (self.training if training is None else training))
            return run(given, nudges)

        return nudged

    def meaning(self, values: Values) -> Meaning:
        """What the network computes in eval mode. Raises UnsupportedError that names what has no rule."""
        network = copy.deepcopy(self.network).eval()
        given = self._given(values)
        if self.reads == "images":
            run = TorchRunner(network, given[:1])
            currents: dict[str, NDArray[np.float64]] = {}
            hooks = [
                layer.register_forward_pre_hook(_keeper(name, currents, run.lifs[name].scale))
                for name, layer in run.layers.items()
            ]
            first = run(given)
            for hook in hooks:
                hook.remove()
            steps = len(first.spikes[run.names[0]])
            graph = trace(network, torch.from_numpy(given[:1]), steps).graph
            inside = {node.name for node in graph.inputs}
            encoders = tuple(_encoder(name, run, currents[name].shape[2:]) for name in run.names if name in inside)
            return meaning_of(graph, encoders, {name: currents[name] for name in inside})
        example = given[:, :1] if self.reads == "spikes" else given[:1]
        return meaning_of(trace(network, torch.from_numpy(example), len(values), reads_spikes=True).graph)

    def of_other_images(self, values: Values) -> Iterator[tuple[str, Nudged]]:
        """The network on images of another range."""
        for word, factor in FACTORS.items() if self.reads == "images" else ():
            yield word, self.runner(np.asarray(values, np.float32) * np.float32(factor))

    def _given(self, values: Values) -> NDArray[np.float32]:
        found = np.swapaxes(values, 0, 1) if self.reads == "frames" else values
        return np.ascontiguousarray(found, np.float32)


def _encoder(name: str, run: TorchRunner, shape: tuple[int, ...]) -> Population:
    lif = run.lifs[name]
    return Population(
        name=name,
        shape=shape,
        decay=lif.decay,
        current_decay=lif.current_decay,
        threshold=lif.threshold,
        bias=np.full(shape[0], lif.bias),
        reset=lif.reset,
    )


def _keeper(name: str, currents: dict[str, NDArray[np.float64]], scale: float) -> Callable[..., None]:
    def keep(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        currents[name] = inputs[0].detach().numpy().astype(np.float64) * scale

    return keep
