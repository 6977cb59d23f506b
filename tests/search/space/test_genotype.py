import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.search.settings.network import PrimitiveSet
from spikeport.search.space.genotype import (
    DECAYS,
    CellKind,
    Edge,
    Genotype,
    Layer,
    from_json,
    random_genotype,
    to_dict,
    to_json,
)


@pytest.fixture
def genotype() -> Genotype:
    return random_genotype(np.random.default_rng(1), "plain")


@pytest.mark.parametrize("primitives", ["darts", "plain"])
@pytest.mark.parametrize("seed", range(20))
def test_random_genotypes_survive_json(primitives: PrimitiveSet, seed: int) -> None:
    genotype = random_genotype(np.random.default_rng(seed), primitives)
    assert from_json(to_json(genotype)) == genotype
    assert to_json(from_json(to_json(genotype))) == to_json(genotype)
    assert "none" not in to_json(genotype)


def test_a_path_survives_json(genotype: Genotype) -> None:
    path = (Layer("normal", 1.0), Layer("reduce", 0.75))
    layered = replace(genotype, layers=path)
    assert from_json(to_json(layered)) == layered
    assert to_dict(layered)["layers"] == [{"kind": "normal", "width": 1.0}, {"kind": "reduce", "width": 0.75}]
    assert to_dict(layered) == json.loads(to_json(layered))
    whole = json.loads(to_json(layered))
    whole["layers"][0]["width"] = 1  # as people write it
    assert from_json(json.dumps(whole)) == layered


def test_without_a_path_the_file_is_as_it_always_was(genotype: Genotype) -> None:
    edges = {kind: [asdict(edge) for edge in genotype.cell(kind)] for kind in ("normal", "reduce")}
    assert to_json(genotype) == json.dumps({"primitives": "plain"} | edges, indent=2) + "\n"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "at least one layer, but `layers` is empty; leave the key out"),
        ({}, "'layers' must be list, but is {}"),
        (None, "'layers' must be list, but is None"),
        ([{"kind": "normal"}], "A layer of a genotype must have exactly the keys kind, width, but has kind"),
        ([{"kind": "wide", "width": 1.0}], "Unknown kind of cell 'wide' in a path; choose from normal, reduce"),
        ([{"kind": "normal", "width": 0.0}], r"`0 < width <= 1` must hold .*, but a layer has width=0\.0"),
        ([{"kind": "normal", "width": 1.5}], "width=1.5"),
        ([{"kind": "normal", "width": float("nan")}], "width=nan"),
        ([{"kind": "normal", "width": True}], "'width' must be float, but is True"),
    ],
)
def test_impossible_path(genotype: Genotype, layers: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_json(json.dumps(json.loads(to_json(genotype)) | {"layers": layers}))


GATES = ((True, False, False, True), (False, False, False, False))


def test_gates_survive_json(genotype: Genotype) -> None:
    gated = replace(genotype, gates=GATES)
    assert from_json(to_json(gated)) == gated != genotype
    assert to_dict(gated)["gates"] == [list(row) for row in GATES]
    assert to_dict(gated) == json.loads(to_json(gated))
    assert [gated.gated("normal", node, 5) for node in range(4)] == list(GATES[0])
    assert gated.gated("reduce", 0, 5) is False and genotype.gated("normal", 0, 0) is None


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        ([], r"`gates` .* must have 2 rows, one for each cell, of 4 values, .* but it has 0 of none"),
        ([[True] * 4], "must have 2 rows, .* but it has 1 of 4"),
        ([[True] * 4, [True] * 3], "but it has 2 of 4, 3"),
        ([[True] * 4, [1] * 4], r"A row of `gates` .* must be a list of true and false, but is \[1, 1, 1, 1\]"),
        ([[True] * 4, None], "but is None"),
        ({"normal": [True] * 4}, "'gates' must be list"),
    ],
)
def test_impossible_gates(genotype: Genotype, gates: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_json(json.dumps(json.loads(to_json(genotype)) | {"gates": gates}))


def test_random_genotypes_have_gates_where_they_are_asked_for(genotype: Genotype) -> None:
    drawn = [random_genotype(np.random.default_rng(seed), "plain", gates=True) for seed in range(40)]
    gates = np.array([one.gates for one in drawn])
    assert gates.shape == (40, 2, 4) and 0.4 < gates.mean() < 0.6
    assert replace(drawn[1], gates=None) == genotype  # the edges are as ever


DECAY_ROWS = ((0.25, 0.5, 0.75, 0.875), (0.5, 0.5, 0.5, 0.25))


def test_decays_survive_json(genotype: Genotype) -> None:
    leaking = replace(genotype, decays=DECAY_ROWS)
    assert from_json(to_json(leaking)) == leaking
    assert to_dict(leaking)["decays"] == [list(row) for row in DECAY_ROWS]
    assert (leaking.decay("normal", 3, 0), leaking.decay("reduce", 3, 7), genotype.decay("normal", 3, 0)) == (
        *(0.875, 0.25),
        0.5,
    )
    drawn = [random_genotype(np.random.default_rng(seed), "plain", decays=True) for seed in range(20)]
    assert {decay for one in drawn for row in one.decays or () for decay in row} == {*DECAYS}
    assert replace(drawn[1], decays=None) == genotype and from_json(to_json(drawn[1])) == drawn[1]


@pytest.mark.parametrize(
    ("decays", "message"),
    [
        ([[0.5] * 4, [0.5, 0.5, 0.5, 0.9]], r"must be among 0\.25, 0\.5, 0\.75, 0\.875, but one of them is 0\.9"),
        ([[0.5] * 4, [0.5, 0.5, 0.5, True]], r"A row of `decays` .* must be a list of numbers, but is \[0\.5, "),
        ([[0.5] * 4], "`decays` of a genotype must have 2 rows, one for each cell"),
    ],
)
def test_impossible_decays(genotype: Genotype, decays: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_json(json.dumps(to_dict(genotype) | {"decays": decays}))


KINDS: tuple[CellKind, ...] = ("normal", "reduce", "normal", "reduce")


def test_cells_of_layers_survive_json() -> None:
    drawn = random_genotype(np.random.default_rng(3), "darts", layers=KINDS, gates=True)
    assert drawn.cells is not None and len(drawn.cells) == drawn.depth == 4 and len(set(drawn.cells)) == 4
    assert (drawn.normal, drawn.reduce) == drawn.cells[:2]
    assert [drawn.cell("normal", place) for place in range(4)] == list(drawn.cells)
    assert drawn.incoming("reduce", 3, 2) == tuple(edge for edge in drawn.cells[2] if edge.node == 3)
    assert drawn.gates is not None and len(drawn.gates) == 4
    assert drawn.gated("normal", 1, 3) == drawn.gates[3][1]
    assert from_json(to_json(drawn)) == drawn
    assert to_dict(drawn) == json.loads(to_json(drawn))
    assert replace(drawn, layers=tuple(Layer(kind, 0.5) for kind in KINDS)).depth == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cells": []}, "as many cells as its path has layers, but it has 0 cells and no layers"),
        ({"cells": [3]}, "Every cell in `cells` of a genotype must be a list of edges, but one is 3"),
        ({"cells": [[]]}, "2 incoming edges, but node 0 of the cell of layer 0 has 0"),
        ({"layers": [{"kind": "normal", "width": 1.0}]}, "but it has 4 cells and 1 layers"),
        ({"gates": [[True] * 4] * 2}, "`gates` .* must have 4 rows, one for each cell"),
    ],
)
def test_impossible_cells_of_layers(change: dict[str, Any], message: str) -> None:
    drawn = random_genotype(np.random.default_rng(3), "plain", layers=KINDS)
    with pytest.raises(InputError, match=message):
        from_json(json.dumps(to_dict(drawn) | change))


def test_same_generator_same_genotype() -> None:
    assert random_genotype(np.random.default_rng(7), "darts") == random_genotype(np.random.default_rng(7), "darts")
    assert random_genotype(np.random.default_rng(7), "darts") != random_genotype(np.random.default_rng(8), "darts")


@pytest.mark.parametrize(
    ("edge", "message"),
    [
        (
            Edge(0, 0, "sep_conv_3x3"),
            r"Unknown primitive 'sep_conv_3x3' in the normal cell; choose from max_pool_3x3, ",
        ),
        (
            Edge(0, 0, "none"),
            r"Unknown primitive 'none' .*; choose from max_pool_3x3, skip_connect, conv_3x3, conv_5x5\.$",
        ),
        (Edge(1, 3, "conv_3x3"), r"`0 <= source <= node \+ 1` must hold .* node=1, source=3\.$"),
        (Edge(1, -1, "conv_3x3"), r"node=1, source=-1"),
        (Edge(4, 0, "conv_3x3"), r"`0 <= node < 4` must hold, but an edge in the normal cell has node=4\.$"),
    ],
)
def test_impossible_edge(genotype: Genotype, edge: Edge, message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(genotype, normal=(*genotype.normal[1:], edge))


def test_wrong_number_of_edges(genotype: Genotype) -> None:
    with pytest.raises(InputError, match=r"2 incoming edges, but node 0 of the reduce cell has 1\.$"):
        replace(genotype, reduce=genotype.reduce[1:])
    with pytest.raises(InputError, match=r"node 3 of the normal cell has 3\.$"):
        replace(genotype, normal=(*genotype.normal, genotype.normal[-1]))


def test_unknown_set(genotype: Genotype) -> None:
    with pytest.raises(InputError, match="Unknown primitive set 'big'; choose from darts, plain"):
        from_json(to_json(genotype).replace('"plain"', '"big"'))


def test_damaged_json(genotype: Genotype) -> None:
    with pytest.raises(InputError, match="A genotype must be JSON, but line 5 is not"):
        from_json("\n".join(to_json(genotype).splitlines()[:5])[:-2])
    with pytest.raises(InputError, match="exactly the keys primitives, normal, reduce, but has list"):
        from_json("[]")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normal": None}, "'normal' must be list, but is None"),
        ({"extra": 1}, "exactly the keys primitives, normal, reduce, but has primitives, normal, reduce, extra"),
        ({"reduce": [{"node": 0, "source": 0}]}, "exactly the keys node, source, primitive, but has node, source"),
        ({"reduce": [{"node": "0", "source": 0, "primitive": "conv_3x3"}]}, "'node' must be int, but is '0'"),
        ({"reduce": [{"node": True, "source": 0, "primitive": "conv_3x3"}]}, "'node' must be int, but is True"),
    ],
)
def test_wrong_fields(genotype: Genotype, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_json(json.dumps(json.loads(to_json(genotype)) | change))
