"""Steps of the search and of the training at any size, ours and those of SpikingJelly; a context yields each."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from spikeport.benchmarks.search_step import peer_once
from spikeport.search.machine.channels_last import channels_last
from spikeport.search.machine.device import Arithmetic, repeatable
from spikeport.search.settings.run import SearchSettings
from spikeport.search.space.genotype import Edge, Genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork
from spikeport.search.strategies.darts.search import alpha_step, passes_of_alphas
from spikeport.search.supernet.kernel_space import KernelSupernet, calculate_in
from spikeport.search.training.loop import cross_entropy_of, training_optimizer
from spikeport.search.training.passes import Passes

WARM_UP, STEPS = 4, 10  # steps, those measured
FEWER = 2, 3  # of a peer that takes seconds
# DARTS' own cell, so that a training step does not depend on what a search finds (arXiv 1806.09055, figure 4).
CELL = Genotype(
    "darts",
    *(
        tuple(Edge(node, source, primitive) for node, edges in enumerate(cell) for source, primitive in edges)
        for cell in (
            (
                ((0, "sep_conv_3x3"), (1, "sep_conv_3x3")),
                ((0, "sep_conv_3x3"), (1, "sep_conv_3x3")),
                ((0, "skip_connect"), (1, "sep_conv_3x3")),
                ((0, "skip_connect"), (2, "dil_conv_3x3")),
            ),
            (
                ((0, "max_pool_3x3"), (1, "max_pool_3x3")),
                ((1, "max_pool_3x3"), (2, "skip_connect")),
                ((0, "max_pool_3x3"), (2, "skip_connect")),
                ((1, "max_pool_3x3"), (2, "skip_connect")),
            ),
        )
    ),
)


def seconds_of(step: Callable[[], object], device: torch.device) -> float:
    """The median of STEPS steps."""
    wait = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    warm_up, steps = WARM_UP, STEPS
    wait()
    start = time.perf_counter()
    step()
    wait()
    if time.perf_counter() - start > 1:
        warm_up, steps = FEWER
    for _ in range(warm_up):
        step()
    times = []
    for _ in range(steps):
        wait()
        start = time.perf_counter()
        step()
        wait()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def random_batch(config: NetworkConfig, images: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.randint(0, config.classes, (images,), device=device)
    return torch.randn(images, *config.input_shape, device=device), labels


def bilevel_step(
    network: nn.Module,
    config: NetworkConfig,
    images: int,
    device: torch.device,
    arithmetic: Arithmetic,
    graph: bool,
) -> Callable[[], None]:
    """The alphas on one batch, the weights on another: forward, backward and both optimizers."""
    weights = torch.optim.SGD(network.weights(), lr=0.025, momentum=0.9, weight_decay=3e-4)
    alphas = torch.optim.Adam(network.architecture(), lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    batches = [random_batch(config, images, device) for _ in range(2)]
    plain = cross_entropy_of(network)

    def objective(images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with arithmetic.autocast():
            return plain(images, labels)

    parameters = network.weights()
    alpha_passes = passes_of_alphas(network, objective, as_graph=graph)
    passes = Passes(network, parameters, plain, arithmetic, as_graph=graph)

    def step() -> None:
        alpha_step(network, alphas, batches[0], passes=alpha_passes)
        passes(*batches[1])
        arithmetic.update(weights, parameters, 5.0)

    return step


@contextmanager
def search_step(
    config: NetworkConfig, dtype: torch.dtype, device: torch.device, images: int, graph: bool
) -> Iterator[Callable[[], None]]:
    """Ours."""
    network = KernelSupernet("darts", config).to(device).train()
    calculate_in(network, dtype)
    with repeatable(device):
        yield bilevel_step(network, config, images, device, Arithmetic("float32", device), graph)


@contextmanager
def peer_step(config: NetworkConfig, kind: str, device: torch.device, images: int) -> Iterator[Callable[[], None]]:
    """Spiking DARTS in SpikingJelly, one candidate after the other."""
    network = peer_once("darts", config).to(device).train()
    yield bilevel_step(network, config, images, device, Arithmetic(kind, device), graph=False)


@contextmanager
def train_step(
    settings: SearchSettings,
    config: NetworkConfig,
    device: torch.device,
    images: int,
    graph: bool,
    cell: Genotype = CELL,
) -> Iterator[Callable[[], None]]:
    """Ours."""
    network = SpikingNetwork(cell, config).to(device).train()
    precision = "float32" if device.type == "cpu" else settings.training.precision
    arithmetic = Arithmetic(precision, device)
    with repeatable(device), channels_last(network):
        yield weights_step(network, settings, config, device, images, arithmetic, graph)


@contextmanager
def usual_step(
    settings: SearchSettings, config: NetworkConfig, kind: str, device: torch.device, images: int
) -> Iterator[Callable[[], None]]:
    """The same network as SpikingJelly runs it."""
    network = SpikingNetwork(CELL, config).to(device).train()
    yield weights_step(network, settings, config, device, images, Arithmetic(kind, device), False)


def weights_step(
    network: SpikingNetwork,
    settings: SearchSettings,
    config: NetworkConfig,
    device: torch.device,
    images: int,
    arithmetic: Arithmetic,
    graph: bool,
) -> Callable[[], None]:
    parameters = list(network.parameters())
    optimizer = training_optimizer(parameters, settings.training)
    batch = random_batch(config, images, device)

    def objective(images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = network(images)
        return cross_entropy(logits, labels), logits

    passes = Passes(network, parameters, objective, arithmetic, as_graph=graph)

    def step() -> None:
        passes(*batch)
        arithmetic.update(optimizer, parameters, 5.0)

    return step
