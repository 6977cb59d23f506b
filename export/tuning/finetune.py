"""Training through the chip's integers: what a network loses by rounding it learns back.

    loss = (1 - s) * cross-entropy with the labels + s * T^2 * KL(float network || chip)      of softmax(answers / T)

Where nobody knows the labels, s is 1. The weights that are kept are those of the epoch, 0 being what it began with,
whose integers answer most of the images right that the training does not see (without labels: as the float network
does), the lower loss on them deciding between equals. So the result is never worse there than what came in.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from torch.optim import Adam

from ...errors import InputError
from ...search.data.datasets import Images
from ..settings import ExportSettings, learning_rate
from .chip_network import ChipNetwork
from .samples import AT_ONCE, Samples, entering

TEMPERATURE = 2.0  # of the float network's answers
GRADIENT_CLIP = 5.0

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """After an epoch, on the images that are not trained on: accuracy 0..1 (agreement with the float network where
    there are no labels), loss in nats."""

    epoch: int
    accuracy: float
    loss: float

    def is_better(self, than: "Watched") -> bool:
        return (self.accuracy, -self.loss) > (than.accuracy, -than.loss)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The network holds the weights of the epoch `kept`."""

    epochs: Sequence[Watched]
    kept: int

    def row(self) -> dict[str, Any]:
        return {
            "epochs": len(self.epochs) - 1,
            "kept_epoch": self.kept,
            "validation_before": asdict(self.epochs[0]),
            "validation_after": asdict(self.epochs[self.kept]),
        }


def finetune(
    chip: ChipNetwork,
    network: nn.Module,
    encoder: nn.Module | None,
    samples: Samples,
    settings: ExportSettings,
    tell: Tell = lambda sentence: None,
) -> Tuned:
    """Train a chip network in place for `settings.finetune` epochs.

    network: the float network, images -> answers, in eval mode; it and the encoder stay as they are. Raises InputError
    where the loss is not finite.
    """
    rate = learning_rate(settings)
    optimizer = Adam(chip.parameters(), lr=rate)
    size = settings.finetune_batch_size
    steps = max(1, settings.finetune * samples.batches(size, settings.finetune_samples))
    share = settings.teacher_share if samples.labelled else 1.0
    watch = _Watch(chip, network, encoder, samples)
    seen = [watch(0)]
    kept, weights = 0, copy.deepcopy(chip.state_dict())
    tell(_said(seen[0], settings.finetune, samples))
    step = 0
    for epoch in range(1, settings.finetune + 1):
        for images, labels in samples.epoch(epoch, size, settings.finetune_samples):
            for group in optimizer.param_groups:
                group["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
            answers = chip(entering(encoder, images))
            wanted = answers_of(network, images) if share else answers.detach()
            loss = _loss(answers, torch.from_numpy(labels), wanted, share)
            if not math.isfinite(float(loss.detach())):
                raise InputError(
                    f"The loss of the fine-tuning must be finite, but is {float(loss.detach())}; try a lower "
                    "--finetune-learning-rate."
                )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(chip.parameters(), GRADIENT_CLIP)
            optimizer.step()
            step += 1
        seen.append(watch(epoch))
        tell(_said(seen[-1], settings.finetune, samples))
        if seen[-1].is_better(seen[kept]):
            kept, weights = epoch, copy.deepcopy(chip.state_dict())
    chip.load_state_dict(weights)
    return Tuned(epochs=tuple(seen), kept=kept)


def _loss(answers: Tensor, labels: Tensor, wanted: Tensor, share: float) -> Tensor:
    found, taught = (log_softmax(values / TEMPERATURE, dim=1) for values in (answers, wanted))
    divergence = TEMPERATURE**2 * kl_div(found, taught, reduction="batchmean", log_target=True)
    return divergence if share == 1.0 else (1 - share) * cross_entropy(answers, labels) + share * divergence


class _Watch:
    """The chip network on the images that are not trained on."""

    def __init__(self, chip: ChipNetwork, network: nn.Module, encoder: nn.Module | None, samples: Samples) -> None:
        self.chip, self.encoder = chip, encoder
        self.images = samples.images[samples.watch]
        of_labels = torch.from_numpy(samples.labels[samples.watch])
        self.wanted = of_labels if samples.labelled else answers_of(network, self.images).argmax(1)

    @torch.no_grad()
    def __call__(self, epoch: int) -> Watched:
        parts = [self.images[i : i + AT_ONCE] for i in range(0, len(self.images), AT_ONCE)]
        answers = torch.cat([self.chip(entering(self.encoder, part)) for part in parts])
        right = float((answers.argmax(1) == self.wanted).double().mean())
        return Watched(epoch=epoch, accuracy=right, loss=float(cross_entropy(answers, self.wanted)))


@torch.no_grad()
def answers_of(network: nn.Module, images: Images) -> Tensor:
    """Of the float network, [N, classes]."""
    found = []
    for start in range(0, len(images), AT_ONCE):
        functional.reset_net(network)
        found.append(network(torch.from_numpy(np.ascontiguousarray(images[start : start + AT_ONCE])).float()))
    functional.reset_net(network)
    return torch.cat(found)


def _said(found: Watched, epochs: int, samples: Samples) -> str:
    word = "accuracy" if samples.labelled else "agreement"
    return f"fine-tuning, epoch {found.epoch} of {epochs}: {word} {found.accuracy:.4f} on {len(samples.watch)} images"
