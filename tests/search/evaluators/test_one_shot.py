"""What a supernet says of a network is what is measured of the network that is cut out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from spikeport.errors import InputError
from spikeport.search.data.datasets import load_dataset
from spikeport.search.elastic.flatness import flatness
from spikeport.search.elastic.training import new_weights, split_of, subnet
from spikeport.search.evaluators.one_shot import OnChips, OneShotEvaluator
from spikeport.search.frame.processes import Processes
from spikeport.search.settings.run import SearchSettings, choose
from spikeport.search.space.genotype import Genotype
from spikeport.search.space.network import NetworkConfig, count_parameters, network_config
from spikeport.search.space.predict import predict
from spikeport.search.strategies.trained_cells import check_asking, check_measured, space_of
from spikeport.search.training.checkpoint import save_checkpoint
from spikeport.search.training.loop import evaluate

pytestmark = pytest.mark.training


def config_of(settings: SearchSettings) -> NetworkConfig:
    return network_config(settings.network, load_dataset(settings.data.dataset))


NAMES = ("accuracy", "flatness", "spikes")


@pytest.fixture
def settings(blobs_npz: str) -> SearchSettings:
    words = {"dataset": blobs_npz, "primitives": "plain", "channels": 2, "cells": 3, "elastic_recalibration": 16}
    return choose(strategy="evolution", evaluator="supernet", seed=3, **words)


@pytest.fixture
def checkpoint(settings: SearchSettings, tmp_path: Path) -> Path:
    weights = new_weights(load_dataset(settings.data.dataset), settings)
    save_checkpoint(tmp_path / "supernet.safetensors", weights, {}, [])
    return tmp_path / "supernet.safetensors"


@pytest.fixture
def genotype(settings: SearchSettings) -> Genotype:
    return space_of(settings, config_of(settings)).sample(np.random.default_rng(0))


def test_it_says_what_is_measured(settings: SearchSettings, checkpoint: Path, genotype: Genotype) -> None:
    evaluator = OneShotEvaluator(checkpoint=checkpoint, settings=settings, names=NAMES)
    with Processes(1) as pool:  # as a search sends it
        result = pool.submit(evaluator, genotype, 0, 0).result()
    dataset = load_dataset(settings.data.dataset)
    weights, (learn, watch) = new_weights(dataset, settings), split_of(dataset, settings)
    images, labels = dataset.train_images[watch], dataset.train_labels[watch]
    network = evaluator.subnet(genotype).network
    score = evaluate(network, images, labels)
    assert (result.objectives["accuracy"], result.objectives["spikes"]) == (score.accuracy, score.spikes)
    assert result.objectives["flatness"] == flatness(weights, network, images, labels, 3).flatness
    assert result.reported["parameters"] == count_parameters(network) and result.reported["sops"] > 0
    other = subnet(weights, genotype, dataset.train_images[learn[:4]])  # norms of other images: another network
    assert evaluate(other, images, labels) != score


def test_chips_are_asked_of_who_knows_them(settings: SearchSettings, checkpoint: Path, genotype: Genotype) -> None:
    silent = OneShotEvaluator(checkpoint=checkpoint, settings=settings, names=("cores",))
    assert "cores" not in silent.offers and "int4_loss_rise" not in silent.offers and "flatness" in silent.offers
    asked = []

    def in_integers(network, watched, bits):  # type: ignore[no-untyped-def]
        asked.extend(bits)
        return dict.fromkeys(bits, 2 * predict(network, watched.test_images).numpy())

    chips = OnChips(costs=lambda genotype, config, names: dict.fromkeys(names, 7.0), in_integers=in_integers)
    names = ("cores:loihi1", "int8_loss_rise", "int4_accuracy")
    evaluator = OneShotEvaluator(checkpoint=checkpoint, settings=settings, names=names, on_chips=chips)
    found, one = evaluator(genotype, 0, 0).objectives, evaluator.subnet(genotype)
    assert (found["cores:loihi1"], sorted(asked)) == (7.0, [4, 8])
    logits, labels = predict(one.network, one.images), torch.from_numpy(one.labels)
    rise = float(cross_entropy(2 * logits, labels)) - float(cross_entropy(logits, labels))
    assert found["int8_loss_rise"] == pytest.approx(rise, abs=1e-6)
    assert found["int4_accuracy"] == evaluate(one.network, one.images, one.labels).accuracy


def test_refused(settings: SearchSettings, checkpoint: Path) -> None:
    with pytest.raises(InputError, match="the evaluator supernet does not measure cores; choose from accuracy, flat"):
        asked = choose(strategy="evolution", evaluator="supernet", objectives="cores")
        check_measured(
            asked, config_of(asked), OneShotEvaluator(checkpoint=checkpoint, settings=asked, names=("cores",))
        )
    with pytest.raises(InputError, match="strategy halving asks for short trainings, but the evaluator supernet has"):
        asked = choose(strategy="halving", evaluator="supernet")
        check_measured(
            asked, config_of(asked), OneShotEvaluator(checkpoint=checkpoint, settings=asked, names=("accuracy",))
        )
    with pytest.raises(
        InputError, match="Weights are shared by networks of a normal and a reduction cell alone, but -"
    ):
        check_asking(choose(strategy="random", evaluator="supernet", level="both"))
    with pytest.raises(InputError, match="`elastic_epochs` belongs to the evaluator supernet, but the evaluator is tr"):
        choose(strategy="evolution", elastic_epochs=3)
    with pytest.raises(InputError, match="Shared weights are trained without prices, but spike_weight, sop_weight or"):
        choose(strategy="evolution", evaluator="supernet", sop_weight=0.1)
    with pytest.raises(InputError, match=r"`elastic_widths` must be shares in 0..1 with commas between, 1 among them"):
        choose(strategy="evolution", evaluator="supernet", elastic_widths="0.5,0.75")
    with pytest.raises(InputError, match=r"`elastic_teaching <= 1` must hold, but got elastic_teaching=2.0"):
        choose(strategy="evolution", evaluator="supernet", elastic_teaching=2.0)
    with pytest.raises(InputError, match="`evaluator` belongs to the strategy random or evolution"):
        choose(strategy="darts", evaluator="supernet")
