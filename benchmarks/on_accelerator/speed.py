"""How fast steps are: images per second, memory, the share of what the device can do, and where the time goes."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch.utils.flop_counter import FlopCounterMode

from spikeport.benchmarks.on_accelerator.record import Record
from spikeport.benchmarks.on_accelerator.steps import (
    WARM_UP,
    peer_step,
    search_step,
    seconds_of,
    train_step,
    usual_step,
)
from spikeport.search.machine.device import fast_dtype
from spikeport.search.settings.run import SearchSettings
from spikeport.search.space.network import NetworkConfig

MATRIX = 8192


def speed(record: Record, settings: SearchSettings, config: NetworkConfig, device: torch.device) -> None:
    """Steps of the search and of the training, images per second; each side is built, timed and given up."""
    record.add(bf16_tflops=matrix_tflops(device))
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

    dtype = fast_dtype(device)
    batch = settings.supernet.search_batch_size or settings.training.batch_size
    sizes = sorted({min(batch, 64), batch})
    on_gpu = device.type == "cuda"
    found = [timed(record, f"search_{n}", n, search_step(config, dtype, device, n, on_gpu), device) for n in sizes]
    peers = [
        timed(record, f"search_{sizes[0]}_spikingjelly_{kind}", sizes[0],
              peer_step(config, kind, device, sizes[0]), device)
        for kind in dtypes_of(device)
    ]  # fmt: skip
    told(record, "search", found[0], peers)


def told(record: Record, word: str, mine: float | None, peers: list[float | None]) -> None:
    """The ratio to the fastest peer at the same batch."""
    fastest = max((one for one in peers if one), default=None)
    if mine and fastest:
        record.add(**{f"{word}_ratio": round(mine / fastest, 2)})


def dtypes_of(device: torch.device) -> list[str]:
    return ["bfloat16", "float32"] if device.type == "cuda" else ["float32"]


def matrix_tflops(device: torch.device) -> float | None:
    """10^12 floating-point operations per second of a product of random bfloat16 matrices."""
    if device.type != "cuda":
        return None
    a, b = (torch.randn(MATRIX, MATRIX, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = seconds_of(lambda: a @ b, device)
    return round(2 * MATRIX**3 / seconds / 1e12, 1)


def timed(
    record: Record, name: str, images: int, build: AbstractContextManager[Callable[[], object]], device: torch.device
) -> float | None:
    """Images per second of the step that `build` yields; None where it cannot run, with the reason in the record."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    try:
        with build as step:
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


def profile(record: Record, settings: SearchSettings, config: NetworkConfig, device: torch.device) -> None:
    """Where two steps of each kind spend a device's time, by kernel."""
    search_batch = settings.supernet.search_batch_size or settings.training.batch_size
    batch = settings.training.batch_size
    steps = {
        "search": search_step(config, fast_dtype(device), device, search_batch, False),
        "train": train_step(settings, config, device, batch, False),
    }
    for name, build in steps.items():
        with build as step:
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
