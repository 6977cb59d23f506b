"""A core stands where the mesh has it, filled as far as its fullest limit."""

import re
from typing import Any

import pytest

from spikeport.deploy.report.figures.floor_plan import cores_of, floor_plan, mapped_populations, mapping_of
from spikeport.tests.deploy.report.made_up import energy_json


def piece(core: int, **changes: Any) -> dict[str, Any]:
    return {
        "core": core,
        "chip": core // 128,
        "tile": core % 128 // 4,
        "x": core % 128 // 16,
        "y": core % 128 // 4 % 4,
        "population": "a",
        "role": "neuron",
        "box": [[0, 8]],
        "neurons": 8,
        "in_axons": 4,
        "out_axons": 16,
        "memory_bits": 640,
        "use": {"neurons": 0.25, "memory_bits": 0.5},
    } | changes


def mapping(*pieces: dict[str, Any], **changes: Any) -> dict[str, Any]:
    known = {"title": "Loihi 1", "fits": True, "reason": None, "cores": 1, "cores_per_chip": 128, "chips": 1}
    return known | {"tiles": 1, "limits": [], "pieces": list(pieces), "busy_s": None} | changes


def test_pieces_of_a_core_add_up_and_the_larger_role_colours_it() -> None:
    relay = piece(0, population="b", role="relay", neurons=20, use={"neurons": 0.7, "memory_bits": 0.1})
    core = cores_of(mapping(piece(0), relay))[0]
    assert core["uses"] == pytest.approx({"neurons": 0.95, "memory_bits": 0.6})
    assert (core["limit"], core["role"]) == ("neurons", "relay")
    assert core["use"] == pytest.approx(0.95)


@pytest.mark.parametrize(("core", "x", "y"), [(0, 6, 6), (3, 30, 30), (4, 6, 58), (16, 58, 6), (127, 394, 186)])
def test_a_core_lies_where_its_tile_lies(core: int, x: int, y: int) -> None:
    # a core is 22 px with 2 px between, a tile 46 with 6 between, and 6 px of margin
    figure = floor_plan("loihi1", mapping(piece(core)))
    assert figure is not None
    assert f'<rect x="{x}" y="{y}" width="22" height="22" class="core"/>' in figure.wide.replace(".0", "")
    assert figure.wide.count('class="free"') == 127


def test_a_core_is_filled_as_far_as_its_fullest_limit() -> None:
    figure = floor_plan("loihi1", mapping(piece(0)))
    assert figure is not None and 'y="17" width="22" height="11" class="c-neuron"' in figure.wide.replace(".0", "")
    assert figure.title == "Loihi 1: 1 of 128 cores on 1 chip; core 0 is fullest, 50\u00a0% of its synapse memory"
    assert "Core 0, tile 0: a (8); neurons 25\u00a0%, synapse memory 50\u00a0%" in figure.wide
    over = floor_plan("loihi1", mapping(piece(0, use={"neurons": 1.5})))
    assert over is not None and 'class="core over"' in over.wide and 'height="22" class="c-neuron"' in over.wide


def test_the_busiest_core_is_ringed_and_the_busy_time_is_a_plan_of_its_own() -> None:
    busy = mapping(piece(0), piece(1), busy_s={"0": 1e-6, "1": 4e-6})
    figure = floor_plan("loihi1", busy)
    assert figure is not None and figure.wide.count('class="ring"') == 2
    assert figure.wide.count('class="heat h8"') == 1 and figure.wide.count('class="heat h2"') == 1
    assert "Core 1 is busiest, 4.00\u00a0µs per step." in figure.label
    for silent in (None, {"0": 0.0, "1": 0.0}):
        plain = floor_plan("loihi1", busy | {"busy_s": silent})
        assert plain is not None and "ring" not in plain.wide and "heat" not in plain.wide


def test_sixteen_chips_are_drawn_and_a_title_is_on_every_core() -> None:
    found = mapping(*(piece(core) for core in range(2000)), chips=16, cores=2000)
    figure = floor_plan("loihi1", found)
    assert figure is not None
    assert figure.wide.count('class="chip"') == 16 and figure.wide.count("<title>") == 2000
    assert len(figure.wide) < 700_000


def test_nothing_mapped_is_no_figure() -> None:
    assert floor_plan("loihi1", mapping()) is None
    assert floor_plan("loihi1", mapping(pieces=None)) is None


def test_rows_of_mapped_populations_by_hand() -> None:
    found = mapped_populations(mapping(piece(2), piece(3, neurons=2), piece(3, population="b", role="or")))
    assert [(row["name"], row["cores"], row["first_core"], row["neurons"]) for row in found] == [
        ("a", 2, 2, 10),
        ("b", 1, 3, 8),
    ]
    assert found[0]["use"] == found[1]["use"] == 1.0 and found[0]["limit"] == "memory_bits"


def test_a_price_list_without_a_mapping_is_told_why_by_its_chip() -> None:
    unfit = mapping(fits=False, reason="too many in-axons")
    profile = {"mapping": None, "chip": "Loihi 1"}
    assert mapping_of(profile, {"loihi1": unfit}) is unfit
    assert mapping_of(profile | {"chip": "TrueNorth"}, {"loihi1": unfit}) is None
    energy = energy_json()
    one = energy["profiles"]["loihi2-proxy"]
    assert mapping_of(one, energy["mappings"]) is energy["mappings"]["loihi2"]


def test_roles_stand_in_one_order() -> None:
    figure = floor_plan("loihi1", mapping(piece(0, role="relay"), piece(1, role="neuron"), piece(2, role="odd")))
    assert figure is not None and [kind for kind, _ in figure.legend] == ["c-neuron", "c-relay", "c-odd"]
    assert re.search("c-relay", figure.wide)
