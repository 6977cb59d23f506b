from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch
from spikingjelly.activation_based.functional import reset_net
from spikingjelly.activation_based.neuron import BaseNode
from torch.optim import Adam

from spikeport.search.objective.priced_loss import Price, priced
from spikeport.search.objective.spike_maps import recording
from spikeport.search.settings.objective import ObjectiveSettings
from spikeport.search.space.genotype import Layer, random_genotype
from spikeport.search.space.layout import default_layers
from spikeport.search.space.network import NetworkConfig
from spikeport.search.strategies.darts.search import alpha_step
from spikeport.search.supernet.kernel_space import KernelSupernet
from spikeport.search.supernet.macro import MacroSupernet
from spikeport.search.supernet.trellis import WIDTHS, Stop, place
from spikeport.search.training.loop import cross_entropy_of

SETTINGS = NetworkConfig(channels=4, cells=4, time_steps=2, classes=3, input_shape=(1, 8, 8))
SURE = 1000.0


def supernet(given: int | None = None, settings: NetworkConfig = SETTINGS) -> MacroSupernet:
    torch.manual_seed(1)
    genotype = None if given is None else random_genotype(np.random.default_rng(given), "plain")
    return MacroSupernet("plain", settings, genotype)


def settle(net: MacroSupernet, layers: tuple[Layer, ...]) -> list[Stop]:
    """Make the path sure; its cells."""
    net.betas.data.fill_(-SURE)
    net.gammas.data.fill_(-SURE)
    path: list[Stop] = []
    for stops, layer in zip(net.trellis, layers, strict=True):
        before = path[-1].halvings if path else 0
        path += [stop for stop in stops if (stop.kind, stop.halvings_before) == (layer.kind, before)]
        net.betas.data[place(path[-1])] = SURE
        net.gammas.data[(*place(path[-1]), WIDTHS.index(layer.width))] = SURE
    return path


def images() -> torch.Tensor:
    torch.manual_seed(2)
    return torch.rand(6, 1, 8, 8)


def answers(net: MacroSupernet) -> torch.Tensor:
    """Logits of a pass that measures the spikes of no other pass."""
    for cell in net.planned_cells():
        cell.variances.fill_(0.25)
    return net(images())


def cell_of(net: MacroSupernet, stop: Stop) -> torch.nn.Module:
    return net.planned_cells()[net.plan.index(stop)]


def test_a_sure_path_is_the_supernet_of_its_layout() -> None:
    """The same weights in the usual supernet, which has the cells of this path alone: the same logits and gradients."""
    net = supernet()
    path = settle(net, default_layers(4))
    chain = KernelSupernet("plain", SETTINGS)
    with torch.no_grad():
        for mine, theirs in zip(net.stem.parameters(), chain.stem.parameters(), strict=True):
            theirs.copy_(mine)
        for kind in ("normal", "reduce"):
            chain.alphas[kind].copy_(net.alphas[kind])
        chain.readout.load_state_dict(net.readout[path[-1].halvings].state_dict())
        for stop, theirs, planned in zip(path, chain.cells, chain.plan, strict=True):
            mine = cell_of(net, stop)
            own = {name: value for name, value in mine.state_dict().items() if not name.startswith("p0.")}
            way = stop.ways.index((planned.in_channels[0], planned.halve_s0))
            own |= {f"p0.population.{k}": v for k, v in mine.p0.population.state_dict().items()}
            theirs.load_state_dict(own | {"p0.weight": mine.p0.weights[way]})
    found, expected = net(images()), chain(images())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert found.abs().max() > 0.1
    found.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(net.alphas["reduce"].grad, chain.alphas["reduce"].grad, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(net.stem.conv.weight.grad, chain.stem.conv.weight.grad, rtol=1e-4, atol=1e-6)


def test_cells_off_the_path_have_no_say() -> None:
    net = supernet()
    path = settle(net, default_layers(4))
    before = answers(net)
    for stop in net.plan:
        if stop not in path:
            torch.nn.init.normal_(cell_of(net, cast(Stop, stop)).p1.weight)
    assert torch.equal(answers(net), before)
    torch.nn.init.normal_(cell_of(net, path[1]).p1.weight)
    assert not torch.equal(answers(net), before)


@pytest.mark.parametrize("block", ["p0", "p1", "n1", "n4"])
def test_channels_beyond_the_width_are_not_heard(block: str) -> None:
    """In the second cell, 0.5 of 8 channels: neurons that always fire change nothing among the last four."""
    layers = (Layer("normal", 1.0), Layer("reduce", 0.5), Layer("normal", 1.0), Layer("normal", 1.0))
    net = supernet()
    stop = settle(net, layers)[1]
    assert (stop.channels, net.presence(stop).tolist()) == (8, [1.0] * 4 + [0.0] * 4)
    block_of = cell_of(net, stop).get_submodule(block)
    norm = (block_of if block.startswith("n") else getattr(block_of, "population", block_of)).norm
    before = answers(net)
    norm.bias.data[4:] += 10.0
    assert torch.equal(answers(net), before)
    norm.bias.data[3] += 10.0
    assert not torch.equal(answers(net), before)


def test_presence_by_hand() -> None:
    """Widths 0.5, 0.75 and 1 of 4 channels, with the weights 1/2, 1/4 and 1/4."""
    net = supernet()
    stop = net.trellis[0][0]
    net.gammas.data[place(stop)] = torch.tensor([2.0, 1.0, 1.0]).log()
    torch.testing.assert_close(net.presence(stop), torch.tensor([1.0, 1.0, 0.5, 0.25]))


def test_all_neurons_are_binary_and_every_weight_learns() -> None:
    net = supernet()
    seen: list[torch.Tensor] = []
    for module in net.modules():
        if isinstance(module, BaseNode):
            module.register_forward_hook(lambda module, inputs, spikes: seen.append(spikes.detach()))
    net(images()).square().sum().backward()
    assert len(seen) == 1 + 6 * len(net.plan)
    assert all(((spikes == 0) | (spikes == 1)).all() for spikes in seen)
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None] == []
    names = dict(net.named_parameters())
    architecture = {id(parameter) for parameter in net.architecture()}
    assert {name for name, p in names.items() if id(p) in architecture} == {
        "alphas.normal",
        "alphas.reduce",
        "betas",
        "gammas",
    }
    assert len(net.weights()) + 4 == len(names)
    reached = [place(stop) for stop in net.plan if len([s for s in net.plan if place(s)[:2] == place(stop)[:2]]) == 2]
    assert all(net.betas.grad[at] != 0 and net.gammas.grad[at].abs().sum() > 0 for at in reached)


def test_the_genotype_has_the_path() -> None:
    net = supernet()
    layers = (Layer("reduce", 0.75), Layer("normal", 0.5), Layer("normal", 1.0), Layer("reduce", 0.5))
    settle(net, layers)
    found = net.genotype()
    assert found.layers == layers
    assert found.cell("normal") == super(MacroSupernet, net).genotype().normal


def test_a_given_cell_stays() -> None:
    net = supernet(given=3)
    genotype = random_genotype(np.random.default_rng(3), "plain")
    assert replace(net.genotype(), layers=None) == genotype
    assert [name for name, _ in net.named_parameters() if "alphas" in name] == []
    assert net.mixture("normal").sum() == 8 and set(net.mixture("reduce").unique().tolist()) == {0.0, 1.0}
    batch = images(), torch.tensor([0, 1, 2, 0, 1, 2])
    before = net.betas.detach().clone()
    alpha_step(net, Adam(net.architecture(), lr=0.1), batch)
    assert not torch.equal(net.betas, before)
    assert replace(net.genotype(), layers=None) == genotype


@pytest.mark.slow
def test_a_price_of_operations_narrows_the_path() -> None:
    def width(sop_weight: float) -> float:
        net = supernet()
        price = Price(net, ObjectiveSettings(sop_weight=sop_weight))
        loss = priced(cross_entropy_of(net), price)
        optimizer = Adam(net.architecture(), lr=0.1)
        for _ in range(8):
            alpha_step(net, optimizer, (images(), torch.tensor([0, 1, 2, 0, 1, 2])), loss)
        chances = net.chances()
        return sum((c.exp() @ c.new_tensor(WIDTHS)).item() for c in chances.widths.values()) / len(chances.widths)

    assert width(10.0) < 0.7 < 0.73 < width(0.0)


def test_recorded_in_the_order_of_the_plan() -> None:
    net = supernet()
    with recording(net) as spikes, torch.no_grad():
        net(images())
    for stop, cell in zip(net.plan, spikes.cells, strict=True):
        assert (cell.kind, cell.channels) == (stop.kind, stop.channels)
        assert cell.states[0].shape == (8 >> stop.halvings_before,) * 2
        assert cell.states[5].shape == (8 >> stop.halvings,) * 2
    reset_net(net)
