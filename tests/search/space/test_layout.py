from typing import Any

import pytest

from spikeport.errors import InputError
from spikeport.search.space.genotype import Layer
from spikeport.search.space.layout import check_even, default_layers, node_channels, plan_cells
from spikeport.search.space.network import NetworkConfig

UNUSUAL = (
    Layer("normal", 1.0),
    Layer("reduce", 0.75),
    Layer("normal", 0.5),
    Layer("reduce", 1.0),
    Layer("normal", 0.5),
)


def test_the_plan_of_an_unusual_path_by_hand() -> None:
    """4 channels: stem 12; 4, then 0.75 * 8 = 6, 0.5 * 8 = 4, 16 and 8; a cell's output has four times as many."""
    plan = plan_cells(UNUSUAL, 4)
    assert [cell.kind for cell in plan] == [layer.kind for layer in UNUSUAL]
    assert [cell.channels for cell in plan] == [4, 6, 4, 16, 8]
    assert [cell.halvings for cell in plan] == [0, 1, 1, 2, 2]
    assert [cell.halvings_before for cell in plan] == [0, 0, 1, 1, 2]
    assert [cell.halve_s0 for cell in plan] == [False, False, True, False, True]
    assert [cell.in_channels for cell in plan] == [(12, 12), (12, 16), (16, 24), (24, 16), (16, 64)]


def test_a_path_that_begins_with_a_reduction() -> None:
    plan = plan_cells((Layer("reduce", 1.0), Layer("normal", 1.0)), 2)
    assert [cell.in_channels for cell in plan] == [(6, 6), (6, 16)]
    assert [cell.halve_s0 for cell in plan] == [False, True]


@pytest.mark.parametrize(("cells", "reductions"), [(1, [0]), (2, [0, 1]), (3, [1, 2]), (4, [1, 2]), (20, [6, 13])])
def test_the_usual_layout(cells: int, reductions: list[int]) -> None:
    layers = default_layers(cells)
    assert [i for i, layer in enumerate(layers) if layer.kind == "reduce"] == reductions
    assert {layer.width for layer in layers} == {1.0}


def test_a_node_has_at_least_one_channel() -> None:
    assert [node_channels(width, 1, 0) for width in (0.25, 0.5, 0.75, 1.0)] == [1, 1, 1, 1]
    assert [node_channels(width, 6, 1) for width in (0.5, 0.75, 1.0)] == [6, 9, 12]


@pytest.mark.parametrize(
    ("change", "layers", "message"),
    [
        ({}, UNUSUAL[:3], r"it has 3 layers and there are 5 cells; say --cells 3\.$"),
        ({"input_shape": (1, 8, 10)}, UNUSUAL, "The columns .* each of the 2 reductions .* have 10; pad them to 12"),
        ({"stem_stride": 4}, UNUSUAL, "The rows .* behind a stem of stride 4, but images have 8; pad them to 16"),
    ],
)
def test_refused(change: dict[str, Any], layers: tuple[Layer, ...], message: str) -> None:
    known: dict[str, Any] = {"channels": 4, "cells": 5, "time_steps": 2, "classes": 3, "input_shape": (1, 8, 8)}
    settings = NetworkConfig(**known | change)
    with pytest.raises(InputError, match=message):
        settings.plan(layers)


def test_only_the_reductions_of_the_path_must_find_even_sizes() -> None:
    check_even((10, 6), 1, 1)
    settings = NetworkConfig(channels=4, cells=3, time_steps=2, classes=3, input_shape=(1, 10, 6))
    with pytest.raises(InputError, match="pad them to 12"):
        settings.plan()
    assert settings.plan((UNUSUAL[0], UNUSUAL[1], UNUSUAL[2]))[-1].halvings == 1
