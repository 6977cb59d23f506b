"""How long the command line takes before it answers, beside a Python that does nothing.

    python -m spikeport.benchmarks.on_runs.startup [--json] [--rounds N]

Each command runs as a process of its own, `--rounds` times (default 5) after one run that fills the caches of Python
and of the disk; they take turns with `python -c pass`. The median is told, in seconds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time

WORDS = {
    "--help": ["--help"],
    "--version": ["--version"],
    "search --help": ["search", "--help"],
    "a wrong option": ["search", "--bogus"],
    "a value out of range": ["search", "--time-steps", "0"],
    "a missing file": ["inspect", "nowhere.net"],
    "a missing run": ["deploy", "--run", "nowhere"],
}


def seconds(command: list[str], folder: str) -> float:
    start = time.perf_counter()
    subprocess.run(command, capture_output=True, cwd=folder)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    bare = [sys.executable, "-c", "pass"]
    commands = {"python -c pass": bare} | {
        f"spikeport {name}": [sys.executable, "-m", "spikeport.cli", *words] for name, words in WORDS.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds + 1):
            for name, command in commands.items():
                one = seconds(command, folder)
                if number:
                    taken[name].append(one)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    if options.json:
        print(json.dumps({"rounds": options.rounds, "median_s": medians}))
        return
    for name, median in medians.items():
        print(f"{name:32} {median:.3f} s")


if __name__ == "__main__":
    main()
