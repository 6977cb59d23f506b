"""Which scores tell good cells from bad ones before they are trained, and which predictors after some were.

    python benchmarks/scores.py --table open [--json]

Every score, over the cells of a table (their test accuracy, the mean over seeds): Kendall's tau with a bootstrap
interval, partial tau given parameters and SOPs, precision in the best tenth, seconds of a core for a cell. Every
predictor: tau on cells that it did not see, by the validation accuracies of 30, 100 and 300 others, with code and
counts as features and with the scores beside them. Scores are kept beside the table and computed once.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from spikeport.benchmarks.on_tables.agreement import Values, interval, partial_tau, precision, tau
from spikeport.benchmarks.on_tables.kept import Scores, kept_scores, path_of
from spikeport.benchmarks.on_tables.named import table_named
from spikeport.errors import InputError
from spikeport.evaluation.spaces import TABLE_SPACES
from spikeport.search.data.datasets import load_dataset
from spikeport.search.predictors.predictor import PredictorContext
from spikeport.search.predictors.table import PREDICTORS, predictor_for
from spikeport.search.scores.score import Context, context_of
from spikeport.search.scores.table import SCORES
from spikeport.search.space.genotype import Genotype, from_dict
from spikeport.search.space.network import network_config
from spikeport.search.spaces.canonical import key_of
from spikeport.search.tables.file import Table

FIXED = ("parameters", "sops")
SAMPLES = 64
SIZES = (30, 100, 300)
HELD_OUT = 30  # at least so many cells, or a size is left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """Of a table, those that were trained to an end: by key. Accuracies [cells], means over seeds."""

    genotypes: Mapping[str, Genotype]
    validation: Values
    test: Values
    failed: int  # cells left out, because every training of them diverged


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A score that is looked up."""

    name: str
    values: Mapping[str, float]
    unit: str = "as computed"
    needs: Literal["nothing"] = "nothing"

    def __call__(self, genotype: Genotype) -> float:
        return self.values[key_of(genotype)]


def cells_of(table: Table) -> Cells:
    """Raises InputError where there are too few to say anything."""
    genotypes, validation, test, failed = {}, [], [], 0
    for key, rows in table.by_key().items():
        ended = [row for row in rows if row.test_accuracy is not None and row.val_accuracy is not None]
        if not ended:
            failed += 1
            continue
        genotypes[key] = from_dict(ended[0].genotype)
        validation.append(np.mean([row.val_accuracy for row in ended]))
        test.append(np.mean([row.test_accuracy for row in ended]))
    if len(genotypes) < 20:
        raise InputError(f"'{table.path}' must have at least 20 cells to rank scores by, but has {len(genotypes)}.")
    return Cells(genotypes=genotypes, validation=np.array(validation), test=np.array(test), failed=failed)


def context_for(table: Table, samples: int) -> Context:
    """The network and the images that the table's cells were trained with."""
    settings = TABLE_SPACES[table.header["space"]].settings
    dataset = load_dataset(settings.data.dataset, settings.data.data_folder, time_steps=settings.network.time_steps)
    return context_of(dataset, network_config(settings.network, dataset), seed=0, samples=samples)


def scored(cells: Cells, scores: Scores, names: Sequence[str], resamples: int) -> list[dict[str, Any]]:
    """A row for each score."""
    columns = {name: np.array([scores[key][name].value for key in cells.genotypes]) for name in {*names, *FIXED}}
    rows = []
    for name in names:
        low, high = interval(columns[name], cells.test, resamples, np.random.default_rng(0))
        fixed = [columns[other] for other in FIXED if other != name]
        rows.append(
            {
                "score": name,
                "needs": SCORES[name].needs,
                "tau": tau(columns[name], cells.test),
                "tau_low": low,
                "tau_high": high,
                "partial_tau": partial_tau(columns[name], cells.test, fixed),
                "precision": precision(columns[name], cells.test),
                "infinite": int(np.isinf(columns[name]).sum()),
                "seconds": float(np.median([scores[key][name].seconds for key in cells.genotypes])),
            }
        )
    return sorted(rows, key=lambda row: -np.nan_to_num(row["tau"], nan=-2.0))


def predicted(
    cells: Cells, scores: Scores, context: Context, names: Sequence[str], sizes: Sequence[int], draws: int
) -> list[dict[str, Any]]:
    """A row for each predictor, number of cells and set of features."""
    keys, genotypes = list(cells.genotypes), list(cells.genotypes.values())
    kept = tuple(Kept(name=name, values={key: scores[key][name].value for key in keys}) for name in names)
    rows = []
    for size in (size for size in sizes if size + HELD_OUT <= len(keys)):
        for name in PREDICTORS:
            for told, features in (("code and counts", ()), ("and scores", kept)):
                if name == "graph" and features:
                    continue  # it reads the graph alone
                found = []
                for draw in range(draws):
                    order = np.random.default_rng(draw).permutation(len(keys))
                    seen, unseen = order[:size], order[size:]
                    predictor = predictor_for(name, PredictorContext(config=context.config, seed=draw, scores=features))
                    predictor.fit([genotypes[i] for i in seen], cells.validation[seen].tolist())
                    guess = predictor.predict([genotypes[i] for i in unseen])
                    found.append((tau(guess, cells.test[unseen]), precision(guess, cells.test[unseen])))
                taus, precisions = np.array(found).T
                rows.append(
                    {
                        "predictor": name,
                        "features": "graph" if name == "graph" else told,
                        "cells": size,
                        "tau": float(taus.mean()),
                        "tau_sd": float(taus.std(ddof=1)) if draws > 1 else None,
                        "precision": float(precisions.mean()),
                    }
                )
                print(f"{name}, {size} cells, {told}: tau {taus.mean():.2f}", file=sys.stderr)
    return rows


def measured(
    path: Path, names: Sequence[str], *, samples: int, resamples: int, sizes: Sequence[int], draws: int
) -> dict[str, Any]:
    table = Table.open(path)
    cells, context = cells_of(table), context_for(table, samples)
    wanted = tuple(dict.fromkeys((*FIXED, *names)))
    kept = kept_scores(path_of(path), cells.genotypes, wanted, context, lambda line: print(line, file=sys.stderr))
    return {
        "table": str(path),
        "cells": len(cells.genotypes),
        "failed": cells.failed,
        "samples": samples,
        "scores": scored(cells, kept, names, resamples),
        "predictors": predicted(cells, kept, context, wanted, sizes, draws) if draws else [],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default="open", help="a name in benchmarks/tables/, or a file")
    parser.add_argument("--scores", default=",".join(SCORES), help="names, separated by commas")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="training images that scores see")
    parser.add_argument("--resamples", type=int, default=500, help="bootstrap samples of the interval")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="cells that predictors see")
    parser.add_argument("--draws", type=int, default=5, help="of the cells that predictors see; 0: no predictors")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = measured(
        Path(table_named(options.table)),
        options.scores.split(","),
        samples=options.samples,
        resamples=options.resamples,
        sizes=[int(size) for size in options.sizes.split(",")],
        draws=options.draws,
    )
    print(json.dumps(found) if options.json else told(found))


def told(found: Mapping[str, Any]) -> str:
    lines = [
        f"{found['cells']} cells of {found['table']}, {found['failed']} left out",
        f"{'score':16}{'tau':>6}  {'interval':13}{'partial':>8}{'best tenth':>12}{'s/cell':>8}{'-inf':>6}",
    ]
    for row in found["scores"]:
        lines.append(
            f"{row['score']:16}{row['tau']:6.2f}  {row['tau_low']:5.2f} .. {row['tau_high']:4.2f}"
            f"{row['partial_tau']:8.2f}{row['precision']:12.2f}{row['seconds']:8.3f}{row['infinite']:6}"
        )
    for row in found["predictors"]:
        spread = "" if row["tau_sd"] is None else f" (sd {row['tau_sd']:.2f})"
        lines.append(
            f"{row['predictor']:9} {row['features']:16} {row['cells']:4} cells: tau {row['tau']:.2f}{spread}, "
            f"best tenth {row['precision']:.2f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
