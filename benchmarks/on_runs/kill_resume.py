"""Is a run that is killed again and again the run it would have been? Same genotype, same weights, byte for byte.

    python benchmarks/on_runs/kill_resume.py [--kills 10] [--seed 0] [--json]

One process searches and trains on the digits without a break. Then the same is done by processes that are killed with
SIGKILL at random moments, counted in batches and a part of a second after them, and that go on with `resume`. A run
that ends before all kills are spent is followed by another. Prints a row per kill; with --json one object {"kills",
"runs", "files", "differing", "moments"}. Ends with exit code 1 if a file differs.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from spikeport.search.runs import Run

SETTINGS = {
    "dataset": "digits",
    "primitives": "plain",
    "channels": 4,
    "cells": 3,
    "search_epochs": 6,
    "trials": 2,
    "trial_epochs": 2,
    "train_epochs": 10,
    "learning_rate": 0.1,
    "alpha_learning_rate": 0.01,
    "train_learning_rate": 0.1,
    "shift": 1,
    "auxiliary_weight": 0.4,
    "device": "cpu",
}
BATCHES = 60  # a process is killed after at most so many; a run has about 280
PAUSE_S = 0.5  # and at most so long after that

WORKER = """
import json, sys
from pathlib import Path
import torch
from spikeport.search.pipeline import run_search
from spikeport.search.runs import Run
from spikeport.search.settings.run import settings_from_dict

def tell(event):
    print(event.stage, event.epoch, event.step, flush=True)

torch.set_num_threads(1)
out = Path(sys.argv[2])
run_search(settings_from_dict(json.loads(sys.argv[1])), out, resume=Run(out).manifest.exists(), progress=tell)
"""


def results(folder: Path) -> dict[str, bytes]:
    """Every file but the manifest, which tells the command."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path != Run(folder).manifest)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def killed(folder: Path, batches: int | None, pause_s: float) -> str:
    """Start or go on; kill so long after so many batches and say which was the last, or "" when it was done before."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, json.dumps(SETTINGS), str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told: list[str] = []
    for line in process.stdout:
        told.append(line.strip())
        if len(told) == batches:
            time.sleep(pause_s)
            process.kill()
    if process.wait() > 0:
        raise SystemExit(f"the search ended with exit code {process.returncode}")
    return told[-1] if process.returncode < 0 else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    random_ = random.Random(options.seed)
    moments: list[dict[str, object]] = []
    differing: list[str] = []
    with tempfile.TemporaryDirectory() as work:
        whole = Path(work) / "whole"
        killed(whole, None, 0)
        expected = results(whole)
        runs = 0
        while len(moments) < options.kills or runs == 0:
            folder = Path(work) / f"killed{runs}"
            runs += 1
            while len(moments) < options.kills:
                last = killed(folder, random_.randint(1, BATCHES), random_.uniform(0, PAUSE_S))
                if not last:
                    break
                moments.append({"run": runs, "last_batch": last})
                if not options.json:
                    print(f"kill {len(moments):2d} in run {runs} after {last}", flush=True)
            killed(folder, None, 0)
            found = results(folder)
            differing += [f"run {runs}: {name}" for name in expected | found if expected.get(name) != found.get(name)]
    result = {
        "kills": len(moments),
        "runs": runs,
        "files": list(expected),
        "differing": differing,
        "moments": moments,
    }
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print(f"{len(moments)} kills in {runs} runs; compared byte for byte: {', '.join(expected)}")
        print(f"differing: {', '.join(differing) or 'none'}")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
