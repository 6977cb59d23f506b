"""A comparison of strategies as a page with the report's look."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...deploy.report.frame import rendered
from ...deploy.report.numbers import number
from .figures import Interval, courses_figure, intervals_figure
from .searches import RANDOM
from .words import SIGMAS, beats, headline, sentences, verdict_of

USUAL = 1.96  # standard errors, of intervals that hold 95 %


def render_comparison(found: Mapping[str, Any], scores: Mapping[str, Any] | None = None) -> str:
    """One self-contained page. found: of `comparison`. scores: what benchmarks/scores.py prints with --json."""
    values = {
        "found": found,
        "headline": headline(found),
        "sentences": sentences(found),
        "any_better": any(beats(row) for row in found["strategies"].values()),
        "rows": sorted(found["strategies"].items(), key=lambda pair: pair[1]["regret_mean"]),
        "verdict_of": verdict_of,
        "courses": courses_figure(found),
        "regrets": _regrets(found),
        "volumes": _volumes(found["fronts"]),
        "scores": scores,
        "taus": None if scores is None else _taus(scores["scores"], scores["table"]),
    }
    return rendered("strategies.html.j2", values)


def _regrets(found: Mapping[str, Any]) -> Any:
    rows = []
    for name, row in sorted(found["strategies"].items(), key=lambda pair: pair[1]["regret_mean"]):
        error = USUAL * row["regret_sd"] / found["runs"] ** 0.5
        mean = row["regret_mean"]
        rows.append(Interval(name=name, value=mean, low=mean - error, high=mean + error, good=beats(row)))
    first = rows[0]
    return intervals_figure(
        name="regrets",
        title=f"The cells that {first.name} chose are {number(first.value)} points below the best",
        caption="Mean regret of the choices, in points of test accuracy, with 95 % of its mean; less is better. "
        f"Coloured: better than random search beyond {SIGMAS:g} sigma. The axis does not begin at zero.",
        axis="regret in points",
        rows=rows,
    )


def _volumes(fronts: Mapping[str, Mapping[str, Any]]) -> Any:
    rows = [
        Interval(
            name=f"{name}, by {judge}",
            value=row[f"{by}more_than_random"],
            low=row[f"{by}interval"][0],
            high=row[f"{by}interval"][1],
            good=row[f"{by}interval"][0] > 0,
        )
        for by, judge in (("", "test"), ("found_", "validation"))
        for name, row in fronts.items()
        if f"{by}interval" in row and name != RANDOM
    ]
    title = "; ".join(f"the fronts of {one.name} hold {one.value:+.4f} against random search" for one in rows[:1])
    return intervals_figure(
        name="volumes",
        title=title[:1].upper() + title[1:],
        caption="Hypervolume of the front of accuracy and energy minus that of random search, both scaled to 0..1 over "
        "the table; mean over searches with 95 %, by bootstrap. Accuracies of test images, and of validation images, "
        "which were searched for. Right of the line is better.",
        axis="more hypervolume than random search",
        rows=rows,
        zero=True,
    )


def _taus(scores: Sequence[Mapping[str, Any]], table: str) -> Any:
    rows = [
        Interval(
            name=row["score"],
            value=row["tau"],
            low=row["tau_low"],
            high=row["tau_high"],
            good=(row["partial_tau"] or 0) > 0.1,
            note=f", partial {number(row['partial_tau'])}",
        )
        for row in scores
        if row["tau"] is not None and row["tau"] == row["tau"]
    ]
    if not rows:
        return None
    return intervals_figure(
        name="taus",
        title=f"{rows[0].name} ranks untrained cells best: Kendall's tau {number(rows[0].value)}",
        caption=f"Kendall's tau of each score with the test accuracies of {table}, with 95 % by bootstrap over cells. "
        "Coloured: what is left when parameters and synaptic operations are held fixed is above 0.1.",
        axis="Kendall's tau",
        rows=rows,
        zero=True,
    )
