"""A transformer searched, trained and tested into a run folder, which loads, and is exported as any other."""

from pathlib import Path

import numpy as np
import pytest

from spikeport.commands.transformers import shown
from spikeport.errors import InputError
from spikeport.export.targets import export
from spikeport.files import read_json
from spikeport.search.data.datasets import load_dataset
from spikeport.search.runs import open_run
from spikeport.search.settings.data import DataSettings
from spikeport.search.settings.training import TrainingSettings
from spikeport.search.space.network import load_network
from spikeport.search.space.predict import predict
from spikeport.search.space.transformer.genotype import Block, Transformer, from_file, to_json
from spikeport.search.space.transformer.network import SpikingTransformer
from spikeport.search.space.transformer.settings import TransformerSettings
from spikeport.search.training.history import read_history
from spikeport.search.transformers import Found, search_transformer

pytestmark = pytest.mark.training

SPACE = TransformerSettings(widths="4", depths="1", ratios="1,2", attentions="tokens", population=4, rounds=2)
TRAINING = TrainingSettings(train_epochs=2, batch_size=12, train_learning_rate=0.1)


@pytest.fixture(scope="module")
def found(blobs_npz: str, tmp_path_factory: pytest.TempPathFactory) -> Found:
    out = tmp_path_factory.mktemp("runs") / "transformer"
    return search_transformer(out, SPACE, TRAINING, DataSettings(dataset=blobs_npz), seed=3)


def test_the_run_holds_what_was_found_and_trained(found: Found, blobs_npz: str) -> None:
    run = open_run(found.run.path)
    assert found.genotype.blocks[0].ratio == 2  # the largest of those allowed
    assert from_file(run.path / "search" / "transformer.json") == found.genotype
    assert [row["epoch"] for row in read_history(run)] == [1, 2]
    network = load_network(run)
    assert isinstance(network, SpikingTransformer) and network.genotype == found.genotype and not network.training
    dataset = load_dataset(blobs_npz, time_steps=2)
    answers = predict(network, dataset.test_images).argmax(1).numpy()
    assert float((answers == dataset.test_labels).mean()) == read_json(run.metrics)["test_accuracy"]


def test_what_a_person_sees(found: Found) -> None:
    data, (table, said) = shown(found)
    assert said == f"next: spikeport export {found.run.path}" and data["scored"] == found.scored > 0
    cells = [str(cell) for column in table.columns for cell in column.cells]
    assert any(cell.endswith("heads over tokens, MLP 2 x 4") for cell in cells)
    assert f"{found.score:,.0f}, the best of {found.scored} that were scored" in cells


def test_exported_for_the_chip(found: Found) -> None:
    (folder,) = export(found.run, "loihi", lambda sentence: None)
    assert {path.name for path in folder.iterdir()} == {"network.net", "encoder.onnx", "twin.onnx", "manifest.json"}


def test_one_that_is_given_and_the_same_weights_again(found: Found, blobs_npz: str, tmp_path: Path) -> None:
    data = DataSettings(dataset=blobs_npz)
    again = search_transformer(tmp_path / "again", SPACE, TRAINING, data, seed=3, given=found.genotype)
    assert again.scored == 0 and again.score is None
    ours, theirs = (load_network(one.run).state_dict() for one in (found, again))
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_what_is_refused(found: Found, blobs_npz: str, tmp_path: Path) -> None:
    data = DataSettings(dataset=blobs_npz)
    with pytest.raises(InputError, match=r"A new run needs a folder of its own"):
        search_transformer(found.run.path, SPACE, TRAINING, data)
    teacher = TrainingSettings(teacher_epochs=1)
    with pytest.raises(InputError, match="`teacher_epochs` needs a network of cells, and this is a transformer; leave"):
        search_transformer(tmp_path / "out", SPACE, teacher, data)
    path = tmp_path / "given.json"
    path.write_text(to_json(Transformer(width=4, blocks=(Block(attention="tokens", heads=2, ratio=1),)))[:-9])
    with pytest.raises(InputError, match=r"given.json': A transformer must be JSON"):
        from_file(path)
    assert not (tmp_path / "out").exists()
