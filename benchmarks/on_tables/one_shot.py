"""Does a supernet rank cells as trainings do? Asked of the cells of a table, before anybody trusts a search on it.

    python -m spikeport.benchmarks.on_tables.one_shot --table benchmarks/tables/closed.jsonl [--cells 100] [--json]

Shared weights are trained once on the table's space, with its settings; then every cell is cut out and measured on the
watched images. Of each number: Kendall's tau with the cells' test accuracy (the mean over seeds), a bootstrap interval,
and the partial tau given parameters and operations. Of the rise of the loss in 8 and 4 bits also tau with what the
table's trained cells lose there. With --checkpoint the shared weights are kept, and beside
them what they said of each cell, so that a run that was killed goes on.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spikeport.benchmarks.on_tables.agreement import Values, interval, partial_tau, precision, tau
from spikeport.benchmarks.scores import Cells, cells_of
from spikeport.errors import InputError
from spikeport.evaluation.of_subnets import ON_CHIPS
from spikeport.evaluation.spaces import TABLE_SPACES
from spikeport.search.data.datasets import load_dataset
from spikeport.search.elastic.training import train_elastic
from spikeport.search.evaluators.one_shot import OneShotEvaluator, flatness_in
from spikeport.search.settings.run import SearchSettings, changed
from spikeport.search.space.genotype import Genotype
from spikeport.search.spaces.closed import LAYERS
from spikeport.search.tables.file import Table

FIXED = ("parameters", "sops")
ASKED = ("accuracy", *FIXED, "int8_loss_rise", "int4_loss_rise")
LOST = {"int8_loss_rise": "int8_accuracy", "int4_loss_rise": "int4_accuracy"}  # and the row's accuracy in these bits
LESS = {"loss", "int8_loss_rise", "int4_loss_rise"}  # the lower the better

Tell = Callable[[str], None]
Said = dict[str, dict[str, float]]  # key of a cell -> name of a number -> what the supernet says


def settings_of(space: str, **elastic: Any) -> SearchSettings:
    """Of the table's trainings, and of the supernet."""
    return changed(TABLE_SPACES[space].settings, strategy="evolution", evaluator="supernet", **elastic)


def asked(evaluator: OneShotEvaluator, genotype: Genotype) -> dict[str, float]:
    """Everything that the supernet says of a cell."""
    one = evaluator.subnet(genotype)
    found, flat = evaluator.measured(genotype, one), flatness_in(one)
    return {**found, "loss": one.score.loss, "flatness": flat.flatness, "flatness, published": flat.published}


def kept(
    path: Path, genotypes: Mapping[str, Genotype], say: Callable[[Genotype], dict[str, float]], tell: Tell
) -> Said:
    """Of all cells, in their order; what the file lacks is asked for and appended."""
    lines = path.read_text("ascii").splitlines() if path.exists() else []
    known: Said = {row.pop("key"): row for row in map(json.loads, lines)}
    for number, (key, genotype) in enumerate(genotypes.items(), 1):
        if key not in known:
            known[key] = say(genotype)
            with path.open("a", encoding="ascii") as file:
                file.write(json.dumps({"key": key, **known[key]}) + "\n")
            if number % 10 == 0:
                tell(f"{number} of {len(genotypes)} cells")
    return {key: known[key] for key in genotypes}


def lost(table: Table, keys: Sequence[str], name: str) -> Values:
    """Accuracy that the trained cells lose in integers, means over seeds; NaN where no chip carries one."""
    rows = table.by_key()
    each = [[row.value("test_accuracy") - row.value(name) for row in rows[key]] for key in keys]
    return np.array([np.mean(some) for some in each])


def ranked(columns: Mapping[str, Values], cells: Cells, table: Table, resamples: int) -> list[dict[str, Any]]:
    """A row for each number; of what is to be low its negative."""
    rows = []
    for name, values in columns.items():
        score = -values if name in LESS else values
        low, high = interval(score, cells.test, resamples, np.random.default_rng(0))
        fixed = [columns[other] for other in FIXED if other != name]
        row: dict[str, Any] = {"number": name, "tau": tau(score, cells.test), "tau_low": low, "tau_high": high}
        row |= {"partial_tau": partial_tau(score, cells.test, fixed), "precision": precision(score, cells.test)}
        if name in LOST:
            of_table = lost(table, list(cells.genotypes), LOST[name])
            known = np.isfinite(of_table)
            row["tau_with_lost"] = tau(values[known], of_table[known])
        rows.append(row)
    return rows


def first_of(cells: Cells, count: int) -> Cells:
    """As tables are built in an order in which any first part is a fair sample."""
    genotypes = dict(list(cells.genotypes.items())[:count])
    return Cells(genotypes=genotypes, validation=cells.validation[:count], test=cells.test[:count], failed=cells.failed)


def measured(
    path: Path, count: int, settings: Mapping[str, Any], checkpoint: Path, resamples: int, tell: Tell
) -> dict[str, Any]:
    table = Table.open(path)
    cells, space = first_of(cells_of(table), count), str(table.header["space"])
    chosen = settings_of(space, **settings)
    dataset = load_dataset(chosen.data.dataset, chosen.data.data_folder, time_steps=chosen.network.time_steps)

    def progress(event: Any) -> None:
        if event.step == event.steps:
            tell(f"supernet epoch {event.epoch} of {event.epochs}: accuracy of the largest {event.accuracy:.3f}")

    train_elastic(dataset, chosen, TABLE_SPACES[space].coded, checkpoint, LAYERS, progress=progress)
    evaluator = OneShotEvaluator(checkpoint=checkpoint, settings=chosen, names=ASKED, layers=LAYERS, on_chips=ON_CHIPS)
    file = checkpoint.with_name(f"{checkpoint.name}.cells.jsonl")
    said = kept(file, cells.genotypes, lambda genotype: asked(evaluator, genotype), tell)
    columns = {name: np.array([one[name] for one in said.values()]) for name in next(iter(said.values()))}
    return {
        "table": str(path),
        "cells": len(said),
        "settings": dict(settings),
        "one_shot_accuracy": {"mean": float(columns["accuracy"].mean()), "max": float(columns["accuracy"].max())},
        "numbers": ranked(columns, cells, table, resamples),
    }


def told(found: Mapping[str, Any]) -> str:
    accuracy = found["one_shot_accuracy"]
    lines = [
        f"{found['cells']} cells of {found['table']}; one-shot accuracy {accuracy['mean']:.3f}, at most "
        f"{accuracy['max']:.3f}",
        f"{'number':20}{'tau':>6}  {'interval':14}{'partial':>8}{'best tenth':>12}  tau with what integers lose",
    ]
    for row in found["numbers"]:
        with_lost = f"{row['tau_with_lost']:.2f}" if "tau_with_lost" in row else ""
        lines.append(
            f"{row['number']:20}{row['tau']:6.2f}  {row['tau_low']:5.2f} .. {row['tau_high']:5.2f}"
            f"{row['partial_tau']:8.2f}{row['precision']:12.2f}  {with_lost}"
        )
    return "\n".join(lines)


def heard(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--cells", type=int, default=100, help="of the table, its first ones")
    parser.add_argument("--epochs", type=int, default=30, help="of the supernet")
    parser.add_argument("--learning-rate", type=float, default=0.4, help="of the supernet")
    parser.add_argument("--shrinking", type=float, default=0.5, help="part of its epochs in which choices open")
    parser.add_argument("--teaching", type=float, default=0.5, help="what the largest says, in the others' loss")
    parser.add_argument("--seed", type=int, default=0, help="of the supernet")
    parser.add_argument("--checkpoint", type=Path, help="where the shared weights are kept")
    parser.add_argument("--resamples", type=int, default=500, help="bootstrap samples of the interval")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = {
        "elastic_epochs": options.epochs,
        "elastic_learning_rate": options.learning_rate,
        "elastic_shrinking": options.shrinking,
        "elastic_teaching": options.teaching,
        "seed": options.seed,
    }
    with tempfile.TemporaryDirectory(prefix="spikeport-") as folder:
        checkpoint = options.checkpoint or Path(folder) / "supernet.safetensors"
        found = measured(options.table, options.cells, settings, checkpoint, options.resamples, heard)
    print(json.dumps(found) if options.json else told(found))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
