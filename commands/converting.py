"""spikeport convert: a network from one file format to another."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from ..console import Console, titled_table
from ..errors import InputError
from ..files import writable
from ..options import common_options
from ..path_kind import ARRAY, expected

if TYPE_CHECKING:
    from ..export.convert import Converted


@click.command("convert")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--time-steps", type=int, help="Steps of a window, where IN does not say.")
@click.option("--dt", type=float, help="Seconds of a step: NIR holds time constants.")
@click.option("--input-shape", help="Of the spikes, where IN does not say: 2x34x34 or 700.")
@click.option(
    "--fires", type=click.Choice([">", ">="]), help="When neurons of a NIR file fire [default: what it says, or >]."
)
@click.option(
    "--reset",
    type=click.Choice(["zero", "subtract", "subtract later"]),
    default="zero",
    show_default=True,
    help="How they reset, where the file cannot say: snnTorch subtracts the threshold, one step later.",
)
@click.option(
    "--answer",
    type=click.Choice(["sum", "mean"]),
    default="sum",
    show_default=True,
    help="Over time, of a NIR file that ends without an integrator.",
)
@click.option(
    "--input", "given", type=click.Path(path_type=Path), help="Typical spikes, `.npy` [S, T, ...]; scales the readout."
)
@click.option("--peak", type=float, help="The largest answer that a NetX file's readout shall hold, instead.")
@common_options
def convert_command(
    console: Console, source: Path, out: Path, given: Path | None, input_shape: str | None, **more: Any
) -> None:
    """Write the network of one file as another: .net (NetX), .nir and .onnx; IN may be a run folder.

    \b
    spikeport convert old.net old.onnx                       a Loihi network for ONNX Runtime, integer for integer
    spikeport convert theirs.nir theirs.net --dt 1e-3 --time-steps 16 --input spikes.npy
    spikeport convert spikingjelly.nir ours.onnx --time-steps 4 --fires ">="    SpikingJelly fires at the threshold
    spikeport convert runs/mine mine.nir                     the trained network for snnTorch, SpikingJelly, ...

    Nothing is written as something else: what OUT cannot hold is refused by name. A NetX file holds integers, so a
    float network is quantized for it.
    """
    if given:
        expected(given, ARRAY, "convert --input")
    writable(out)
    from ..export.convert import Wishes, convert
    from ..reading.arrays import read_array

    wishes = Wishes(spikes=read_array(given) if given else None, input_shape=_shape(input_shape), **more)
    console.result(shown(convert(source, out, wishes)))


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    sizes = text.split("x")
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise InputError(f"A shape must be given as 2x34x34 or 700, but is '{text}'.")
    return tuple(map(int, sizes))


def shown(found: "Converted") -> tuple[Mapping[str, Any], Iterable[Table | str]]:
    graph = found.graph
    table = titled_table(f"{found.source} -> {found.path}", "", "")
    numbers = "the chip's integers" if graph.arithmetic == "loihi" else "float"
    inputs = ", ".join(f"{node.name} {'x'.join(map(str, node.shape))}" for node in graph.inputs)
    rows = {
        "reads spikes": inputs,
        "populations": str(len(graph.populations)),
        "projections": str(len(graph.projections)),
        "time steps": str(graph.time_steps),
        "numbers": numbers,
    }
    for row in rows.items():
        table.add_row(*row)
    data = {"source": str(found.source), "path": str(found.path), **rows, "notes": list(found.notes)}
    return data, [table, *(f"note: {note}" for note in found.notes)]
