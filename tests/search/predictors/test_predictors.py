"""Every predictor learns a known function of genotypes better than chance, the same by the same seed."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from spikeport.errors import InputError
from spikeport.search.predictors.features import Features, Scale, longest_path
from spikeport.search.predictors.network_graph import network_graph
from spikeport.search.predictors.pairwise import pairwise_loss
from spikeport.search.predictors.predictor import PredictorContext, pair_share, targets
from spikeport.search.predictors.table import PREDICTORS, predictor_for
from spikeport.search.scores.score import InContext, Kind
from spikeport.search.space.genotype import Edge, Genotype, random_genotype
from spikeport.search.space.network import NetworkConfig
from spikeport.tests.search.scores.renaming import renamings

CONFIG = NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(1, 8, 8))
SEEN, UNSEEN = 64, 100


def known(genotype: Genotype) -> float:
    """A function of the cells: convolutions near the inputs of the normal cell, and large ones of the other."""
    convolutions = sum(edge.primitive.startswith("conv") and edge.source < 2 for edge in genotype.normal)
    return convolutions + 0.5 * sum(edge.primitive == "conv_5x5" for edge in genotype.reduce)


@pytest.fixture(scope="module")
def genotypes() -> list[Genotype]:
    rng = np.random.default_rng(0)
    return [random_genotype(rng, "plain") for _ in range(SEEN + UNSEEN)]


@pytest.fixture(scope="module")
def moved(genotypes: list[Genotype]) -> list[Genotype]:
    """The same networks with their nodes renamed, where they can be."""
    others = [Genotype("plain", renamings(one.normal)[-1], renamings(one.reduce)[-1]) for one in genotypes]
    assert sum(a != b for a, b in zip(others, genotypes, strict=True)) > 50
    return others


def fit_and_predict(name: str, genotypes: Sequence[Genotype], asked: Sequence[Genotype]) -> np.ndarray:
    predictor = predictor_for(name, PredictorContext(config=CONFIG, seed=1))
    assert predictor.name == name
    predictor.fit(genotypes[:SEEN], [known(one) for one in genotypes[:SEEN]])
    return predictor.predict(asked)


@pytest.mark.parametrize("name", PREDICTORS)
def test_it_ranks_unseen_genotypes_the_same_again_and_under_other_names(
    name: str, genotypes: list[Genotype], moved: list[Genotype]
) -> None:
    """The graph is taken as it is, so that its sums are in another order; the others read the canonical form."""
    torch.manual_seed(5)
    state = torch.get_rng_state()
    found = fit_and_predict(name, genotypes, [*genotypes, *moved])
    assert torch.equal(torch.get_rng_state(), state)
    unseen = [known(one) for one in genotypes[SEEN:]]
    assert pair_share(found[SEEN : len(genotypes)], unseen) > 0.6  # chance is 0.5, with a deviation of 0.035
    assert found[len(genotypes) :] == pytest.approx(found[: len(genotypes)], rel=1e-9, abs=1e-9)
    torch.manual_seed(6)
    assert np.array_equal(fit_and_predict(name, genotypes, [*genotypes, *moved]), found)


@pytest.mark.parametrize("name", PREDICTORS)
def test_values_turned_round_are_ranked_the_other_way(name: str, genotypes: list[Genotype]) -> None:
    """The twin: the order comes from the values, and not from what a predictor likes by itself, as size."""
    predictor = predictor_for(name, PredictorContext(config=CONFIG, seed=1))
    predictor.fit(genotypes[:SEEN], [-known(one) for one in genotypes[:SEEN]])
    assert pair_share(predictor.predict(genotypes[SEEN:]), [known(one) for one in genotypes[SEEN:]]) < 0.4


@pytest.mark.parametrize("name", PREDICTORS)
def test_it_says_what_it_lacks(name: str, genotypes: list[Genotype]) -> None:
    predictor = predictor_for(name, PredictorContext(config=CONFIG))
    with pytest.raises(InputError, match=f"predictor '{name}' must be fitted before it predicts"):
        predictor.predict(genotypes[:2])
    with pytest.raises(InputError, match="at least 3 different ones, but got 4 genotypes and 4 values, 1 of them"):
        predictor.fit(genotypes[:4], [0.5, 0.5, math.nan, 0.5])
    with pytest.raises(InputError, match="a value for each genotype"):
        predictor.fit(genotypes[:4], [0.1, 0.2, 0.3])


def test_a_failure_is_worse_than_the_worst(genotypes: list[Genotype]) -> None:
    found = targets(genotypes[:4], [1.0, math.nan, 2.0, 3.0])
    assert found.tolist()[1] == 1.0 - np.std([1.0, 2.0, 3.0])


def test_an_unknown_predictor_is_refused() -> None:
    with pytest.raises(InputError, match="Unknown predictor 'svm'; choose from pairwise, forest, graph"):
        predictor_for("svm", PredictorContext(config=CONFIG))


def test_the_loss_is_of_pairs() -> None:
    predicted, values = torch.tensor([2.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 1.0])
    pairs = [math.log(1 + math.exp(-2)), math.log(1 + math.exp(-1)), math.log(2)]  # (0, 1), (2, 1), and equals
    assert float(pairwise_loss(predicted, values)) == pytest.approx(2 * sum(pairs) / 6)
    assert float(pairwise_loss(-predicted, values)) > float(pairwise_loss(predicted, values))


def test_shares_of_pairs() -> None:
    assert pair_share([1, 2, 3], [10, 20, 30]) == 1.0
    assert pair_share([3, 2, 1], [10, 20, 30]) == 0.0
    assert pair_share([0, 0, 0], [10, 20, 20]) == 0.5
    assert math.isnan(pair_share([1, 2], [5, 5]))


def test_features_are_of_the_canonical_form_and_have_the_scores(genotypes: list[Genotype]) -> None:
    count = InContext(
        name="skips",
        kind=Kind(unit="edges", needs="nothing", of=lambda g, _: float(sum(e.primitive == SKIP for e in g.normal))),
        context=None,  # type: ignore[arg-type]
    )
    features = Features(context=PredictorContext(config=CONFIG, scores=(count,)))
    rows = features(genotypes[:5])
    assert rows[:, -1].tolist() == [sum(e.primitive == SKIP for e in one.normal) for one in genotypes[:5]]
    without = Features(context=PredictorContext(config=CONFIG))(genotypes[:5])
    assert np.array_equal(rows[:, :-1], without)
    assert (without[:, : 2 * 14 * 4].sum(1) == 16).all()  # edges of both cells
    moved = [Genotype("plain", renamings(one.normal)[-1], one.reduce) for one in genotypes[:5]]
    assert np.array_equal(features(moved), rows)


SKIP = "skip_connect"


def test_cells_of_layers_and_decays_are_features(genotypes: list[Genotype]) -> None:
    cells = tuple(one.normal for one in genotypes[1:4])
    whole = replace(genotypes[0], cells=cells, decays=((0.5, 0.75, 0.5, 0.5),) * 3)
    other = replace(whole, cells=(*cells[:2], genotypes[4].normal))
    slower = replace(whole, decays=((0.5, 0.875, 0.5, 0.5),) * 3)
    features = Features(context=PredictorContext(config=CONFIG))
    rows = features([whole, other, slower])
    assert len({row.tobytes() for row in rows}) == 3
    graphs = [np.concatenate([part.ravel() for part in network_graph(one, CONFIG)]) for one in (whole, other, slower)]
    assert len({graph.tobytes() for graph in graphs}) == 3


def test_minus_infinity_is_the_lowest_that_was_seen() -> None:
    scale = Scale.of(np.array([[1.0, 5.0], [-np.inf, 5.0], [3.0, 5.0]]))
    assert scale(np.array([[-np.inf, 5.0]])).tolist() == scale(np.array([[1.0, 5.0]])).tolist()
    assert scale(np.array([[1.0, 7.0]]))[0, 1] == 2.0  # a feature without deviation


def test_the_longest_path_counts_nodes() -> None:
    chain = [Edge(node, source, SKIP) for node in range(4) for source in (0, 1 + node)]
    flat = [Edge(node, source, SKIP) for node in range(4) for source in (0, 1)]
    assert (longest_path(chain), longest_path(flat)) == (4, 1)
