"""spikeport compare: where two forms of one network differ, and why."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from ..console import Console, titled_table
from ..options import common_options, end
from ..path_kind import ARRAY, expected

if TYPE_CHECKING:
    from ..deploy.diagnosis.diagnosis import Diagnosis


@click.command("compare")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@click.option("--input", "given", type=click.Path(path_type=Path), required=True, help="Spikes or images, `.npy`.")
@click.option("--time-steps", type=int, help="Steps for which a NetX file with input neurons shows an image.")
@click.option("--dt", type=float, help="Seconds of a step, for a NIR file that does not say it.")
@common_options
def compare_command(console: Console, reference: Path, candidate: Path, given: Path, **options: Any) -> None:
    """Say where two forms of one network differ, and which one rule, switched, explains every difference.

    \b
    spikeport compare runs/mine runs/mine/export/onnx/model.onnx --input images.npy       [S, C, H, W] or [S, N]
    spikeport compare network.net chip.npz --input spikes.npy       0 or 1, [S, T, C, H, W] or [S, T, N]

    A form is a run folder, a .net, .nir or .onnx file, or an .npz of recorded spikes.
    Ends with exit code 3 if they differ by more than ties.
    """
    expected(given, ARRAY, "compare --input")
    from ..deploy.diagnosis.diagnose import diagnose_files
    from ..reading.arrays import read_array

    found = diagnose_files(reference, candidate, read_array(given), **options)
    console.result(shown(found))
    end(failed=found.verdict == "different")


def shown(found: "Diagnosis") -> tuple[Mapping[str, Any], Iterable[Table | str]]:
    from ..deploy.diagnosis.words import COLUMNS, headline, rows, sentences

    table = titled_table(headline(found), *COLUMNS)
    for row in rows(found):
        table.add_row(*row)
    return found.to_dict(), [table, *sentences(found)]
