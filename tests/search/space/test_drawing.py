from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from spikeport.search.settings.network import PrimitiveSet
from spikeport.search.space.drawing import draw_genotype, draw_history
from spikeport.search.space.genotype import Layer, random_genotype

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("primitives", ["darts", "plain"])
def test_cells_show_every_operation_on_its_edge(primitives: PrimitiveSet) -> None:
    genotype = random_genotype(np.random.default_rng(2), primitives)
    svg = draw_genotype(genotype)
    assert svg == draw_genotype(genotype)
    words = texts(svg)
    for name in ("s0", "s1", "n1", "n2", "n3", "n4"):
        assert words.count(name) == 2
    labels = [edge.primitive for edge in genotype.normal]
    labels += [edge.primitive + (" /2" if edge.source < 2 else "") for edge in genotype.reduce]
    assert sorted(word for word in words if "_" in word) == sorted(labels)


PATH = tuple(Layer("reduce" if i in (1, 13) else "normal", 0.5 if i == 2 else 1.0) for i in range(14))


def test_a_path_is_drawn_cell_by_cell() -> None:
    genotype = random_genotype(np.random.default_rng(2), "plain")
    words = texts(draw_genotype(replace(genotype, layers=PATH)))
    kinds = [word for word in words if word[0].isdecimal()]
    assert kinds == [f"{i}: {layer.kind}" for i, layer in enumerate(PATH)]
    assert [words.count(f"channels x{factor}") for factor in (1, 2, 4)] == [1, 12, 1]
    assert (words.count("width 0.5"), words.count("width 1")) == (1, 13)
    assert not [word for word in texts(draw_genotype(genotype)) if "width" in word or "Path" in word]


def test_gates_stand_above_their_nodes() -> None:
    genotype = random_genotype(np.random.default_rng(2), "plain")
    assert "gates" not in texts(draw_genotype(genotype))
    svg = draw_genotype(replace(genotype, gates=GATES))
    cells = [texts(ElementTree.tostring(g, "unicode")) for g in ElementTree.fromstring(svg).iter(f"{SVG}g")]
    assert [words.count("gates") for words in cells] == [sum(row) for row in GATES]


def test_every_layer_with_a_cell_of_its_own_is_drawn() -> None:
    genotype = random_genotype(np.random.default_rng(2), "plain", layers=("normal", "reduce", "reduce"))
    words = texts(draw_genotype(genotype))
    titles = [word for word in words if word.startswith("Layer")]
    kinds = ["normal", "reduction", "reduction"]
    assert titles == [f"Layer {i}: {kind} cell (plain primitives)" for i, kind in enumerate(kinds)]
    assert genotype.cells is not None
    drawn = sorted(word.removesuffix(" /2") for word in words if "_" in word)
    assert drawn == sorted(edge.primitive for cell in genotype.cells for edge in cell)


GATES = ((True, True, True, False), (False, False, True, True))


DECAYS = ((0.25, 0.5, 0.75, 0.875), (0.5, 0.5, 0.5, 0.25))


def test_decays_stand_above_their_nodes() -> None:
    genotype = random_genotype(np.random.default_rng(2), "plain")
    words = texts(draw_genotype(replace(genotype, decays=DECAYS)))
    assert [words.count(f"decay {name}") for name in ("1/4", "1/2", "3/4", "7/8")] == [2, 4, 1, 1]


@pytest.mark.parametrize("more", [{}, {"gates": GATES, "decays": DECAYS}], ids=["", "marks"])
@pytest.mark.parametrize("layers", [None, PATH], ids=["cells", "path"])
def test_no_box_covers_another(layers: tuple[Layer, ...] | None, more: dict[str, Any]) -> None:
    svg = draw_genotype(replace(random_genotype(np.random.default_rng(2), "darts"), layers=layers, **more))
    height = float(ElementTree.fromstring(svg).get("height", ""))
    last = max(ElementTree.fromstring(svg).iter(f"{SVG}g"), key=lambda g: float(g.get("transform", "")[:-1].split()[1]))
    bottom = max(float(box.get("y", "")) + float(box.get("height", "")) for box in last.iter(f"{SVG}rect"))
    assert float(last.get("transform", "")[:-1].split()[1]) + bottom < height
    for cell in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        boxes = [tuple(float(box.get(k, "")) for k in ("x", "y", "width", "height")) for box in cell.iter(f"{SVG}rect")]
        for i, (x, y, width, height) in enumerate(boxes):
            for other_x, other_y, other_width, other_height in boxes[:i]:
                apart = x >= other_x + other_width or other_x >= x + width
                assert apart or y >= other_y + other_height or other_y >= y + height


def row(stage: str, epoch: int) -> dict[str, Any]:
    score = {"loss": 1 / epoch, "accuracy": 0.5, "spikes_per_cell": {"stem": 10.0 * epoch, "cells.0": 20.0}}
    return {"stage": stage, "epoch": epoch, "train": score, "validation": score}


def test_history_shows_the_operations_of_a_search() -> None:
    first = row("search", 1)
    first["validation"] = first["validation"] | {"sops_per_cell": {"cells.0": 5.0, "readout": 1.0}}
    words = texts(draw_history([first, row("train", 1)]))
    assert "search: expected SOPs per image and cell" in words
    assert words.count("readout") == 1
    assert "train: expected SOPs per image and cell" not in words


def test_history_shows_loss_accuracy_and_spikes_of_both_stages() -> None:
    rows = [row("search", 1), row("search", 2), row("train", 1)]
    svg = draw_history(rows)
    assert svg == draw_history(rows)
    words = texts(svg)
    for stage in ("search", "train"):
        assert {f"{stage}: loss (nats)", f"{stage}: accuracy", f"{stage}: spikes per image and cell"} <= set(words)
    assert words.count("cells.0, validation") == 2
    assert ElementTree.fromstring(draw_history([])).tag == f"{SVG}svg"
