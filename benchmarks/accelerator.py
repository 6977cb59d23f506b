"""What an accelerator does with the paper's network: its tests, its speed, and a search and a training on CIFAR-10.

    python benchmarks/accelerator.py --data npz:cifar10.npz [--minutes 8] [--out FOLDER] [--stages check,speed]

Three stages, each of which adds what it found to OUT/accelerator.json as it goes:

    check   the tests that need a GPU (pytest, mark `cuda`)
    speed   one step of the search and one of the training, at the size of the settings, beside the same in SpikingJelly
            with the fastest of its backends; images per second, peak memory, and the floating-point operations of
            products and convolutions over what the card does in a product of 8192 x 8192 bfloat16 matrices
    paper   the search and training of a settings file within --minutes: epochs are cut to what a minute was measured to
            hold, never below one of each; the run folder OUT/paper is one that `spikeport export` takes

A second call goes on from what the first left. With --device cpu, or without --data, everything is tiny, on digits, and
the output says so. Needed: Python 3.11, what pyproject.toml lists (of it torch, numpy, click, rich, safetensors,
scikit-learn, pillow, numba, onnx, tensorboard), spikingjelly 2.0, pytest and hypothesis; for the kernels Triton, which
comes with torch for CUDA; no network.

SpikingJelly chooses the fastest form of its neurons that is there by itself (its own CUDA kernels where they were
built, else Triton). The search beside it is spiking DARTS, every candidate once with neurons and norm of its own
(search_step.py, `peer once`), in bfloat16 by autocast and in float32; the training is the same network without our
kernels. The stage `profile`, which runs only when it is named, writes which kernels take the time.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from spikingjelly.activation_based import functional
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from spikeport.benchmarks.search_step import peer_once
from spikeport.search.data.datasets import Dataset, load_dataset
from spikeport.search.machine.channels_last import channels_last
from spikeport.search.machine.device import Arithmetic, fast_dtype, find_device
from spikeport.search.pipeline import run_search
from spikeport.search.runs import Run, read_metrics
from spikeport.search.settings.file import recorded_settings, resolve_settings
from spikeport.search.settings.run import SearchSettings, changed
from spikeport.search.space.genotype import Edge, Genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork, network_config
from spikeport.search.strategies.darts.search import alpha_step
from spikeport.search.supernet.kernel_space import KernelSupernet, calculate_in
from spikeport.search.training.loop import cross_entropy_of, training_optimizer
from spikeport.search.training.passes import Passes
from spikeport.search.training.progress import ProgressEvent

ROOT = Path(__file__).parents[1]
SETTINGS = ROOT / "examples" / "cifar10.toml"
TINY = {
    "channels": 4,
    "cells": 3,
    "batch_size": 64,
    "search_batch_size": 0,
    "precision": "float32",
    "dataset": "digits",
    "cutout": 0,
    "flip": False,
    "crop": 1,
}
WARM_UP, STEPS = 4, 10  # steps, those measured
MATRIX = 8192
SHARE = {"search": 0.3, "train": 0.6}  # of --minutes; the rest is for start, tests and writing
MOST_EPOCHS = {"search": 30, "train": 200}
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


class Record:
    """What was found so far, in a JSON file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def add(self, **found: Any) -> None:
        self.found |= found
        self.path.write_text(json.dumps(self.found, indent=1) + "\n")
        for name, value in found.items():
            print(f"{name}: {json.dumps(value)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="", help="data set as of `spikeport search --dataset`; else digits")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--minutes", type=float, default=8.0, help="for the stage paper")
    parser.add_argument("--settings", type=Path, default=SETTINGS, help="of the stage paper")
    parser.add_argument("--out", type=Path, default=Path("runs/accelerator"))
    parser.add_argument("--stages", default="check,speed,paper", help="those to run, in this order")
    options = parser.parse_args()
    device = find_device(options.device)
    options.out.mkdir(parents=True, exist_ok=True)
    record = Record(options.out / "accelerator.json")
    tiny = device.type == "cpu" or not options.data
    given = TINY if tiny else {"dataset": options.data}
    settings = resolve_settings(options.settings, {"device": options.device, **given})
    if tiny:
        print("TINY: without a GPU and --data everything is small; no number below is one of the paper's network.")
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    record.add(card=card, torch=torch.__version__, tiny=tiny)
    stages: dict[str, Callable[[], None]] = {
        "check": lambda: check(record),
        "speed": lambda: speed(record, settings, device),
        "profile": lambda: profile(record, settings, device),
        "paper": lambda: paper(record, settings, 60 * options.minutes, options.out / "paper"),
    }
    for name in options.stages.split(","):
        started = time.monotonic()
        stages[name]()
        record.add(**{f"{name}_s": round(time.monotonic() - started, 1)})


def check(record: Record) -> None:
    """The tests marked `cuda`, in a process of their own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default"]
    command += ["-m", "cuda", *(["-n", "8"] if find_spec("xdist") else []), str(ROOT / "tests" / "search")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    last = [line for line in done.stdout.splitlines() if line.strip()]
    failed = [line for line in last if line.startswith(("FAILED", "ERROR"))]
    record.add(check={"exit": done.returncode, "last": last[-1] if last else done.stderr[-500:], "failed": failed})
    if done.returncode not in (0, 5):
        print("\n".join(last[-80:]))


def speed(record: Record, settings: SearchSettings, device: torch.device) -> None:
    """Steps of the search and of the training, images per second; each side is built, timed and given up."""
    dataset = kind_of(settings)
    config = network_config(settings.network, dataset)
    record.add(bf16_tflops=matrix_tflops(device))
    dtype = fast_dtype(device)
    batch = settings.supernet.search_batch_size or settings.training.batch_size
    sizes = sorted({min(batch, 64), batch})
    found = [timed(record, f"search_{n}", n, search_step(config, dtype, device, n), device) for n in sizes]
    peers = [
        timed(record, f"search_{sizes[0]}_spikingjelly_{kind}", sizes[0],
              peer_step(config, kind, device, sizes[0]), device)
        for kind in dtypes_of(device)
    ]  # fmt: skip
    told(record, "search", found[0], peers)

    batch = settings.training.batch_size
    sizes = sorted({min(batch, 128), batch})
    ways = [(n, graph) for n in sizes for graph in (False, True) if not graph or device.type == "cuda"]
    found = [
        timed(record, f"train_{n}{'_graph' if graph else ''}", n,
              train_step(settings, config, device, n, graph), device)
        for n, graph in ways
    ]  # fmt: skip
    peers = [
        timed(record, f"train_{sizes[0]}_spikingjelly_{kind}", sizes[0],
              usual_step(settings, config, kind, device, sizes[0]), device)
        for kind in dtypes_of(device)
    ]  # fmt: skip
    told(record, "train", max(found[:2], key=lambda one: one or 0.0), peers)


def told(record: Record, word: str, mine: float | None, peers: list[float | None]) -> None:
    """The ratio to the fastest peer at the same batch."""
    fastest = max((one for one in peers if one), default=None)
    if mine and fastest:
        record.add(**{f"{word}_ratio": round(mine / fastest, 2)})


def kind_of(settings: SearchSettings) -> Dataset:
    return load_dataset(settings.data.dataset, settings.data.data_folder)


def dtypes_of(device: torch.device) -> list[str]:
    return ["bfloat16", "float32"] if device.type == "cuda" else ["float32"]


def matrix_tflops(device: torch.device) -> float | None:
    """10^12 floating-point operations per second of a product of random bfloat16 matrices."""
    if device.type != "cuda":
        return None
    a, b = (torch.randn(MATRIX, MATRIX, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = seconds_of(lambda: a @ b, device)
    return round(2 * MATRIX**3 / seconds / 1e12, 1)


def seconds_of(step: Callable[[], object], device: torch.device) -> float:
    """The median of STEPS steps."""
    wait = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    for _ in range(WARM_UP):
        step()
    times = []
    for _ in range(STEPS):
        wait()
        start = time.perf_counter()
        step()
        wait()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def timed(
    record: Record, name: str, images: int, build: Iterator[Callable[[], object]], device: torch.device
) -> float | None:
    """Images per second of the step that `build` yields; None where it cannot run, with the reason in the record."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    try:
        with contextlib.contextmanager(lambda: build)() as step:
            started = time.perf_counter()
            step()
            first = time.perf_counter() - started
            counter = FlopCounterMode(display=False)
            with counter:
                step()
            seconds = seconds_of(step, device)
    except (RuntimeError, ValueError, NotImplementedError, ImportError, TypeError, AttributeError) as error:
        record.add(**{name: {"failed": " ".join(str(error).split())[:300]}})
        return None
    found = {
        "images_per_s": round(images / seconds, 1),
        "step_ms": round(1e3 * seconds, 2),
        "first_step_s": round(first, 1),
        "gflop_per_image": round(counter.get_total_flops() / images / 1e9, 2),
    }
    limit = record.found.get("bf16_tflops")
    if device.type == "cuda" and limit:
        found["peak_gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 2)
        found["share_of_bf16_limit"] = round(counter.get_total_flops() / seconds / 1e12 / limit, 3)
    record.add(**{name: found})
    return images / seconds


def profile(record: Record, settings: SearchSettings, device: torch.device) -> None:
    """Where two steps of each kind spend a device's time, by kernel."""
    config = network_config(settings.network, kind_of(settings))
    search_batch = settings.supernet.search_batch_size or settings.training.batch_size
    batch = settings.training.batch_size
    steps = {
        "search": search_step(config, fast_dtype(device), device, search_batch),
        "train": train_step(settings, config, device, batch, False),
    }
    for name, build in steps.items():
        with contextlib.contextmanager(lambda build=build: build)() as step:
            for _ in range(WARM_UP):
                step()
            with torch.profiler.profile() as profiled:
                step()
                step()
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
        by = f"self_{device.type}_time_total"
        table = profiled.key_averages().table(sort_by=by, row_limit=45, max_name_column_width=90)
        record.path.with_name(f"profile_{name}.txt").write_text(table)


def random_batch(config: NetworkConfig, images: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.randint(0, config.classes, (images,), device=device)
    return torch.randn(images, *config.input_shape, device=device), labels


def bilevel_step(
    network: nn.Module, config: NetworkConfig, images: int, device: torch.device, arithmetic: Arithmetic
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

    def step() -> None:
        alpha_step(network, alphas, batches[0], objective)
        functional.reset_net(network)
        loss, _ = objective(*batches[1])
        arithmetic.step(loss, weights, parameters, 5.0)

    return step


def search_step(
    config: NetworkConfig, dtype: torch.dtype, device: torch.device, images: int
) -> Iterator[Callable[[], None]]:
    """Ours."""
    network = KernelSupernet("darts", config).to(device).train()
    calculate_in(network, dtype)
    yield bilevel_step(network, config, images, device, Arithmetic("float32", device))


def peer_step(config: NetworkConfig, kind: str, device: torch.device, images: int) -> Iterator[Callable[[], None]]:
    """Spiking DARTS in SpikingJelly, one candidate after the other."""
    network = peer_once("darts", config).to(device).train()
    yield bilevel_step(network, config, images, device, Arithmetic(kind, device))


def train_step(
    settings: SearchSettings, config: NetworkConfig, device: torch.device, images: int, graph: bool
) -> Iterator[Callable[[], None]]:
    """Ours."""
    network = SpikingNetwork(CELL, config).to(device).train()
    precision = "float32" if device.type == "cpu" else settings.training.precision
    arithmetic = Arithmetic(precision, device)
    with channels_last(network):
        yield weights_step(network, settings, config, device, images, arithmetic, graph)


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


def paper(record: Record, settings: SearchSettings, seconds: float, out: Path) -> None:
    """Search, training and test within so many seconds; a folder that is there is gone on with, as it was begun."""
    begun = (out / "manifest.json").exists()
    if begun:
        settings = recorded_settings(Run(out))
    else:
        pace = paces(record, settings)
        epochs = {stage: max(1, min(MOST_EPOCHS[stage], int(SHARE[stage] * seconds / pace[stage]))) for stage in SHARE}
        record.add(paper_epochs=epochs)
        warm_up = min(settings.darts.alpha_warmup_epochs, epochs["search"] // 3)
        settings = changed(
            settings,
            search_epochs=epochs["search"],
            alpha_warmup_epochs=warm_up,
            train_epochs=epochs["train"],
            tensorboard=True,
        )
    seen: dict[str, float] = {}
    lines: dict[str, float] = {}

    def progress(event: ProgressEvent) -> None:
        now = time.monotonic()
        seen.setdefault(event.stage, now)
        if event.step == event.steps or now > lines.get("told", 0.0) + 10:
            lines["told"] = now
            print(
                f"{event.stage} epoch {event.epoch}/{event.epochs} step {event.step}/{event.steps}: "
                f"loss {event.loss:.3f}, accuracy {event.accuracy:.4f}, {event.spikes:,.0f} spikes, "
                f"waits {event.waited:.0%}, {event.seconds_left:.0f} s left",
                flush=True,
            )

    started = time.monotonic()
    run = run_search(settings, out, resume=begun, progress=progress, command="benchmarks/accelerator.py", tell=print)
    ended = time.monotonic()
    metrics = read_metrics(run)
    times = dict(zip(seen, [*list(seen.values())[1:], ended], strict=True))
    record.add(
        paper={
            "test_accuracy": metrics["test_accuracy"],
            "parameters": metrics["parameters"],
            "spikes_per_inference": metrics["spikes_per_inference"],
            "sops_per_inference": metrics["sops_per_inference"],
            "seconds": round(ended - started, 1),
            **{f"{stage}_s": round(end - seen[stage], 1) for stage, end in times.items()},
        }
    )


def paces(record: Record, settings: SearchSettings) -> dict[str, float]:
    """Seconds of an epoch of the search and of the training: steps on random images, the kernels compiled before."""
    device = find_device(settings.training.device)
    dataset = kind_of(settings)
    config = network_config(settings.network, dataset)
    count = len(dataset.train_images)
    search_batch = settings.supernet.search_batch_size or settings.training.batch_size
    dtype = fast_dtype(device)
    trained = replace(config, attention=settings.network.attention_of("network"))
    builds = {
        "search": (search_batch, count / 2, search_step(config, dtype, device, search_batch)),
        "train": (
            settings.training.batch_size,
            count,
            train_step(settings, trained, device, settings.training.batch_size, device.type == "cuda"),
        ),
    }
    found = {}
    for stage, (batch, images, build) in builds.items():
        with contextlib.contextmanager(lambda build=build: build)() as step:
            seconds = seconds_of(step, device)
        found[stage] = max(seconds * images / batch, 1e-3)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    # The validation of the search looks at the other half, forward only.
    found["search"] *= 1.15
    found["train"] *= 1.1
    record.add(epoch_s={stage: round(one, 2) for stage, one in found.items()})
    return found


if __name__ == "__main__":
    main()
