"""spikeport table: the table of trained cells: build, extend, show, check, compare strategies on it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table as Shown

from ..console import Console, titled_table
from ..errors import InputError
from ..options import common_options, end

if TYPE_CHECKING:
    from ..evaluation.tables import Built, Difference
    from ..search.tables.file import Table
    from ..search.tables.row import Row

SPACES = ("closed", "open")
file_argument = click.argument("file", type=click.Path(path_type=Path))
workers_option = click.option(
    "--workers", type=int, default=1, show_default=True, help="Processes, of one thread each."
)


@click.group("table")
def table_group() -> None:
    """A table of trained cells, by which strategies are compared in seconds: what each was, did and costs on chips."""


@table_group.command("build")
@file_argument
@click.option(
    "--space", type=click.Choice(SPACES), required=True, help="closed: all of 768 cells; open: random ones of darts."
)
@click.option("--rows", type=int, default=0, help="The first so many cells of it [default: all of closed].")
@workers_option
@common_options
def build_command(console: Console, file: Path, space: str, rows: int, workers: int) -> None:
    """Train the cells of a space, one seed each, and append a line for each to FILE. What is there is skipped.

    \b
    spikeport table build closed.jsonl --space closed
    spikeport table build open.jsonl --space open --rows 300 --workers 4
    """
    if rows < 0:
        raise InputError(f"`rows >= 0` must hold, but got rows={rows}.")
    from ..evaluation.tables import build

    console.result(shown_build(build(file, space, rows=rows, workers=workers, tell=console.tell)))


@table_group.command("extend")
@file_argument
@click.option("--seeds", type=int, default=3, show_default=True, help="Trainings that a chosen cell shall have.")
@click.option("--spread", type=int, default=60, show_default=True, help="Cells, evenly over the validation accuracy.")
@click.option("--best", type=float, default=0.2, show_default=True, help="And this share of all, the best.")
@click.option(
    "--cells",
    type=click.Path(path_type=Path),
    help="Instead: the cells of this file, a genotype or a row of a search's history in each line, with seed 0.",
)
@click.option("--neighbours", type=int, default=0, help="Instead: so many neighbours of the best tenth, with seed 0.")
@workers_option
@common_options
def extend_command(
    console: Console,
    file: Path,
    seeds: int,
    spread: int,
    best: float,
    cells: Path | None,
    neighbours: int,
    workers: int,
) -> None:
    """More seeds for some cells of FILE, or more cells.

    \b
    spikeport table extend closed.jsonl --seeds 3 --spread 60 --best 0.2
    spikeport table extend open.jsonl --cells liked.jsonl
    spikeport table extend open.jsonl --neighbours 40
    """
    if seeds < 1 or spread < 0 or not 0 <= best <= 1 or neighbours < 0:
        raise InputError(
            f"`seeds >= 1`, `spread >= 0`, `0 <= best <= 1` and `neighbours >= 0` must hold, but got seeds={seeds}, "
            f"spread={spread}, best={best}, neighbours={neighbours}."
        )
    if cells is not None and neighbours:
        raise InputError("Cells of a file and neighbours of the best are two extensions; call it twice.")
    from ..evaluation.tables import add, cells_of, more_seeds, neighbours_of
    from ..search.tables.file import Table

    table = Table.open(file)
    if cells is not None:
        jobs = [(genotype, 0) for genotype in cells_of(cells)]
    elif neighbours:
        jobs = neighbours_of(table, neighbours)
    else:
        jobs = more_seeds(table, seeds=seeds, spread=spread, best=best)
    console.result(shown_build(add(file, str(table.header.get("space")), jobs, workers=workers, tell=console.tell)))


@table_group.command("show")
@file_argument
@click.option("--key", default="", help="One cell of it, with everything that is known.")
@click.option("--cell", type=click.Path(path_type=Path), help="With --key: a file for `search --genotype`.")
@common_options
def show_command(console: Console, file: Path, key: str, cell: Path | None) -> None:
    """What is in a table: how many cells, how they spread, how much seeds differ, the best and the front; or one cell.

    \b
    spikeport table show closed.jsonl
    spikeport table show closed.jsonl --key 57d10f0f0fc7 --cell cell.json
    spikeport search --genotype cell.json --dataset digits
    """
    from ..files import writable, write_json
    from ..search.tables.file import Table

    table = Table.open(file)
    if not key:
        if cell is not None:
            raise InputError("`--cell` writes one cell of a table; name it with --key.")
        console.result(shown_table(table))
        return
    rows = table.of(key)
    if not rows:
        raise InputError(f"'{file}' has no cell {key}; `spikeport table show {file}` names the best.")
    if cell is not None:
        write_json(writable(cell), rows[0].genotype)
    console.result(shown_rows(rows))


@table_group.command("check")
@file_argument
@click.option("--key", default="", help="Of the cell [default: a random row].")
@click.option("--seed", type=int, default=0, show_default=True, help="With --key.")
@common_options
def check_command(console: Console, file: Path, key: str, seed: int) -> None:
    """Train a row of FILE again, and compare every number.

    Ends with exit code 3 if one differs; another machine or version of torch may round otherwise.
    """
    from ..evaluation.tables import check

    row, differences = check(file, key=key, seed=seed)
    console.result(shown_check(row, differences))
    end(failed=bool(differences))


@table_group.command("compare")
@click.argument("table")
@click.option("--runs", type=int, default=50, show_default=True, help="Searches of each strategy, of other seeds.")
@click.option("--evaluations", type=int, default=100, show_default=True, help="Cells that a search may look up.")
@click.option("--strategies", default="", help="Separated by commas [default: all that can search it].")
@click.option("--page", type=click.Path(path_type=Path), help="Also a page with all figures.")
@click.option("--scores", type=click.Path(path_type=Path), help="For the page: what benchmarks/scores.py --json says.")
@workers_option
@common_options
def compare_command(
    console: Console,
    table: str,
    runs: int,
    evaluations: int,
    strategies: str,
    page: Path | None,
    scores: Path | None,
    workers: int,
) -> None:
    """Which strategies beat random search on TABLE, by how much: regret with its spread, and fronts.

    TABLE is a file that holds the closed space, or spikenas-bench:FOLDER, a clone of that benchmark's data.

    \b
    spikeport table compare closed.jsonl --page strategies.html
    spikeport table compare spikenas-bench:SpikeNAS-Bench/data/CIFAR10 --runs 45
    """
    from ..evaluation.comparison.page import render_comparison
    from ..evaluation.comparison.searches import comparison
    from ..evaluation.comparison.words import shown
    from ..files import read_json, writable, write_text

    target = None if page is None else writable(page)
    names = [name.strip() for name in strategies.split(",") if name.strip()]
    found = comparison(table, runs=runs, evaluations=evaluations, workers=workers, strategies=names, tell=console.tell)
    if target is not None:
        write_text(target, render_comparison(found, None if scores is None else read_json(scores)))
    console.result((found, [shown(found)]))


def shown_build(built: "Built") -> tuple[Mapping[str, Any], Iterable[Shown | str]]:
    each = f", {built.seconds / built.added:.1f} s each" if built.added else ""
    data = {"file": str(built.path), "added": built.added, "there": built.there, "seconds": built.seconds}
    return data, [f"{built.path}: {built.added} trainings added to {built.there}{each}"]


def shown_table(table: "Table") -> tuple[Mapping[str, Any], Iterable[Shown | str]]:
    from ..search.tables.summary import summary

    found = summary(table)
    shown = titled_table(f"{table.path}: {found['space']}", "what", "value")
    for name, value in found.items():
        if not isinstance(value, dict | list):
            shown.add_row(name.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else str(value))
    best = _cells("the best by validation accuracy", found["best"])
    return found, [shown, best, _cells("the front of validation accuracy and energy", found["front"])]


def _cells(title: str, rows: Iterable[Mapping[str, Any]]) -> Shown:
    shown = titled_table(title, "cell", "seeds", "val", "test", "SOPs", "uJ", "cores")
    for row in rows:
        joules = "-" if row["energy_j"] is None else f"{1e6 * row['energy_j']:.2f}"
        accuracies = ("-" if row[name] is None else f"{row[name]:.1%}" for name in ("val_accuracy", "test_accuracy"))
        sops = "-" if row["sops"] is None else f"{row['sops']:,.0f}"
        shown.add_row(row["key"], str(row["trainings"]), *accuracies, sops, joules, row["cores"].replace(", ", "\n"))
    return shown


def shown_rows(rows: Iterable["Row"]) -> tuple[Mapping[str, Any], Iterable[Shown | str]]:
    data = [row.to_json() for row in rows]
    shown = titled_table(f"cell {data[0]['key']}", "what", *(f"seed {row['seed']}" for row in data))
    for name in dict.fromkeys(name for row in data for name in row):
        if name not in ("key", "seed", "test_correct"):
            shown.add_row(name.replace("_", " "), *(str(row.get(name, "")) for row in data))
    return {"rows": data}, [shown]


def shown_check(row: "Row", differences: Iterable["Difference"]) -> tuple[Mapping[str, Any], Iterable[Shown | str]]:
    found = [{"name": one.name, "there": one.there, "now": one.now} for one in differences]
    data = {"key": row.key, "seed": row.seed, "same": not found, "differences": found}
    if not found:
        return data, [f"cell {row.key}, seed {row.seed}: trained again, every number is the same"]
    shown = titled_table(f"cell {row.key}, seed {row.seed}, trained again", "number", "in the table", "now")
    for one in found:
        shown.add_row(*(str(one[name]) for name in ("name", "there", "now")))
    return data, [shown]
