"""spikeport import: a network of one's own code becomes a run."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from ..console import Console, titled_table
from ..options import common_options, settings_options
from ..path_kind import WEIGHTS, expected
from ..search.runs import new_run_path
from ..search.settings.imported import ImportSettings

if TYPE_CHECKING:
    from ..export.importing import Imported


@click.command("import")
@click.argument("builder", metavar="MODULE:BUILDER")
@click.option(
    "--weights", type=click.Path(path_type=Path), help="Its state dict: .safetensors, or what torch.save wrote of it."
)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder to make [default: runs/<next number>].")
@settings_options(ImportSettings)
@common_options
def import_command(console: Console, builder: str, weights: Path | None, out: Path | None, **given: Any) -> None:
    """Take a SpikingJelly network of your own into a run folder, which export, deploy, fit and energy read.

    MODULE:BUILDER is a function without arguments that makes the network, or the network itself, in a module that
    Python finds from here or in a file: my.networks:build, vgg.py:build. Its code is run; later commands run
    it again, as long as its file is the same.

    \b
    spikeport import vgg.py:build --weights vgg.pt --example 3x32x32 --time-steps 4 --data cifar10 --out runs/vgg
    spikeport export runs/vgg
    spikeport deploy runs/vgg
    spikeport import my.events:build --weights dvs.safetensors --example 2x34x34 --events --time-steps 8

    A network that repeats an image by itself says how many steps it makes; one that takes sequences [T, N, C, H, W]
    needs --time-steps.
    """
    settings = ImportSettings(**{name: value for name, value in given.items() if value is not None})
    if weights:
        expected(weights, WEIGHTS, "--weights")
    from ..export.importing import import_network

    told: Any = {"command": console.command, "tell": console.tell}
    console.result(shown(import_network(builder, out or new_run_path(), settings, weights=weights, **told)))


def shown(found: "Imported") -> tuple[Mapping[str, Any], Iterable[Table | str]]:
    config, metrics = found.config, found.metrics
    accuracy, kind = metrics["test_accuracy"], "images" if config.reads == "images" else "frames of spikes"
    table = titled_table("Imported", "", "")
    table.add_row("reads", f"{kind} {'x'.join(map(str, config.input_shape))}, T = {config.time_steps}")
    table.add_row("test accuracy", "unknown: no labels, add --data" if accuracy is None else f"{accuracy:.4f}")
    table.add_row("spikes per inference", f"{metrics['spikes_per_inference']:.0f}")
    table.add_row("parameters", f"{metrics['parameters']:,}")
    table.add_row("populations", str(found.populations) if found.refused is None else "none: it cannot be traced")
    lines = [] if found.refused is None else [f"for ONNX only: {found.refused}"]
    data = {
        "run": str(found.run.path),
        "config": asdict(config),
        "metrics": metrics,
        "populations": found.populations,
        "refused": found.refused,
    }
    return data, [table, *lines, f"next: spikeport export {found.run.path}"]
