"""spikeport transformer: a spiking transformer, found without training, then trained."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from ..console import Console, titled_table
from ..options import GroupedCommand, common_options, help_all_option, tables_options
from ..search.runs import new_run_path
from ..search.settings.data import DATASET_DEFAULTS, DataSettings
from ..search.settings.training import TrainingSettings
from ..search.space.transformer.settings import TransformerSettings

if TYPE_CHECKING:
    from ..search.transformers import Found

TABLES = {"transformer": TransformerSettings, "training": TrainingSettings, "data": DataSettings}


@click.command("transformer", cls=GroupedCommand)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder to make [default: runs/<next number>].")
@click.option("--given", type=click.Path(path_type=Path), help="Train the transformer of this JSON file instead.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything that is drawn.")
@click.option("--download", is_flag=True, help="Let torchvision fetch the data set into --data-folder.")
@tables_options(TABLES, {})
@help_all_option
@common_options
def transformer_command(
    console: Console, out: Path | None, given: Path | None, seed: int, download: bool, **options: Any
) -> None:
    """Find a spiking transformer without training, by its synaptic operations at a given size, then train and test it.

    Its blocks have attention whose products are ANDs of spikes, so that the run is exported to a chip as any other.

    \b
    spikeport transformer --dataset digits --train-epochs 20 --out runs/transformer
    spikeport transformer --depths 1,2 --widths 8,16 --most-parameters 8000 --strategy random
    spikeport export runs/transformer --target loihi
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    chosen = {**DATASET_DEFAULTS.get(str(chosen.get("dataset")), {}), **chosen}
    space, training, data = (
        kind(**{f.name: chosen[f.name] for f in fields(kind) if f.name in chosen}) for kind in TABLES.values()
    )
    from ..search.space.transformer.genotype import from_file
    from ..search.transformers import search_transformer

    told: Any = {"progress": console.step, "tell": console.tell, "command": console.command, "download": download}
    transformer = from_file(given) if given else None
    found = search_transformer(
        out or new_run_path(),
        space,
        training,
        data,
        seed=seed,
        given=transformer,
        **told,
    )
    console.result(shown(found))


def shown(found: "Found") -> tuple[Mapping[str, Any], Iterable[Table | str]]:
    from ..search.space.transformer.genotype import to_dict

    table = titled_table("Transformer", "", "")
    for number, block in enumerate(found.genotype.blocks):
        kind = f"{block.heads} heads over tokens" if block.attention == "tokens" else "over channels"
        table.add_row(f"block {number}", f"attention {kind}, MLP {block.ratio} x {found.genotype.width}")
    table.add_row("test accuracy", f"{found.metrics['test_accuracy']:.4f}")
    table.add_row("spikes per inference", f"{found.metrics['spikes_per_inference']:.0f}")
    table.add_row("parameters", f"{found.metrics['parameters']:,}")
    if found.score is not None:
        table.add_row("reference SOPs", f"{found.score:,.0f}, the best of {found.scored} that were scored")
    data = {
        "run": str(found.run.path),
        "transformer": to_dict(found.genotype),
        "reference_sops": found.score,
        "scored": found.scored,
        "metrics": found.metrics,
    }
    return data, [table, f"next: spikeport export {found.run.path}"]
