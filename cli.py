"""The command line: search, import, export, deploy, demo; for files inspect, run, energy, fit, report; doctor.

Results go to stdout, progress to stderr. Exit codes: 0 done; 1 a known error, told in one line with the next step;
2 wrong usage; 3 everything ran and the verdict is fail, or a target was missed.

Each command imports what it needs once its words have been understood, so that help and errors come at once.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from spikeport import __version__
from spikeport.commands import COMMANDS
from spikeport.console import Console
from spikeport.deploy.mapping.capacity import chip_names, find_chip
from spikeport.deploy.settings import DeploySettings, PlannedNetwork, PriceSettings
from spikeport.errors import SpikeportError, told
from spikeport.export.settings import ExportSettings
from spikeport.files import writable, write_json
from spikeport.options import (
    GroupedCommand,
    claim,
    common_options,
    end,
    help_all_option,
    one_of,
    run_options,
    setting_option,
    settings_options,
    tables_options,
    the_run,
)
from spikeport.path_kind import ARRAY, GENOTYPE, NETWORK, NETX, PRICED, expected, kind_of
from spikeport.search.runs import Run, choose_folder, open_run
from spikeport.search.settings.file import recorded_settings, resolve_settings
from spikeport.search.settings.network import ATTENTION_FOR
from spikeport.search.settings.run import READERS, STRATEGIES, TABLES, SearchSettings
from spikeport.setting import chosen, settings_of

layers_option = click.option("--layers", type=int, help="Read the first so many layers only.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="spikeport")
def cli() -> None:
    """From architecture search to a neuromorphic chip, proved equal at every step.

    \b
    spikeport demo                     the whole road on scikit-learn's digits
    spikeport search --dataset digits  find a cell, train the network built from it
    spikeport import my.module:build   a SpikingJelly network of your own instead
    spikeport export --target loihi    the newest run as NetX for Intel Loihi
    spikeport deploy                   prove it, count it, price it, report it
    spikeport inspect network.net      what is in a NetX file, and what does not fit the chip
    spikeport run network.net          run a NetX file without Lava, bit for bit
    spikeport convert in.nir out.net   from one format to another: NetX, NIR, ONNX
    spikeport targets                  which layer goes to which target, and why not
    spikeport compare A B --input X    two forms of one network: where they differ, and why
    spikeport energy network.net       what a NetX file costs on its spikes
    spikeport fit genotype.json        how many cores a network takes, before any training
    spikeport report runs/a runs/b     runs side by side: accuracy, energy, latency, cores
    spikeport table show FILE          a table of trained cells, by which strategies are compared
    spikeport ensemble runs/a runs/b   runs as one network: what their mean is worth, and what it costs
    """


@cli.command("search", cls=GroupedCommand)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder to make [default: runs/<next number>].")
@click.option(
    "--genotype",
    type=click.Path(path_type=Path),
    help="Train the cell of this JSON file (macro: search its path).",
)
@click.option("--resume", is_flag=True, help="Go on with a killed run (--out, or the newest) from its last epoch.")
@click.option("--settings", "file", type=click.Path(path_type=Path), help="TOML file; options win over it.")
@click.option("--download", is_flag=True, help="Let torchvision fetch the data set into --data-folder.")
@click.option(
    "--strategy",
    type=click.Choice(list(STRATEGIES)),
    help="By gradients (darts), or train cells and keep the best on validation images: random ones, or those that a "
    "strategy asks for.",
)
@setting_option(settings_of(SearchSettings)["seed"], "Options")
@tables_options(TABLES, READERS)
@help_all_option
@common_options
def search_command(
    console: Console,
    out: Path | None,
    genotype: Path | None,
    resume: bool,
    file: Path | None,
    download: bool,
    **given: Any,
) -> None:
    """Find a spiking cell by MA-DARTS, then train and test the network built from it.

    \b
    spikeport search --dataset digits --channels 8 --cells 3 --search-epochs 10 --train-epochs 30 --out runs/mine
    spikeport search --resume --out runs/mine
    spikeport search --dataset npz:train.npz,test.npz --attention cbam
    spikeport search --settings examples/digits.toml --seed 1
    spikeport search --dataset cifar10 --download --device cuda --precision bfloat16
    torchrun --nproc-per-node 2 -m spikeport.cli search --settings examples/digits.toml --out runs/mine

    Ends with exit code 3 if the network that was found is above --target-sops or --target-parameters.
    """
    path = choose_folder(out, resume)
    started = recorded_settings(open_run(path)) if resume else None
    if path.exists():
        claim(Run(path))
    settings = resolve_settings(file, given, started, console.tell)
    given_genotype = genotype and expected(genotype, GENOTYPE, "search --genotype")
    from spikeport.search.pipeline import above_targets, run_search

    told: Any = {"progress": console.step, "tell": console.tell, "command": console.command}
    if "asking" in settings.strategy.reads:
        from spikeport.evaluation.of_runs import ON_CHIPS

        told |= ON_CHIPS
    try:
        run = run_search(settings, path, resume=resume, genotype=given_genotype, download=download, **told)
    except KeyboardInterrupt:
        step = f"`spikeport search --resume --out {path}` goes on from its last epoch"
        began = Run(path).manifest.exists()
        raise SpikeportError(f"Stopped; {step if began else 'nothing had begun yet'}.") from None
    missed = above_targets(run, settings)
    console.result(console.searched(run, missed))
    end(failed=bool(missed))


for command in COMMANDS:
    cli.add_command(command)


@cli.command("export")
@run_options
@click.option("--target", default="all", show_default=True, help=f"{', '.join(ATTENTION_FOR)} or all.")
@settings_options(ExportSettings)
@common_options
def export_command(console: Console, path: Path | None, target: str, **given: Any) -> None:
    """Write a trained run as ONNX, as NetX HDF5 for Intel Loihi and as NIR, into its folder export/.

    \b
    spikeport export --target loihi
    spikeport export runs/mine --target all
    spikeport export runs/mine --target loihi --weight-bits 4 --finetune 10
    """
    chosen("target", target, (*ATTENTION_FOR, "all"))
    settings = ExportSettings(**_chosen(given))
    run = claim(the_run(path))
    from spikeport.export.targets import export

    console.result(console.exported(run, export(run, target, console.tell, settings)))


@cli.command("deploy")
@run_options
@settings_options(DeploySettings)
@click.option("--no-lava", is_flag=True, help="Leave real Lava out; the report then says that it was not run.")
@common_options
def deploy_command(console: Console, path: Path | None, no_lava: bool, **given: Any) -> None:
    """Prove that every exported form computes the same, estimate its energy, write report.html.

    Ends with exit code 3 if a check fails, and names the first population, step and neuron that differ.
    """
    settings = replace(DeploySettings(lava=not no_lava), **_chosen(given))
    run = claim(the_run(path))
    from spikeport.deploy.pipeline import deploy

    found = deploy(run, settings, console.tell)
    console.result(console.deployed(found))
    end(failed=found.equivalence["verdict"] == "fail")


@cli.command("demo")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True, help="Run folder."
)
@click.option("--no-lava", is_flag=True, help="Leave real Lava out (it needs Python 3.10 and 5 GB).")
@common_options
def demo_command(console: Console, out: Path, no_lava: bool) -> None:
    """Search, export and deploy on scikit-learn's digits, which need no download.

    A demo that was killed goes on where it was. Without a Python 3.10 it goes on without Lava, and says so.
    """
    if choose_folder(out, resume=False).exists():
        claim(Run(out))
    from spikeport.demo import run_demo

    found = run_demo(out, lava=not no_lava, progress=console.step, tell=console.tell, command=console.command)
    console.result(console.deployed(found))
    end(failed=found.equivalence["verdict"] == "fail")


@cli.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@layers_option
@common_options
def inspect_command(console: Console, file: Path, layers: int | None) -> None:
    """Show a NetX file layer by layer, and what does not fit Loihi or what lava-dl changes without a word.

    Ends with exit code 3 if the network cannot be run as Lava would run it.
    """
    expected(file, NETX, "inspect")
    from spikeport.deploy.netx_table import inspect_netx

    found = inspect_netx(file, layers=layers)
    console.result(console.inspected(found))
    end(failed=found.verdict == "fail")


@cli.command("run")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--input", "given", type=click.Path(path_type=Path), required=True, help="Spikes or images, `.npy`.")
@click.option("--out", type=click.Path(path_type=Path), help="Where spikes and membranes go, `.npz`.")
@click.option("--time-steps", type=int, help="Steps that an image is shown [default: what the file says].")
@click.option("--reset-interval", type=int, help="Stream the samples back to back, reset state every so many steps.")
@click.option("--reset-offset", type=int, default=1, show_default=True, help="Its phase, as lava-dl counts it.")
@click.option("--skip-input", is_flag=True, help="The input is the spikes of the input layer's neurons, not images.")
@layers_option
@common_options
def run_command(console: Console, file: Path, given: Path, out: Path | None, **options: Any) -> None:
    """Run any NetX file without Lava, in Lava's integers: every spike of every layer, the membranes of the last.

    \b
    spikeport run network.net --input spikes.npy --out result.npz     0 or 1, [S, T, C, H, W] or [S, T, N]
    spikeport run network.net --input images.npy --time-steps 16      [S, C, H, W] or [S, N]
    """
    expected(given, ARRAY, "run --input")
    expected(file, NETX, "run")
    if out:
        writable(out)
    from spikeport.deploy.run.kernels.runner import compiled
    from spikeport.deploy.run.netx import stream_netx
    from spikeport.reading.arrays import read_array

    found = stream_netx(file, read_array(given), out, runner=compiled, progress=console.ran_so_far, **options)
    for sentence in found.cautions:
        console.caution(sentence)
    console.result(console.ran(file, found, out))


@cli.command("energy")
@click.argument("source", type=click.Path(path_type=Path), required=False)
@click.option("--run", "folder", type=click.Path(path_type=Path), help="A run, on its test split.")
@click.option("--spikes", type=click.Path(path_type=Path), help="0 and 1, `.npy` [S, T, *shape]; for a NetX file.")
@click.option("--out", type=click.Path(path_type=Path), help="Where energy.json goes.")
@settings_options(PriceSettings)
@common_options
def energy_command(
    console: Console, source: Path | None, folder: Path | None, spikes: Path | None, out: Path | None, **given: Any
) -> None:
    """Energy, latency and cores of any NetX file on real spikes, by every price list; or of a run on its test split.

    The spikes are those that enter the network; where the file begins with an input layer of neurons, they are theirs.

    \b
    spikeport energy network.net --spikes spikes.npy
    spikeport energy network.net --spikes spikes.npy --profiles mine.toml,loihi1-sanafe --out energy.json
    spikeport energy runs/mine --profiles mine.toml          the exported run on the images it was tested on
    """
    from spikeport.deploy.cost.prices import price_lists

    settings = PriceSettings(**_chosen(given))
    lists, path = price_lists(settings), one_of(source, folder)
    if out:
        writable(out)
    if spikes:
        expected(spikes, ARRAY, "energy --spikes")
    if path is not None and kind_of(expected(path, PRICED, "energy")) == "netx":
        if spikes is None:
            raise click.UsageError(
                f"'{path}' is a NetX file, which has no data of its own; give its input as --spikes."
            )
        from spikeport.deploy.measure import measure_netx
        from spikeport.reading.arrays import read_array

        found = measure_netx(path, read_array(spikes), lists, zeros=settings.count_zero_weights)
    else:
        run = the_run(path)
        if spikes is not None:
            raise click.UsageError(f"'{run.path}' is a run, which has data of its own; leave --spikes out.")
        from spikeport.deploy.measure import measure_run

        path, found = run.path, measure_run(run, lists, console.tell, zeros=settings.count_zero_weights)
    if out:
        write_json(out, found)
    console.result(console.priced(path, found, out))


@cli.command("fit")
@click.argument("source", type=click.Path(path_type=Path), required=False)
@click.option("--run", "folder", type=click.Path(path_type=Path), help="A run [default: the newest in runs/].")
@click.option("--chip", "name", default="loihi1", show_default=True, help=f"{', '.join(chip_names())} or a .toml file.")
@click.option("--chips", type=int, default=1, show_default=True, help="How many of them there are.")
@settings_options(PlannedNetwork)
@common_options
def fit_command(
    console: Console, source: Path | None, folder: Path | None, name: str, chips: int, **given: Any
) -> None:
    """Does a network fit on a chip, which layer breaks first, and how narrow would it have to be?

    SOURCE is a run folder [default: the newest run], a NetX file of anyone's, or a genotype.json that needs no training
    at all; --channels, --cells, --time-steps, --classes and --input-shape say how large a network is built from it.

    \b
    spikeport fit                                            the newest run on one Loihi 1
    spikeport fit network.net --chip loihi2                  any NetX file
    spikeport fit genotype.json --channels 36 --cells 20 --input-shape 3x32x32 --chips 32
    spikeport fit runs/mine --chip mine.toml                 a chip of your own, like deploy/mapping/chips/loihi1.toml

    Ends with exit code 3 if it does not fit.
    """
    chip, path = find_chip(name), one_of(source, folder)
    path = expected(path, NETWORK, "fit") if path else the_run(None).path
    from spikeport.deploy.mapping.fit.source import read_source
    from spikeport.deploy.mapping.fit.verdict import fit

    network = read_source(path, _chosen(given))
    console.tell(f"mapping {network.path} to {chip.title}")
    found = fit(network.graph, chip, chips=chips, channels=network.channels, on_chip_inputs=network.on_chip_inputs)
    console.result(console.fitted(network, found))
    end(failed=not found.fits)


@cli.command("report")
@click.argument("folders", type=click.Path(path_type=Path), nargs=-1, metavar="[RUN]...")
@click.option("--run", "named", type=click.Path(path_type=Path), multiple=True, help="The same, one or several times.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="HTML file [default: comparison.html beside the first run]."
)
@common_options
def report_command(console: Console, folders: tuple[Path, ...], named: tuple[Path, ...], out: Path | None) -> None:
    """Compare deployed runs: a Pareto plot of accuracy against energy, latency and cores, as HTML and as Markdown.

    With one run, or none for the newest, its own report.html and report.md are written again from its files.

    \b
    spikeport report runs/small runs/large                   runs/comparison.html and runs/comparison.md
    spikeport report runs/* --out comparison.html
    spikeport report runs/mine                               the run's own report
    """
    runs = [open_run(folder) for folder in dict.fromkeys((*folders, *named))] or [the_run(None)]
    from spikeport.deploy.report.files import compare_runs, write_reports

    if len(runs) == 1:
        write_reports(claim(runs[0]))
        console.result(console.reported(runs[0]))
        return
    target = writable(out or runs[0].path.parent / "comparison.html")
    console.result(console.compared(compare_runs(runs, target), target))


@cli.command("doctor")
@common_options
def doctor_command(console: Console) -> None:
    """Say what is there and what is missing, with the command that mends it."""
    from spikeport.deploy.doctor import examine

    findings = examine()
    console.result(console.examined(findings))
    if not all(finding.ok for finding in findings):
        sys.exit(1)


def _chosen(given: dict[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in given.items() if value is not None}


def main() -> None:
    """The entry point: known errors become one line and exit code 1."""
    try:
        cli()
    except (SpikeportError, OSError, MemoryError, RuntimeError) as error:
        line = told(error)
        if line is None:
            raise
        click.echo(f"spikeport: {line}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
