"""The ensemble as a page with the report's look, and the words that the command line and the page share."""

from collections.abc import Iterable

from ..report.figures.marks import Figure
from ..report.figures.tradeoff import Point, pareto_figure
from ..report.frame import rendered
from ..report.numbers import number, percent, plural, times
from .ensemble import Ensemble, Row
from .selection import GAIN


def render_ensemble(found: Ensemble) -> str:
    """One self-contained page: what it gains and costs, its members and their proofs, what it does not know."""
    values = {
        "found": found,
        "headline": headline(found),
        "sentences": sentences(found),
        "second": second_network(found),
        "figure_of": _figure(found),
        "pairs": list(zip(found.members, found.alone, strict=True)),
        "sound": not any(m.proof is None or m.proof.kind != "pass" for m in found.members),
        "name_of": name_of,
    }
    return rendered("ensemble.html.j2", values)


def headline(found: Ensemble) -> str:
    """Accuracy against that of the best member, and for how much more energy."""
    whole, best = found.whole, found.best_alone
    ours, theirs = whole.judged.score.accuracy, best.score.accuracy
    if len(whole.names) == 1:
        return f"No second network helps: {whole.names[0]} alone has {percent(ours)}"
    words = f"{plural(len(whole.names), 'network')} as one: {percent(ours)}, {found.best} alone {percent(theirs)}"
    energy, alone = whole.judged.costs.energy_j, best.costs.energy_j
    return words + (f", for {times(energy / alone)} its energy" if energy and alone else "")


def sentences(found: Ensemble) -> list[str]:
    """How it was made and tested."""
    floats = [m.name for m in found.members if m.form == "float"]
    chips = [m.name for m in found.members if m.form == "chip"]
    forms = [f"as the chip's integers: {', '.join(chips)}"] if chips else []
    forms += [f"in float: {', '.join(floats)}"] if floats else []
    return [
        f"Members answer {'; '.join(forms)}.",
        f"Chosen by {found.chosen_by}, on {found.chosen_on}." if found.chosen_by else "All members, equally weighted.",
        f"Tested on {found.tested_on}; the best member is {found.best}, {found.best_by}.",
        f"Shifted: {found.rule}.",
        f"Priced by {found.profile}." if found.profile else "Not priced: no price list is common to all members.",
    ]


def second_network(found: Ensemble) -> str:
    """What a second network on the free cores of the chip buys."""
    if len(found.rows) < 2:
        return (
            f"Nothing is bought by a second network: none beside {found.whole.names[0]} lowers the {found.chosen_by} "
            f"by {GAIN:g} on the images that chose."
        )
    one, two = found.rows[0], found.rows[1]
    gain = two.judged.score.accuracy - one.judged.score.accuracy
    bought = (
        f"{two.names[1]} beside {one.names[0]} changes accuracy by {100 * gain:+.2f} points, the negative "
        f"log-likelihood from {number(one.judged.score.nll)} to {number(two.judged.score.nll)} nats"
    )
    return f"{bought}. {cores_of(two, found.chip)}."


def cores_of(row: Row, chip: str) -> str:
    """Whether these lie side by side on one chip, in words."""
    side = row.side
    if side.cores is None:
        return f"Whether they fit side by side is not known: {side.why}"
    takes = f"{side.cores:,} of {side.of_cores:,} cores of one {chip}"
    if len(row.names) == 1:
        return f"It takes {takes}; {side.why}"
    if side.fits:
        return f"They fit side by side: {takes}, {side.why}"
    return f"They do not fit side by side: {takes}, {side.why}; they take {plural(side.chips or 0, 'chip')}"


def name_of(row: Row) -> str:
    """Its members with how often each counts."""
    return ", ".join(f"{name} ({weight:.2f})" for name, weight in zip(row.names, row.weights, strict=True))


def _figure(found: Ensemble) -> Figure | None:
    """Accuracy against energy, of each member and of the ensemble as it grew; None where not all are priced."""
    alone = zip(found.members, found.alone, strict=True)
    pairs = [
        *((m.name, j, m.proof is None or m.proof.kind != "fail") for m, j in alone),
        *((f"{len(row.names)} as one", row.judged, True) for row in found.rows[1:]),
    ]
    priced = [(n, j.costs.energy_j, j.score.accuracy, sound) for n, j, sound in pairs if j.costs.energy_j is not None]
    points = [
        Point(name=n, cost=cost, accuracy=a, sound=sound, best=sound and not _beaten(cost, a, priced))
        for n, cost, a, sound in priced
    ]
    missing = len(pairs) - len(priced)
    gone = f" Not drawn, for want of an energy: {plural(missing, 'point')}." if missing else ""
    note = f"By {found.profile}.{gone}"
    return pareto_figure(name="ensemble", cost="energy of one inference", unit="J", points=points, note=note)


def _beaten(cost: float, accuracy: float, others: Iterable[tuple[str, float, float, bool]]) -> bool:
    return any(a >= accuracy and c <= cost and (a > accuracy or c < cost) for _, c, a, sound in others if sound)
