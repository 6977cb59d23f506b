"""The shared weights learn, go on after a break as if there had been none, and each part of the loss has its say."""

from pathlib import Path

import numpy as np
import pytest
import torch

from spikeport.search.data.datasets import Dataset
from spikeport.search.elastic.training import (
    new_weights,
    recalibrated_on,
    split_of,
    subnet,
    train_elastic,
    trained_weights,
)
from spikeport.search.elastic.weights import ElasticWeights
from spikeport.search.settings.run import SearchSettings, changed
from spikeport.search.space.genotype import Genotype
from spikeport.search.spaces.space import CodedSpace
from spikeport.search.training.checkpoint import Row
from spikeport.search.training.loop import evaluate
from spikeport.search.training.progress import ProgressEvent

pytestmark = pytest.mark.training
Space = CodedSpace[Genotype]


def same(one: ElasticWeights, other: ElasticWeights) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(mine, theirs) for mine, theirs in pairs)


def test_stopped_after_an_epoch(blobs: Dataset, settings: SearchSettings, space: Space, tmp_path: Path) -> None:
    rows = list[list[Row]]()
    whole = train_elastic(blobs, settings, space, tmp_path / "whole", record=rows.append)
    assert [row["epoch"] for row in rows[-1]] == [1, 2] and rows[-1][0]["stage"] == "supernet"

    def stop(event: ProgressEvent) -> None:
        if (event.stage, event.epoch) == ("supernet", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_elastic(blobs, settings, space, tmp_path / "broken", progress=stop)
    again = train_elastic(blobs, settings, space, tmp_path / "broken")
    assert same(whole, again)
    assert same(whole, trained_weights(tmp_path / "whole", new_weights(blobs, settings)))
    assert not same(whole, new_weights(blobs, settings))


def test_each_part_has_its_say(blobs: Dataset, settings: SearchSettings, space: Space, tmp_path: Path) -> None:
    short = changed(settings, elastic_epochs=1, elastic_shrinking=0.0)
    found = train_elastic(blobs, short, space, tmp_path / "usual")
    for number, change in enumerate(
        ({"elastic_teaching": 0.0}, {"elastic_paths": 0}, {"elastic_shrinking": 1.0}, {"elastic_learning_rate": 0.01})
    ):
        other = train_elastic(blobs, changed(short, **change), space, tmp_path / str(number))
        assert not same(found, other), change


def test_norms_are_counted_anew(blobs: Dataset, settings: SearchSettings, genotype: Genotype) -> None:
    learn, watch = split_of(blobs, settings)
    assert len(np.intersect1d(learn, watch)) == 0 and len(learn) + len(watch) == 48
    rows = recalibrated_on(learn, settings)
    assert len(rows) == 16 and set(rows) <= set(learn)
    network = subnet(new_weights(blobs, settings), genotype, blobs.train_images[rows])
    own = network.state_dict()
    norm = own["stem.norm.running_mean"]
    with torch.no_grad():
        current = network.stem.conv(torch.from_numpy(blobs.train_images[rows]))
    assert torch.allclose(norm, current.mean((0, 2, 3)), atol=1e-6) and not network.training
    assert evaluate(network, blobs.test_images, blobs.test_labels).loss > 0
