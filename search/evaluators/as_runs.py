"""Trained for real: every candidate is a run of its own, which can be exported and proved like any other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...files import read_json, write_text
from ..data.datasets import load_dataset
from ..frame.protocol import Result
from ..random_streams import generator
from ..runs import Run
from ..settings.run import SearchSettings, changed
from ..space.genotype import Genotype, to_json
from ..space.network import load_network
from ..spaces.canonical import key_of
from ..training.history import read_history
from .introspectability import introspectability

# (settings, folder, file of the genotype) -> the run, finished; one that was killed goes on
Train = Callable[[SearchSettings, Path, Path], Run]
# (run, names of objectives) -> what they are on a chip, on validation images
OnChip = Callable[[Run, tuple[str, ...]], Mapping[str, float]]

NUMBERS: Mapping[str, str] = {  # kind of objective -> number in metrics.json
    "sops": "sops_per_inference",
    "spikes": "spikes_per_inference",
    "parameters": "parameters",
}
INTROSPECTABILITY = "introspectability"
ON_CHIP = (
    "neurons",
    "synapses",
    "cores",
    "levels",
    "relays",
    "energy_j",
    "latency_s",
    "int8_accuracy",
    "int4_accuracy",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvaluator:
    """folder: of the candidates, each under its key. settings: of the training. names: of the objectives.

    A short budget is a training of so many epochs from scratch. Spikes and operations are those of the test images,
    as in every run; accuracy is that of the validation images after the last epoch.
    """

    folder: Path
    settings: SearchSettings
    names: tuple[str, ...]
    train: Train
    on_chip: OnChip | None = None
    name: str = "train"

    @property
    def offers(self) -> frozenset[str]:
        return frozenset({"accuracy", INTROSPECTABILITY, *NUMBERS, *(ON_CHIP if self.on_chip else ())})

    @property
    def epochs(self) -> int:
        return self.settings.training.train_epochs

    def run_of(self, candidate: Genotype, budget: int = 0) -> Run:
        """Where a candidate is trained; it may not be there yet."""
        short = f"-{budget}-epochs" if 0 < budget < self.epochs else ""
        return Run(self.folder / f"{key_of(candidate)}{short}")

    def _introspectability(self, run: Run) -> float:
        """On the images that the training is watched with."""
        steps = self.settings.network.time_steps
        dataset = load_dataset(self.settings.data.dataset, self.settings.data.data_folder, time_steps=steps)
        order = generator(self.settings.seed, "validation").permutation(len(dataset.train_images))
        held_out = max(1, round(self.settings.training.validation_fraction * len(order)))  # as from_scratch.py has it
        images = dataset.train_images[np.sort(order[:held_out])]
        return introspectability(load_network(run), images, dataset.classes)

    def __call__(self, candidate: Genotype, budget: int, seed: int) -> Result:
        """The seed is that of the settings. Raises InputError where the training diverges."""
        run = self.run_of(candidate, budget)
        file = run.path.with_name(f"{run.path.name}.json")
        write_text(file, to_json(candidate))
        run = self.train(changed(self.settings, train_epochs=budget or self.epochs), run.path, file)
        metrics, curve = read_json(run.metrics), [row["validation"]["accuracy"] for row in read_history(run)]
        found = {"accuracy": float(curve[-1])} | {name: float(metrics[key]) for name, key in NUMBERS.items()}
        wanted = tuple(name for name in self.names if name.partition(":")[0] in ON_CHIP)
        if wanted and self.on_chip is not None:
            found |= self.on_chip(run, wanted)
        if INTROSPECTABILITY in self.names:
            found[INTROSPECTABILITY] = self._introspectability(run)
        return Result(
            objectives={name: found[name] for name in self.names},
            curve=tuple(curve),
            reported={"test_accuracy": float(metrics["test_accuracy"])},
        )
