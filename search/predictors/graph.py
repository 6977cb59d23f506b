"""An encoder of the network's graph, with pooling that keeps the nodes that their neighbours do not tell.

    h      = relu( X W + sum over kinds k of  A_k X V_k + A_k' X U_k )          rows of A_k and A_k' sum up to 1 or 0
    score  = norm_1 of each row of (I - D^-1/2 A D^-1/2) h                      keep the RATIO of nodes with the most
    A_new  = sparsemax over each row of  leaky_relu(a' [h_p, h_q]) + A_pq       of those that are kept
    h      = relu( D^-1/2 (A_new + I) D^-1/2 h W )                              and so on, LEVELS in all

The sum over levels of mean and maximum over nodes goes through two layers to one number, learned by pairs
(pairwise.py). Pooling and new edges are those of HGP-SL (Zhang et al., arXiv 1911.05954); the first level, which tells
kinds of edges apart, is a relational convolution (Schlichtkrull et al., arXiv 1703.06103), for in HGP-SL edges have no
kinds. In 7 nodes there is nothing to pool, so the graph is that of the whole network (network_graph.py).

The encoder is a function of the graph, not of the order of its nodes.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from ..random_streams import seeded
from ..space.genotype import Genotype
from .network_graph import network_graphs
from .pairwise import pairwise_loss
from .predictor import PredictorContext, Values, not_fitted, targets

HIDDEN = 16
LEVELS = 3
RATIO = 0.5  # of the nodes that a level keeps
STEPS = 100
LEARNING_RATE, WEIGHT_DECAY = 3e-3, 1e-3


def sparsemax(values: Tensor) -> Tensor:
    """The nearest point of the simplex, over the last axis (Martins and Astudillo, arXiv 1602.02068)."""
    ordered = values.sort(dim=-1, descending=True).values
    number = torch.arange(1, values.shape[-1] + 1, dtype=values.dtype)
    kept = 1 + number * ordered > ordered.cumsum(-1)
    size = kept.sum(-1, keepdim=True)
    threshold = (ordered.masked_fill(~kept, 0).sum(-1, keepdim=True) - 1) / size
    return (values - threshold).clamp(min=0)


def normalised(adjacency: Tensor) -> Tensor:
    """D^-1/2 A D^-1/2 of [..., n, n], D the sums of rows; a node without neighbours has zeros."""
    degree = adjacency.sum(-1)
    root = torch.where(degree > 0, degree.clamp(min=1e-12).rsqrt(), 0.0)
    return root.unsqueeze(-1) * adjacency * root.unsqueeze(-2)


def information(x: Tensor, adjacency: Tensor) -> Tensor:
    """[batch, n]: how far a node is from the mean of its neighbours."""
    return (x - normalised(adjacency) @ x).abs().sum(-1)


class Encoder(nn.Module):
    """(features [B, n, F], adjacency [B, kinds, n, n]) -> [B]."""

    def __init__(self, features: int, kinds: int) -> None:
        super().__init__()
        self.own = nn.Linear(features, HIDDEN)
        self.forth = nn.Linear(features, kinds * HIDDEN, bias=False)
        self.back = nn.Linear(features, kinds * HIDDEN, bias=False)
        self.between = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN) for _ in range(LEVELS - 1))
        self.attention = nn.ModuleList(nn.Linear(2 * HIDDEN, 1, bias=False) for _ in range(LEVELS - 1))
        self.head = nn.Sequential(nn.Linear(2 * HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))

    def forward(self, features: Tensor, adjacency: Tensor) -> Tensor:
        x = self._first(features, adjacency)
        whole = adjacency.sum(1)
        edges = whole + whole.mT
        found = _readout(x)
        for linear, attention in zip(self.between, self.attention, strict=True):
            x, edges = self._pooled(x, edges, attention)
            loops = edges + torch.eye(edges.shape[-1], dtype=edges.dtype)
            x = torch.relu(linear(normalised(loops) @ x))
            found = found + _readout(x)
        answer: Tensor = self.head(found).squeeze(-1)
        return answer

    def _first(self, features: Tensor, adjacency: Tensor) -> Tensor:
        batch, kinds, size, _ = adjacency.shape
        x = self.own(features)
        for linear, edges in ((self.forth, adjacency), (self.back, adjacency.mT)):
            means = edges / edges.sum(-1, keepdim=True).clamp(min=1)
            sent = linear(features).view(batch, size, kinds, HIDDEN).transpose(1, 2)  # [B, kinds, n, HIDDEN]
            x = x + (means @ sent).sum(1)
        return torch.relu(x)

    def _pooled(self, x: Tensor, edges: Tensor, attention: nn.Module) -> tuple[Tensor, Tensor]:
        kept = information(x, edges).topk(math.ceil(RATIO * x.shape[1]), dim=1).indices  # [B, k]
        x = x.gather(1, kept.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
        edges = edges.gather(1, kept.unsqueeze(-1).expand(-1, -1, edges.shape[-1]))
        edges = edges.gather(2, kept.unsqueeze(1).expand(-1, kept.shape[1], -1))
        size = x.shape[1]
        pairs = torch.cat((x.unsqueeze(2).expand(-1, -1, size, -1), x.unsqueeze(1).expand(-1, size, -1, -1)), dim=-1)
        return x, sparsemax(leaky_relu(attention(pairs).squeeze(-1), 0.2) + edges)


class GraphPredictor:
    """The encoder, by pairs."""

    name = "graph"

    def __init__(self, context: PredictorContext) -> None:
        self.context = context
        self._encoder: Encoder | None = None

    def fit(self, genotypes: Sequence[Genotype], values: Sequence[float]) -> None:
        wanted = torch.from_numpy(targets(genotypes, values))
        features, adjacency = map(torch.from_numpy, network_graphs(genotypes, self.context.config))
        with seeded(self.context.seed, "predictors"):
            encoder = Encoder(features.shape[-1], adjacency.shape[1]).double()
        optimizer = torch.optim.Adam(encoder.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        for _ in range(STEPS):
            optimizer.zero_grad()
            pairwise_loss(encoder(features, adjacency), wanted).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        self._encoder = encoder

    def predict(self, genotypes: Sequence[Genotype]) -> Values:
        if self._encoder is None:
            raise not_fitted(self.name)
        features, adjacency = map(torch.from_numpy, network_graphs(genotypes, self.context.config))
        with torch.no_grad():
            found: Values = self._encoder(features, adjacency).numpy()
        return found


def _readout(x: Tensor) -> Tensor:
    """[B, n, HIDDEN] -> [B, 2 HIDDEN]."""
    return torch.cat((x.mean(1), x.amax(1)), dim=-1)
