"""spikeport fit-cost: what a genotype takes, by measurements of one's own."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from ..console import Console, titled_table
from ..files import writable
from ..options import common_options

if TYPE_CHECKING:
    from ..deploy.cost.genotypes.stacked import StackedModel


@click.command("fit-cost")
@click.argument("samples", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("cost.json"), show_default=True, help="The model.")
@click.option(
    "--quantity",
    type=click.Choice(["latency_s", "energy_j"]),
    default="latency_s",
    show_default=True,
    help="The column that was measured.",
)
@click.option(
    "--profile", default="loihi1-davies2018", show_default=True, help="Price list of the analytical cost, or its file."
)
@common_options
def fit_cost_command(console: Console, samples: Path, out: Path, quantity: str, profile: str) -> None:
    """Fit what networks take on a machine of yours to what was measured there.

    \b
    network,latency_s              SAMPLES, a CSV file: a run folder or its config.json, and seconds of one inference
    runs/first,0.00132
    runs/second,0.00118

    The model is the analytical cost by a price list times a residual of counts. It is judged on networks that it has
    not seen, each left out in turn.
    """
    from ..deploy.cost.genotypes.samples import read_samples
    from ..deploy.cost.genotypes.stacked import fit, save

    writable(out)
    model = fit(read_samples(samples, quantity, profile, console.tell), quantity, profile)
    save(out, model)
    console.result(shown(out, model))


def shown(path: Path, model: "StackedModel") -> tuple[Mapping[str, Any], Iterable[Table | str]]:
    table = titled_table(f"{model.quantity} of networks left out", "cost", "rank correlation", "mean error")
    for name, one in model.judged.items():
        table.add_row(name, f"{one.rank:.3f}", f"{one.mape:.1f} %")
    best = max(model.judged, key=lambda name: (model.judged[name].rank, -model.judged[name].mape))
    note = f"{model.networks} networks; '{best}' ranks those that were left out best. The model is in {path}"
    return {"model": str(path), **asdict(model)}, [table, note]
