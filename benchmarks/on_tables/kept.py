"""Scores of a table's cells, computed once and kept beside it: closed.jsonl -> closed.scores.jsonl.

A header line says what they were computed with; then a line for each cell, and another where scores came later, of what
is new: key, version of the scores, and by name the number (null: minus infinity) and the seconds it took. A line that a
killed process left half written is cut off; lines of another version are computed anew.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spikeport.errors import InputError
from spikeport.search.scores.score import Context, Score
from spikeport.search.scores.table import VERSION, score_in
from spikeport.search.space.genotype import Genotype


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One number, minus infinity among them, and the seconds it took."""

    value: float
    seconds: float


Scores = dict[str, dict[str, Known]]  # key of a cell -> name of a score -> its number


def path_of(table: Path) -> Path:
    return table.with_name(f"{table.name.removesuffix('.jsonl')}.scores.jsonl")


def kept_scores(
    path: Path,
    cells: Mapping[str, Genotype],
    names: Sequence[str],
    context: Context,
    tell: Callable[[str], None] = lambda line: None,
) -> Scores:
    """Of all cells; what the file lacks is computed and appended, cell by cell.

    Raises InputError where the file was begun with another seed, batch or network.
    """
    header = _header(context)
    known = _read(path, header)
    scores = {name: score_in(name, context) for name in names}
    for number, (key, genotype) in enumerate(cells.items(), 1):
        lacking = [name for name in names if name not in known.get(key, {})]
        if lacking:
            found = {name: _timed(scores[name], genotype) for name in lacking}
            known.setdefault(key, {}).update(found)
            _append(path, {"key": key, "version": VERSION, "scores": {n: _short(one) for n, one in found.items()}})
            tell(f"{number} of {len(cells)}: cell {key}, {sum(one.seconds for one in found.values()):.1f} s")
    return {key: {name: known[key][name] for name in names} for key in cells}


def _timed(score: Score, genotype: Genotype) -> Known:
    start = time.process_time()  # of a core, whatever else runs
    value = score(genotype)
    return Known(value=value, seconds=round(time.process_time() - start, 6))


def _short(one: Known) -> list[float | None]:
    return [one.value if math.isfinite(one.value) else None, one.seconds]


def _header(context: Context) -> dict[str, Any]:
    samples = 0 if context.batch is None else len(context.batch)
    return {"seed": context.seed, "samples": samples, "network": json.loads(json.dumps(asdict(context.config)))}


def _read(path: Path, header: Mapping[str, Any]) -> Scores:
    if not path.exists():
        _append(path, header)
    text = path.read_text("utf-8")
    whole = text.rfind("\n") + 1
    if whole < len(text.encode()):  # all of it is ASCII
        with path.open("r+b") as file:
            file.truncate(whole)
    lines = text[:whole].splitlines()
    try:
        if json.loads(lines[0]) != header:
            raise InputError(f"'{path}' holds scores of another seed, batch or network; name or remove it.")
        rows = [json.loads(line) for line in lines[1:]]
        found: Scores = {}
        for row in rows:
            if row["version"] == VERSION:
                found.setdefault(row["key"], {}).update(
                    {
                        name: Known(value=-math.inf if value is None else value, seconds=seconds)
                        for name, (value, seconds) in row["scores"].items()
                    }
                )
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"'{path}' must hold scores as this version writes them, but does not ({error}).") from error
    return found


def _append(path: Path, data: Mapping[str, Any]) -> None:
    with path.open("a", encoding="ascii") as file:
        file.write(json.dumps(data, separators=(",", ":"), allow_nan=False) + "\n")
