"""A finished run as a member: the form that answers, the proof of that form, what it costs and how many cores it takes.

Where a run is exported for loihi its answers are those of the chip's integers, encoder.onnx and twin.onnx; the membrane
of the readout, divided by its scale, is the logits. Else they are those of the float network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...errors import InputError, UnsupportedError
from ...export.folded import as_exported
from ...export.netx.writer import read_graph
from ...export.simulate import MANTISSA_SHIFT
from ...export.tuning.samples import samples_of
from ...files import read_json
from ...search.data.datasets import Dataset, Images, load_dataset
from ...search.runs import Run, open_run
from ...search.space.network import RunNetwork, count_parameters, load_network
from ...search.space.predict import predict
from ..batches import at_once, batches
from ..cost.energy_json import Mapped
from ..cost.profiles import Profile
from ..mapping.capacity import Chip
from ..measure import BYTES_OF_MEASURED, Tell, entering, mapped_on, measure_run, measuring, neuron_steps
from ..report.verdict import Verdict, verdict
from ..run.forms import TwinRunner
from .uncertainty import Values, probabilities

Form = Literal["chip", "float"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """proof: None where there is none, and no_proof says why. energy: what energy.json holds, None without an export
    for a chip. mapped: on the chip that was asked for; likewise. learnt_apart: rows of the train split that it has not
    learnt from; None: nobody knows, for it was imported."""

    name: str
    run: Run
    network: RunNetwork
    form: Form
    proof: Verdict | None
    no_proof: str
    energy: Mapping[str, Any] | None
    mapped: Mapped | None
    learnt_apart: frozenset[int] | None

    @property
    def parameters(self) -> int:
        return count_parameters(self.network)

    def answers(self, images: Images, tell: Tell) -> Values:
        """Probabilities [N, K] of images or frames."""
        if self.form == "float":
            return probabilities(predict(self.network, images).numpy())
        folder = self.run.export_folder("loihi")
        graph, unit = read_graph(folder / "network.net"), self._unit()
        runner = measuring(TwinRunner(folder / "twin.onnx", graph), len(images))
        enter, found = entering(as_exported(self.run, self.network), folder), []
        for some in batches(len(images), at_once(neuron_steps(graph), BYTES_OF_MEASURED), tell):
            record, _ = runner.run(enter(images[some]))
            found.append(np.asarray(record.readout, np.float64).reshape(len(record.readout), -1) / unit)
        return probabilities(np.concatenate(found))

    def _unit(self) -> float:
        """Of the readout's membrane, for one logit."""
        path = self.run.export_folder("loihi") / "manifest.json"
        try:
            scales = read_json(path)["integers"]["scales"]
            return float(scales[max(scales, key=int)]["scale"]) * (1 << MANTISSA_SHIFT)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"'{path}' does not say the scale of its readout; export the run again.") from error


def members_of(
    runs: Sequence[Run], chip: Chip, profiles: Sequence[Profile], tell: Tell
) -> tuple[list[Member], Dataset]:
    """The members, and the images that all of them were trained on.

    Raises InputError for a run that is not finished, one that is named twice, and where two have other images.
    """
    paths = [run.path.resolve() for run in runs]
    twice = {str(run.path) for run, path in zip(runs, paths, strict=True) if paths.count(path) > 1}
    if twice:
        raise InputError(f"A run is one member, but {', '.join(sorted(twice))} is named twice; name it once.")
    networks = [load_network(run) for run in runs]
    names = [path.name for path in paths]
    shown = [n if names.count(n) == 1 else str(run.path) for n, run in zip(names, runs, strict=True)]
    dataset = _dataset(runs, networks)
    found = []
    for name, run, network in zip(shown, runs, networks, strict=True):
        tell(f"opening {name}")
        found.append(_member(name, run, network, dataset, chip, profiles, tell))
    return found, dataset


def candidates_of(runs: Sequence[Run]) -> list[Run]:
    """The finished candidates inside each run. Raises InputError for one that has none."""
    found = []
    for run in runs:
        inside = [open_run(path.parent) for path in sorted(run.path.glob("candidates/*/manifest.json"))]
        finished = [one for one in inside if one.metrics.is_file()]
        if not finished:
            raise InputError(
                f"The run '{run.path}' has no finished candidates, which --strategy random and others leave; of trials "
                "only their scores are kept, no weights, so they cannot be members."
            )
        found += finished
    return found


def _dataset(runs: Sequence[Run], networks: Sequence[RunNetwork]) -> Dataset:
    images = [read_json(run.manifest).get("dataset") or {} for run in runs]
    for run, one in zip(runs, images, strict=True):
        if any(one.get(key) != images[0].get(key) for key in ("name", "sha256")):
            raise InputError(
                f"Members must be trained on the same images, but '{runs[0].path}' is of {_named(images[0])} and "
                f"'{run.path}' of {_named(one)}; name runs of one data set."
            )
    steps = {network.config.time_steps for network in networks}
    dataset = load_dataset(networks[0].config.dataset, time_steps=networks[0].config.time_steps)
    if dataset.frames is not None and len(steps) > 1:
        raise InputError(f"Members that read events must have as many time steps, but they have {sorted(steps)}.")
    if not dataset.labelled:
        raise InputError(f"An ensemble is judged by labels, which '{dataset.name}' does not have.")
    return dataset


def _named(images: Mapping[str, Any]) -> str:
    return f"'{images.get('name')}' ({str(images.get('sha256'))[:8]})"


def _member(
    name: str, run: Run, network: RunNetwork, dataset: Dataset, chip: Chip, profiles: Sequence[Profile], tell: Tell
) -> Member:
    folder = run.export_folder("loihi")
    on_chip = folder.is_dir()
    proof, why = _proof(run, on_chip)
    imported = "import" in read_json(run.manifest).get("settings", {})
    energy = None
    if on_chip and proof is not None and run.energy.is_file():
        energy = read_json(run.energy)
    elif on_chip:
        tell(f"{name} was not deployed: measuring it on the test split")
        energy = measure_run(run, profiles, tell)
    return Member(
        name=name,
        run=run,
        network=network,
        form="chip" if on_chip else "float",
        proof=proof,
        no_proof=why,
        energy=energy,
        mapped=_mapped(run, chip) if on_chip else None,
        learnt_apart=None if imported else frozenset(samples_of(run, dataset).watch.tolist()),
    )


def _mapped(run: Run, chip: Chip) -> Mapped:
    try:
        return mapped_on(read_graph(run.export_folder("loihi") / "network.net"), chip)
    except UnsupportedError as error:
        return Mapped(chip=chip, fits=False, chips=1, reason=str(error))


def _proof(run: Run, on_chip: bool) -> tuple[Verdict | None, str]:
    """(what its deploy found, why there is nothing)."""
    if not run.equivalence.is_file():
        return None, f"no proof: it was not deployed; run `spikeport deploy {run.path}`"
    manifest = run.export_folder("loihi") / "manifest.json"
    if on_chip and manifest.is_file() and manifest.stat().st_mtime_ns > run.equivalence.stat().st_mtime_ns:
        return None, f"no proof: it was exported again after its deploy; run `spikeport deploy {run.path}`"
    found = read_json(run.equivalence)
    try:
        return verdict(found["verdict"], found["checks"]), ""
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"'{run.equivalence}' must have verdict and checks; run `spikeport deploy` again.") from error
