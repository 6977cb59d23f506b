"""Which strategies beat random search, and by how much: searches by look-up in a table of trained cells.

    python benchmarks/strategies.py --table closed --runs 50 [--json] [--page FILE.html] [--scores FILE.json]

--table: the name of a table in benchmarks/tables/, a table's file, or spikenas-bench:FOLDER, as in
spikenas-bench:SpikeNAS-Bench/data/CIFAR10, the table of others. What is measured stands at the head of
evaluation/comparison/searches.py; it is the same as `spikeport table compare`.

With --json one object on stdout: `strategies`, name -> regret_mean, regret_sd, better_than_random_sigma and the others;
`fronts`, name -> hypervolume_mean, more_than_random, interval. --page writes a page with the look of the report;
--scores: what benchmarks/scores.py printed with --json, for the page. Nothing is a failure: a strategy that does not
beat random search is told as such.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from spikeport.benchmarks.on_tables.named import table_named
from spikeport.errors import InputError
from spikeport.evaluation.comparison.page import render_comparison
from spikeport.evaluation.comparison.searches import comparison
from spikeport.evaluation.comparison.words import shown
from spikeport.files import read_json, write_text


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default="closed")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=0, help="of the runs")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="every strategy that can search it: the default")
    which.add_argument("--strategies", default="", help="some, separated by commas")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--scores", type=Path)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    try:
        found = comparison(
            table_named(given.table),
            runs=given.runs,
            evaluations=given.evaluations,
            workers=given.workers,
            first_seed=given.first_seed,
            strategies=[name for name in given.strategies.split(",") if name],
            tell=lambda sentence: print(sentence, file=sys.stderr),
        )
        if given.page:
            scores = read_json(given.scores) if given.scores else None
            write_text(given.page, render_comparison(found, scores))
    except InputError as error:
        parser.exit(1, f"strategies: {error}\n")
    print(json.dumps(found) if given.json else shown(found))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
