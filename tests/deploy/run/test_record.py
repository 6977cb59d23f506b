"""Where two records part: counted in full, and of each sample the place where it begins."""

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeport.deploy.run.record import Difference, Record, compared, differing, first_differences
from spikeport.errors import InputError

T, N = 3, 4  # steps, samples


def record(**margins: NDArray[np.float32]) -> Record:
    """No spikes in `stem` [2, 2, 2] and `n1` [5]."""
    spikes = {"stem": np.zeros((T, N, 2, 2, 2), np.uint8), "n1": np.zeros((T, N, 5), np.uint8)}
    return Record(spikes=spikes, readout=np.zeros((N, 3)), margins=margins)


def fired(*places: tuple[str, tuple[int, ...]]) -> Record:
    """The same, with these spikes: population, (step, sample, *neuron)."""
    result = record()
    for name, place in places:
        result.spikes[name][place] = 1  # type: ignore[index]
    return result


def test_equal_records_differ_nowhere() -> None:
    assert differing(record(), record()) == 0
    assert first_differences(record(), record()) == []


def test_every_difference_counts_in_both_directions() -> None:
    reference = fired(("stem", (0, 0, 1, 0, 1)), ("n1", (2, 3, 4)), ("n1", (2, 3, 3)))
    candidate = fired(("n1", (2, 3, 3)), ("n1", (2, 3, 0)))
    assert differing(reference, candidate) == differing(candidate, reference) == 3


def test_a_sample_parts_in_its_first_population_and_there_in_its_first_step() -> None:
    margins = {"stem": np.arange(T * N * 8, dtype=np.float32).reshape(T, N, 2, 2, 2)}
    candidate = fired(
        ("n1", (0, 1, 2)),  # earlier than the stem's, but behind it: a consequence or a cause of its own, not the first
        ("stem", (2, 1, 1, 1, 0)),
        ("stem", (1, 1, 0, 1, 1)),
        ("stem", (1, 1, 1, 0, 0)),
        ("n1", (2, 3, 4)),
        ("n1", (1, 3, 0)),
    )
    found = first_differences(record(**margins), candidate)
    assert found == [
        Difference(population="stem", sample=1, step=1, neuron=(0, 1, 1), margin=32 + 8 + 3),
        Difference(population="stem", sample=1, step=1, neuron=(1, 0, 0), margin=32 + 8 + 4),
        Difference(population="n1", sample=3, step=1, neuron=(0,), margin=None),
    ]


def test_what_only_the_candidate_has_is_not_compared() -> None:
    candidate = record()
    candidate.spikes["stem.relay1"] = np.ones((T, N, 2), np.uint8)  # type: ignore[index]
    assert compared(record(), candidate) == ("stem", "n1")
    assert differing(record(), candidate) == 0


def test_what_the_candidate_lacks_is_an_error() -> None:
    candidate = record()
    del candidate.spikes["n1"]  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="no population 'n1'; export"):
        differing(record(), candidate)


def test_another_shape_is_an_error() -> None:
    candidate = record()
    candidate.spikes["n1"] = np.zeros((T, N, 6), np.uint8)  # type: ignore[index]
    with pytest.raises(
        InputError, match=r"'n1' must have the spikes \(3, 4, 5\), but the exported file gives \(3, 4, 6\)"
    ):
        first_differences(record(), candidate)


def test_predictions_are_the_largest_logits() -> None:
    readout = np.array([[1, 3, 2], [-5, -7, -6]])
    assert Record(spikes={}, readout=readout, margins={}).predictions.tolist() == [1, 0]
