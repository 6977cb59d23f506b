import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based.base import StepModule
from spikingjelly.activation_based.functional import reset_net
from torch import fx, nn

from spikeport.errors import InputError
from spikeport.search.runs import Run
from spikeport.search.settings.network import Attention, PrimitiveSet
from spikeport.search.space.attention import ATTENTION, CBAM, ECA
from spikeport.search.space.genotype import Layer, random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork, load_network, save_network
from spikeport.search.space.primitives import FactorizedReduce
from spikeport.search.space.spike_gates import BandedSum
from spikeport.search.tensors import load_tensors, save_tensors

SETTINGS = NetworkConfig(channels=2, cells=3, time_steps=3, classes=5, input_shape=(2, 8, 12))


def network(primitives: PrimitiveSet = "darts", seed: int = 0, **changes: Any) -> SpikingNetwork:
    torch.manual_seed(seed)
    genotype = random_genotype(np.random.default_rng(seed), primitives)
    return SpikingNetwork(genotype, replace(SETTINGS, **changes))


@pytest.mark.parametrize("primitives", ["darts", "plain"])
@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("seed", range(4))
def test_random_genotypes_run_and_learn(primitives: PrimitiveSet, attention: Attention, seed: int) -> None:
    net = network(primitives, seed, attention=attention)
    logits = net(torch.rand(6, 2, 8, 12))
    assert logits.shape == (6, 5)
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.stem.parameters())
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize(
    ("cells", "reductions", "channels"), [(1, (0,), 8), (3, (1, 2), 16), (4, (1, 2), 16), (8, (2, 5), 16)]
)
def test_reductions_at_one_and_two_thirds(cells: int, reductions: tuple[int, ...], channels: int) -> None:
    net = network(cells=cells)
    assert tuple(i for i, cell in enumerate(net.plan) if cell.kind == "reduce") == reductions
    assert net.readout.in_features == 4 * 2 * 2 ** len(reductions)
    assert net(torch.rand(2, 2, 8, 12)).shape == (2, 5)


@pytest.mark.parametrize("seed", range(6))
def test_random_paths_run_and_are_saved(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    kinds = ["reduce"] * 3 + ["normal"] * 3
    layers = tuple(Layer(str(kind), float(rng.choice((0.5, 0.75, 1.0)))) for kind in rng.permutation(kinds))
    genotype = replace(random_genotype(rng, "darts"), layers=layers)
    settings = replace(SETTINGS, channels=3, cells=6, input_shape=(2, 8, 16))
    net = SpikingNetwork(genotype, settings).eval()
    outputs: list[torch.Tensor] = []
    for cell in net.cells:
        cell.register_forward_hook(lambda module, inputs, spikes: outputs.append(spikes))
    images = torch.rand(2, 2, 8, 16)
    logits = net(images)
    assert [tuple(spikes.shape[2:]) for spikes in outputs] == [
        (4 * cell.channels, 8 // 2**cell.halvings, 16 // 2**cell.halvings) for cell in net.plan
    ]
    save_network(Run(tmp_path), net)
    loaded = load_network(Run(tmp_path))
    assert loaded.genotype.layers == layers
    assert torch.equal(loaded(images), logits)


def test_populations_are_named_by_their_path() -> None:
    paths = [name for name, module in network().named_modules() if name.endswith(".lif")]
    assert paths == ["stem.lif"] + [
        f"cells.{i}.{b}.lif" for i in range(3) for b in ("p0", "p1", "n1", "n2", "n3", "n4")
    ]


def test_s0_is_halved_after_a_reduction() -> None:
    kinds = [isinstance(cell.p0.conv, FactorizedReduce) for cell in network(cells=4).cells]
    assert kinds == [False, False, True, True]


def test_readout_is_the_mean_over_time_of_a_linear_map_of_the_mean_over_positions() -> None:
    net = network().eval()
    spikes: list[torch.Tensor] = []
    net.cells[2].register_forward_hook(lambda module, inputs, out: spikes.append(out))
    logits = net(torch.rand(4, 2, 8, 12))
    assert spikes[0].shape == (3, 4, 32, 2, 3)
    by_hand = spikes[0].mean(dim=(0, 3, 4)) @ net.readout.weight.T + net.readout.bias
    torch.testing.assert_close(logits, by_hand, rtol=1e-5, atol=1e-6)


class Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        ours = isinstance(module, StepModule | FactorizedReduce | ECA | CBAM | BandedSum)
        return ours or super().is_leaf_module(module, path)


@pytest.mark.parametrize("attention", ATTENTION)
def test_can_be_traced(attention: Attention) -> None:
    net = network(attention=attention).eval()
    images = torch.rand(3, 2, 8, 12)
    traced = fx.GraphModule(net, Tracer().trace(net))
    expected = net(images)
    reset_net(net)
    assert torch.equal(traced(images), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_steps": 0}, r"^`time_steps >= 1` must hold, but got time_steps=0\.$"),
        ({"channels": 0}, r"`channels >= 1` must hold"),
        ({"cells": 0}, r"`cells >= 1` must hold"),
        ({"classes": 1}, r"`classes >= 2` must hold"),
        ({"attention": "se"}, "Unknown attention 'se'"),
        (
            {"input_shape": (1, 28, 30)},
            r"The columns must be even before each of the 2 reductions .* have 30; pad them to 32\.$",
        ),
        ({"stem_stride": 0}, "`stem_stride >= 1` must hold"),
        ({"stem_stride": 2}, r"The columns must be even before .* of stride 2, but images have 12; pad them to 16\.$"),
        ({"input_shape": (1, 7, 8)}, r"The rows must be even .* have 7; pad them to 8\.$"),
        ({"input_shape": (8, 8)}, r"shape \(channels, rows, columns\), but got \(8, 8\)"),
    ],
)
def test_bad_settings(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(SETTINGS, **change).plan()


def test_a_stem_of_stride_2_halves_the_image() -> None:
    settings = replace(SETTINGS, input_shape=(2, 16, 24), stem_stride=2)
    net = SpikingNetwork(network().genotype, settings)
    assert settings.stem_size == (8, 12)
    assert net.stem(torch.rand(2, 2, 16, 24)).shape[3:] == (8, 12)
    assert net(torch.rand(2, 2, 16, 24)).shape == (2, 5)


def test_a_model_from_before_a_setting_has_its_default(run: Run) -> None:
    config = json.loads(run.config.read_text())
    del config["network"]["stem_stride"]
    run.config.write_text(json.dumps(config))
    assert load_network(run).config == SETTINGS


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "run")
    save_network(run, network())
    return run


def test_save_and_load(run: Run) -> None:
    loaded = load_network(run)
    assert not loaded.training
    assert loaded.genotype == network().genotype
    assert loaded.config == SETTINGS
    images = torch.rand(2, 2, 8, 12)
    assert torch.equal(loaded(images), network().eval()(images))


def damage(run: Run, name: str, tensor: torch.Tensor | None) -> None:
    tensors, _ = load_tensors(run.weights)
    tensors.pop(name, None)
    save_tensors(run.weights, tensors if tensor is None else tensors | {name: tensor})


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("readout.weight", torch.ones(5, 7), r"tensor 'readout.weight' must have shape \[5, 32\], but has \[5, 7\]"),
        ("readout.bias", torch.full((5,), torch.nan), r"every weight must be finite, but tensor 'readout.bias' is not"),
        ("readout.bias", None, "misses tensor 'readout.bias'"),
        ("head.bias", torch.ones(5), "has the unknown tensor 'head.bias'"),
    ],
)
def test_wrong_weights(run: Run, name: str, tensor: torch.Tensor | None, message: str) -> None:
    damage(run, name, tensor)
    with pytest.raises(InputError, match=message):
        load_network(run)


def test_damaged_files(run: Run) -> None:
    config = json.loads(run.config.read_text())
    run.config.write_text(json.dumps(config | {"network": {}}))
    with pytest.raises(InputError, match="`network` must have the keys cells, channels"):
        load_network(run)
    run.config.write_text("{")
    with pytest.raises(InputError, match=r"config.json' must be JSON, but is damaged"):
        load_network(run)
    run.config.write_text("{}")
    with pytest.raises(InputError, match="must have the keys genotype and network"):
        load_network(run)
    run.config.write_text(json.dumps(config))
    run.weights.write_bytes(run.weights.read_bytes()[:100])
    with pytest.raises(InputError, match=r"model.safetensors' must be a safetensors file, but is damaged"):
        load_network(run)
    for key, value in (("channels", "2"), ("cells", 3.0), ("input_shape", 8), ("time_steps", True), ("dataset", None)):
        wrong = {"genotype": config["genotype"], "network": config["network"] | {key: value}}
        run.config.write_text(json.dumps(wrong))
        with pytest.raises(InputError, match=f"`{key}` of `network` is .*, which is of a wrong type"):
            load_network(run)
    run.config.write_text(json.dumps(config))
    run.weights.unlink()
    with pytest.raises(InputError, match="has no trained network; finish it with `spikeport search --resume --out "):
        load_network(run)
