"""spikeport targets: what each target makes of each layer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from ..console import Console, titled_table
from ..errors import InputError
from ..options import common_options

if TYPE_CHECKING:
    from ..deploy.capabilities.table import Row

HOW_TO_ADD = (
    "a layer of your own: give its class as_convolution() or not_a_synapse, or register a rule with spikeport.register "
    "(docs/own_network.md)"
)


@click.command("targets")
@click.argument("words", nargs=-1, metavar="[LAYER]...")
@common_options
def targets_command(console: Console, words: tuple[str, ...]) -> None:
    """Which layer goes to which target: exact, or refused and what to do instead.

    Nothing is looked up: a small network with the layer is written, run, and compared with SpikingJelly spike for
    spike. LAYER are words of a layer's name; without any, all are tried, which takes half a minute.

    \b
    spikeport targets
    spikeport targets pool
    """
    from ..deploy.capabilities.probes import PROBES
    from ..deploy.capabilities.table import capabilities

    chosen = [
        probe for probe in PROBES if all(word.lower() in f"{probe.family} {probe.layer}".lower() for word in words)
    ]
    if not chosen:
        raise InputError(f"No layer is called '{' '.join(words)}'; `spikeport targets` lists them all.")
    console.tell(f"trying {len(chosen)} layers")
    console.result(shown(capabilities(tuple(chosen))))


def shown(rows: Sequence["Row"]) -> tuple[Mapping[str, Any], Iterable[Table | str]]:
    names = list(rows[0].cells)
    table = titled_table("", "layer", *names, "what becomes of it")
    for row in rows:
        fates = [row.cells[name].fate for name in names]
        table.add_row(row.layer, *fates, row.words)
    return {"layers": [asdict(row) for row in rows]}, [table, HOW_TO_ADD]
