"""What a table holds, in a few numbers: how accuracies spread over cells, and how much seeds differ.

s_e^2 = mean over cells with several seeds of the variance over seeds
s_a^2 = variance over the cells' first seeds - s_e^2
r     = s_a^2 / (s_a^2 + s_e^2)                      reliability of one training
tau   = 2 / pi * asin(r)                             expected of two trainings of the same cells (bivariate normal)
"""

import math
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
    best = sorted((rows[0] for rows in known), key=lambda row: -(row.val_accuracy or 0.0))[:BEST]
    return found | {"best": [_best(row) for row in best]}


def _best(row: Row) -> dict[str, Any]:
    cores = ", ".join(f"{chip} {number}" for chip, number in (row.cores or {}).items())
    return {
        "key": row.key,
        "val_accuracy": row.val_accuracy,
        "test_accuracy": row.test_accuracy,
        "sops": row.sops,
        "cores": cores,
    }
