"""One number that is another one: it is no rule, and the doctor says which number it may be."""

import json
from dataclasses import replace

import numpy as np
import pytest

from spikeport.deploy.diagnosis.diagnose import diagnose
from spikeport.export.graph import SpikingGraph

from .small_torch import weights_of


@pytest.mark.parametrize("arithmetic", ["float", "loihi"])
def test_one_changed_weight_is_no_rule(
    graph: SpikingGraph, chip: SpikingGraph, spikes: np.ndarray, arithmetic: str
) -> None:
    right = graph if arithmetic == "float" else chip
    value = next(p for p in right.projections if p.target == "second").kernel.weight[2, 1, 0, 2]
    by = 0.9 if arithmetic == "float" else 30.0

    def changed(weight: np.ndarray) -> np.ndarray:
        weight = weight.copy()
        weight[2, 1, 0, 2] += by
        return weight

    found = diagnose(right, weights_of(right, "second", changed), spikes)
    json.dumps(found.to_dict(), allow_nan=False)
    assert (found.verdict, found.causes) == ("different", ())
    (left,) = found.unexplained
    assert (left.population, left.rows, left.of_rows) == ("second", (2,), 4)
    suspects = {s.index: s for s in left.suspects if s.kind == "weight"}
    assert (2, 1, 0, 2) in suspects
    here = suspects[2, 1, 0, 2]
    assert here.reference == value and here.low - 1e-3 <= value + by <= here.high + 1e-3
    assert found.tried[0].differing > 0  # nothing explains it


@pytest.mark.parametrize("arithmetic", ["float", "loihi"])
def test_one_changed_bias_and_one_threshold(
    graph: SpikingGraph, chip: SpikingGraph, spikes: np.ndarray, arithmetic: str
) -> None:
    right = graph if arithmetic == "float" else chip
    second = next(p for p in right.populations if p.name == "second")
    by = 0.25 if arithmetic == "float" else 9.0
    bias = second.bias.copy()
    bias[1] += by
    for kind, other in (
        ("bias", replace(second, bias=bias)),
        ("threshold", replace(second, threshold=second.threshold + by)),
    ):
        wrong = replace(right, populations=tuple(other if p.name == "second" else p for p in right.populations))
        (left,) = diagnose(right, wrong, spikes).unexplained
        suspect = next(s for s in left.suspects if s.kind == kind)
        there = suspect.reference + by
        assert suspect.low - 1e-3 <= there <= suspect.high + 1e-3
