"""Two processes on one CPU, started by torchrun, against one process."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from spikeport.errors import InputError
from spikeport.files import read_json
from spikeport.search.data.datasets import load_dataset
from spikeport.search.machine import processes
from spikeport.search.pipeline import read_history, run_search
from spikeport.search.runs import Run, choose_folder
from spikeport.search.settings.file import recorded_settings
from spikeport.search.settings.run import SearchSettings, by_option, changed
from spikeport.search.settings.supernet import SupernetForm
from spikeport.search.space.genotype import random_genotype, to_json
from spikeport.search.strategies.darts.search import SUPERNETS, search
from spikeport.search.tensors import load_tensors

pytestmark = pytest.mark.training

# Sums over a batch are added in another order, which changes a current in its last digits; so long as no membrane is
# within that of the threshold, no spike changes. After 8 steps of SGD on the blobs the weights differ by this much.
TOLERANCE = 1e-5
ALPHA_TOLERANCE = 1e-4  # Adam divides by the size of a gradient, so that small differences weigh more


# A training by the command line; and before its two processes part, which take seconds to start, a search with each
# form of supernet in them, and a training with batch norms of a share of the batch only.
PROGRAM = """
import json, sys
from contextlib import nullcontext
from pathlib import Path
from torch import distributed
from spikeport import cli
from spikeport.search.data.datasets import load_dataset
from spikeport.search.evaluators import from_scratch
from spikeport.search.settings.run import settings_from_dict
from spikeport.search.strategies.darts.search import search

searches, training, own_norms = json.loads(sys.argv[1])
part = distributed.destroy_process_group

def others():
    distributed.destroy_process_group = part
    for checkpoint, data in searches.items():
        settings = settings_from_dict(data)
        search(load_dataset(settings.data.dataset), settings, Path(checkpoint))
    from_scratch.whole_batch_norms = lambda network: nullcontext()
    sys.argv[1:] = own_norms
    cli.cli(standalone_mode=False)
    part()

distributed.destroy_process_group = others
sys.argv[1:] = training
cli.main()
"""


GIVEN = (
    "dataset",
    "primitives",
    "channels",
    "cells",
    "seed",
    "batch_size",
    "train_epochs",
    "train_learning_rate",
    "shift",
    "auxiliary_weight",
    "average_decay",
    "teacher_epochs",
)


@pytest.fixture(scope="module")
def alone(tiny: SearchSettings, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A training in this process. 43 images in batches of 12: shares of 6, at the end of an epoch of 4 and 3."""
    folder = tmp_path_factory.mktemp("alone")
    genotype = folder / "genotype.json"
    genotype.write_text(to_json(random_genotype(np.random.default_rng(0), "plain")))
    settings = changed(tiny, auxiliary_weight=0.4, average_decay=0.8, teacher_epochs=1)
    return run_search(settings, folder / "run", genotype=genotype)


@dataclass(frozen=True)
class Together:
    """What two processes made of it: the runs of two trainings, checkpoints of the searches, what they printed."""

    trained: Run
    own_norms: Run
    searched: dict[SupernetForm, Path]
    said: str


@pytest.fixture(scope="module")
def together(tiny: SearchSettings, alone: Run, tmp_path_factory: pytest.TempPathFactory) -> Together:
    folder = tmp_path_factory.mktemp("two")
    program = folder / "program.py"
    program.write_text(PROGRAM)
    settings = recorded_settings(alone)
    options = [f"--{name.replace('_', '-')}={by_option(settings)[name]}" for name in GIVEN]
    options.append(f"--genotype={alone.path.parent / 'genotype.json'}")
    searched = {form: folder / f"{form}.safetensors" for form in SUPERNETS}
    work = (
        {str(file): of_form(tiny, form).to_dict() for form, file in searched.items()},
        ["search", "--out", str(folder / "trained"), "--json", *options],
        ["search", "--out", str(folder / "own_norms"), "--quiet", *options],
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run(
        [*torchrun, str(program), json.dumps(work)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    return Together(Run(folder / "trained"), Run(folder / "own_norms"), searched, ended.stdout)


def test_two_processes_train_as_one(alone: Run, together: Together) -> None:
    trained = together.trained
    assert together.said.count('"run"') == 1  # one of the two speaks
    assert read_json(trained.manifest)["processes"] == 2
    assert difference(alone, trained) <= TOLERANCE
    for row, other in zip(read_history(alone), read_history(trained), strict=True):
        for split in ("train", "validation"):
            assert row[split]["spikes_per_cell"] == other[split]["spikes_per_cell"]
            assert row[split]["accuracy"] == other[split]["accuracy"]
            assert row[split]["loss"] == pytest.approx(other[split]["loss"], rel=1e-5)
    assert read_json(trained.metrics) == read_json(alone.metrics)
    assert not list(trained.path.rglob("checkpoint*"))


def test_without_norms_of_the_whole_batch_the_weights_differ(alone: Run, together: Together) -> None:
    """The twin of the test above: what it must notice."""
    assert difference(alone, together.own_norms) > 100 * TOLERANCE


def difference(one: Run, other: Run) -> float:
    """The largest between the weights of two runs."""
    (expected, _), (found, _) = load_tensors(one.weights), load_tensors(other.weights)
    return max((found[name] - tensor).abs().max().item() for name, tensor in expected.items())


def of_form(tiny: SearchSettings, form: SupernetForm) -> SearchSettings:
    return changed(tiny, supernet=form, search_precision="float32")


@pytest.mark.parametrize("form", SUPERNETS)
def test_two_processes_search_as_one(
    tiny: SearchSettings, tmp_path: Path, form: SupernetForm, together: Together
) -> None:
    """The architecture weights after two epochs, of 24 images each in batches of 12."""
    settings = of_form(tiny, form)
    search(load_dataset(settings.data.dataset), settings, tmp_path / "one.safetensors")
    (expected, _), (found, _) = (load_tensors(file) for file in (tmp_path / "one.safetensors", together.searched[form]))
    alphas = [name for name in expected if name.startswith("network.alphas.")]
    assert len(alphas) == 2
    for name in alphas:
        assert expected[name].abs().max() > 0.1  # they have moved: 1e-3 at the start
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=ALPHA_TOLERANCE)


def test_processes_that_would_choose_their_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert not processes.is_first() and processes.launched() == 2
    assert choose_folder(Path("runs/x"), resume=False) == Path("runs/x")
    with pytest.raises(InputError, match="name it with --out"):
        choose_folder(None, resume=False)


@pytest.mark.parametrize(("start", "stop", "sizes"), [(0, 12, [4, 4, 4]), (3, 10, [2, 2, 3]), (5, 7, [0, 1, 1])])
def test_shares_are_consecutive_and_complete(
    monkeypatch: pytest.MonkeyPatch, start: int, stop: int, sizes: list[int]
) -> None:
    monkeypatch.setattr(processes, "world", lambda: 3)
    found: list[int] = []
    for rank, size in enumerate(sizes):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        part = list(range(100))[processes.share(start, stop)]
        assert len(part) == size
        found += part
    assert found == list(range(start, stop))


def test_one_process_needs_nothing() -> None:
    layer = torch.nn.Linear(1, 1)
    assert processes.averaged(layer, list(layer.parameters())) is layer
    assert processes.totals([1.5, 2], torch.device("cpu")) == [1.5, 2]
    assert processes.share_weight(7) == 1
    assert (processes.rank(), processes.world(), processes.launched(), processes.is_first()) == (0, 1, 1, True)
