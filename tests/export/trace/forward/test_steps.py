"""Networks in single-step mode: loops over time, containers, one step alone; control flow that is always the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import encoding, functional, layer
from torch import nn

from spikeport import OverTime, run, write_model
from spikeport.errors import UnsupportedError
from spikeport.export.simulate import simulate
from spikeport.export.trace.walk import trace
from spikeport.tests.export.trace.own_networks import (
    assert_file_is_graph,
    assert_graph_is_torch,
    by_hooks,
    settled,
)
from spikeport.tests.export.trace.small_network import Small
from spikeport.tests.export.trace.small_network import lif as multi_step_lif

T = 3
IMAGES = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(5))


def lif(**more: Any) -> nn.Module:
    return multi_step_lif(step_mode="s", **more)


class Loop(nn.Module):
    """What tutorials show: one step is conv, LIF, conv, norm, LIF, linear, LIF."""

    def __init__(self, over: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.lif = nn.Conv2d(1, 4, 3, padding=1), lif()
        self.conv2, self.norm, self.lif2 = layer.Conv2d(4, 4, 3, padding=1), layer.BatchNorm2d(4), lif()
        self.out, self.last, self.over = nn.Linear(256, 5), lif(), over

    def step(self, x: torch.Tensor) -> torch.Tensor:
        x = self.lif2(self.norm(self.conv2(self.lif(self.conv(x)))))
        return self.last(self.out(x.flatten(1)))

    def forward(self, x: torch.Tensor) -> Any:
        return self.over(self, x)


def summed(s: Loop, x: torch.Tensor, total: Any = 0.0) -> torch.Tensor:
    for _ in range(T):
        total = total + s.step(x)
    return total / T


def first_apart(s: Loop, x: torch.Tensor) -> torch.Tensor:
    counter = s.step(x)
    for _ in range(1, T):
        counter += s.step(x)
    return counter / T


def hoisted(s: Loop, x: torch.Tensor) -> torch.Tensor:
    current, found = s.conv(x), []
    for _ in range(T):
        spikes = s.lif2(s.norm(s.conv2(s.lif(current))))
        found.append(s.last(s.out(spikes.view(spikes.size(0), -1))))
    return torch.stack(found).mean(0)


def by_shape(s: Loop, x: torch.Tensor) -> torch.Tensor:
    found = []
    for _ in range(T):
        spikes = s.lif2(s.conv2(s.lif(s.conv(x))))
        found.append(s.out(spikes.reshape(spikes.shape[0], -1)).unsqueeze(0))
    return torch.cat(found).sum(0)


def last_step(s: Loop, x: torch.Tensor) -> torch.Tensor:
    for _ in range(T):
        answer = s.step(x)
    return answer


def in_place(s: Loop, x: torch.Tensor) -> torch.Tensor:
    total, current = 0.0, s.conv(x)
    for _ in range(T):
        spikes = s.lif(current)
        more = s.conv2(spikes)
        more += spikes
        more *= 0.5
        total = total + s.out(s.lif2(more).flatten(1))
    total /= T
    return total


LOOPS: dict[str, Callable[[Any, torch.Tensor], Any]] = {
    "a sum": summed,
    "a sum that begins with zeros": lambda s, x: summed(s, x, torch.zeros(1, 5)),
    "a first step apart": first_apart,
    "a list, stacked": hoisted,
    "a list, concatenated": by_shape,
    "all steps": lambda s, x: torch.stack([s.step(x) for _ in range(T)]),
    "Python's sum": lambda s, x: sum(s.step(x) for _ in range(T)),
    "the last step": last_step,
    "sums in place": in_place,
    "two branches": lambda s, x: sum(
        s.last(s.out((y := s.lif(s.conv(x))).flatten(1)) + s.out(s.lif2(y).flatten(1))) for _ in range(T)
    ),
}


@pytest.mark.parametrize("case", LOOPS)
def test_a_loop_over_time_is_traced_as_all_steps(tmp_path: Path, case: str) -> None:
    network = settled(lambda: Loop(LOOPS[case]), drive=2.0)
    traced = assert_graph_is_torch(network, IMAGES, T)
    assert len({p.name for p in traced.graph.populations}) == len(traced.graph.populations) <= 3
    if case == "a sum":
        assert_file_is_graph(tmp_path / "x.net", traced, network, IMAGES)


def test_a_changed_weight_in_a_loop_is_seen() -> None:
    network = settled(lambda: Loop(summed), drive=2.0)
    fired, _ = by_hooks(network, IMAGES)
    with torch.no_grad():
        network.conv2.weight[0].neg_()
    broken = simulate(trace(network, IMAGES[:1], T).graph, {"lif": fired["lif"]})
    assert not np.array_equal(broken.spikes["lif2"], fired["lif2"])


def test_the_network_itself_is_left_in_single_step_mode() -> None:
    network = settled(lambda: Loop(summed), drive=2.0)
    before = network(IMAGES)
    functional.reset_net(network)
    traced = trace(network, IMAGES[:1], T)
    assert network.lif.step_mode == "s" and network.lif.v == 0.0
    assert torch.equal(network(IMAGES), before)
    functional.reset_net(network)
    assert traced.encoder is not None and traced.encoder(IMAGES).shape == (T, 3, 4, 8, 8)


@pytest.mark.parametrize("case", ["a sum", "the last step", "Python's sum"])
def test_a_loop_as_onnx(tmp_path: Path, case: str) -> None:
    network = settled(lambda: Loop(LOOPS[case]), drive=2.0)
    fired, answer = by_hooks(network, IMAGES)
    found = run(write_model(tmp_path / "model.onnx", network, IMAGES), IMAGES.numpy())
    assert all(np.array_equal(found.spikes[name], spikes) for name, spikes in fired.items())
    assert np.allclose(found.readout, answer, atol=1e-6)


def one_step() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), lif(), layer.Flatten(), layer.Linear(256, 5), lif())


def test_one_step_is_run_over_time() -> None:
    network = settled(lambda: OverTime(one_step(), T), drive=2.0)
    assert not network.training
    assert_graph_is_torch(network, IMAGES, T)


@pytest.mark.parametrize("axis", [0, 1])
def test_frames_step_by_step(axis: int) -> None:
    class Frames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.step = one_step()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return sum(self.step(x[t] if axis == 0 else x[:, t]) for t in range(T)) / T  # type: ignore[return-value]

    frames = (torch.rand(T, 3, 1, 8, 8, generator=torch.Generator().manual_seed(2)) < 0.4).float()
    network = settled(Frames, drive=2.0)
    given = frames.transpose(0, axis)
    fired, answer = by_hooks(network, given)
    graph = trace(network, given[:, :1] if axis == 0 else given[:1], T, reads_spikes=True).graph
    found = simulate(graph, {graph.inputs[0].name: frames.numpy().astype(np.uint8)})
    assert all(np.array_equal(found.spikes[name], spikes) for name, spikes in fired.items()) and len(fired) == 2
    assert np.allclose(found.readout[-1], answer, atol=1e-6) and np.ptp(answer) > 0


def recurrent_by_hand(s: Loop, x: torch.Tensor) -> torch.Tensor:
    spikes, total = torch.zeros(1, 4, 8, 8), 0.0
    for _ in range(T):
        spikes = s.lif(s.conv(x) + spikes)
        total = total + s.out(spikes.flatten(1))
    return total


def random_in_every_step(s: Loop, x: torch.Tensor) -> torch.Tensor:
    return sum(s.step((torch.rand_like(x) < x).float()) for _ in range(T))  # type: ignore[return-value]


def membrane(s: Loop, x: torch.Tensor) -> torch.Tensor:
    return sum(s.out(s.lif(s.conv(x) - 0.5 * s.lif.v).flatten(1)) for _ in range(T))  # type: ignore[return-value]


REFUSED: dict[str, tuple[Callable[[Any, torch.Tensor], Any], str]] = {
    "recurrent by hand": (
        recurrent_by_hand,
        r"Layer 'lif': in step 1 it reads another step: .*; use layer.LinearRecurrentContainer, or step_mode='m'",
    ),
    "one membrane for two layers": (
        lambda s, x: sum(s.last(s.out(s.lif(s.conv2(s.lif(s.conv(x)))).flatten(1))) for _ in range(T)),
        r"Layer 'lif': in step 1 it reads another step: .* or its membrane would serve two places; only neurons",
    ),
    "a layer that does not run in all steps": (
        lambda s, x: (
            s.lif2(s.conv2(s.lif(s.conv(x)))).mean() + sum(s.out(s.lif(s.conv(x)).flatten(1)) for _ in range(T))
        ),
        r"Layer 'lif2': it runs 1 times, and another layer 4 times; each layer must run once in every step",
    ),
    "one membrane, for all that runs": (
        lambda s, x: sum(s.out(s.lif(s.conv2(s.lif(s.conv(x)))).flatten(1)) for _ in range(T)),
        r"Layer 'lif': in step 1 it reads another step: .* or its membrane would serve two places; only neurons",
    ),
    "steps that differ": (
        lambda s, x: s.last(s.out(s.lif(s.conv(x)).flatten(1))) + s.last(s.out(2.0 * s.lif(s.conv(x)).flatten(1))),
        r"Layer 'last': in step 1 it reads something else than in step 0",
    ),
    "random numbers": (random_in_every_step, r"Layer 'lif': in step 1 it reads something else than in step 0"),
    "a part of the sum": (
        lambda s, x: [s.step(x) for _ in range(T)][-1] + s.step(x),
        r"Layer 'output output': a sum of 2 of 4 time steps; add all of them up",
    ),
    "a list in disorder": (
        lambda s, x: torch.stack([s.step(x) for _ in range(T)][::-1]).mean(0),
        r"Layer 'call_function stack': only all steps of one value stack, in order and on dim 0",
    ),
    "a list that is concatenated": (
        lambda s, x: torch.cat([s.step(x) for _ in range(T)]).mean(0),
        r"Layer 'call_function cat': steps that are concatenated need x.unsqueeze\(0\); or use torch.stack",
    ),
    "what a step has no rule for": (
        lambda s, x: sum(s.out(s.lif(s.conv(x)).permute(0, 2, 3, 1).flatten(1)) for _ in range(T)),
        r"Layer 'call_method permute': 'permute' of one time step has no rule; use torch.flatten, or step_mode='m'",
    ),
    "the membrane": (membrane, "Run step by step the network answers otherwise than on all steps at once: it draws"),
    "steps that are multiplied": (
        lambda s, x: (lambda steps: steps[0] * steps[1])([s.step(x) for _ in range(T)]),
        r"Layer 'call_function mul': it brings different steps together; add them up, or stack all of them",
    ),
    "one step alone": (
        lambda s, x: s.step(x),
        r"Layer 'lif': layers that read spikes must run in .* spikeport.OverTime\(network, time_steps\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_loops_that_are_no_layers_are_refused(case: str) -> None:
    over, message = REFUSED[case]
    with pytest.raises(UnsupportedError, match=message):
        trace(settled(lambda: Loop(over), drive=2.0), IMAGES[:1], T)


def test_an_encoder_of_random_spikes_in_a_loop_is_refused() -> None:
    network = settled(lambda: Loop(lambda s, x: summed(s, s.poisson(x))))
    network.poisson = encoding.PoissonEncoder().eval()
    network.over = lambda s, x: sum(s.step(s.poisson(x)) for _ in range(T))
    with pytest.raises(UnsupportedError, match="Layer 'lif': in step 1 it reads something else than in step 0"):
        trace(network, IMAGES[:1], T)


# containers


class Contains(Small):
    def __init__(self, part: nn.Module, call: Callable[[Any, torch.Tensor], torch.Tensor] | None = None) -> None:
        super().__init__(part=part)
        self.call = call

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.middle(self.call(self.part, x) if self.call else self.part(x)))


def conv(kernel: int = 3) -> nn.Module:
    return nn.Conv2d(3, 3, kernel, padding=kernel // 2)


CONTAINERS: dict[str, Callable[[], nn.Module]] = {
    "multi-step": lambda: Contains(layer.MultiStepContainer(conv(), layer.BatchNorm2d(3), lif())),
    "nested": lambda: Contains(
        layer.MultiStepContainer(nn.Sequential(conv(), nn.Sequential(lif())), nn.Sequential(conv(1), lif()))
    ),
    "a Sequential in a SeqToANN": lambda: Contains(
        nn.Sequential(
            layer.SeqToANNContainer(nn.Sequential(conv(), nn.BatchNorm2d(3)), nn.Identity()), multi_step_lif()
        )
    ),
    "with a state": lambda: Contains(layer.StepModeContainer(True, "m", conv(), lif())),
    "without a state": lambda: Contains(
        nn.Sequential(layer.StepModeContainer(False, "m", conv(), nn.BatchNorm2d(3)), multi_step_lif())
    ),
    "multi_step_forward": lambda: Contains(
        nn.ModuleList([conv(), lif()]), lambda part, x: functional.multi_step_forward(x, list(part))
    ),
    "seq_to_ann_forward": lambda: Contains(
        nn.ModuleList([conv(), multi_step_lif()]),
        lambda part, x: part[1](functional.seq_to_ann_forward(x, part[0])),
    ),
}


@pytest.mark.parametrize("case", CONTAINERS)
def test_containers_are_what_they_contain(tmp_path: Path, case: str) -> None:
    network = settled(CONTAINERS[case], drive=2.4)
    traced = assert_graph_is_torch(network, IMAGES, T, least=3)
    if case == "nested":
        assert_file_is_graph(tmp_path / "x.net", traced, network, IMAGES)
        fired, _ = by_hooks(network, IMAGES)
        with torch.no_grad():
            network.part[1][0].weight[0].neg_()
        broken = simulate(trace(network, IMAGES[:1], T).graph, {"stem_lif": fired["stem_lif"]})
        assert not np.array_equal(broken.spikes["part.1.1"], fired["part.1.1"])


def batch_neurons(x: torch.Tensor, part: Any) -> torch.Tensor:
    return functional.seq_to_ann_forward(x, part)


REFUSED_CONTAINERS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "neurons in a SeqToANN": (
        lambda: Contains(layer.SeqToANNContainer(conv(), lif())),
        r"Layer 'part.1': neurons in a SeqToANNContainer take time for a batch; use MultiStepContainer",
    ),
    "no rule inside": (
        lambda: Contains(layer.MultiStepContainer(conv(), nn.Sigmoid(), lif())),
        r"Layer 'part.1': a Sigmoid cannot be a synapse or a neuron on the chip; replace it, or export to onnx",
    ),
    "time last": (
        lambda: Contains(layer.TLastMultiStepContainer(nn.Identity())),
        r"Layer 'part': a TLastMultiStepContainer cannot be a synapse or a neuron",
    ),
    "one membrane for two layers": (
        lambda: Contains(layer.MultiStepContainer(*[(one := lif()), conv(), one])),
        r"Layer 'part.0': its neurons are used twice with one membrane",
    ),
}


@pytest.mark.parametrize("case", REFUSED_CONTAINERS)
def test_containers_that_cannot_be_layers_are_refused(case: str) -> None:
    build, message = REFUSED_CONTAINERS[case]
    with pytest.raises(UnsupportedError, match=message):
        trace(settled(build, drive=2.4), IMAGES[:1], T)


# control flow


class Options(Small):
    def forward(
        self, images: torch.Tensor, features: bool = False, scale: float = 1.0, mask: torch.Tensor | None = None
    ) -> Any:
        assert images.shape[1] == 1, "grey images"
        assert images.dim() == 4
        x = self.stem_lif((self.stem(images) * scale).unsqueeze(0).repeat(T, 1, 1, 1, 1))
        if self.training:
            x = x * 2.0
        if mask is not None:
            x = x * mask
        found = self.head(self.lif(self.body(x)))
        return (found, x) if features else found


def test_options_have_their_defaults() -> None:
    assert_graph_is_torch(settled(Options, drive=2.0), IMAGES, T)


class Depends(Small):
    def body(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            x = x * 2.0
        return super().body(x)


class Ranges(Small):
    def body(self, x: torch.Tensor) -> torch.Tensor:
        return super().body(torch.stack([x[t] for t in range(x.shape[0])]))


def test_a_step_of_the_image_alone_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="of 3 time steps only the last one can be the answer"):
        trace(settled(Ranges), IMAGES[:1], T)


@pytest.mark.parametrize(("kind", "line"), [(Depends, "if x.sum")])
def test_the_line_that_depends_on_the_data_is_named(kind: type[nn.Module], line: str) -> None:
    with pytest.raises(
        UnsupportedError,
        match=rf"must not depend on the data, but torch.fx says: .* \(line \d+ of test_steps.py: `{line}.*`\)\. Let it",
    ):
        trace(settled(kind), IMAGES[:1], T)
