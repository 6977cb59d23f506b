"""The search keeps within its window, is the same every time, and any strategy of the frame runs it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.search.space.transformer.cost import parameters, reference_sops
from spikeport.search.space.transformer.network import TransformerConfig
from spikeport.search.space.transformer.settings import TransformerSettings
from spikeport.search.spaces.transformers import TransformerSpace
from spikeport.search.transformers import find_transformer

CONFIG = TransformerConfig(time_steps=2, classes=10, input_shape=(1, 8, 8))
SETTINGS = TransformerSettings(population=8, rounds=3, widths="4,6,8", most_parameters=1500)


def test_the_best_within_the_window_and_the_same_every_time() -> None:
    best, scored = find_transformer(SETTINGS, CONFIG, 1)
    assert (best, scored) == find_transformer(SETTINGS, CONFIG, 1) and best.parameters <= 1500 and scored > 8
    assert best.score == reference_sops(best.genotype, CONFIG)
    assert best.parameters == parameters(best.genotype, CONFIG)
    rng = np.random.default_rng(2)
    drawn = [TransformerSpace(SETTINGS).sample(rng) for _ in range(8)]
    assert best.score >= max(reference_sops(one, CONFIG) for one in drawn if parameters(one, CONFIG) <= 1500)


def test_a_seed_finds_what_it_found_before_the_loop_was_the_frame() -> None:
    best, scored = find_transformer(SETTINGS, CONFIG, 0)
    assert (best.score, best.parameters, scored) == (pytest.approx(16146.24), 1492, 26)


@pytest.mark.parametrize("name", ["random", "evolution", "local", "nsga2", "bayes", "motifs", "shade", "populations"])
def test_any_strategy(name: Any) -> None:
    best, scored = find_transformer(replace(SETTINGS, strategy=name, evaluations=12), CONFIG, 1)
    assert best.parameters <= 1500 and 0 < scored <= 12


def test_several_objectives() -> None:
    front = replace(SETTINGS, strategy="nsga2", evaluations=12, objectives="parameters,score")
    best, _ = find_transformer(front, CONFIG, 1)
    most, _ = find_transformer(replace(front, objectives="score"), CONFIG, 1)
    assert best.parameters < most.parameters
    with pytest.raises(InputError, match="the strategy generations takes one objective, but there are 2"):
        find_transformer(replace(SETTINGS, objectives="score,parameters"), CONFIG, 1)
    with pytest.raises(InputError, match="the evaluator transformer score does not measure accuracy; choose from par"):
        find_transformer(replace(SETTINGS, objectives="accuracy"), CONFIG, 1)


def test_a_window_that_nothing_is_in() -> None:
    nothing = replace(SETTINGS, least_parameters=1, most_parameters=2, population=4, rounds=1)
    with pytest.raises(InputError, match=r"No transformer of these choices was met that has 1 to 2 parameters, of \d+"):
        find_transformer(nothing, CONFIG, 0)
