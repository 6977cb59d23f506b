"""A teacher: the network of the same cells with usual neurons in one time step, from which a spiking one learns more.

    loss = (1 - w) * loss on the labels + w * T^2 * KL(teacher || network)        of softmax(logits / T)

T^2 keeps the gradients of both parts in proportion (Hinton et al., arXiv 1503.02531, section 2.1). The teacher is
trained first, on the same images; nothing of it is in the result.
"""

from dataclasses import replace

import torch
from spikingjelly.activation_based.neuron import BaseNode
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax

from ..space.network import SpikingNetwork
from .passes import Objective


def teacher_of(network: SpikingNetwork) -> SpikingNetwork:
    """One with new weights, whose neurons are rectifiers and which has one time step."""
    teacher = SpikingNetwork(network.genotype, replace(network.config, time_steps=1))
    for module in [*teacher.modules()]:
        for name, part in [*module.named_children()]:
            if isinstance(part, BaseNode):
                setattr(module, name, nn.ReLU())
    return teacher


def divergence(logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """T^2 * KL(wanted || logits) of their softmax at a temperature T; the mean over [N, classes], nats."""
    found, taught = (log_softmax(values.float() / temperature, dim=1) for values in (logits, wanted))
    return temperature**2 * kl_div(found, taught, reduction="batchmean", log_target=True)


def taught(objective: Objective, teacher: nn.Module, weight: float, temperature: float) -> Objective:
    """The objective, and what the teacher, in eval mode, says of the same images."""

    def with_teacher(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        loss, logits = objective(images, labels)
        with torch.no_grad():
            wanted = teacher(images)
        return (1 - weight) * loss + weight * divergence(logits, wanted, temperature), logits

    return with_teacher
