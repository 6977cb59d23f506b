"""spikeport ensemble: several finished runs as one."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from ..console import Console, titled_table
from ..deploy.settings import EnsembleSettings
from ..options import common_options, end, settings_options
from ..search.runs import open_run

if TYPE_CHECKING:
    from ..deploy.ensemble.ensemble import Ensemble, Judged

HEADERS = ("accuracy", "NLL, nats", "ECE", "AUROC", "energy, uJ")


@click.command("ensemble")
@click.argument("folders", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="RUN...")
@click.option("--out", type=click.Path(path_type=Path), help="HTML file [default: ensemble.html beside the first run].")
@settings_options(EnsembleSettings)
@common_options
def ensemble_command(console: Console, folders: tuple[Path, ...], out: Path | None, **given: Any) -> None:
    """Finished runs of one data set as one network: the mean of their probabilities, when it does not know, its cost.

    Members are chosen greedily, with replacement. A run that is exported for loihi answers as the chip's integers do.

    \b
    spikeport ensemble runs/a runs/b runs/c
    spikeport ensemble runs/a runs/b --choose all
    spikeport ensemble runs/random --candidates --most-members 3

    Ends with exit code 3 if the deploy of a member in it had failed.
    """
    settings = EnsembleSettings(**{name: value for name, value in given.items() if value is not None})
    runs = [open_run(folder) for folder in folders]
    from ..deploy.ensemble.ensemble import ensemble

    target = out or runs[0].path.parent / "ensemble.html"
    found = ensemble(runs, settings, tell=console.tell, out=target)
    console.result(shown(found, target))
    inside = set(found.whole.names)
    end(failed=any(m.proof is not None and m.proof.kind == "fail" for m in found.members if m.name in inside))


def shown(found: "Ensemble", out: Path) -> tuple[Mapping[str, Any], Iterable[Table | str]]:
    from ..deploy.ensemble.page import cores_of, headline, name_of, second_network, sentences

    members = titled_table("Members, each alone", "run", "answers as", "proof", *HEADERS)
    for member, judged in zip(found.members, found.alone, strict=True):
        form = "chip's integers" if member.form == "chip" else "float"
        members.add_row(member.name, form, member.proof.word if member.proof else "no proof", *_numbers(judged))
    grown = titled_table("As it grew (weights)", "members", *HEADERS, "cores")
    for row in found.rows:
        cores = "-" if row.side.cores is None else f"{row.side.cores} of {row.side.of_cores}"
        grown.add_row(name_of(row), *_numbers(row.judged), cores)
    whole = found.whole.judged
    unsure = titled_table("Uncertainty, nats", "", "test", "shifted", "AUROC")
    for name, value in whole.uncertainty.items():
        area = f"{whole.auroc[name]:.4f}" if name in whole.auroc else "-"
        unsure.add_row(name, f"{value:.4f}", f"{whole.uncertainty_shifted[name]:.4f}", area)
    answers = ", ".join(f"{accuracy:.4f} of the surest {share:.0%}" for share, accuracy in whole.answered.items())
    lines = [
        *(f"note: {note}" for note in found.notes),
        f"accuracy where it may say that it does not know: {answers}",
        second_network(found),
        f"{cores_of(found.whole, found.chip)}.",
        f"page: {out}",
    ]
    return found.to_dict() | {"file": str(out)}, [headline(found), *sentences(found), members, grown, unsure, *lines]


def _numbers(judged: "Judged") -> tuple[str, ...]:
    score, energy = judged.score, judged.costs.energy_j
    values = (score.accuracy, score.nll, score.calibration_error, judged.auroc["total"])
    return (*(f"{value:.4f}" for value in values), "-" if energy is None else f"{energy * 1e6:.3f}")
