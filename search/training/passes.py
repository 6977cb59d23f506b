"""The forward and the backward pass of a batch. On a GPU those of a shape of batch become one CUDA graph.

A step has some two thousand kernels, and to launch them one by one takes a CPU as long as a GPU takes to run them. A
graph holds them all: the third batch of a shape is recorded, from the fourth on it is replayed. Gradients, counts and
running averages then lie where they lay when it was recorded.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor, nn

from ..machine import processes
from ..machine.device import Arithmetic
from .spike_counts import SpikeCount, counting_spikes

# (images, labels) -> (what is minimised, logits of the network)
Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

WARM_UP = 2  # batches of a shape in which libraries choose their kernels and take their memory

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Passed:
    """What a batch gave, on its device. The gradients are the parameters' own."""

    loss: Tensor
    logits: Tensor
    spikes: Mapping[str, Tensor | int]  # per cell


@dataclass(frozen=True, slots=True, eq=False)
class _Graph:
    graph: torch.cuda.CUDAGraph
    images: Tensor
    labels: Tensor
    passed: Passed
    gradients: Sequence[Tensor | None]


class Passes:
    """Called with images and labels on the device of the network; only the parameters named get gradients.

    as_graph: whether the passes may be recorded: nothing in the objective waits for the GPU, copies to it or changes.
    counts: whether spikes are counted.
    """

    def __init__(
        self,
        network: nn.Module,
        parameters: Sequence[nn.Parameter],
        objective: Objective,
        arithmetic: Arithmetic,
        *,
        as_graph: bool = False,
        counts: bool = True,
    ) -> None:
        self.arithmetic = arithmetic
        self._network, self._parameters, self._objective = network, list(parameters), objective
        alone = processes.world() == 1 and arithmetic.dtype is not torch.float16  # whose loss has a scale that changes
        self._as_graph = as_graph and alone and arithmetic.device.type == "cuda"
        self._counts = counts
        self._seen: Counter[torch.Size] = Counter()
        self._graphs: dict[torch.Size, _Graph] = {}

    def __call__(self, images: Tensor, labels: Tensor) -> Passed:
        self._seen[images.shape] += 1
        if self._as_graph and images.shape not in self._graphs and self._seen[images.shape] > WARM_UP:
            self._record(images, labels)
        if images.shape not in self._graphs:
            return self._run(images, labels)
        recorded = self._graphs[images.shape]
        recorded.images.copy_(images)
        recorded.labels.copy_(labels)
        recorded.graph.replay()
        for parameter, gradient in zip(self._parameters, recorded.gradients, strict=True):
            parameter.grad = gradient
        return recorded.passed

    def _run(self, images: Tensor, labels: Tensor) -> Passed:
        for parameter in self._parameters:
            parameter.grad = None
        reset_net(self._network)
        counting = counting_spikes(self._network) if self._counts else nullcontext(SpikeCount())
        with counting as count, self.arithmetic.autocast():
            loss, logits = self._objective(images, labels)
        self.arithmetic.backward(loss * processes.share_weight(len(labels)), self._parameters)
        return Passed(loss.detach(), logits.detach(), count.counted)

    def _record(self, images: Tensor, labels: Tensor) -> None:
        images, labels = images.clone(), labels.clone()
        torch.cuda.synchronize(images.device)
        torch.cuda.empty_cache()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                passed = self._run(images, labels)
        except RuntimeError as error:  # of CUDA: what it cannot record it runs as before
            log.warning("a step could not be recorded as a CUDA graph (%s); it runs kernel by kernel", error)
            self._as_graph = False
            return
        gradients = [parameter.grad for parameter in self._parameters]
        self._graphs[images.shape] = _Graph(graph, images, labels, passed, gradients)
