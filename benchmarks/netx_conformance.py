"""Every NetX file of a folder in our runners and in unmodified lava-dl 0.6.0: who runs it, and do all spikes agree?

    python benchmarks/netx_conformance.py FOLDER [PATTERN ...]        by default all of *.net

Each file gets 3 random samples of 9 steps, streamed back to back. Lava is started once; a file on which it fails does
not keep the others from running. Exit code 1 where a number differs, or where Lava runs a file that we refuse.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikeport.deploy.run.kernels.runner import compiled
from spikeport.deploy.run.lava import LavaResult, try_lava_on
from spikeport.deploy.run.netx import NetxRun, run_netx, simulated
from spikeport.errors import SpikeportError
from spikeport.export.netx.file import read_layers

SAMPLES, STEPS, RATE = 3, 9, 0.4
RUNNERS = {"simulated": simulated, "compiled": compiled}

Spikes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    file: str
    ours: str  # "runs", or the line with which we refuse
    lava: str  # "runs", or the line with which Lava fails
    compared: int = 0  # spikes and membranes, by each runner
    differing: int = 0
    warned: bool = False  # our lint has something to say

    @property
    def verdict(self) -> str:
        if self.differing:
            return "DIFFERS"
        if self.ours == self.lava == "runs":
            return "equal"
        if self.lava == "runs":
            return "WE REFUSE"
        if self.ours == "runs":
            return "Lava fails, we warn" if self.warned else "LAVA FAILS, NO WARNING"
        return "both refuse"


def spikes_for(path: Path, number: int) -> Spikes:
    """Random spikes of the shape that a file reads; of 8 inputs where we cannot read it."""
    try:
        shape = read_layers(path).input_shape
    except SpikeportError:
        shape = (8,)
    return (np.random.default_rng(number).random((SAMPLES, STEPS, *shape)) < RATE).astype(np.uint8)


def ours(path: Path, spikes: Spikes) -> dict[str, NetxRun] | str:
    try:
        return {
            name: run_netx(path, spikes, skip_input=True, reset_interval=STEPS, runner=runner)
            for name, runner in RUNNERS.items()
        }
    except SpikeportError as error:
        return str(error)


def differing(run: NetxRun, result: LavaResult) -> tuple[int, int]:
    """(numbers compared, numbers that differ)."""
    if set(run.spikes) != set(result.spikes):
        return 0, 1
    pairs = [(run.spikes[i].reshape(fired.shape), fired) for i, fired in result.spikes.items()]
    pairs.append((run.membrane.reshape(result.membrane.shape), result.membrane))  # type: ignore[arg-type]
    return sum(a.size for a, _ in pairs), sum(int((a != b).sum()) for a, b in pairs)


def row(path: Path, found: dict[str, NetxRun] | str, result: LavaResult | str) -> Row:
    lava = result if isinstance(result, str) else "runs"
    if isinstance(found, str):
        return Row(file=path.name, ours=found, lava=lava)
    warned = any(run.network.remarks for run in found.values())
    if isinstance(result, str):
        return Row(file=path.name, ours="runs", lava=lava, warned=warned)
    counts = [differing(run, result) for run in found.values()]
    compared, wrong = sum(n for n, _ in counts), sum(n for _, n in counts)
    return Row(file=path.name, ours="runs", lava=lava, compared=compared, differing=wrong, warned=warned)


def rows_of(paths: list[Path]) -> list[Row]:
    spikes = [spikes_for(path, number) for number, path in enumerate(paths)]
    results = try_lava_on(list(zip(paths, spikes, strict=True)))
    return [row(path, ours(path, s), result) for path, s, result in zip(paths, spikes, results, strict=True)]


def main(folder: str, *patterns: str) -> int:
    paths = sorted({path for pattern in patterns or ("*.net",) for path in Path(folder).glob(pattern)})
    rows = rows_of(paths)
    print(f"| {'file':28} | {'verdict':22} | {'compared':>8} | {'differing':>9} | ours | Lava |")
    print("|---|---|--:|--:|---|---|")
    for r in rows:
        print(f"| {r.file:28} | {r.verdict:22} | {r.compared:8} | {r.differing:9} | {r.ours[:160]} | {r.lava[:160]} |")
    wrong = sum(r.verdict in ("DIFFERS", "WE REFUSE") for r in rows)
    equal = sum(r.verdict == "equal" for r in rows)
    print(f"{len(rows)} files, {equal} equal in both runners, {sum(r.compared for r in rows)} numbers compared")
    return int(wrong > 0)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
