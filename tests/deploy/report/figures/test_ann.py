"""A loss is shown as a loss."""

import re
from typing import Any

import pytest

from spikeport.deploy.report.figures.ann import break_even_figure, duel, duel_figure, outcome
from spikeport.deploy.report.numbers import NBSP
from spikeport.tests.deploy.report.made_up import energy_json


def row(ann_j: float, snn_j: float, **changes: Any) -> dict[str, Any]:
    return {
        "name": "INT8",
        "ann_j": ann_j,
        "snn_j": snn_j,
        "wins": "snn" if snn_j < ann_j else "ann",
        "ratio": ann_j / snn_j,
        "spikes_per_synapse": 0.5,
        "break_even_spikes_per_synapse": 0.25,
    } | changes


@pytest.mark.parametrize(
    ("ann_j", "snn_j", "words"),
    [
        (1e-6, 4e-6, "SNN loses 4.00×"),
        (3e-6, 1e-6, "SNN wins 3.00×"),
        (1e-6, 1e-6, "SNN loses 1.00×"),
        (0.0, 1e-6, "SNN loses"),
    ],
)
def test_the_outcome_names_the_winner(ann_j: float, snn_j: float, words: str) -> None:
    assert outcome(row(ann_j, snn_j)) == words


def test_one_loss_among_wins_is_a_loss_and_the_strongest_is_named() -> None:
    rows = [row(9e-6, 1e-6), row(1e-6, 4e-6, name="2-bit"), row(3e-6, 4e-6, name="FP32")]
    found = duel(rows)
    assert found is not None
    assert (found.kind, found.word) == ("fail", "Loses 4.00×")
    sentence = "The SNN loses to 2 of 3 forms of the ANN; the strongest is 2-bit: 1.00 µJ against 4.00 µJ of the SNN."
    assert found.sentence.replace(NBSP, " ") == sentence
    won = duel([row(9e-6, 1e-6), row(2e-6, 1e-6, name="FP32")])
    assert won is not None and (won.kind, won.word) == ("pass", "Wins 2.00×")
    assert duel([]) is None


@pytest.mark.parametrize(("wins", "kind"), [("ann", "loss"), ("snn", "win")])
def test_the_figure_shows_who_wins(wins: str, kind: str) -> None:
    baseline = energy_json(wins=wins)["ann_baseline"]
    figure = duel_figure(baseline)
    assert figure is not None
    assert figure.title.startswith("The SNN loses to 10 of 10 ANNs" if wins == "ann" else "The SNN beats all 10 ANNs")
    assert figure.wide.count(f'class="strong {kind}"') == 10
    assert f'class="strong {"win" if kind == "loss" else "loss"}"' not in figure.wide
    discs = [float(x) for x in re.findall(r'cx="([\d.]+)"[^>]*class="c-snn"', figure.wide)]
    squares = [float(x) + 4.5 for x in re.findall(r'<rect x="([\d.]+)"[^>]*class="c-ann"', figure.wide)]
    assert all((disc > square) == (wins == "ann") for disc, square in zip(discs, squares, strict=True))


def test_break_even_against_this_networks_rate() -> None:
    baseline = energy_json()["ann_baseline"]
    rows = [row(1, 2), row(3, 2, break_even_spikes_per_synapse=0.75), row(1, 2, break_even_spikes_per_synapse=-0.1)]
    figure = break_even_figure(baseline | {"rows": rows})
    assert figure is not None
    assert figure.title == "At 0.5 spikes per synapse it is below the break-even of 1 of 3 ANNs"
    assert figure.wide.count('class="won"') == 1 and figure.wide.count('class="lost"') == 1
    assert figure.wide.count(">no rate is low enough<") == 1
    assert "Where no rate is low enough" in figure.caption
    assert break_even_figure(baseline | {"rows": []}) is None and duel_figure(baseline | {"rows": []}) is None
