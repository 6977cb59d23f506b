"""What docs/accuracy.md measures: which networks are trained, how, and which integers are made of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from spikeport.benchmarks.on_accuracy.rows import Way
from spikeport.export.settings import ExportSettings

# what stands in the arguments of a search for a folder
DATA, OUT = "{data}", "{out}"
BITS = (8, 4, 2)
SEEDS = (0, 1, 2)
LENET_SIDE = 32  # LeNet-5 read MNIST in frames of 32x32, too; two reductions behind a stem of stride 2 need them


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One training, and the rows made of it.

    table: the name of the table its rows are in. dataset: how its results are to be quoted. search: arguments of
    `spikeport search`, without --out. integers: settings of the export for each row; none where the network cannot be
    on a chip. needs: files of the data folder. after: a plan whose run this one takes its cell of. in_lava: real Lava
    runs the last row of each number of bits, too.
    """

    table: str
    dataset: str
    search: tuple[str, ...]
    integers: tuple[dict[str, Any], ...]
    needs: tuple[str, ...]
    after: str | None = None
    in_lava: bool = True

    def groups(self, lava_samples: int) -> list[list[Way]]:
        """The ways of each number of bits; Lava runs the last of each."""
        found: dict[int, list[Way]] = {}
        for chosen in self.integers:
            found.setdefault(chosen["weight_bits"], []).append(Way(settings=ExportSettings(**chosen)))
        return [[*others, replace(last, lava_samples=lava_samples)] for *others, last in found.values()]


def _rows(finetune: int, **more: Any) -> tuple[dict[str, Any], ...]:
    """At every number of bits: by the largest weight, calibrated, trained through the integers."""
    ways = ({}, {"calibrate": True}, {"calibrate": True, "finetune": finetune} | more)
    return tuple({"weight_bits": bits} | way for bits in BITS for way in ways)


_MNIST = (
    *("--dataset", f"npz:{OUT}/mnist32_train.npz,{OUT}/mnist32_test.npz", "--cells", "3", "--stem-stride", "2"),
    *("--shift", "2", "--train-learning-rate", "0.1", "--schedule", "linear", "--warmup-share", "0.1", "--nesterov"),
    *("--precision", "bfloat16"),
)
_NMNIST = (
    *("--dataset", f"events:{DATA}/nmnist_train.npz,{DATA}/nmnist_test.npz", "--primitives", "plain"),
    *("--time-steps", "10", "--channels", "4", "--cells", "3", "--shift", "2", "--search-epochs", "3"),
    *("--train-epochs", "30", "--train-learning-rate", "0.1", "--weight-decay", "0.001", "--batch-size", "32"),
)
_CIFAR_CELL = (
    *("--dataset", f"npz:{DATA}/cifar10_train12k.npz,{DATA}/cifar10_test1k.npz", "--primitives", "plain"),
    *("--channels", "8", "--cells", "4", "--stem-stride", "2", "--crop", "4", "--flip", "--search-epochs", "3"),
    *("--alpha-learning-rate", "0.01", "--train-epochs", "1", "--train-learning-rate", "0.1"),
)
_CIFAR = (
    *("--dataset", f"npz:{DATA}/cifar10_jpeg.npz", "--genotype", f"{OUT}/cifar10-cell/search/genotype.json"),
    *("--stem-stride", "2", "--train-learning-rate", "0.1", "--schedule", "linear", "--warmup-share", "0.1"),
    *("--nesterov", "--precision", "bfloat16", "--weight-decay", "0.0005", "--validation-fraction", "0.02"),
    *("--crop", "4", "--crop-filling", "reflect", "--flip", "--first-size", "0.5"),
)
_MNIST_WHOLE, _MNIST_FILES = "MNIST, 60 k / 10 k", ("mnist_train.npz", "mnist_test.npz")
_JPEG = "CIFAR-10 (JPEG copy), 50 k / 10 k"
_EIGHT_BITS: tuple[dict[str, Any], ...] = ({"weight_bits": 8}, {"weight_bits": 8, "calibrate": True})
# kind of attention -> rows: as exported, or with gates that are constants
_ATTENTION: dict[str, tuple[dict[str, Any], ...]] = {
    "none": _EIGHT_BITS,
    "eca": (),
    "cbam": tuple(
        chosen | {"fold_attention": True}
        for chosen in (*_EIGHT_BITS, _EIGHT_BITS[1] | {"finetune": 2, "finetune_samples": 12_000})
    ),
    "spike": _EIGHT_BITS,
}

PLANS: dict[str, Plan] = {
    "mnist-cell": Plan(
        table="",
        dataset=_MNIST_WHOLE,
        search=(
            *(*_MNIST, "--primitives", "plain", "--channels", "8", "--search-epochs", "1"),
            *("--alpha-learning-rate", "0.01", "--train-epochs", "1"),
        ),
        integers=(),
        needs=_MNIST_FILES,
    ),
    "mnist": Plan(
        table="networks",
        dataset=_MNIST_WHOLE,
        search=(
            *(*_MNIST, "--genotype", f"{OUT}/mnist-cell/search/genotype.json", "--channels", "16"),
            *("--train-epochs", "10", "--first-size", "0.5"),
        ),
        after="mnist-cell",
        integers=_rows(2, finetune_samples=12_000),
        needs=_MNIST_FILES,
    ),
    "nmnist": Plan(
        table="networks",
        dataset="N-MNIST, 1000 / 100 recordings",
        search=_NMNIST,
        integers=_rows(12),
        needs=("nmnist_train.npz", "nmnist_test.npz"),
    ),
    "cifar10-cell": Plan(
        table="",
        dataset="CIFAR-10, 12 k train images, first 1 k test images",
        search=_CIFAR_CELL,
        integers=(),
        needs=("cifar10_train12k.npz", "cifar10_test1k.npz"),
    ),
    "cifar10": Plan(
        table="networks",
        dataset=_JPEG,
        search=(*_CIFAR, "--channels", "16", "--cells", "4", "--train-epochs", "14"),
        integers=_rows(2, finetune_samples=12_000),
        needs=("cifar10_jpeg.npz",),
        after="cifar10-cell",
    ),
} | {
    f"cifar10-{kind}-{seed}": Plan(
        table="attention",
        dataset=_JPEG,
        search=(
            *(*_CIFAR, "--channels", "8", "--cells", "3", "--train-epochs", "3"),
            *("--attention", kind, "--seed", str(seed)),
        ),
        integers=rows,
        needs=("cifar10_jpeg.npz",),
        after="cifar10-cell",
        in_lava=seed == SEEDS[0],
    )
    for kind, rows in _ATTENTION.items()
    for seed in SEEDS
}


def arguments(plan: Plan, data: Path, out: Path) -> list[str]:
    """Of the search, with the folders in it."""
    return [word.replace(DATA, str(data)).replace(OUT, str(out)) for word in plan.search]


def padded_mnist(data: Path, out: Path) -> None:
    """MNIST's images in frames of 32x32, black around them, as files in `out`; what is there stays."""
    for split in ("train", "test"):
        path = out / f"mnist32_{split}.npz"
        if not path.exists():
            with np.load(data / f"mnist_{split}.npz", allow_pickle=False) as found:
                images, labels = found["images"], found["labels"]
            more = (LENET_SIDE - images.shape[1]) // 2
            partial = path.with_suffix(".partial.npz")
            np.savez_compressed(
                partial, images=np.pad(images, ((0, 0), (more, more), (more, more), (0, 0))), labels=labels
            )
            partial.rename(path)


# plan -> what is made of the data before its training
PREPARED: dict[str, Callable[[Path, Path], None]] = {"mnist-cell": padded_mnist, "mnist": padded_mnist}
