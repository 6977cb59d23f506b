"""Runs, NetX files and genotypes as networks to fit, and all that is none of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikeport.deploy.mapping.capacity import find_chip
from spikeport.deploy.mapping.fit.source import read_source
from spikeport.deploy.mapping.fit.verdict import fit
from spikeport.deploy.mapping.fit.words import advice, contents, headline
from spikeport.deploy.settings import PlannedNetwork
from spikeport.errors import InputError, UnsupportedError
from spikeport.export.graph import neurons
from spikeport.export.netx.writer import write_netx
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.targets import traced
from spikeport.search.runs import Run, create_run
from spikeport.search.settings.network import NetworkSettings
from spikeport.search.space.genotype import Layer, random_genotype, to_json
from spikeport.search.space.network import NetworkConfig, SpikingNetwork, save_network

GOLDEN = Path(__file__).parents[3] / "golden"
SMALL: dict[str, Any] = {"channels": 2, "cells": 3, "classes": 4, "input_shape": "1x8x8"}


@pytest.fixture
def genotype(tmp_path: Path) -> Path:
    path = tmp_path / "genotype.json"
    path.write_text(to_json(random_genotype(np.random.default_rng(0), "plain")))
    return path


def run_with(path: Path, attention: Any = "none") -> tuple[Run, SpikingNetwork]:
    """A run whose model is there, untrained."""
    run = create_run(path, {})
    settings = NetworkConfig(
        channels=2, cells=3, time_steps=2, classes=4, input_shape=(1, 8, 8), attention=attention, dataset="digits"
    )
    network = SpikingNetwork(random_genotype(np.random.default_rng(0), "plain"), settings).eval()
    save_network(run, network)
    return run, network


def test_a_genotype_needs_no_training(genotype: Path) -> None:
    source = read_source(genotype, SMALL)
    assert (source.channels, source.graph.arithmetic, source.graph.time_steps) == (2, "float", 2)
    assert source.graph.inputs[0].shape == (6, 8, 8)  # the stem has three times the channels
    assert source.graph.readout.shape == (4,)
    wider = read_source(genotype, SMALL | {"channels": 4})
    assert (
        sum(neurons(p.shape) for p in wider.graph.populations)
        == 2 * (sum(neurons(p.shape) for p in source.graph.populations) - 4) + 4
    )


def test_a_path_says_how_many_cells_there_are(tmp_path: Path) -> None:
    layers = (Layer("normal", 0.5), Layer("reduce", 1.0), Layer("normal", 0.5), Layer("normal", 1.0))
    path = tmp_path / "layered.json"
    path.write_text(to_json(replace(random_genotype(np.random.default_rng(0), "plain"), layers=layers)))
    planned: dict[str, Any] = {"channels": 4, "classes": 4, "input_shape": "1x6x6"}
    shapes = {p.name: p.shape for p in read_source(path, planned).graph.populations}
    assert [shapes[f"cells.{i}.n1"] for i in range(4)] == [(2, 6, 6), (8, 3, 3), (4, 3, 3), (8, 3, 3)]
    assert read_source(path, planned | {"cells": 4}).graph.readout.shape == (4,)
    with pytest.raises(InputError, match=r"it has 4 layers and there are 3 cells; say --cells 4\."):
        read_source(path, planned | {"cells": 3})


def test_a_genotype_takes_the_same_cores_every_time(genotype: Path) -> None:
    first, second = (fit(read_source(genotype, SMALL).graph, find_chip("loihi1")) for _ in range(2))
    assert first.mapping == second.mapping


def test_a_run_is_read_as_trained_and_then_as_exported(tmp_path: Path) -> None:
    run, network = run_with(tmp_path / "run")
    source = read_source(run.path, {})
    assert (source.graph.arithmetic, source.channels) == ("float", 2)
    graph = quantize(lower(traced(network).graph), 8.0)
    write_netx(run.export_folder("loihi") / "network.net", graph)
    exported = read_source(run.path, {})
    assert (exported.graph.arithmetic, exported.channels) == ("loihi", 2)
    same = read_source(run.export_folder("loihi") / "network.net", {})  # the graph that travels in the file
    assert [p.name for p in same.graph.populations] == [p.name for p in exported.graph.populations]
    assert same.channels is None


def test_attention_has_no_place_on_a_chip(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"Layer 'cells\.0\.n1\.attention'"):
        read_source(run_with(tmp_path / "run", attention="eca")[0].path, {})


def test_a_netx_file_of_others(tmp_path: Path) -> None:
    with np.load(GOLDEN / "recurrent.npz") as arrays:
        (tmp_path / "some.net").write_bytes(arrays["net"].tobytes())
    source = read_source(tmp_path / "some.net", {})
    assert [p.shape for p in source.graph.populations] == [(8,), (5,), (4,)] and not source.on_chip_inputs


def test_neurons_that_an_image_drives_lie_on_the_chip(tmp_path: Path) -> None:
    """An input layer of 3 neurons before a dense one of 2."""
    cuba = {"type": b"CUBA", "iDecay": 4096, "vDecay": 0, "vThMant": 100}
    with h5py.File(tmp_path / "some.net", "w") as file:
        for i, (kind, shape) in enumerate(((b"input", [1, 1, 3]), (b"flatten", None), (b"dense", [2]))):
            layer = file.create_group(f"layer/{i}")
            layer["type"] = kind
            if shape:
                layer["shape"] = shape
                for key, value in cuba.items():
                    layer[f"neuron/{key}"] = value
        file["layer/2/weight"] = np.array([[2, 4, 6], [8, -2, 2]])
    source = read_source(tmp_path / "some.net", {})
    assert source.on_chip_inputs == {"layer0"}
    found = fit(source.graph, find_chip("loihi1"), on_chip_inputs=source.on_chip_inputs)
    assert [(layer.layer, layer.neurons, layer.cores) for layer in found.layers] == [(0, 3, 1), (1, 2, 1)]


def test_what_is_no_network(tmp_path: Path, genotype: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    (tmp_path / "damaged.json").write_text("{")
    (tmp_path / "other.json").write_text('{"primitives": "plain"}')
    (tmp_path / "damaged.net").write_text("none")
    (tmp_path / "some.net").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "empty").mkdir()
    for name, given, said in (
        ("nowhere", {}, "There is no '"),
        ("notes.txt", {}, "is a text file, but fit reads a run folder, a NetX file or a genotype"),
        ("damaged.json", {}, "damaged.json': A genotype must be JSON"),
        ("other.json", {}, "other.json': A genotype must have exactly the keys primitives, normal, reduce"),
        ("damaged.net", {}, "damaged.net' is a text file, but fit reads"),
        ("some.net", {"channels": 8, "time_steps": 2}, "so --channels/--time-steps cannot be given"),
        ("empty", {}, "is a folder that holds no run, but fit reads"),
        ("genotype.json", {"input_shape": "32x32"}, "`input shape` must be channels x rows x columns"),
        ("genotype.json", {"input_shape": "3x-1x32"}, "`input shape` must be channels x rows x columns"),
        ("genotype.json", {"input_shape": "3x30x32"}, "pad them to 32"),
        ("genotype.json", {"channels": 0}, "`channels >= 1` must hold"),
    ):
        with pytest.raises(InputError) as error:
            read_source(tmp_path / name, given)
        assert said in str(error.value), name


def test_the_plan_is_that_of_the_search_by_default() -> None:
    planned, search = PlannedNetwork(), NetworkSettings()
    assert (planned.channels, planned.cells, planned.time_steps) == (search.channels, search.cells, search.time_steps)
    assert planned.image == (3, 32, 32)


def test_a_fit_in_words(genotype: Path) -> None:
    source = read_source(genotype, SMALL | {"channels": 4})
    fits = fit(source.graph, find_chip("loihi2"), channels=4)
    assert headline(source, fits).endswith(f"fits on 1 x Loihi 2: it takes {fits.cores} cores, 1 chip")
    assert advice(source, fits) == []
    speck = fit(source.graph, find_chip("speck"), channels=4)
    assert f"does not fit on 1 x Speck 2e: it takes {len(source.graph.populations)} cores" in headline(source, speck)
    assert "9 allowed: each population" in advice(source, speck)[0] and advice(source, speck)[1].startswith("no width")
    relays = [sum("relay" in name for name in layer.populations) for layer in fits.layers]
    shown = [contents(source, layer) for layer in fits.layers]
    assert [f"{number} relay" in text for number, text in zip(relays, shown, strict=True)] == [n > 0 for n in relays]
    assert max(relays) > 1 and not any(".relay" in text for text in shown)


def test_the_smallest_change_in_words(genotype: Path) -> None:
    source = read_source(genotype, SMALL | {"channels": 4})
    chip = find_chip("loihi1")
    few = replace(chip, limits={**chip.limits, "neurons_per_core": replace(chip.limits["neurons_per_core"], value=64)})
    known, unknown = fit(source.graph, few, channels=4), fit(source.graph, few)
    assert known.narrower is not None and unknown.narrower is not None
    assert advice(source, known)[1] == (
        f"smallest change: {known.narrower.channels} of 4 channels in every hidden population fits: "
        f"{known.narrower.cores} cores"
    )
    assert f"smallest change: {unknown.narrower.ratio:.1%} of the channels" in advice(source, unknown)[1]
