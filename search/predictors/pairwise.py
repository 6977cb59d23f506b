"""A small network that learns which of two cells is better (ReNAS, Xu et al., CVPR 2021, arXiv 1910.01523).

    loss = sum over i != j of log(1 + exp(-(f_i - f_j) sign(y_i - y_j))) / (n (n - 1))

With a full batch, Adam and standardised features; two hidden layers of 64 units instead of their LeNet, which reads
tensors of the cell. Their demo learns from test accuracies and chooses among its best ten by them; what it is fitted to
here is what it is told.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ..random_streams import seeded
from ..space.genotype import Genotype
from .features import Features, Scale
from .predictor import PredictorContext, Values, not_fitted, targets

HIDDEN = 64
STEPS = 300
LEARNING_RATE = 1e-3


def pairwise_loss(predicted: Tensor, values: Tensor) -> Tensor:
    """Of [n] and [n]; of equal values a pair costs log 2, whatever is predicted."""
    apart = predicted[:, None] - predicted[None, :]
    order = torch.sign(values[:, None] - values[None, :])
    n = len(values)
    each = softplus(-apart * order)
    return (each.sum() - each.diagonal().sum()) / (n * (n - 1))


class Pairwise:
    """A multilayer perceptron on features, by pairs."""

    name = "pairwise"

    def __init__(self, context: PredictorContext) -> None:
        self.context, self.features = context, Features(context=context)
        self._fitted: tuple[Scale, nn.Module] | None = None

    def fit(self, genotypes: Sequence[Genotype], values: Sequence[float]) -> None:
        wanted = torch.from_numpy(targets(genotypes, values))
        rows = self.features(genotypes)
        scale = Scale.of(rows)
        x = torch.from_numpy(scale(rows))
        with seeded(self.context.seed, "predictors"):
            network = _perceptron(x.shape[1]).double()
        optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
        for _ in range(STEPS):
            optimizer.zero_grad()
            pairwise_loss(network(x).squeeze(1), wanted).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        self._fitted = scale, network

    def predict(self, genotypes: Sequence[Genotype]) -> Values:
        if self._fitted is None:
            raise not_fitted(self.name)
        scale, network = self._fitted
        with torch.no_grad():
            found: Values = network(torch.from_numpy(scale(self.features(genotypes)))).squeeze(1).numpy()
        return found


def _perceptron(inputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1)
    )
