"""Families of searches against random cells: short real searches on digits, trained alike, three seeds each.

    python benchmarks/families.py --out runs/families [--only darts gumbel ...] [--seeds 0,1,2] [--random 20] [--json]
    python benchmarks/families.py --out runs/recordings --recordings TRAIN.npz TEST.npz [--random 6]    of N-MNIST
    python benchmarks/families.py --out runs/families --bits [--json]      searched under 4 bits against in floats
    python benchmarks/families.py --out runs/families --measured           print what is there

Every search has the same budget, six epochs of a supernet or twelve trainings of a third of the length, and what it
found is trained as the random cells are; only the seed differs. Every run is made by `spikeport search`, whose words
are printed, on one thread, in FOLDER/<family>-<seed>; a second call goes on where the first was stopped. With
--recordings, those families that are made for membranes with something to remember, in T = 8 steps; the recordings of
both files are dealt anew, 600 to train on and all others to test on, because 100 test recordings tell no difference.

Printed for each family: test accuracy, mean and deviation over seeds; its difference to the median of random cells, and
to `darts` seed by seed, with their standard errors; the share of random cells that are better; synaptic operations
against the median; seconds of a core, with the training. With --bits: both found cells, fine-tuned at 4 bits as the
export would, on the chip's integers. With --json one object: `families`, `random`, `bits`.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikeport.benchmarks.on_accuracy.plans import OUT
from spikeport.benchmarks.on_accuracy.rows import Way, rows_of
from spikeport.benchmarks.on_runs.commanded import searched
from spikeport.benchmarks.on_searches.recordings import deal
from spikeport.export.settings import ExportSettings
from spikeport.files import read_json, write_json
from spikeport.search.runs import Run

RANDOM = "random"
FIRST_RANDOM = 100  # seed of the first random cell: none is that of a search
TUNED_EPOCHS = 4  # of the fine-tuning at 4 bits
TO_TRAIN = 600  # recordings
MEDIAN = 1.2533  # standard error of a median over that of a mean, of a normal law

GRADIENTS = ("--search-epochs", "6", "--learning-rate", "0.1", "--alpha-learning-rate", "0.02")
# trainings are whole here, so that four cost as much as six epochs of a supernet, about
ASKING = ("--evaluations", "4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """common: the words of all its searches. families: name -> the words of its search, beside."""

    common: tuple[str, ...]
    families: Mapping[str, tuple[str, ...]]


DIGITS = Bench(
    common=(
        *("--dataset", "digits", "--primitives", "plain", "--channels", "6", "--cells", "3", "--time-steps", "2"),
        *("--shift", "1", "--train-epochs", "8", "--train-learning-rate", "0.1", "--validation-fraction", "0.25"),
        *("--device", "cpu"),
    ),
    families={
        "darts": (*GRADIENTS,),
        "plain supernet": (*GRADIENTS, "--supernet", "plain"),
        "sigmoid": (*GRADIENTS, "--relaxation", "sigmoid", "--zero-one-weight", "10"),
        "gumbel": (*GRADIENTS, "--relaxation", "gumbel"),
        "pipelined": (*GRADIENTS, "--pipelined-epochs", "3"),
        "trials": (*GRADIENTS, "--trials", "6"),
        "own cells": (*GRADIENTS, "--cells-per-layer", "--shared-epochs", "3"),
        "decays": (*GRADIENTS, "--decays", "search"),
        "sharpness": (*GRADIENTS, "--sharpness-every", "2"),
        "4 bits": (*GRADIENTS, "--search-bits", "4", "--search-bits-after", "3"),
        "elastic": (
            *("--strategy", "evolution", "--evaluator", "supernet", "--evaluations", "24", "--elastic-epochs", "6"),
            *("--elastic-learning-rate", "0.4", "--elastic-finalists", "1"),
        ),
        "evolution": ("--strategy", "evolution", *ASKING, "--evolution-population", "2", "--evolution-sample", "2"),
        "best of random": ("--strategy", "random", *ASKING),
    },
)
RECORDINGS = Bench(
    common=(
        *("--dataset", f"events:{OUT}/recordings_train.npz,{OUT}/recordings_test.npz", "--primitives", "plain"),
        *("--channels", "4", "--cells", "3", "--time-steps", "8", "--shift", "2", "--train-epochs", "16"),
        *("--train-learning-rate", "0.1", "--weight-decay", "0.001", "--batch-size", "16", "--device", "cpu"),
    ),
    families={
        "darts": (*GRADIENTS,),
        "decays": (*GRADIENTS, "--decays", "search"),
        "sharpness": (*GRADIENTS, "--sharpness-every", "5", "--sharpness-step", "0.4"),
    },
)
DARTS, BITS = "darts", "4 bits"  # what others are compared with; the two that are at 4 bits

Result = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=DIGITS.families, metavar="FAMILY")
    parser.add_argument("--recordings", nargs=2, type=Path, metavar=("TRAIN", "TEST"), help="instead of digits")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--random", type=int, default=20, help="random cells")
    parser.add_argument("--workers", type=int, default=1, help="runs at once")
    parser.add_argument("--bits", action="store_true", help="at 4 bits: searched so, against in floats")
    parser.add_argument("--measured", action="store_true", help="print what is there; run nothing")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    seeds = [int(word) for word in given.seeds.split(",")]
    bench = RECORDINGS if given.recordings else DIGITS
    families = [DARTS, BITS] if given.bits else given.only or list(bench.families)
    if not set(families) <= set(bench.families):
        parser.error(f"of recordings there are {', '.join(bench.families)}")
    jobs = [(RANDOM, FIRST_RANDOM + number) for number in range(0 if given.bits else given.random)]
    jobs += [(family, seed) for seed in seeds for family in families]
    if not given.measured:
        if given.recordings:
            deal(*given.recordings, given.out, to_train=TO_TRAIN)
        with ThreadPoolExecutor(given.workers) as pool:
            list(pool.map(lambda job: make(bench, given.out.resolve(), *job), jobs))
    there = {job: found for job in jobs if (found := result(given.out, *job)) is not None}
    found: dict[str, Any] = {}
    if given.bits:
        found["bits"] = at_four_bits(given.out, [seed for seed in seeds if {(f, seed) for f in families} <= set(there)])
    else:
        found |= compared(there)
    print(json.dumps(found) if given.json else shown(found))


def folder_of(out: Path, family: str, seed: int) -> Path:
    return out / f"{family.replace(' ', '-')}-{seed}"


def words_of(bench: Bench, family: str, seed: int) -> list[str]:
    words = ("--strategy", "random", "--evaluations", "1") if family == RANDOM else bench.families[family]
    return [*bench.common, *words, "--seed", str(seed)]


def make(bench: Bench, out: Path, family: str, seed: int) -> None:
    folder = folder_of(out, family, seed)
    if Run(folder).metrics.is_file():
        return
    out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    searched([word.replace(OUT, str(out)) for word in words_of(bench, family, seed)], folder)
    times = folder.with_suffix(".seconds.json")
    spent = read_json(times)["seconds"] if times.is_file() else 0.0
    write_json(times, {"seconds": spent + time.monotonic() - start})


def result(out: Path, family: str, seed: int) -> Result | None:
    folder = folder_of(out, family, seed)
    if not Run(folder).metrics.is_file():
        return None
    metrics, times = read_json(Run(folder).metrics), folder.with_suffix(".seconds.json")
    return {
        "accuracy": metrics["test_accuracy"],
        "sops": metrics["sops_per_inference"],
        "seconds": read_json(times)["seconds"] if times.is_file() else None,
    }


def compared(there: Mapping[tuple[str, int], Result]) -> dict[str, Any]:
    """Of what was run: random cells, and every family against them."""
    groups: dict[str, list[Result]] = {}
    for (family, _), found in there.items():
        groups.setdefault(family, []).append(found)
    drawn = groups.pop(RANDOM, [])
    if len(drawn) < 2:
        sys.exit("There must be at least two random cells to compare with; raise --random.")
    accuracies = [one["accuracy"] for one in drawn]
    median, sops = statistics.median(accuracies), statistics.median(one["sops"] for one in drawn)
    error = MEDIAN * statistics.stdev(accuracies) / len(drawn) ** 0.5
    return {
        "random": {"cells": len(drawn), "median": median, "deviation": statistics.stdev(accuracies), "sops": sops},
        "families": {
            family: family_row([one["accuracy"] for one in rows], accuracies, median, error)
            | {
                "against_darts": by_seed(there, family),
                "sops_against_median": statistics.mean(one["sops"] for one in rows) / sops,
                "seconds": statistics.median(one["seconds"] or 0.0 for one in rows),
            }
            for family, rows in groups.items()
        },
    }


def family_row(found: Sequence[float], drawn: Sequence[float], median: float, error: float) -> Result:
    mean = statistics.mean(found)
    own = statistics.variance(found) / len(found) if len(found) > 1 else float("nan")
    return {
        "seeds": len(found),
        "mean": mean,
        "deviation": statistics.stdev(found) if len(found) > 1 else None,
        "above_median": mean - median,
        "standard_error": (own + error**2) ** 0.5 if len(found) > 1 else None,
        "random_better": sum(one > mean for one in drawn) / len(drawn),
    }


def by_seed(there: Mapping[tuple[str, int], Result], family: str) -> Result | None:
    """Accuracy less that of the plain search with the same seed: mean, and its error; None where less than two know."""
    pairs = [(there.get((family, seed)), found) for (name, seed), found in there.items() if name == DARTS]
    differences = [one["accuracy"] - found["accuracy"] for one, found in pairs if one is not None]
    if family == DARTS or len(differences) < 2:
        return None
    error = statistics.stdev(differences) / len(differences) ** 0.5
    return {"seeds": len(differences), "difference": statistics.mean(differences), "standard_error": error}


def at_four_bits(out: Path, seeds: Sequence[int]) -> Result:
    """Chip accuracy at 4 bits of what was found under 4 bits and in floats, fine-tuned alike; difference over seeds."""
    way = Way(settings=ExportSettings(weight_bits=4, calibrate=True, finetune=TUNED_EPOCHS))
    accuracies: dict[str, list[float]] = {DARTS: [], BITS: []}
    for family, values in accuracies.items():
        for seed in seeds:
            kept = folder_of(out, family, seed).with_suffix(".chip.json")
            if not kept.is_file():
                (row,) = rows_of(Run(folder_of(out, family, seed)), [way])
                write_json(kept, {"chip_accuracy": row["chip_accuracy"]})
            values.append(read_json(kept)["chip_accuracy"])
    differences = [bits - floats for floats, bits in zip(*accuracies.values(), strict=True)]
    return {
        "seeds": list(seeds),
        "searched_in_floats": accuracies[DARTS],
        "searched_under_4_bits": accuracies[BITS],
        "difference": statistics.mean(differences) if differences else None,
        "standard_error": statistics.stdev(differences) / len(seeds) ** 0.5 if len(seeds) > 1 else None,
    }


def shown(found: Mapping[str, Any]) -> str:
    if "bits" in found:
        bits = found["bits"]
        return (
            f"on the chip at 4 bits, seeds {bits['seeds']}: searched in floats {bits['searched_in_floats']}, under 4 "
            f"bits {bits['searched_under_4_bits']}; difference {bits['difference']} +- {bits['standard_error']}"
        )
    drawn = found["random"]
    lines = [
        f"{drawn['cells']} random cells: median {drawn['median']:.4f}, deviation {drawn['deviation']:.4f}, "
        f"{drawn['sops']:.0f} SOPs",
        f"{'family':16}{'seeds':>6}{'accuracy':>10}{'sd':>8}{'above median':>14}{'error':>8}{'against darts':>20}"
        f"{'random better':>15}{'SOPs':>7}{'seconds':>9}",
    ]
    for family, row in sorted(found["families"].items(), key=lambda pair: -pair[1]["mean"]):
        sd, error = (f"{row[key]:.4f}" if row[key] is not None else "-" for key in ("deviation", "standard_error"))
        darts = row["against_darts"]
        against = f"{darts['difference']:+.4f} +- {darts['standard_error']:.4f}" if darts else "-"
        lines.append(
            f"{family:16}{row['seeds']:6}{row['mean']:10.4f}{sd:>8}{row['above_median']:+14.4f}{error:>8}{against:>20}"
            f"{row['random_better']:15.0%}{row['sops_against_median']:7.2f}{row['seconds']:9.0f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
