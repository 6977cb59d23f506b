"""What survives the chip, on real data: accuracy in float and in the chip's integers, operations, energy.

    python benchmarks/accuracy.py --data DATA --out FOLDER [--only mnist nmnist cifar10] [--lava-samples 16] [--json]
    python benchmarks/accuracy.py --out FOLDER --measured [--json]      print what is there

DATA holds mnist_train.npz and mnist_test.npz, nmnist_train.npz and nmnist_test.npz, cifar10_train12k.npz,
cifar10_test1k.npz and cifar10_jpeg.npz, as `spikeport search --dataset` takes them. Every network is trained by the
command that is printed, on one thread, into FOLDER/<name>; its rows go to FOLDER/<name>.json. A second run goes on
where the first was stopped, and rows that are there are not made again. All of it takes hours on two cores; --only
chooses. --lava-samples: test images that real Lava runs for each row of one seed.

With --json one object {"rows": [...]}; a row has "name", "dataset", "attention", "weight_bits", "integers",
"float_accuracy", "folded_accuracy", "ptq_accuracy", "chip_accuracy", "lava_spikes_differing", "lava_samples", "sops",
"energy_j", "cores" and more; null where there is none (live gates are on no chip).
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spikeport.benchmarks.on_accuracy.plans import PLANS, PREPARED, arguments
from spikeport.benchmarks.on_accuracy.rows import Way, rows_of
from spikeport.benchmarks.on_accuracy.tables import TABLES
from spikeport.benchmarks.on_runs.commanded import searched
from spikeport.files import read_json, write_json
from spikeport.search.runs import Run

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and rows")
    parser.add_argument("--only", nargs="+", choices=PLANS, default=list(PLANS), metavar="NAME", help=", ".join(PLANS))
    parser.add_argument("--lava-samples", type=int, default=16)
    parser.add_argument("--measured", action="store_true", help="print what is there; train and measure nothing")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = []
    for name in given.only:
        if not given.measured:
            if given.data is None:
                parser.error("--data is missing: the folder of mnist_train.npz and the others")
            measure(name, given.data.resolve(), given.out.resolve(), given.lava_samples)
        path = rows_file(given.out, name)
        rows += read_json(path)["rows"] if path.is_file() else []
    if given.json:
        print(json.dumps({"rows": rows}))
    else:
        for title, table in TABLES.items():
            print(f"{title}\n\n{table([row for row in rows if row['table'] == title])}\n")


def rows_file(out: Path, name: str) -> Path:
    return out / f"{name}.json"


def measure(name: str, data: Path, out: Path, lava_samples: int) -> None:
    """Train a plan's network if nobody did; write the rows that are missing, those of a number of bits at once."""
    plan, path = PLANS[name], rows_file(out, name)
    rows: list[Row] | None = read_json(path)["rows"] if path.is_file() else None
    missing = [group for group in plan.groups(lava_samples if plan.in_lava else 0) if not _there(group, rows or [])]
    if rows is not None and not missing:
        return
    if plan.after:
        train(plan.after, data, out)
    run = train(name, data, out)
    told = {"name": name, "table": plan.table, "dataset": plan.dataset}
    if rows is None:
        rows = [row | told for row in _live(run)]
        write_json(path, {"rows": rows})
    for group in missing:
        rows += [
            row | told
            for row in rows_of(run, group, lambda stage: print(f"{name}: {stage}", file=sys.stderr, flush=True))
        ]
        write_json(path, {"rows": rows})


def _there(group: Sequence[Way], rows: Sequence[Row]) -> bool:
    return any(row["weight_bits"] == group[0].settings.weight_bits for row in rows)


def train(name: str, data: Path, out: Path) -> Run:
    """By the command line, as anybody would; resumed where it was stopped."""
    plan, folder = PLANS[name], out / name
    missing = [file for file in plan.needs if not (data / file).is_file()]
    if missing:
        sys.exit(f"The folder '{data}' lacks {', '.join(missing)}; name another with --data.")
    out.mkdir(parents=True, exist_ok=True)
    if name in PREPARED:
        PREPARED[name](data, out)
    return searched(arguments(plan, data, out), folder)


def _live(run: Run) -> list[Row]:
    """The network as it was trained, where its gates depend on the input: it is on no chip."""
    attention = read_json(run.config)["network"]["attention"]
    if attention in ("none", "spike"):
        return []
    metrics = read_json(run.metrics)
    nothing = dict.fromkeys(
        (
            "weight_bits",
            "folded_accuracy",
            "ptq_accuracy",
            "chip_accuracy",
            "lava_spikes_differing",
            "energy_j",
            "cores",
        )
    )
    return [
        nothing
        | {
            "attention": attention,
            "integers": "live gates, float",
            "lava_samples": 0,
            "float_accuracy": metrics["test_accuracy"],
            "sops": metrics["sops_per_inference"],
            "spikes": metrics["spikes_per_inference"],
        }
    ]


if __name__ == "__main__":
    main()
