"""Random graphs against real Lava: every spike of every population and the readout's membrane must be equal.

    python benchmarks/conformance.py [--graphs 300] [--seed 1000] [--batch 30] [--json]

Graphs run in batches, one start of Lava each. Prints a line per batch, every failure, the number of graphs, spikes and
seconds, and last "N passed, M failed". Exit code 3 if any failed.
"""

import argparse
import json
import sys
import time

from spikeport.deploy.equivalence.conformance import against_lava, random_case
from spikeport.errors import SpikeportError

TIME_LIMIT_S = 1800.0  # of a batch


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graphs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1000, help="of the first graph; each graph has the next one")
    parser.add_argument("--batch", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    start = time.monotonic()
    failed: list[dict[str, object]] = []
    spikes = done = 0
    for first in range(options.seed, options.seed + options.graphs, options.batch):
        seeds = range(first, min(first + options.batch, options.seed + options.graphs))
        checks = against_lava([random_case(seed) for seed in seeds], TIME_LIMIT_S, lambda sentence: None)
        done += len(checks)
        spikes += sum(check.spikes_compared or 0 for check in checks)
        wrong = [
            {"seed": seed, **(check.first_divergence or {})}
            for seed, check in zip(seeds, checks, strict=True)
            if check.verdict != "pass"
        ]
        failed += wrong
        if not options.json:
            print(f"{done}/{options.graphs} graphs, {spikes} spikes, {time.monotonic() - start:.0f} s", flush=True)
            for row in wrong:
                print(f"  FAILED {row}")
    seconds = time.monotonic() - start
    if options.json:
        print(json.dumps({"graphs": done, "spikes_compared": spikes, "seconds": seconds, "failed": failed}))
    else:
        print(f"{done} graphs, {spikes} spikes compared, {seconds:.0f} s")
        print(f"{done - len(failed)} passed, {len(failed)} failed")
    return 3 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SpikeportError as error:
        sys.exit(f"conformance: {error}")
