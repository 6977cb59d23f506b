"""Rows of benchmarks/accuracy.py -> the tables of docs/accuracy.md."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]


def networks(rows: Sequence[Row]) -> str:
    """A line for each network, number of bits and way."""
    head = "network|float|bits|integers|chip|lost, points|Lava: spikes differing|SOPs|energy, uJ|cores"
    lines = [
        [
            row["name"],
            f"{row['float_accuracy']:.4f}",
            str(row["weight_bits"]),
            row["integers"],
            f"{row['chip_accuracy']:.4f}",
            f"{100 * (row['float_accuracy'] - row['chip_accuracy']):.2f}",
            _lava(row),
            f"{row['sops']:,.0f}",
            f"{row['energy_j'] * 1e6:.1f}",
            str(row["cores"]),
        ]
        for row in rows
    ]
    return _markdown(head.split("|"), lines)


def attention(rows: Sequence[Row]) -> str:
    """A line for each kind and way: the mean over seeds; how far from none, seed by seed, with its standard error."""
    head = "attention|integers|seeds|float|folded|chip|chip over none, points|SOPs|energy, uJ|Lava: spikes differing"
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["attention"], row["integers"]), []).append(row)
    none = {_seed(row): row["chip_accuracy"] for row in rows if row["attention"] == "none"}
    return _markdown(head.split("|"), [_attention_line(key, group, none) for key, group in groups.items()])


def _attention_line(key: tuple[str, str], group: Sequence[Row], none: dict[str, float]) -> list[str]:
    on_chip = [row for row in group if row["chip_accuracy"] is not None]
    gains = [100 * (row["chip_accuracy"] - none[_seed(row)]) for row in on_chip if _seed(row) in none]
    lava = next((_lava(row) for row in on_chip if row["lava_samples"]), "-")
    return [
        *key,
        str(len(group)),
        _mean([row["float_accuracy"] for row in group], "{:.4f}"),
        _mean([row.get("folded_accuracy") for row in group], "{:.4f}"),
        _mean([row["chip_accuracy"] for row in group], "{:.4f}"),
        with_error(gains) if key[0] != "none" else "-",
        _mean([row["sops"] for row in group], "{:,.0f}"),
        _mean([row["energy_j"] and row["energy_j"] * 1e6 for row in group], "{:.1f}"),
        lava,
    ]


def with_error(values: Sequence[float]) -> str:
    """The mean, and its standard error from two values on."""
    if not values:
        return "-"
    mean = f"{np.mean(values):+.2f}"
    return f"{mean} ± {np.std(values, ddof=1) / len(values) ** 0.5:.2f}" if len(values) > 1 else mean


def _mean(values: Sequence[float | None], style: str) -> str:
    known = [value for value in values if value is not None]
    return style.format(np.mean(known)) if known else "-"


def _seed(row: Row) -> str:
    return str(Path(row["name"])).rsplit("-", 1)[-1]


def _lava(row: Row) -> str:
    return f"{row['lava_spikes_differing']} of {row['lava_samples']} samples" if row["lava_samples"] else "-"


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *lines))


# name of a plan's table -> what prints it
TABLES: dict[str, Callable[[Sequence[Row]], str]] = {"networks": networks, "attention": attention}
