"""What a comparison of strategies says in words: the same on the command line and on its page."""

from collections.abc import Mapping
from typing import Any

from ...deploy.report.numbers import exact, plural
from .grounds import FRONT
from .searches import RANDOM

SIGMAS = 3.0  # standard errors, beyond which a difference is none of luck


def beats(row: Mapping[str, Any]) -> bool:
    """Whether a strategy chose better cells than random search, beyond luck."""
    return bool(row["better_than_random_sigma"] > SIGMAS)


def loses(row: Mapping[str, Any]) -> bool:
    return bool(row["better_than_random_sigma"] < -SIGMAS)


def verdict_of(name: str, row: Mapping[str, Any]) -> str:
    if name == RANDOM:
        return "what others must beat"
    return "beats random" if beats(row) else "worse than random" if loses(row) else "not beyond 3 sigma"


def headline(found: Mapping[str, Any]) -> str:
    """Who beats random search."""
    rows = {name: row for name, row in found["strategies"].items() if name != RANDOM}
    better = [name for name, row in rows.items() if beats(row)]
    worse = [name for name, row in rows.items() if loses(row)]
    words = f"{len(better)} of {plural(len(rows), 'strategy', 'strategies')} beat random search beyond {SIGMAS:g} sigma"
    words += f": {', '.join(better)}" if better else ""
    return words + (f"; {', '.join(worse)} did worse" if worse else "")


def sentences(found: Mapping[str, Any]) -> list[str]:
    """What it was measured on."""
    missing = f" {exact(found['cells_missing'])} cells of the space are missing." if found["cells_missing"] else ""
    return [
        f"{found['runs']} searches of {plural(found['evaluations'], 'evaluation')}, by look-up in {found['table']}: "
        f"{exact(found['cells'])} cells, {exact(found['trainings'])} trainings.{missing}",
        "A strategy sees the validation accuracy of one training; its choice is judged by the mean test accuracy of "
        "all trainings of that cell. Regret is what the table's best has more, in points.",
    ]


def shown(found: Mapping[str, Any]) -> str:
    """As text: a line for each strategy, the best first, then the fronts."""
    lines = [
        headline(found),
        *sentences(found),
        f"{'strategy':12} {'regret':>7} {'sd':>6} {'sigma':>6}   {'missed':>7} {'sd':>6} {'sigma':>6}",
    ]
    for name, row in sorted(found["strategies"].items(), key=lambda pair: pair[1]["regret_mean"]):
        lines.append(
            f"{name:12} {row['regret_mean']:7.2f} {row['regret_sd']:6.2f} {row['better_than_random_sigma']:6.1f}   "
            f"{row['found_mean']:7.2f} {row['found_sd']:6.2f} {row['found_sigma']:6.1f}   {verdict_of(name, row)}"
        )
    if found["fronts"]:
        lines.append(
            f"fronts of {' and '.join(FRONT)}: hypervolume by test accuracy, more than random, 95 % interval; the same "
            "by validation accuracy"
        )
    for name, row in found["fronts"].items():
        lines.append(f"{name:12} {_front(row, '')}   {_front(row, 'found_')}")
    return "\n".join([*lines, f"{found['seconds']:.0f} s"])


def _front(row: Mapping[str, Any], by: str) -> str:
    if f"{by}interval" not in row:
        return f"{row[f'{by}hypervolume_mean']:7.4f}  {'(everything there is)':27}"
    low, high = row[f"{by}interval"]
    return f"{row[f'{by}hypervolume_mean']:7.4f} {row[f'{by}more_than_random']:+8.4f}  [{low:+.4f}, {high:+.4f}]"
