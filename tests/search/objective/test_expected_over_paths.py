"""What is to be expected of a trellis, against synaptic_operations.py on every single path."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from spikeport.search.objective.expected_over_paths import expected_sops, expected_spikes
from spikeport.search.objective.priced_loss import REFERENCE_RATE, Price
from spikeport.search.objective.spike_maps import NetworkSpikes, even_spikes, recording
from spikeport.search.objective.synaptic_operations import sops_per_cell
from spikeport.search.settings.objective import ObjectiveSettings
from spikeport.search.space.genotype import CELL_KINDS, CellKind
from spikeport.search.space.network import NetworkConfig
from spikeport.search.space.primitives import PRIMITIVES
from spikeport.search.supernet.macro import MacroSupernet
from spikeport.search.supernet.trellis import (
    WIDTHS,
    Chances,
    Stop,
    Trellis,
    chances_of,
    even_weights,
    place,
    trellis_of,
)

PLAIN = list(PRIMITIVES["plain"])
SETTINGS = NetworkConfig(channels=4, cells=3, time_steps=2, classes=3, input_shape=(1, 8, 8))


def paths_of(trellis: Trellis) -> Iterator[tuple[Stop, ...]]:
    for kinds in itertools.product(CELL_KINDS, repeat=len(trellis)):
        path: list[Stop] = []
        for layer, kind in zip(trellis, kinds, strict=True):
            before = path[-1].halvings if path else 0
            path += [stop for stop in layer if (stop.halvings_before, stop.kind) == (before, kind)]
        if len(path) == len(trellis):
            yield tuple(path)


def mixture(kind: CellKind, place: int = 0) -> Tensor:
    torch.manual_seed(CELL_KINDS.index(kind))
    return torch.softmax(torch.randn(14, len(PLAIN)), dim=1)


def uneven_spikes(settings: NetworkConfig = SETTINGS) -> NetworkSpikes:
    """Maps that differ from cell to cell and from pixel to pixel."""
    torch.manual_seed(4)
    spikes = even_spikes(settings, [stop for layer in trellis_of(settings) for stop in layer], 0.3)
    for cell in spikes.cells:
        cell.states = {number: maps * torch.rand_like(maps) for number, maps in cell.states.items()}
        cell.pooled = {source: pool * torch.rand_like(pool) for source, pool in cell.pooled.items()}
    return replace(spikes, stem=spikes.stem * torch.rand_like(spikes.stem))


def along(spikes: NetworkSpikes, trellis: Trellis, path: tuple[Stop, ...], widths: tuple[int, ...]) -> NetworkSpikes:
    """What would have been recorded of the network of a path, every cell at one of WIDTHS."""
    order = [stop for layer in trellis for stop in layer]
    cells = [
        spikes.cells[order.index(stop)].narrowed(stop.channels_at[width])
        for stop, width in zip(path, widths, strict=True)
    ]
    return NetworkSpikes(cells, spikes.stem)


def test_the_mean_over_all_paths_and_widths() -> None:
    trellis, spikes = trellis_of(SETTINGS), uneven_spikes()
    torch.manual_seed(5)
    chances = chances_of(trellis, *(torch.randn_like(even) for even in even_weights(trellis)))
    emitted, sops, certain = 0.0, dict[str, float](), 0.0
    for path in paths_of(trellis):
        for widths in itertools.product(range(len(WIDTHS)), repeat=len(path)):
            logarithms = [
                chances.moves[stop] + chances.widths[stop][width] for stop, width in zip(path, widths, strict=True)
            ]
            weight = math.exp(sum(logarithm.item() for logarithm in logarithms))
            record = along(spikes, trellis, path, widths)
            certain += weight
            emitted += weight * record.total.item()
            for cell, operations in sops_per_cell(record, mixture, PLAIN, 3).items():
                sops[cell] = sops.get(cell, 0.0) + weight * operations.item()
    assert certain == pytest.approx(1)
    assert expected_spikes(spikes, chances).item() == pytest.approx(emitted, rel=1e-9)
    found = {cell: operations.item() for cell, operations in expected_sops(spikes, chances, mixture, PLAIN, 3).items()}
    assert list(found) == ["cells.0", "cells.1", "cells.2", "readout"]
    assert found == pytest.approx(sops, rel=1e-6)  # 1e-6: the mixture is float32


def sure(trellis: Trellis, path: tuple[Stop, ...], width: int) -> tuple[Tensor, Tensor]:
    betas, gammas = even_weights(trellis)
    gammas[..., width] = 1000.0
    for stop in path:
        betas[place(stop)] = 1000.0
    return betas, gammas


@pytest.mark.parametrize("width", [0, 2])
@pytest.mark.parametrize("number", range(7))
def test_a_sure_path_costs_what_its_network_does(number: int, width: int) -> None:
    trellis, spikes = trellis_of(SETTINGS), uneven_spikes()
    paths = list(paths_of(trellis))
    assert len(paths) == 7  # two of three reductions at most
    path = paths[number]
    chances = chances_of(trellis, *sure(trellis, path, width))
    record = along(spikes, trellis, path, (width,) * 3)
    expected = sops_per_cell(record, mixture, PLAIN, 3)
    found = expected_sops(spikes, chances, mixture, PLAIN, 3)
    assert {cell: sops.item() for cell, sops in found.items()} == pytest.approx(
        {cell: sops.item() for cell, sops in expected.items()}, rel=1e-12
    )
    assert expected_spikes(spikes, chances).item() == pytest.approx(record.total.item(), rel=1e-12)
    other = along(spikes, trellis, paths[number - 1], (width,) * 3)
    assert record.total.item() != pytest.approx(other.total.item(), rel=1e-3)


def test_real_spikes_of_a_sure_path() -> None:
    torch.manual_seed(1)
    net = MacroSupernet("plain", SETTINGS)
    path = list(paths_of(net.trellis))[2]
    for weights, values in zip((net.betas, net.gammas), sure(net.trellis, path, 2), strict=True):
        weights.data.copy_(values)
    with recording(net) as spikes, torch.no_grad():
        net(torch.rand(4, 1, 8, 8))
    expected = sops_per_cell(along(spikes, net.trellis, path, (2, 2, 2)), net.mixture, PLAIN, 3)
    found = Price(net, ObjectiveSettings(sop_weight=1.0)).sops(spikes)
    assert min(sops.item() for sops in found.values()) > 0
    assert {cell: sops.item() for cell, sops in found.items()} == pytest.approx(
        {cell: sops.item() for cell, sops in expected.items()}, rel=1e-9
    )


def test_an_ordinary_supernet_costs_one() -> None:
    net = MacroSupernet("plain", SETTINGS)
    for parameter in net.architecture():
        parameter.data.zero_()
    ordinary, busy = (even_spikes(SETTINGS, net.plan, rate) for rate in (REFERENCE_RATE, 2 * REFERENCE_RATE))

    def price(spikes: NetworkSpikes, **weights: float) -> float:
        return Price(net, ObjectiveSettings(**weights))(spikes).item()

    assert price(ordinary, spike_weight=1.0, sop_weight=0.5) == pytest.approx(1.5, rel=1e-6)
    assert price(busy, spike_weight=3.0) == pytest.approx(6.0, rel=1e-6)
    emitted = expected_spikes(busy, net.chances()).item()
    target = round(emitted / 2)
    assert price(busy, spike_weight=3.0, target_spikes=target) == pytest.approx(3 * (emitted / target - 1))


def test_gradients_reach_paths_widths_primitives_and_spikes() -> None:
    trellis, spikes = trellis_of(SETTINGS), uneven_spikes()
    betas, gammas = even_weights(trellis)
    weights = torch.full((14, 5), 0.2, dtype=torch.float64)
    watched = [betas, gammas, weights, spikes.cells[0].states[2]]
    for tensor in watched:
        tensor.requires_grad_()
    chances: Chances = chances_of(trellis, betas, gammas)
    torch.stack(list(expected_sops(spikes, chances, lambda kind: weights, PLAIN, 3).values())).sum().backward()
    assert all(tensor.grad.abs().sum() > 0 for tensor in watched)
    narrow, middle, wide = gammas.grad[0, 0, 0].tolist()
    assert narrow < middle < wide
