"""Prove, count, price, report: the whole stage, into the run folder.

onnx      torch against model.onnx: every spike, ties apart, and every class
step      torch against step.onnx, once for each time step: the same
graph     torch against the float SpikingGraph: the same; where attention was folded, torch with constant gates
nir       the float SpikingGraph against network.nir, read back: every spike and membrane, exactly
encoder   torch's first spiking layer against encoder.onnx: every spike, ties apart; not with events, which need none
twin      the quantized graph as `export/simulate.py` defines it against twin.onnx: every spike and membrane, exactly
netx      twin.onnx against network.net, read and run without Lava: the same
loihi     twin.onnx against unmodified Lava running network.net: every spike and the readout's membrane, exactly
accuracy  torch against (encoder.onnx and) twin.onnx on the whole test split: how much the chip's integers cost
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..errors import InputError, UnsupportedError
from ..export.folded import as_exported
from ..export.netx.writer import read_graph
from ..export.nir.reader import read_nir
from ..export.spent import spent
from ..export.targets import TARGETS, traced
from ..files import writable, write_json
from ..search.data.datasets import Dataset, Images, load_dataset
from ..search.run_lock import claimed
from ..search.runs import Run
from ..search.space.network import RunNetwork, load_network
from .batches import at_once, batches
from .cost.counts import Counts
from .cost.prices import price_lists
from .cost.profiles import Profile
from .equivalence.verdict import Check, Nudges, compare_float, compare_integers, joined, overall
from .measure import COMPILED_NEURON_STEPS, entering, measure, measuring, neuron_steps, priced
from .report.files import write_reports
from .run.forms import (
    CompiledRunner,
    EncoderRunner,
    GraphRunner,
    LavaRunner,
    NetxRunner,
    OnnxRunner,
    StepRunner,
    TwinRunner,
    lava_takes_longer,
)
from .run.record import Record, Spikes, some_of
from .run.torch_network import TorchRunner
from .settings import DeploySettings

Tell = Callable[[str], None]
_Form = Callable[[slice], Record]  # of some of the samples that integer forms are compared on

# what a neuron leaves behind in a step, in bytes
FLOAT_BYTES = 48  # a current, a membrane and a spike in torch, and in float64 of the graph
INTEGER_BYTES = 128  # the same in 64 bits, of the definition and of each node of twin.onnx
TORCH_BYTES = 16  # without membranes


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What `deploy` found; the same is in the run folder."""

    run: Run
    equivalence: dict[str, Any]
    energy: dict[str, Any] | None  # None: nothing was exported for a chip
    activity: dict[str, Any] | None  # likewise


def deploy(run: Run, settings: DeploySettings, tell: Tell) -> Deployment:
    """Check every exported form of a run, count, map and price it, and write the files of its folder deploy/.

    Raises InputError for a run without a model or without an export and while another command works on it, ToolError
    where real Lava is asked for and cannot be run or runs past its time limit. A failed check is no error: it is the
    verdict.
    """
    start = time.monotonic()
    with claimed(run.path):
        found = _deploy(run, settings, tell)
    tell(spent(start))
    return found


def _deploy(run: Run, settings: DeploySettings, tell: Tell) -> Deployment:
    profiles = price_lists(settings)
    network = load_network(run)
    dataset = load_dataset(network.config.dataset, time_steps=network.config.time_steps)
    found = [target for target in TARGETS if run.export_folder(target).is_dir()]
    if not found:
        raise InputError(f"The run '{run.path}' has no export; run `spikeport export --run {run.path}` first.")
    for path in (run.equivalence, run.energy, run.activity, run.report, run.report_md):
        writable(path)
    checks: list[Check] = []
    energy = activity = None
    torch = TorchRunner(network, dataset.test_images[:1])
    reference = _Reference(torch, dataset.test_images[: settings.samples], tell)
    if "onnx" in found:
        tell("comparing model.onnx with torch")
        checks.append(_timed(lambda: _check_onnx("onnx", "model.onnx", OnnxRunner, run, reference)))
        tell("comparing step.onnx with torch")
        checks.append(_timed(lambda: _check_onnx("step", "step.onnx", StepRunner, run, reference)))
    tell("comparing the float graph with torch")
    on_chip = as_exported(run, network)
    constant = (
        reference
        if on_chip is network
        else _Reference(TorchRunner(on_chip, reference.images[:1]), reference.images, tell)
    )
    checks.append(_timed(lambda: _check_graph(on_chip, constant)))
    if "nir" in found:
        tell("comparing network.nir with the float graph")
        checks.append(_timed(lambda: _check_nir(run, on_chip, constant)))
    if "loihi" in found:
        loihi, energy, activity = _deploy_loihi(run, settings, profiles, on_chip, dataset, reference, tell)
        checks += loihi
    equivalence = {"verdict": overall(checks), "checks": [check.to_dict() for check in checks]}
    # The equivalence goes first and comes last, because it says that the rest belongs to it.
    for path in (run.equivalence, run.energy, run.activity):
        path.unlink(missing_ok=True)
    for path, content in ((run.energy, energy), (run.activity, activity)):
        if content is not None:  # else nothing was exported for a chip
            write_json(path, content)
    write_json(run.equivalence, equivalence)
    tell("writing the report")
    write_reports(run)
    return Deployment(run=run, equivalence=equivalence, energy=energy, activity=activity)


class _Reference:
    """The torch network on a fixed set of images; `parts` is the same on as many at a time as fit into memory."""

    def __init__(self, run: TorchRunner, images: Images, tell: Tell) -> None:
        self.images, self.run, self.tell = images, run, tell
        self.undisturbed: Record | None = None

    def spikes(self, name: str) -> Spikes:
        """[T, N, *shape] of the graph's input of that name: what its layer fires, or the events."""
        found = self({}).spikes
        return found[name] if name in found else np.ascontiguousarray(self.images.swapaxes(0, 1), np.uint8)

    def __call__(self, nudges: Nudges) -> Record:
        if nudges:
            return self.run(self.images, nudges)
        self.undisturbed = self.undisturbed or self.run(self.images, {})
        return self.undisturbed

    def parts(self) -> "Iterator[_Reference]":
        some = at_once(self.run.neuron_steps(self.images[:1]), FLOAT_BYTES, len(self.images))
        if some == len(self.images):
            yield self
            return
        for chosen in batches(len(self.images), some, self.tell):
            yield _Reference(self.run, self.images[chosen], self.tell)


def _check_onnx(name: str, file: str, opened: type[OnnxRunner | StepRunner], run: Run, reference: _Reference) -> Check:
    path = run.export_folder("onnx") / file
    if name == "step" and not path.exists():
        reason = (
            "the export has no step.onnx, as where a layer sees several time steps at once; `spikeport export` says it"
        )
        return _not_run(name, "torch", file, reason)
    model = opened(path)
    return joined([compare_float(name, "torch", file, part, model(part.images)) for part in reference.parts()])


def _check_graph(network: RunNetwork, reference: _Reference) -> Check:
    try:
        graph = traced(network).graph
    except UnsupportedError as error:
        return _not_run("graph", "torch", "float SpikingGraph", str(error))
    runner, name = GraphRunner(graph), graph.inputs[0].name
    return joined(
        [
            compare_float("graph", "torch", "float SpikingGraph", part, runner(part.spikes(name)))
            for part in reference.parts()
        ]
    )


def _check_nir(run: Run, network: RunNetwork, reference: _Reference) -> Check:
    graph = traced(network).graph
    ours, theirs = GraphRunner(graph), GraphRunner(read_nir(run.export_folder("nir") / "network.nir").graph)
    checks = []
    for part in reference.parts():
        spikes = part.spikes(graph.inputs[0].name)
        checks.append(compare_integers("nir", "float SpikingGraph", "network.nir", ours(spikes), theirs(spikes)))
    return joined(checks)


def _deploy_loihi(
    run: Run,
    settings: DeploySettings,
    profiles: Sequence[Profile],
    network: RunNetwork,
    dataset: Dataset,
    reference: _Reference,
    tell: Tell,
) -> tuple[list[Check], dict[str, Any], dict[str, Any]]:
    folder = run.export_folder("loihi")
    graph = read_graph(folder / "network.net")
    twin = TwinRunner(folder / "twin.onnx", graph)
    checks: list[Check] = []

    if network.config.reads == "images":
        tell("comparing encoder.onnx with torch")
        encoder, name = EncoderRunner(folder / "encoder.onnx"), graph.inputs[0].name
        parts = reference.parts()
        checks.append(_timed(lambda: joined([_check_encoder(name, encoder, part) for part in parts])))
    reference.undisturbed = None  # nobody asks for it again

    tell("comparing twin.onnx with the definition of its arithmetic")
    enter = entering(network, folder)
    few = enter(dataset.test_images[: settings.lava_samples])
    some = at_once(neuron_steps(graph), INTEGER_BYTES, few.shape[1])

    def equal(name: str, ours: str, theirs: str, reference: _Form, candidate: _Form) -> Check:
        chosen = batches(few.shape[1], some, tell)
        return joined([compare_integers(name, ours, theirs, reference(c), candidate(c)) for c in chosen])

    def by_twin(chosen: slice) -> Record:
        return twin(few[:, chosen])

    definition = GraphRunner(graph)
    checks.append(_timed(lambda: equal("twin", "SpikingGraph", "twin.onnx", lambda c: definition(few[:, c]), by_twin)))

    tell("comparing network.net with twin.onnx")

    def whole(run: Callable[[Spikes], Record]) -> _Form:
        record = run(few)  # of spikes alone, which fit into memory; to read the file again and again takes longer
        return lambda chosen: some_of(record, chosen)

    netx = NetxRunner(folder / "network.net", graph)
    checks.append(_timed(lambda: equal("netx", "twin.onnx", "network.net", by_twin, whole(netx))))

    start = time.monotonic()
    runner = measuring(twin, len(dataset.test_images))
    if isinstance(runner, CompiledRunner):
        compiled = runner
        tell("comparing its compiled integers with twin.onnx")
        name = "the same, compiled"
        checks.append(
            _timed(lambda: equal("compiled", "twin.onnx", name, by_twin, lambda c: compiled.run(few[:, c])[0]))
        )
        start = time.monotonic()
    tell("measuring the twin on the test split, counting and mapping")
    measured = measure(runner, enter, dataset.test_images, profiles, tell, zeros=settings.count_zero_weights)
    tell("running torch on the test split")
    candidate = "encoder.onnx + twin.onnx" if network.config.reads == "images" else "twin.onnx"
    found = (measured.predictions[-1], measured.counts, settings.accuracy_drop, candidate)
    accuracy = _check_accuracy(reference.run, dataset, *found, tell)
    accuracy = replace(accuracy, seconds=time.monotonic() - start)

    too_long = lava_takes_longer(graph, few.shape[1], settings.lava_limit_s) if settings.lava else None
    if too_long:
        checks.append(_not_run("loihi", "twin.onnx", "Lava network.net", too_long))
    elif settings.lava:
        tell("running network.net in Lava")
        lava = LavaRunner(folder / "network.net", graph, settings.lava_limit_s, tell)
        checks.append(_timed(lambda: equal("loihi", "twin.onnx", "Lava network.net", by_twin, whole(lava))))
    else:
        checks.append(_not_run("loihi", "twin.onnx", "Lava network.net", settings.without_lava))
    checks.append(accuracy)

    tell("pricing")
    energy = priced(measured, graph, profiles, network, dataset, zeros=settings.count_zero_weights)
    return checks, energy, measured.activity


def _check_encoder(name: str, encoder: EncoderRunner, reference: _Reference) -> Check:
    def first_layer(nudges: Nudges) -> Record:
        record = reference(nudges)
        return replace(record, spikes={name: record.spikes[name]}, margins={name: record.margins[name]})

    spikes = encoder(reference.images)
    nothing = reference({}).readout  # an encoder has no readout; the same on both sides
    candidate = Record(spikes={name: spikes}, readout=nothing, margins={})
    check = compare_float(
        "encoder", "torch", "encoder.onnx", lambda nudges: replace(first_layer(nudges), readout=nothing), candidate
    )
    return replace(check, top1_agreement=None, max_abs_logit_difference=None)


def _check_accuracy(
    runner: TorchRunner,
    dataset: Dataset,
    predictions: np.ndarray[Any, np.dtype[np.int64]],
    counts: Counts,
    allowed: float,
    candidate: str,
    tell: Tell,
) -> Check:
    """Accuracy, agreement and spikes of both on the whole test split; passes unless the drop is larger than allowed."""
    labels, samples = dataset.test_labels, len(dataset.test_labels)
    right, reference_spikes = [], 0
    images, each = dataset.test_images, runner.neuron_steps(dataset.test_images[:1])
    many = at_once(each, TORCH_BYTES)
    run = runner.all_answers if samples * each > COMPILED_NEURON_STEPS else partial(map, runner.answers)
    found = run(images[start : start + many] for start in range(0, samples, many))
    for _, (answers, fired) in zip(batches(samples, many, tell), found, strict=True):
        right.append(answers)
        reference_spikes += fired
    expected = np.concatenate(right)
    agreement = float((expected == predictions).mean())
    if not dataset.labelled:
        reason = (
            f"the run has no labelled data; on {'; '.join(dataset.notes)}, {agreement:.1%} of {samples} answers agree"
        )
        return _not_run("accuracy", "torch", candidate, reason)
    accuracy, twin_accuracy = float((expected == labels).mean()), float((predictions == labels).mean())
    return Check(
        name="accuracy",
        reference="torch",
        candidate=candidate,
        verdict="pass" if accuracy - twin_accuracy <= allowed else "fail",
        samples=samples,
        top1_agreement=agreement,
        accuracy_reference=accuracy,
        accuracy_candidate=twin_accuracy,
        allowed_accuracy_drop=allowed,
        spikes_per_inference_reference=reference_spikes / samples,
        spikes_per_inference_candidate=sum(p.spikes for p in counts.populations if p.name in runner.layers) / samples,
    )


def _not_run(name: str, reference: str, candidate: str, reason: str) -> Check:
    return Check(name=name, reference=reference, candidate=candidate, status="not run", reason=reason)


def _timed(run: Callable[[], Check]) -> Check:
    start = time.monotonic()
    check = run()
    return replace(check, seconds=time.monotonic() - start)
