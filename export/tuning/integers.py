"""A float graph and the images it was trained on -> the chip's integers, and what they cost."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ...errors import UnsupportedError
from ...search.random_streams import generator
from ..graph import SpikingGraph
from ..passes.quantize import quantize
from ..passes.scales import Scales, largest_scales, levels_of
from ..settings import ExportSettings
from ..simulate import simulate
from .agreement import Agreement, Spikes, agreement, run_graph
from .calibrate import calibrate, dwarfed
from .chip_network import ChipNetwork
from .finetune import answers_of, finetune
from .samples import AT_ONCE, Samples, entering

PROVED = 4  # samples on which torch's integers are compared with `simulate`

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Integers:
    """graph: the quantized graph. record: how it was found and what it costs, for a manifest."""

    graph: SpikingGraph
    record: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """network: images -> answers, in eval mode. graph: what was traced of it, through `lower`. encoder: what stands
    before the graph, None where it reads events. peak: the largest |answer| over some images."""

    network: nn.Module
    graph: SpikingGraph
    encoder: nn.Module | None
    peak: float
    samples: Samples


def integers_of(source: Source, settings: ExportSettings, tell: Tell = lambda stage: None) -> Integers:
    """Quantize; calibrate and train through the integers where the settings say so.

    Raises UnsupportedError for what the chip cannot be, and where torch does not compute its integers.
    """
    graph, spikes = source.graph, calibration_spikes(source, settings)
    last = levels_of(graph)[-1].number
    scales: Scales = largest_scales(graph, source.peak, settings.weight_bits)
    plain = chip = quantize(graph, source.peak, scales=scales)
    found: dict[str, Agreement] = {"largest_weight": agreement(graph, plain, scales[last].scale, spikes)}
    tuned: dict[str, Any] | None = None
    accuracy: dict[str, float] = {}
    if settings.calibrate or settings.finetune:
        accuracy["float"], accuracy["largest_weight"] = _float_accuracy(source), _accuracy(source, plain)
        tell(f"calibrating the chip's integers on {spikes.shape[1]} samples")
        calibrated = calibrate(graph, source.peak, spikes, settings.weight_bits)
        scales, chip, found["calibrated"] = calibrated.scales, calibrated.chip, calibrated.chosen
        accuracy["calibrated"] = _accuracy(source, chip)
        if settings.finetune:
            learning = ChipNetwork(calibrated.graph, scales)
            done = finetune(learning, source.network, source.encoder, source.samples, settings, tell)
            chip = learning.chip_graph()
            tuned = done.row() | {"spikes_compared": _proved(learning, chip, spikes), "spikes_differing": 0}
            found["finetuned"] = agreement(graph, chip, scales[last].scale, spikes)
            accuracy["finetuned"] = done.epochs[done.kept].accuracy
    record = {
        "settings": asdict(settings),
        "scales": {str(number): {"scale": one.scale, "step": one.step} for number, one in scales.items()},
        "held_down_by": dwarfed(graph),
        "samples": spikes.shape[1],
        "agreement": {name: _row(one) for name, one in found.items()},
        "validation_images": len(source.samples.watch),
        "validation_accuracy": accuracy,
        "finetuning": tuned,
    }
    return Integers(graph=chip, record=record)


def calibration_spikes(source: Source, settings: ExportSettings) -> Spikes:
    """[T, N, *shape] of images that the network was trained on."""
    samples = source.samples
    rows = generator(samples.seed, "finetune").permutation(samples.learn)[: settings.calibration_samples]
    return entering(source.encoder, samples.images[rows]).numpy().astype(np.uint8)


def _row(found: Agreement) -> dict[str, Any]:
    return {"spikes": found.share, "answers": found.answers, "populations": dict(found.spikes)}


def _proved(learning: ChipNetwork, chip: SpikingGraph, spikes: Spikes) -> int:
    """How many spikes and membranes of the readout were compared with the definition of the chip's arithmetic."""
    given = {chip.inputs[0].name: spikes[:, :PROVED]}
    ours, theirs = learning.record(given), simulate(chip, given)
    pairs = [(ours.spikes[name], fired) for name, fired in theirs.spikes.items()] + [(ours.readout, theirs.readout)]
    differing = sum(int((a != b).sum()) for a, b in pairs)
    if differing:
        raise UnsupportedError(
            f"torch computes {differing} of {sum(b.size for _, b in pairs)} spikes and membranes other than the chip's "
            "integers are, so what it trained is not what runs; export without --finetune, or on another machine."
        )
    return sum(b.size for _, b in pairs)


def _wanted(source: Source) -> NDArray[np.int64]:
    """Labels of the images that are not trained on, or, without any, the float network's answers."""
    samples = source.samples
    if samples.labelled:
        return samples.labels[samples.watch]
    return np.asarray(answers_of(source.network, samples.images[samples.watch]).argmax(1).numpy(), np.int64)


def _float_accuracy(source: Source) -> float:
    answers = answers_of(source.network, source.samples.images[source.samples.watch])
    return float((answers.argmax(1).numpy() == _wanted(source)).mean())


def _accuracy(source: Source, chip: SpikingGraph) -> float:
    images, wanted, right = source.samples.images[source.samples.watch], _wanted(source), 0
    for start in range(0, len(images), AT_ONCE):
        _, membranes = run_graph(chip, entering(source.encoder, images[start : start + AT_ONCE]))
        right += int((membranes[-1].argmax(1).numpy() == wanted[start : start + AT_ONCE]).sum())
    return right / len(images)
