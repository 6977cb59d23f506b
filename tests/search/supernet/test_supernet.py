import pytest
import torch
from spikingjelly.activation_based.functional import reset_net

from spikeport.errors import InputError
from spikeport.search.settings.network import PrimitiveSet
from spikeport.search.settings.supernet import SupernetForm, SupernetSettings
from spikeport.search.space.network import NetworkConfig
from spikeport.search.space.primitives import PRIMITIVES
from spikeport.search.strategies.darts.search import SUPERNETS
from spikeport.search.supernet.supernet import EDGES, Supernet, derive

SETTINGS = NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(1, 8, 8))
PLAIN = list(PRIMITIVES["plain"])


@pytest.mark.parametrize("form", SUPERNETS)
@pytest.mark.parametrize("primitives", ["darts", "plain"])
def test_shapes_and_gradients(form: SupernetForm, primitives: PrimitiveSet) -> None:
    supernet = SUPERNETS[form](primitives, SETTINGS)
    logits = supernet(torch.rand(4, 1, 8, 8))
    assert logits.shape == (4, 3)
    logits.square().sum().backward()
    for alphas in supernet.architecture():
        assert alphas.shape == (14, len(PRIMITIVES[primitives]))
        assert alphas.grad is not None
        assert alphas.grad.abs().sum() > 0
    names = {id(parameter) for parameter in supernet.weights()} | {id(alphas) for alphas in supernet.architecture()}
    assert names == {id(parameter) for parameter in supernet.parameters()}
    assert len(supernet.weights()) + 2 == len(list(supernet.parameters()))


@pytest.mark.parametrize("form", SUPERNETS)
def test_the_skip_beside_a_mixture_is_no_part_of_it(form: SupernetForm) -> None:
    supernet = SUPERNETS[form]("plain", SETTINGS)
    mixture = supernet.mixture("normal")
    assert torch.equal(supernet.edge_weights("normal"), mixture)
    supernet.skip_beside = 0.25
    beside = supernet.edge_weights("normal") - mixture
    torch.testing.assert_close(beside[:, PLAIN.index("skip_connect")], torch.full((14,), 0.25))
    assert beside.count_nonzero() == 14
    assert torch.equal(supernet.mixture("normal"), mixture)
    found = [spikes_of(supernet, skip) for skip in (0.0, 4.0)]
    assert not torch.equal(*found)


def spikes_of(supernet: Supernet, skip: float) -> torch.Tensor:
    """What the first node of the first cell emits."""
    kept: list[torch.Tensor] = []
    supernet.skip_beside = skip
    supernet.cells[0].n1.register_forward_hook(lambda module, inputs, spikes: kept.append(spikes.detach()))
    torch.manual_seed(1)
    supernet(torch.rand(4, 1, 8, 8))
    reset_net(supernet)
    return kept[0]


def test_sigmoids_rank_edges_by_their_own_size() -> None:
    alphas = torch.zeros(14, len(PLAIN))
    alphas[EDGES.index((1, 0))] = torch.tensor([0.0, 0.0, 0.0, 2.0, 1.9])  # conv_3x3 shares its softmax with conv_5x5
    alphas[EDGES.index((1, 1))] = torch.tensor([-5.0, -5.0, 1.0, -5.0, -5.0])
    alphas[EDGES.index((1, 2))] = torch.tensor([-5.0, -5.0, 1.5, -5.0, -5.0])
    sources = {
        relaxation: [edge.source for edge in derive(alphas, "plain", relaxation) if edge.node == 1]
        for relaxation in ("softmax", "sigmoid")
    }
    assert sources == {"softmax": [1, 2], "sigmoid": [0, 2]}


def test_unknown_form() -> None:
    with pytest.raises(InputError, match=r"^Unknown supernet 'fast'; choose from kernel, plain\.$"):
        SupernetSettings(supernet="fast")


def test_derive_takes_the_two_strongest_edges_and_never_none() -> None:
    alphas = torch.zeros(14, len(PLAIN))
    alphas[:, PLAIN.index("none")] = 5.0  # the strongest of all, everywhere
    for edge, primitive, strength in (
        ((0, 0), "conv_3x3", 1.0),  # node 0 has only two edges
        ((0, 1), "skip_connect", 2.0),
        ((1, 1), "conv_5x5", 1.0),
        ((1, 2), "max_pool_3x3", 2.0),
        ((2, 3), "conv_3x3", 3.0),
        ((2, 0), "conv_3x3", 2.0),
        ((2, 2), "conv_5x5", 1.0),  # third: left out
        ((3, 4), "skip_connect", 1.0),
    ):
        alphas[EDGES.index(edge), PLAIN.index(primitive)] = strength
    assert [(edge.node, edge.source, edge.primitive) for edge in derive(alphas, "plain")] == [
        (0, 0, "conv_3x3"),
        (0, 1, "skip_connect"),
        (1, 1, "conv_5x5"),
        (1, 2, "max_pool_3x3"),
        (2, 0, "conv_3x3"),
        (2, 3, "conv_3x3"),
        (3, 0, "max_pool_3x3"),  # all equal: the first edge, the first primitive
        (3, 4, "skip_connect"),
    ]


def test_none_takes_strength_from_the_others_on_its_edge() -> None:
    alphas = torch.zeros(14, len(PLAIN))
    alphas[EDGES.index((1, 0)), PLAIN.index("conv_3x3")] = 2.0
    alphas[EDGES.index((1, 0)), PLAIN.index("none")] = 6.0  # softmax of conv_3x3: 0.02, below the 0.2 of the equals
    assert [edge.source for edge in derive(alphas, "plain") if edge.node == 1] == [1, 2]
