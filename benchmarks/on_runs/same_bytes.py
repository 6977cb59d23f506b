"""Do two commits give the same bytes? For changes that are to change no number.

    python benchmarks/on_runs/same_bytes.py BEFORE [AFTER] [--work FOLDER] [--json]

Both commits are checked out side by side and run by this Python, one after the other, with the same words: the demo
without Lava, a search in kernel space with trials, one over paths, and random cells. Compared are genotype, weights,
metrics, history, exported files and energy.json. An ONNX file that torch wrote names the classes of its modules and the
files they come from; those notes are left out where the bytes alone differ. Exit code 3 if anything else differs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx

ROOT = Path(__file__).parents[2]
SMALL = (
    "--primitives",
    "plain",
    "--channels",
    "4",
    "--cells",
    "4",
    "--train-epochs",
    "2",
    "--seed",
    "3",
    "--shift",
    "1",
)
SEARCH = (*SMALL, "--search-epochs", "3", "--search-precision", "float32", "--alpha-learning-rate", "0.05")
RUNS = {
    "demo": ("demo", "--no-lava", "--out", "demo"),
    "trials": ("search", *SEARCH, "--trials", "3", "--trial-epochs", "1", "--sop-weight", "0.1", "--out", "trials"),
    "paths": ("search", *SEARCH, "--level", "both", "--out", "paths"),
    "random": ("search", *SMALL, "--strategy", "random", "--evaluations", "2", "--out", "random"),
}
COMPARED = (
    *("search/genotype.json", "search/history.jsonl", "search/cells.svg", "search/candidates.json"),
    *("model/model.safetensors", "model/metrics.json", "model/config.json"),
    *("export/onnx/model.onnx", "export/loihi/encoder.onnx", "export/loihi/twin.onnx", "export/loihi/network.net"),
    *("deploy/energy.json", "deploy/activity.json"),
)


def run(commit: str, work: Path) -> Path:
    """The folder of its runs."""
    place = work / commit.replace("/", "-")
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(place / "spikeport")], check=True)
    subprocess.run(["git", "-C", str(place / "spikeport"), "checkout", "--quiet", commit], check=True)
    (place / "runs").mkdir()
    environment = os.environ | {"PYTHONPATH": str(place)}
    for name, words in RUNS.items():
        print(f"{commit}: {name}", file=sys.stderr)
        command = [sys.executable, "-m", "spikeport.cli", *words, "--quiet"]
        subprocess.run(command, cwd=place / "runs", env=environment, check=True, stdout=subprocess.DEVNULL)
    return place / "runs"


def without_notes(path: Path) -> bytes:
    """An ONNX file but for what torch wrote of the modules it came from."""
    model = onnx.load(str(path))
    for part in (model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info):
        del part.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    return model.SerializeToString(deterministic=True)


def compared(before: Path, after: Path) -> str | None:
    """ "same", "same but for torch's notes", "differs"; None where neither has the file."""
    if not before.exists() and not after.exists():
        return None
    if not before.exists() or not after.exists():
        return "differs"
    if before.read_bytes() == after.read_bytes():
        return "same"
    if before.suffix == ".onnx" and without_notes(before) == without_notes(after):
        return "same but for torch's notes"
    return "differs"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after", nargs="?", default="HEAD")
    parser.add_argument("--work", type=Path, help="where both are run [default: a folder that is removed again]")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        before, after = (run(commit, work) for commit in (options.before, options.after))
        found = {
            f"{name}/{file}": outcome
            for name in RUNS
            for file in COMPARED
            if (outcome := compared(before / name / file, after / name / file))
        }
    if options.json:
        print(json.dumps({"before": options.before, "after": options.after, "files": found}))
    else:
        for name, outcome in found.items():
            print(f"{name:40} {outcome}")
    return 3 if "differs" in found.values() or not found else 0


if __name__ == "__main__":
    sys.exit(main())
