"""Lines [C, L] as images of one row; maps that no convolution makes: Upsample, pools whose windows differ."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer
from torch import nn

from spikeport import encode, run, write_encoder, write_model
from spikeport.errors import UnsupportedError
from spikeport.export.netx.writer import write_netx
from spikeport.export.simulate import simulate
from spikeport.export.trace.walk import trace
from spikeport.tests.export.trace.own_networks import (
    assert_file_is_graph,
    assert_graph_is_torch,
    by_hooks,
    chip_graph,
    image_like,
    settled,
)
from spikeport.tests.export.trace.small_network import lif

T = 3
IMAGES = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(5))
LINES = torch.rand(3, 1, 16, generator=torch.Generator().manual_seed(6))
Parts = Callable[[], list[nn.Module]]


class Layers(nn.Module):
    """stem, LIF, before, LIF, behind, flat, linear, mean."""

    def __init__(self, before: Parts, neurons: int, behind: Parts = list, lines: bool = False) -> None:
        super().__init__()
        self.stem, self.stem_lif = (nn.Conv1d if lines else nn.Conv2d)(1, 4, 3, padding=1), lif()
        self.before, self.lif, self.behind = nn.Sequential(*before()), lif(), nn.Sequential(*behind())
        self.flat, self.out = layer.Flatten(), nn.Linear(neurons, 5)
        functional.set_step_mode(self, "m")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        current = self.stem(x).unsqueeze(0)
        x = self.stem_lif(torch.cat([current] * T))
        return self.out(self.flat(self.behind(self.lif(self.before(x))))).mean(0)


def conv(**more: int) -> nn.Module:
    return layer.Conv2d(4, 4, 3, padding=1, **more)


# name -> (network, whether NetX has a layer for it)
MAPS: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "upsample and flatten": (
        lambda: Layers(lambda: [layer.Upsample(scale_factor=2), layer.Flatten(), nn.Linear(1024, 12)], 12),
        True,
    ),
    "upsample, convolution, norm": (
        lambda: Layers(
            lambda: [
                *(layer.AvgPool2d(2), layer.Upsample(size=(8, 6)), layer.Conv2d(4, 3, 3, padding=1)),
                *(layer.BatchNorm2d(3), layer.Flatten()),
            ],
            144,
        ),
        True,
    ),
    "bilinear": (
        lambda: Layers(
            lambda: [layer.Upsample(scale_factor=2, mode="bilinear"), layer.Flatten(), nn.Linear(1024, 9)], 9
        ),
        True,
    ),
    "upsample of images": (
        lambda: Layers(lambda: [conv(stride=2), layer.Upsample(scale_factor=2)], 256),
        False,
    ),
    "upsample and max-pool": (
        lambda: Layers(lambda: [layer.Upsample(scale_factor=2), layer.MaxPool2d(3, 2), conv()], 196),
        False,
    ),
    "windows that differ": (
        lambda: Layers(lambda: [conv(bias=False)], 60, lambda: [layer.AdaptiveAvgPool2d((3, 5))]),  # type: ignore[arg-type]
        True,
    ),
    "windows that differ, beside others": (
        lambda: Layers(lambda: [layer.AdaptiveAvgPool2d((3, None)), layer.Conv2d(4, 2, 1)], 48),
        False,
    ),
}
OF_LINES: dict[str, Callable[[], nn.Module]] = {
    "convolution and norm": lambda: Layers(
        lambda: [layer.Conv1d(4, 4, 3, padding=1), layer.BatchNorm1d(4)], 64, lines=True
    ),
    "pools": lambda: Layers(
        lambda: [layer.MaxPool1d(2), layer.Conv1d(4, 4, 3, stride=2, padding=2, dilation=2), layer.BatchNorm1d(4)],
        8,
        lambda: [layer.AvgPool1d(2)],
        lines=True,
    ),
    "groups": lambda: Layers(lambda: [layer.Conv1d(4, 4, 3, groups=2)], 56, lines=True),
    "pool to a part": lambda: Layers(
        lambda: [layer.Conv1d(4, 4, 3, padding=1)], 16, lambda: [layer.AdaptiveAvgPool1d(4)], lines=True
    ),
    "pool to any part": lambda: Layers(
        lambda: [layer.Conv1d(4, 4, 3, padding=1)], 20, lambda: [layer.AdaptiveAvgPool1d(5)], lines=True
    ),
}


@pytest.mark.parametrize("case", MAPS)
def test_maps_are_full_matrices(tmp_path: Path, case: str) -> None:
    build, on_chip = MAPS[case]
    network = settled(build, drive=2.0)
    traced = assert_graph_is_torch(network, IMAGES, T)
    if on_chip:
        assert_file_is_graph(tmp_path / "x.net", traced, network, IMAGES)
    else:
        graph, _ = chip_graph(traced, network, IMAGES)
        with pytest.raises(UnsupportedError, match="a full matrix into an image has no NetX layer; it comes of an"):
            write_netx(tmp_path / "x.net", graph)


@pytest.mark.parametrize("case", OF_LINES)
def test_lines_are_images_of_one_row(tmp_path: Path, case: str) -> None:
    network = settled(OF_LINES[case], drive=2.0)
    traced = assert_graph_is_torch(network, LINES, T)
    assert traced.graph.inputs[0].shape == (4, 1, 16)
    assert_file_is_graph(tmp_path / "x.net", traced, network, LINES)


@pytest.mark.parametrize(("build", "values"), [(MAPS["bilinear"][0], IMAGES), (OF_LINES["pools"], LINES)])
def test_a_changed_weight_is_seen(build: Callable[[], nn.Module], values: torch.Tensor) -> None:
    network = settled(build, drive=2.0)
    fired, _ = by_hooks(network, values)
    with torch.no_grad():
        next(m for m in network.before if isinstance(m, nn.Conv1d | nn.Linear)).weight[:2].neg_()
    graph = trace(network, values[:1], T).graph
    broken = simulate(graph, {"stem_lif": image_like(fired["stem_lif"])})
    assert not np.array_equal(broken.spikes["lif"], image_like(fired["lif"]))


def test_the_encoder_of_lines_gives_what_the_graph_reads(tmp_path: Path) -> None:
    network = settled(OF_LINES["convolution and norm"], drive=2.0)
    traced = trace(network, LINES[:1], T)
    wanted = image_like(by_hooks(network, LINES)[0]["stem_lif"])
    assert traced.encoder is not None
    with torch.no_grad():
        given = traced.encoder(LINES).numpy()
    functional.reset_net(traced.encoder)
    assert np.array_equal(given, wanted)
    assert np.array_equal(encode(network, LINES.numpy()), wanted)
    assert np.array_equal(encode(write_encoder(tmp_path / "e.onnx", traced.encoder, LINES), LINES.numpy()), wanted)


@pytest.mark.slow
def test_lines_as_onnx(tmp_path: Path) -> None:
    network = settled(OF_LINES["convolution and norm"], drive=2.0)
    found = run(write_model(tmp_path / "model.onnx", network, LINES), LINES.numpy())
    wanted = run(network, LINES.numpy())
    assert all(np.array_equal(found.spikes[name], spikes) for name, spikes in wanted.spikes.items())


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "large maps": (
        lambda: Layers(lambda: [layer.Upsample(scale_factor=10)], 25600),
        r"Layer 'before.0': what is no convolution becomes a full matrix, .* from \(4, 8, 8\) to \(4, 80, 80\)",
    ),
    "upsample behind a bias and a pad": (
        lambda: Layers(lambda: [conv(), layer.Upsample(scale_factor=2), conv()], 1024),
        r"Layer 'before.2': a padded convolution after a bias cannot fold",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_maps_are_refused(case: str) -> None:
    build, message = REFUSED[case]
    with pytest.raises(UnsupportedError, match=message):
        trace(settled(build), IMAGES[:1], T)


LINES_REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "upsample": (
        lambda: Layers(lambda: [layer.Upsample(scale_factor=2)], 128, lines=True),
        r"Layer 'before.0': of a line \[T, N, C, L\] it makes 2 rows; use a layer for lines",
    ),
    "upsample between": (
        lambda: Layers(lambda: [layer.Upsample(scale_factor=2, mode="linear")], 128, lines=True),
        r"Layer 'before.0': an Upsample has a rule for images, mode nearest, .*, not 'linear'",
    ),
    "padding": (
        lambda: Layers(lambda: [layer.Conv1d(4, 4, 3, padding=1, padding_mode="circular")], 64, lines=True),
        "Layer 'before.0': only zero padding given in numbers has a rule",
    ),
    "padding that is not counted": (
        lambda: Layers(lambda: [layer.AvgPool1d(3, 1, 1, count_include_pad=False)], 64, lines=True),
        "Layer 'before.0': average pool must count its padding",
    ),
    "max-pool with dilation": (
        lambda: Layers(lambda: [layer.MaxPool1d(2, 1, dilation=2)], 56, lines=True),
        "Layer 'before.0': max-pool with dilation or ceil_mode has no rule",
    ),
}


@pytest.mark.parametrize("case", LINES_REFUSED)
def test_other_layers_of_lines_are_refused(case: str) -> None:
    build, message = LINES_REFUSED[case]
    with pytest.raises(UnsupportedError, match=message):
        trace(settled(build), LINES[:1], T)


def test_axes_that_are_those_of_images_only_are_refused() -> None:
    """dim -3 is the batch of lines and the channels of images."""

    class Joined(Layers):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem_lif(self.stem(x).unsqueeze(0).repeat(T, 1, 1, 1))
            return self.out(self.flat(torch.cat([x, x], dim=-3))).mean(0)

    with pytest.raises(UnsupportedError, match=r"only channels concatenate, but dimension -3 of \[T, N, C, W\] is not"):
        trace(settled(lambda: Joined(list, 64, lines=True)), LINES[:1], T)
