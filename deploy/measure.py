"""What a network does on real spikes, and what that moves on every chip: of the twin, or of any NetX file."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UnsupportedError
from ..export.folded import as_exported
from ..export.graph import SpikingGraph, neurons
from ..export.netx.file import read_layers
from ..export.netx.reader import read_netx
from ..export.netx.writer import read_graph
from ..export.simulate import simulate
from ..export.targets import encoder_macs as macs_of_encoder
from ..search.data.datasets import Dataset, Images, load_dataset
from ..search.runs import Run
from ..search.space.network import RunNetwork, load_network
from .batches import at_once, batches
from .cost.activity import ActivityRecorder
from .cost.counts import Activity, Counter, Counts
from .cost.energy_json import Mapped, energy_json
from .cost.prices import price_lists
from .cost.profiles import Profile
from .cost.traffic import TrafficCounter
from .mapping.capacity import Chip, find_chip
from .mapping.core_mapping import RULES, map_graph
from .mapping.fit.verdict import fit
from .run.forms import CompiledRunner, EncoderRunner, TwinRunner
from .run.netx import check_layout
from .run.record import Spikes
from .run.stream import let_go
from .settings import PriceSettings

CHUNK_BYTES = 2**28  # of one batch of a NetX file
BYTES_PER_NEURON_STEP = 32  # a spike, a mark, and membranes while they are stacked

Tell = Callable[[str], None]
Enter = Callable[[Images], Spikes]  # images of a batch -> [T, N, *shape]


def _silent(sentence: str) -> None:
    """Tells nobody."""


Activities = Mapping[str, Activity]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """predictions [T, samples]: the class after each step. activity: what activity.json holds."""

    predictions: NDArray[np.int64]
    counts: Counts
    mapped: Mapping[str, Mapped]
    activity: dict[str, Any]

    def accuracy(self, labels: NDArray[np.int64]) -> list[float]:
        """[T] of the answer after each step."""
        return [float(right) for right in (self.predictions == labels).mean(1)]


class Meter:
    """Counts, records and maps batch by batch. on_chip_inputs: inputs whose neurons are on the chip."""

    def __init__(
        self,
        graph: SpikingGraph,
        profiles: Sequence[Profile],
        *,
        on_chip_inputs: frozenset[str] = frozenset(),
        zeros: bool = False,
    ) -> None:
        self.counter = Counter(graph, on_chip_inputs=on_chip_inputs, zeros=zeros)
        self.recorder = ActivityRecorder(graph)
        self.answers: list[NDArray[np.int64]] = []  # [T, N] of each batch, where somebody keeps them
        chips = [name for name in dict.fromkeys(profile.chip for profile in profiles) if name]
        self.unmoved = {name: mapped_on(graph, find_chip(name), on_chip_inputs) for name in chips}
        self.traffic = {
            name: TrafficCounter(graph, one.mapping, zeros=zeros)
            for name, one in self.unmoved.items()
            if one.mapping is not None
        }

    def add(self, activity: Activities) -> None:
        """Raises InputError where the batch is not one of this graph."""
        self.counter.add(activity)
        self.recorder.add(activity)
        for moved in self.traffic.values():
            moved.add(activity)

    def mapped(self) -> dict[str, Mapped]:
        """Name of a chip -> the network on it, with what all batches so far moved."""
        return {
            name: replace(one, traffic=self.traffic[name].traffic() if name in self.traffic else None)
            for name, one in self.unmoved.items()
        }


COMPILED_NEURON_STEPS = 2**32  # of all samples: above, compiling takes less time than it saves
BYTES_OF_MEASURED = (
    16  # that a neuron leaves behind in a step: a spike, a mark, and both again as float64 of a population
)


def measuring(twin: TwinRunner, samples: int) -> TwinRunner | CompiledRunner:
    """What measures so many samples: the twin, or, where there is much to do, the same integers compiled."""
    if samples * neuron_steps(twin.graph) <= COMPILED_NEURON_STEPS:
        return twin
    try:
        return CompiledRunner(twin.graph)
    except UnsupportedError:  # sums beyond 32 bits
        return twin


def neuron_steps(graph: SpikingGraph) -> int:
    """Of one sample."""
    return graph.time_steps * sum(map(neurons, graph.shapes().values()))


def measure(
    runner: TwinRunner | CompiledRunner,
    enter: Enter,
    images: Images,
    profiles: Sequence[Profile],
    tell: Tell = _silent,
    *,
    zeros: bool = False,
) -> Measured:
    """On any number of images. zeros: weights of zero count as synapses."""
    meter, predictions = Meter(runner.graph, profiles, zeros=zeros), []
    for some in batches(len(images), at_once(neuron_steps(runner.graph), BYTES_OF_MEASURED), tell):
        record, activity = runner.run(enter(images[some]))
        assert record.readout_steps is not None  # a twin shows every step
        predictions.append(record.readout_steps.argmax(2))
        meter.add(activity)
        del record, activity  # the next batch takes their place
    return Measured(
        predictions=np.concatenate(predictions, axis=1),
        counts=meter.counter.counts(),
        mapped=meter.mapped(),
        activity=meter.recorder.as_json(),
    )


def priced(
    measured: Measured,
    graph: SpikingGraph,
    profiles: Sequence[Profile],
    network: RunNetwork,
    dataset: Dataset,
    *,
    zeros: bool = False,
) -> dict[str, Any]:
    """What `energy.json` holds of a trained network that was measured on the test split of its data."""
    return energy_json(
        graph=graph,
        counts=measured.counts,
        profiles=profiles,
        mapped=measured.mapped,
        encoder_macs=macs_of_encoder(network),
        accuracy=measured.accuracy(dataset.test_labels) if dataset.labelled else None,
        zeros=zeros,
    )


def measure_run(run: Run, profiles: Sequence[Profile], tell: Tell = _silent, *, zeros: bool = False) -> dict[str, Any]:
    """What `energy.json` holds, of a run that was exported for a chip, on its test split; nothing is written.

    Raises InputError for a run without a network or without that export.
    """
    folder = run.export_folder("loihi")
    if not folder.is_dir():
        raise InputError(
            f"The run '{run.path}' has no export for a chip; run `spikeport export {run.path} --target loihi` first."
        )
    network = as_exported(run, load_network(run))
    graph = read_graph(folder / "network.net")
    dataset = load_dataset(network.config.dataset, time_steps=network.config.time_steps)
    tell("measuring the twin on the test split, counting and mapping")
    runner = measuring(TwinRunner(folder / "twin.onnx", graph), len(dataset.test_images))
    measured = measure(runner, entering(network, folder), dataset.test_images, profiles, tell, zeros=zeros)
    return priced(measured, graph, profiles, network, dataset, zeros=zeros)


def entering(network: RunNetwork, folder: Path) -> Enter:
    """Images of a batch -> the spikes that the chip gets: what encoder.onnx makes of them; of events the events."""
    if network.config.reads == "spikes":
        return lambda images: np.ascontiguousarray(images.swapaxes(0, 1), np.uint8)
    return EncoderRunner(folder / "encoder.onnx").batch


def count(graph: SpikingGraph, spikes: Spikes, *, zeros: bool = False) -> Counts:
    """What a graph does on spikes uint8 [T, N, *shape] of its input: spikes, synaptic operations, neuron updates.

    zeros: synapses of weight zero count, too. Raises InputError where the spikes are not of this graph.

    >>> network, images = spikeport.example_network()
    >>> graph = spikeport.trace(network, images[:1], 4).graph
    >>> spikeport.count(graph, spikeport.encode(network, images)).samples
    8
    """
    return _metered(graph, spikes, (), zeros=zeros).counter.counts()


def price(
    graph: SpikingGraph,
    spikes: Spikes,
    profiles: str | Sequence[Profile] = "",
    *,
    labels: NDArray[np.int64] | None = None,
    encoder_macs: int = 0,
    on_chip_inputs: frozenset[str] = frozenset(),
    zeros: bool = False,
) -> dict[str, Any]:
    """Energy, latency and cores of a graph on spikes uint8 [T, N, *shape], by price lists: what `energy.json` holds.

    profiles: names or files, separated by commas, "" for all that come with spikeport. labels [N]: for the accuracy
    after each step. encoder_macs: multiply-accumulates on the host for one image and step. Raises InputError for an
    unknown list and for spikes that are not of this graph.

    >>> network, images = spikeport.example_network()
    >>> graph = spikeport.quantize(spikeport.lower(spikeport.trace(network, images[:1], 4).graph), peak=1.0)
    >>> energy = spikeport.price(graph, spikeport.encode(network, images), "loihi1-sanafe")
    >>> energy["mappings"]["loihi1"]["cores"]
    2
    """
    lists = price_lists(PriceSettings(profiles=profiles)) if isinstance(profiles, str) else profiles
    meter = _metered(graph, spikes, lists, answers=labels is not None, on_chip_inputs=on_chip_inputs, zeros=zeros)
    accuracy = None
    if labels is not None:
        answers = np.concatenate(meter.answers, axis=1)
        accuracy = [float(right) for right in (answers == labels).mean(1)]
    return energy_json(
        graph=graph,
        counts=meter.counter.counts(),
        profiles=lists,
        mapped=meter.mapped(),
        encoder_macs=encoder_macs,
        accuracy=accuracy,
        zeros=zeros,
    )


def activity(graph: SpikingGraph, spikes: Spikes) -> dict[str, Any]:
    """Firing rates of every population in each step, and the spikes of the first sample: what `activity.json` holds.

    >>> network, images = spikeport.example_network()
    >>> graph = spikeport.trace(network, images[:1], 4).graph
    >>> spikeport.activity(graph, spikeport.encode(network, images))["samples"]
    8
    """
    return _metered(graph, spikes, ()).recorder.as_json()


def measure_netx(
    path: Path, spikes: NDArray[np.generic], profiles: Sequence[Profile], *, zeros: bool = False
) -> dict[str, Any]:
    """What `energy.json` holds, of any NetX file on spikes [S, T, *shape] of 0 and 1; samples are independent.

    The neurons of an input layer are on the chip, and the spikes are theirs. Raises InputError where the spikes are not
    of this network, and what `read_netx` raises.
    """
    if spikes.ndim < 3 or not spikes.size:
        raise InputError(f"Spikes must have shape [S, T, *shape], but the file has {list(spikes.shape)}.")
    check_layout(read_layers(path), spikes, spikes.shape[2:], images=False)
    network = read_netx(path, time_steps=spikes.shape[1], input_shape=spikes.shape[2:])
    (entry,), graph = network.graph.inputs, network.graph
    if spikes.ndim == 4 and spikes[0, 0].size == neurons(entry.shape):  # two axes are flat in a graph
        spikes = spikes.reshape(*spikes.shape[:2], *entry.shape)
    if spikes.shape[2:] != entry.shape:
        raise InputError(
            f"'{path}' reads spikes [S, T, {', '.join(map(str, entry.shape))}], but the file of spikes has shape "
            f"{list(spikes.shape)}: it belongs to another network."
        )
    on_chip = frozenset({entry.name} if network.encoder else ())
    return price(graph, np.swapaxes(spikes, 0, 1), profiles, on_chip_inputs=on_chip, zeros=zeros)


def _metered(
    graph: SpikingGraph,
    spikes: NDArray[np.generic],
    profiles: Sequence[Profile],
    *,
    answers: bool = False,
    **options: Any,
) -> "Meter":
    """The graph run on spikes [T, N, *shape], batch by batch: memory grows with the steps, not with the samples.

    answers: keep them.
    """
    meter = Meter(graph, profiles, **options)
    for batch in _batches(graph, spikes):
        done, classes = _activity(graph, batch)
        meter.add(done)
        if answers:
            meter.answers.append(classes)
    return meter


def mapped_on(graph: SpikingGraph, chip: Chip, on_chip_inputs: frozenset[str] = frozenset()) -> Mapped:
    """The network on as many chips as it takes, or the reason why it is on none."""
    if chip.rule not in RULES:
        found = fit(graph, chip)
        reason = found.first_break.why if found.first_break else f"what lies on which core of {chip.title} is not known"
        return Mapped(chip=chip, fits=found.fits, chips=found.chips or 1, reason=reason)
    try:
        mapping = map_graph(graph, chip, on_chip_inputs=on_chip_inputs)
    except UnsupportedError as error:
        return Mapped(chip=chip, fits=False, chips=1, reason=str(error))
    return Mapped(chip=chip, fits=True, chips=mapping.chips, mapping=mapping)


def _batches(graph: SpikingGraph, spikes: NDArray[np.generic]) -> Iterator[Spikes]:
    """[T, some samples, *shape]. Raises InputError for what is not 0 or 1."""
    size = len(spikes) * BYTES_PER_NEURON_STEP * sum(map(neurons, graph.shapes().values()))
    some = max(1, CHUNK_BYTES // size)
    for start in range(0, spikes.shape[1], some):
        batch = np.asarray(spikes[:, start : start + some])
        if not np.isin(batch, (0, 1)).all():
            raise InputError("Spikes must be 0 or 1, but the file has other values; give the spikes, not the images.")
        yield np.ascontiguousarray(batch.astype(np.uint8))
        let_go(spikes)


def _activity(graph: SpikingGraph, spikes: Spikes) -> tuple[Activities, NDArray[np.int64]]:
    """What every population did, and the class after each step [T, N]."""
    (entry,) = graph.inputs
    trace = simulate(graph, {entry.name: spikes})
    did = {entry.name: Activity(spikes=spikes)} | {
        p.name: Activity(spikes=trace.spikes.get(p.name), active=trace.active[p.name]) for p in graph.populations
    }
    return did, np.asarray(trace.readout.reshape(*trace.readout.shape[:2], -1).argmax(2), np.int64)
