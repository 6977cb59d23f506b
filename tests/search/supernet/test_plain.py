import torch

from spikeport.search.space.network import NetworkConfig
from spikeport.search.space.primitives import PRIMITIVES
from spikeport.search.supernet.plain import MixedEdge, PlainSupernet

SETTINGS = NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(1, 8, 8))
PLAIN = list(PRIMITIVES["plain"])


def test_mixed_edge_is_the_weighted_sum_of_normalised_candidates() -> None:
    weights = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25])  # none, max-pool, skip, conv 3x3, conv 5x5
    edge = MixedEdge(lambda: weights, "plain", 3, 1).train()
    spikes = torch.rand(2, 4, 3, 6, 6).round()

    def normalised(name: str) -> torch.Tensor:
        current = edge.candidates[name][0](spikes)
        mean = current.mean(dim=(0, 1, 3, 4), keepdim=True)
        return (current - mean) / (current.var(dim=(0, 1, 3, 4), keepdim=True, unbiased=False) + 1e-5).sqrt()

    expected = sum(weights[row] * normalised(name) for row, name in enumerate(PLAIN) if row > 0)
    torch.testing.assert_close(edge(spikes), expected, rtol=1e-4, atol=1e-5)
    assert not any(parameter.ndim == 1 for parameter in edge.parameters())  # the norms have no weights of their own


def test_cells_of_a_kind_share_their_alphas() -> None:
    supernet = PlainSupernet("plain", SETTINGS).eval()
    edges = [supernet.cells[i].n1.edges[0] for i in range(3)]  # normal, reduce, reduce
    with torch.no_grad():
        supernet.alphas["reduce"][0] += torch.tensor([0.0, 0.0, 2.0, 0.0, 0.0])
    assert torch.equal(edges[1]._weights(), edges[2]._weights())
    assert not torch.allclose(edges[0]._weights(), edges[1]._weights(), atol=0.1)
