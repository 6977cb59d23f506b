import pytest
import torch
from spikingjelly.activation_based.neuron import LIFNode

from spikeport.search.settings.network import Attention
from spikeport.search.space.attention import ATTENTION
from spikeport.search.space.cell import Cell, NodePlan, Stem
from spikeport.search.space.layers import lif_neurons
from spikeport.search.space.primitives import PRIMITIVES
from spikeport.search.space.spike_gates import SpikeGates


def test_lif_by_hand() -> None:
    """v = v / 2 + I; a spike at v >= 1, also exactly at 1; then v = 0."""
    current = torch.tensor([0.75, 0.5, 0.75, 1.0, 0.25, 0.875]).view(6, 1, 1, 1, 1)
    # membranes:           0.75  0.875 1.1875 1.0 0.25 1.0
    assert lif_neurons()(current).flatten().tolist() == [0, 0, 1, 1, 0, 1]


def test_the_gradient_ignores_the_reset() -> None:
    current = torch.tensor([1.0, 0.5]).view(2, 1, 1, 1, 1).requires_grad_()
    lif_neurons()(current)[1].sum().backward()
    gradient = current.grad
    assert gradient is not None
    # After the spike of step 0, v[1] = I[1] = 0.5 alone; there the arctangent's slope with alpha 2,
    # alpha / 2 / (1 + (pi / 2 * alpha * (v - 1))^2), is 1 / (1 + (pi / 2)^2).
    torch.testing.assert_close(gradient.flatten()[1].item(), 1 / (1 + (torch.pi / 2) ** 2), rtol=1e-6, atol=0)
    assert gradient.flatten()[0] == 0


def test_stem_gives_the_same_current_in_every_step() -> None:
    stem = Stem(1, 1, time_steps=4).eval()
    torch.nn.init.zeros_(stem.conv.weight)
    with torch.no_grad():
        stem.norm.bias[:] = 0.625  # v: 0.625, 0.9375, 1.09375 -> 0, 0.625
    assert stem(torch.zeros(1, 1, 1, 1)).flatten().tolist() == [0, 0, 1, 0]


def node(number: int, gated: bool = True) -> NodePlan:
    table = PRIMITIVES["plain"]
    return NodePlan(incoming=[(0, table["conv_3x3"]), (number + 1, table["skip_connect"])], gated=gated)


FOUR = [node(number) for number in range(4)]


def test_cell_sums_at_the_node_and_puts_nodes_side_by_side() -> None:
    cell = Cell("normal", FOUR, (3, 5), 2, "none", halve_s0=False).eval()
    seen: dict[str, torch.Tensor] = {}
    for name, module in cell.named_modules():
        if isinstance(module, LIFNode):
            module.register_forward_hook(lambda module, inputs, out, name=name: seen.update({name: out}))
    s0, s1 = (torch.rand(2, 1, channels, 4, 4).round() for channels in (3, 5))
    out = cell(s0, s1)
    assert list(seen) == ["p0.lif", "p1.lif", "n1.lif", "n2.lif", "n3.lif", "n4.lif"]
    assert torch.equal(out, torch.cat([seen[f"n{j}.lif"] for j in (1, 2, 3, 4)], dim=2))
    assert set(out.unique().tolist()) <= {0.0, 1.0}
    second = cell.n2
    current = second.norm(second.edges[0](seen["p0.lif"]) + seen["n1.lif"])  # source 2 is the first node
    assert torch.equal(lif_neurons()(current), seen["n2.lif"])


def test_reduction_cell_halves_only_what_leaves_its_inputs() -> None:
    cell = Cell("reduce", FOUR, (2, 2), 2, "none", halve_s0=True)
    assert cell(torch.ones(1, 1, 2, 16, 16), torch.ones(1, 1, 2, 8, 8)).shape == (1, 1, 8, 4, 4)
    assert cell.n1.edges[0].stride == (2, 2)
    assert isinstance(cell.n2.edges[1], torch.nn.Identity)


@pytest.mark.parametrize("attention", [kind for kind in ATTENTION if kind != "sma"])  # its scales have neurons
def test_attention_changes_no_spike_at_the_start(attention: Attention) -> None:
    spikes = torch.rand(2, 16, 8, 8, 8).round()
    without, cell = (Cell("normal", FOUR, (8, 8), 8, kind, halve_s0=False) for kind in ("none", attention))
    cell.load_state_dict(without.state_dict(), strict=False)
    assert torch.equal(cell(spikes, spikes), without(spikes, spikes))


def test_only_nodes_that_are_gated_have_gates() -> None:
    nodes = [node(number, gated=number in (1, 3)) for number in range(4)]
    cell = Cell("normal", nodes, (3, 5), 2, "spike", halve_s0=False)
    gated = [isinstance(cell.get_submodule(f"n{j}").gates, SpikeGates) for j in (1, 2, 3, 4)]
    assert gated == [False, True, False, True]
