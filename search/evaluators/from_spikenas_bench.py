"""Looked up in SpikeNAS-Bench: whether what holds on our table holds on one that others made."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from ..frame.protocol import Result
from ..spaces.space import Code, CodedSpace
from ..tables.spikenas_bench import CELLS, EDGES, OPERATIONS, BenchRow, number_of, read_bench

# a cell is its code; cells that differ in edges that lead nowhere were trained one by one, and count as different
BENCH_SPACE: CodedSpace[Code] = CodedSpace(
    name="spikenas-bench",
    radices=(len(OPERATIONS),) * len(EDGES),
    decoder=lambda code: code,
    encoder=lambda candidate: candidate,
    namer=lambda candidate: str(number_of(candidate)),
    parts=((0,), (1, 3), (2, 4, 5)),  # the edges into each node
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchEvaluator:
    """rows: of a data set, by number. names: of the objectives that are wanted.

    The accuracy is that of the 25,000 validation images after the last epoch, or after so many as the budget has.
    Every cell was trained once, so that the seed changes nothing.
    """

    rows: Mapping[int, BenchRow]
    names: tuple[str, ...] = ("accuracy",)
    name: str = "spikenas-bench"

    @classmethod
    def of(cls, folder: Path, names: tuple[str, ...] = ("accuracy",)) -> "BenchEvaluator":
        """Raises what `read_bench` raises."""
        return cls(rows=read_bench(folder), names=names)

    @property
    def offers(self) -> frozenset[str]:
        return frozenset({"accuracy", "parameters"})

    @property
    def epochs(self) -> int:
        """Of most trainings; a few took twice as many, and a short budget is a share of theirs."""
        return min((len(row.val_accuracy) for row in self.rows.values()), default=0)

    @property
    def missing(self) -> int:
        """Cells of the space that nobody has trained."""
        return CELLS - len(self.rows)

    def __call__(self, candidate: Code, budget: int, seed: int) -> Result:
        """Raises InputError for a cell that is missing."""
        row = self.rows.get(number_of(candidate))
        if row is None:
            raise InputError(f"SpikeNAS-Bench's folder has no cell {number_of(candidate)}; it holds {len(self.rows)}.")
        curve = row.val_accuracy
        if 0 < budget < self.epochs:
            curve = curve[: budget * len(curve) // self.epochs]
        known = {"accuracy": curve[-1], "parameters": float(row.parameters)}
        return Result(
            objectives={name: known[name] for name in self.names},
            curve=curve,
            seconds=row.seconds * len(curve) / len(row.val_accuracy),
            features=tuple(0.0 if rate is None else rate for rate in row.rates),
            reported={"test_accuracy": row.test_accuracy},
        )
