"""Which parts of a training recipe help a short training of a spiking network? Each alone against none of them.

    python benchmarks/on_accelerator/recipe_parts.py --dataset npz:ARCHIVE.npz [--work runs/recipe-parts]
        [--seeds 0,1,2] [--parts ...] [--images 5000] [--tested 10000] [--channels 8] [--cells 4] [--epochs 12] [--json]

The cell is fixed, T = 2, the stem halves the images, which are cropped, flipped and cut out in all trainings. A part
and the baseline have the same seed, so the same first weights and the same batches; what is compared is the accuracy on
`--tested` test images, and by processor time what it costs. Every training is kept in a file of the work folder when it
is done; started again, the benchmark goes on where it was, also inside a training. Several may work on a folder at
once, each on other seeds. 12 epochs of 5000 images take one core about two minutes.

Prints a table: the mean difference to the baseline over the seeds and its standard error, in percent of the images.
With --json one object on stdout: per part {"accuracy", "difference", "error", "cpu_s", "seeds"}, in shares of images.
"""

import argparse
import json
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from spikeport.files import read_json, write_json
from spikeport.search.data.datasets import Dataset, load_dataset
from spikeport.search.evaluators.from_scratch import train_network
from spikeport.search.random_streams import seeded
from spikeport.search.settings.run import SearchSettings, choose, settings_from_dict
from spikeport.search.space.genotype import Edge, Genotype
from spikeport.search.space.network import SpikingNetwork, network_config
from spikeport.search.training.checkpoint import Row
from spikeport.search.training.loop import evaluate

BASELINE = "none"
COMMON: dict[str, Any] = {
    "primitives": "darts",
    "time_steps": 2,
    "stem_stride": 2,
    "crop": 4,
    "flip": True,
    "cutout": 8,  # a quarter of the side, because trainings are short
    "device": "cpu",
    "train_learning_rate": 0.1,
    "batch_size": 64,
    "validation_fraction": 0.02,
}
PARTS: Mapping[str, dict[str, Any]] = {
    BASELINE: {},
    "label smoothing": {"label_smoothing": 0.1},
    "warm-up": {"warmup_share": 0.2},
    "triangle": {"warmup_share": 0.2, "schedule": "linear"},
    "nesterov": {"nesterov": True},
    "decay of weights only": {"decay_weights_only": True},
    "average": {"average_decay": 0.99},
    "average of a constant": {"average_decay": 0.99, "schedule": "constant"},
    "reflected crop": {"crop_filling": "reflect"},
    "growing images": {"first_size": 0.5, "growth_share": 0.5},
    "teacher": {"teacher_epochs": 12},
    "hot teacher": {"teacher_epochs": 12, "teacher_weight": 0.9, "teacher_temperature": 4.0},
    "longer": {"train_epochs": 18},  # what a teacher costs, spent on the network itself
}


def cell(*edges: tuple[int, int, str]) -> tuple[Edge, ...]:
    return tuple(Edge(*edge) for edge in edges)


GENOTYPE = Genotype(  # with the primitives that searches find most often
    primitives="darts",
    normal=cell(
        *((0, 0, "sep_conv_3x3"), (0, 1, "sep_conv_5x5"), (1, 1, "sep_conv_3x3"), (1, 2, "dil_conv_3x3")),
        *((2, 0, "skip_connect"), (2, 3, "sep_conv_3x3"), (3, 1, "sep_conv_3x3"), (3, 2, "skip_connect")),
    ),
    reduce=cell(
        *((0, 0, "max_pool_3x3"), (0, 1, "sep_conv_3x3"), (1, 1, "sep_conv_5x5"), (1, 2, "sep_conv_3x3")),
        *((2, 1, "dil_conv_5x5"), (2, 2, "skip_connect"), (3, 2, "sep_conv_3x3"), (3, 3, "skip_connect")),
    ),
)


@dataclass(frozen=True, slots=True)
class Result:
    """Of one training, on test images: accuracy 0..1, cross-entropy in nats, spikes per image; processor seconds."""

    accuracy: float
    loss: float
    spikes: float
    cpu_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="CIFAR-10 as `spikeport search --dataset` takes it")
    parser.add_argument("--work", type=Path, default=Path("runs/recipe-parts"))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--parts", default=",".join(PARTS), help="the baseline first")
    for name, number in (("images", 5000), ("tested", 10000), ("channels", 8), ("cells", 4), ("epochs", 12)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    parts, seeds = options.parts.split(","), [int(seed) for seed in options.seeds.split(",")]
    whole = load_dataset(options.dataset, options.work)
    dataset = replace(
        whole,
        train_images=whole.train_images[: options.images],
        train_labels=whole.train_labels[: options.images],
        test_images=whole.test_images[: options.tested],
        test_labels=whole.test_labels[: options.tested],
    )
    size = {name: getattr(options, name) for name in ("channels", "cells")} | {"train_epochs": options.epochs}
    for seed in seeds:
        for part in parts:
            settings = choose(seed=seed, dataset=options.dataset, **COMMON | size | PARTS[part])
            found = result_of(settings, dataset, options.work / f"{part.replace(' ', '-')}-{seed}")
            if not options.json:
                print(f"{seed} {part:24} {found.accuracy:.4f} {found.cpu_s:6.0f} s", flush=True)
    found = compared(options.work, parts, seeds)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    print(f"\n{'part':24} accuracy   difference, %    processor seconds")
    for part, row in found.items():
        error = "" if row["error"] is None else f"+- {100 * row['error']:.2f}"
        print(f"{part:24} {row['accuracy']:8.2%}  {100 * row['difference']:+6.2f} {error:8} {row['cpu_s']:12.0f}")


def result_of(settings: SearchSettings, dataset: Dataset, place: Path) -> Result:
    """Of a training that is kept beside `place` when it is done, with the settings it had."""
    file, checkpoint, clock = (Path(f"{place}{ending}") for ending in (".json", ".safetensors", ".seconds.json"))
    if not file.exists():
        with seeded(settings.seed, "train weights"):
            network = SpikingNetwork(GENOTYPE, network_config(settings.network, dataset))
        before = read_json(clock)["cpu_s"] if clock.exists() else 0.0  # in a process that was ended
        start = time.process_time() - before

        def record(rows: list[Row]) -> None:
            write_json(clock, {"cpu_s": time.process_time() - start})

        train_network(network, dataset, settings, checkpoint, record)
        cpu_s = time.process_time() - start
        score = evaluate(network, dataset.test_images, dataset.test_labels)
        result = Result(score.accuracy, score.loss, score.spikes, cpu_s)
        write_json(file, asdict(result) | {"images": len(dataset.train_images), "settings": settings.to_dict()})
        checkpoint.unlink()
        clock.unlink()
    kept = read_json(file)
    if kept["images"] != len(dataset.train_images) or settings_from_dict(kept["settings"]) != settings:
        raise SystemExit(f"'{file}' is of a training with other settings; use another --work.")
    return Result(**{name: kept[name] for name in Result.__dataclass_fields__})


def compared(work: Path, parts: list[str], seeds: list[int]) -> dict[str, dict[str, Any]]:
    """Per part what is printed; a single seed has no standard error."""

    def every(part: str) -> list[dict[str, Any]]:
        return [read_json(work / f"{part.replace(' ', '-')}-{seed}.json") for seed in seeds]

    base = [row["accuracy"] for row in every(BASELINE)]
    found = {}
    for part in parts:
        accuracy = [row["accuracy"] for row in every(part)]
        differences = [one - other for one, other in zip(accuracy, base, strict=True)]
        found[part] = {
            "accuracy": statistics.fmean(accuracy),
            "difference": statistics.fmean(differences),
            "error": statistics.stdev(differences) / len(seeds) ** 0.5 if len(seeds) > 1 else None,
            "cpu_s": statistics.fmean(row["cpu_s"] for row in every(part)),
            "seeds": seeds,
        }
    return found


if __name__ == "__main__":
    main()
