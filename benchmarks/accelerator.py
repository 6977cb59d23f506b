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
import json
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from spikeport.benchmarks.on_accelerator.record import Record
from spikeport.benchmarks.on_accelerator.speed import profile, speed
from spikeport.benchmarks.on_accelerator.steps import search_step, seconds_of, train_step
from spikeport.search.data.datasets import Dataset, load_dataset
from spikeport.search.machine.device import fast_dtype, find_device
from spikeport.search.pipeline import find_cell, run_search
from spikeport.search.runs import Run, read_metrics
from spikeport.search.settings.file import recorded_settings, resolve_settings
from spikeport.search.settings.run import SearchSettings, changed
from spikeport.search.space.genotype import Genotype, from_file, to_json
from spikeport.search.space.network import NetworkConfig, network_config
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
CHECK_LIMIT_S = 300
STAGES = ("check", "speed", "profile", "paper")
SEARCH_SHARE = 0.25  # of --minutes
REST = 0.08  # of --minutes, for the test and for writing
VALIDATION = 1.12  # of an epoch's steps: with what is tested and written behind them
MOST_EPOCHS = {"search": 30, "train": 200}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="", help="data set as of `spikeport search --dataset`; else digits")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--minutes", type=float, default=8.0, help="for the stage paper")
    parser.add_argument("--settings", type=Path, default=SETTINGS, help="of the stage paper")
    parser.add_argument("--out", type=Path, default=Path("runs/accelerator"))
    parser.add_argument("--stages", default="check,speed,paper", help="those to run, in this order")
    options = parser.parse_args()
    names = options.stages.split(",")
    if unknown := [name for name in names if name not in STAGES]:
        parser.error(f"unknown stage {', '.join(unknown)}; choose from {', '.join(STAGES)}")
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

    def config() -> NetworkConfig:
        return network_config(settings.network, load_dataset(settings.data.dataset, settings.data.data_folder))

    stages: dict[str, Callable[[], None]] = {
        "check": lambda: check(record),
        "speed": lambda: speed(record, settings, config(), device),
        "profile": lambda: profile(record, settings, config(), device),
        "paper": lambda: paper(record, settings, 60 * options.minutes, options.out / "paper"),
    }
    for name in names:
        started = time.monotonic()
        stages[name]()
        record.add(**{f"{name}_s": round(time.monotonic() - started, 1)})
    if "check" in names and record.found["check"]["exit"]:
        sys.exit("The tests that need a GPU did not pass; the other stages' numbers are not to be trusted.")


def check(record: Record) -> None:
    """The tests marked `cuda`, in a process of their own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default"]
    command += ["-m", "cuda", *(["-n", "8"] if find_spec("xdist") else []), str(ROOT / "tests" / "search")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=CHECK_LIMIT_S)
    except subprocess.TimeoutExpired:
        record.add(check={"exit": "time", "last": f"the tests ran past {CHECK_LIMIT_S} s", "failed": []})
        return
    last = [line for line in done.stdout.splitlines() if line.strip()]
    failed = [line for line in last if line.startswith(("FAILED", "ERROR"))]
    record.add(check={"exit": done.returncode, "last": last[-1] if last else done.stderr[-500:], "failed": failed})
    if done.returncode:
        print("\n".join(last[-80:]))


def paper(record: Record, settings: SearchSettings, seconds: float, out: Path) -> None:
    """Search, training and test within so many seconds; what is there is gone on with, as it was begun."""
    deadline = time.monotonic() + seconds
    device = find_device(settings.training.device)
    dataset = load_dataset(settings.data.dataset, settings.data.data_folder)
    cell, folder = out / "genotype.json", out / "run"
    progress = Lines()
    if not cell.exists():
        out.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        searching = with_search_epochs(record, settings, dataset, device, SEARCH_SHARE * seconds)

        def keep(rows: list[dict[str, Any]]) -> None:
            (out / "search.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

        found = find_cell(searching, dataset, checkpoint=out / "search.safetensors", record=keep, progress=progress)
        cell.write_text(to_json(found))
        record.add(search_s=round(time.monotonic() - started, 1), search_epochs=searching.darts.search_epochs)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    begun = (folder / "manifest.json").exists()
    started = time.monotonic()
    if begun:
        settings = recorded_settings(Run(folder))
    else:
        epoch_s = train_epoch_s(settings, dataset, from_file(cell), device)
        left = deadline - time.monotonic() - REST * seconds
        epochs = max(1, min(MOST_EPOCHS["train"], int(left / epoch_s)))
        record.add(train_epoch_s=round(epoch_s, 2), train_epochs=epochs)
        settings = changed(settings, train_epochs=epochs, tensorboard=True)
    options: dict[str, Any] = {"resume": begun, "progress": progress, "tell": print}
    run = run_search(settings, folder, genotype=cell, command="benchmarks/accelerator.py", **options)
    metrics = read_metrics(run)
    told = ("test_accuracy", "parameters", "spikes_per_inference", "sops_per_inference")
    record.add(train_and_test_s=round(time.monotonic() - started, 1), paper={name: metrics[name] for name in told})


class Lines:
    """Progress as lines, one every ten seconds and one at the end of an epoch."""

    def __init__(self) -> None:
        self._told = 0.0

    def __call__(self, event: ProgressEvent) -> None:
        now = time.monotonic()
        if event.step == event.steps or now > self._told + 10:
            self._told = now
            print(
                f"{event.stage} epoch {event.epoch}/{event.epochs} step {event.step}/{event.steps}: "
                f"loss {event.loss:.3f}, accuracy {event.accuracy:.4f}, {event.spikes:,.0f} spikes, "
                f"waits {event.waited:.0%}, {event.seconds_left:.0f} s left",
                flush=True,
            )


def with_search_epochs(
    record: Record, settings: SearchSettings, dataset: Dataset, device: torch.device, seconds: float
) -> SearchSettings:
    """As many epochs as a few steps on random images say that there is time for."""
    config = network_config(settings.network, dataset, "search")
    batch = settings.supernet.search_batch_size or settings.training.batch_size
    build = search_step(config, fast_dtype(device), device, batch, device.type == "cuda")
    with build as step:
        step_s = seconds_of(step, device)
    epoch_s = VALIDATION * step_s * len(dataset.train_images) / 2 / batch
    epochs = max(1, min(MOST_EPOCHS["search"], int(seconds / epoch_s)))
    record.add(search_epoch_s=round(epoch_s, 2))
    warm_up = min(settings.darts.alpha_warmup_epochs, epochs // 4)
    return changed(settings, search_epochs=epochs, alpha_warmup_epochs=warm_up)


def train_epoch_s(settings: SearchSettings, dataset: Dataset, cell: Genotype, device: torch.device) -> float:
    """Seconds of an epoch of the network of this cell, from a few steps on random images."""
    config = network_config(settings.network, dataset)
    batch = settings.training.batch_size
    build = train_step(settings, config, device, batch, device.type == "cuda", cell)
    with build as step:
        step_s = seconds_of(step, device)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    learned = len(dataset.train_images) * (1 - settings.training.validation_fraction)
    return max(VALIDATION * step_s * learned / batch, 1e-3)


if __name__ == "__main__":
    main()
