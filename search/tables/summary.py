"""What a table holds, in a few numbers: how accuracies spread over cells, and how much seeds differ.

s_e^2 = mean over cells with several seeds of the variance over seeds
s_a^2 = variance over the cells' first seeds - s_e^2
r     = s_a^2 / (s_a^2 + s_e^2)                      reliability of one training
tau   = 2 / pi * asin(r)                             expected of two trainings of the same cells (bivariate normal)
tau   = 2 / pi * asin(sqrt(r))                       of one training and the cells' true means: no score has more

The best cells, and those on the front, are told by the means of their trainings.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .file import Table
from .row import Row

BEST = 5


def summary(table: Table) -> dict[str, Any]:
    """JSON-ready; accuracies 0..1, of the test images unless said otherwise; deviations are sample deviations."""
    cells = table.by_key()
    known = [rows for rows in cells.values() if rows[0].test_accuracy is not None]
    first = np.array([rows[0].test_accuracy for rows in known], float)
    found: dict[str, Any] = {
        "space": table.header.get("space"),
        "trainings": len(table),
        "cells": len(cells),
        "cells_with_several_seeds": sum(len(rows) > 1 for rows in cells.values()),
        "diverged": sum(row.status == "diverged" for row in table.rows),
        "silent": sum(row.status == "silent" for row in table.rows),
        "seconds": float(sum(row.seconds for row in table.rows)),
    }
    if len(first):
        for name, share in (
            ("lowest", 0.0),
            ("quartile", 0.25),
            ("median", 0.5),
            ("third_quartile", 0.75),
            ("highest", 1.0),
        ):
            found[name] = float(np.quantile(first, share))
    if len(first) > 1:
        found["deviation_of_cells"] = float(first.std(ddof=1))
    repeated = [[row.test_accuracy for row in rows if row.test_accuracy is not None] for rows in known]
    variances = [np.var(np.array(values, float), ddof=1) for values in repeated if len(values) > 1]
    if variances and len(first) > 1:
        within = float(np.mean(variances))
        between = max(0.0, float(first.var(ddof=1)) - within)
        reliability = between / (between + within) if between + within else 0.0
        found["deviation_of_seeds"] = math.sqrt(within)
        found["reliability_of_one_training"] = reliability
        found["tau_of_two_trainings"] = 2 / math.pi * math.asin(reliability)
        found["tau_of_a_perfect_score"] = 2 / math.pi * math.asin(math.sqrt(reliability))
    ranked = sorted(known, key=lambda rows: -_mean(rows, "val_accuracy"))
    return found | {
        "best": [_shown(rows, table) for rows in ranked[:BEST]],
        "front": [_shown(rows, table) for rows in front(table)],
    }


def front(table: Table) -> list[list[Row]]:
    """The trainings of each cell that none beats in both validation accuracy and joules, the cheapest first.

    Means over the trainings of a cell; joules by the first price list of the table. Empty where no energy is known.
    """
    joules = _energy(table)
    known = [(_mean(rows, joules), _mean(rows, "val_accuracy"), rows) for rows in table.by_key().values() if joules]
    found, highest = list[list[Row]](), -math.inf
    for cost, accuracy, rows in sorted(known, key=lambda one: (one[0], -one[1])):
        if math.isfinite(cost) and accuracy > highest:
            found.append(rows)
            highest = accuracy
    return found


def _energy(table: Table) -> str:
    """The name of the joules that a front is of."""
    return next((f"energy_j:{name}" for name in table.header.get("price_lists", ())), "")


def _mean(rows: Sequence[Row], name: str) -> float:
    """Over trainings, NaN where one of them has no such number."""
    return float(np.mean([row.value(name) for row in rows]))


def _shown(rows: Sequence[Row], table: Table) -> dict[str, Any]:
    """Of one cell, means over its trainings; null where there is none."""
    cores = ", ".join(f"{chip} {number}" for chip, number in (rows[0].cores or {}).items())
    names = {
        "val_accuracy": "val_accuracy",
        "test_accuracy": "test_accuracy",
        "sops": "sops",
        "energy_j": _energy(table),
    }
    means = {name: _mean(rows, of) if of else math.nan for name, of in names.items()}
    found = {name: value if math.isfinite(value) else None for name, value in means.items()}
    return {"key": rows[0].key, "trainings": len(rows), **found, "cores": cores}
