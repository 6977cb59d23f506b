"""What can be compared: a torch network, a graph, a run folder, a file, or spikes that something else recorded; and
which population of one is which of the other."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ...errors import InputError, UnsupportedError
from ...export.graph import SpikingGraph, neurons
from ...export.netx.file import read_layers
from ...export.netx.reader import read_netx
from ...export.netx.writer import read_graph
from ...export.nir.reader import read_nir
from ...export.onnx.carried import graph_in
from ...export.passes import lower
from ...export.targets import traced
from ...files import read_json
from ...path_kind import kind_of, run_around
from ...reading.arrays import names_of, read_arrays
from ...reading.models import read_model
from ...search.runs import open_run
from ...search.space.network import load_network
from ..run.advance import simulated
from ..run.forms import GraphOnnxRunner, GraphRunner, NetxRunner, OnnxRunner, TwinRunner
from ..run.netx import run_netx
from ..run.record import Record, Spikes
from .rules import Meaning, meaning_of
from .torch_form import Reads, TorchForm

Values = NDArray[np.generic]
Given = nn.Module | SpikingGraph | Record | Path | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One of two sides. name: for people. on_images, on_spikes [T, N, *shape]: its record; None where it reads none.

    record: what it gave, of a form that cannot be run. meaning: of its values, what it computes; None where it does not
    say. unrounded: the float graph behind the chip's integers, where it can be found.
    """

    name: str
    on_images: Callable[[Values], Record] | None = None
    on_spikes: Callable[[Spikes], Record] | None = None
    record: Record | None = None
    meaning: Callable[[Values], Meaning] | None = None
    torch: TorchForm | None = None
    unrounded: Callable[[], SpikingGraph | None] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a form does not say by itself. reads: what a torch network reads. time_steps: for which a NetX file with
    input neurons shows an image. dt: seconds of a step, of a NIR file. by_layers: a NetX file's populations are its
    layers, not those of the graph inside."""

    reads: Reads = "images"
    time_steps: int | None = None
    dt: float | None = None
    by_layers: bool = False


def form_of(given: Given, name: str, asked: Asked) -> Form:
    """Anything that can be compared, opened. Raises InputError for a path that nothing here opens."""
    if isinstance(given, nn.Module):
        return _of_torch(given, name, asked.reads)
    if isinstance(given, SpikingGraph):
        return Form(name=name, on_spikes=GraphRunner(given), meaning=lambda values: meaning_of(given))
    if isinstance(given, Record):
        return Form(name=name, record=given)
    path = Path(given)
    if kind_of(path) == "run":
        return _of_run(path)
    loader = LOADERS.get(path.suffix)
    if loader is None or not path.is_file():
        what = "There is no" if not path.exists() else "Nothing is known of the ending of"
        raise InputError(f"{what} '{path}'; compare run folders or files that end in {', '.join(LOADERS)}.")
    return loader(path, asked)


def is_recorded(given: Given) -> bool:
    """Whether it is spikes that were recorded by layers, as `spikeport run --out` writes them."""
    return not isinstance(given, nn.Module | SpikingGraph | Record) and Path(given).suffix == ".npz"


def _of_torch(network: nn.Module, name: str, reads: Reads) -> Form:
    form = TorchForm(network, reads)
    images = form if reads == "images" else None
    spikes = form if reads != "images" else None
    return Form(name=name, on_images=images, on_spikes=spikes, meaning=form.meaning, torch=form)


def _of_run(path: Path) -> Form:
    network = load_network(open_run(path))
    return _of_torch(network, str(path), "images" if network.config.reads == "images" else "frames")


def _netx(path: Path, asked: Asked) -> Form:
    file = read_layers(path)
    if file.carries_graph and not asked.by_layers:
        graph = read_graph(path)
        return Form(
            name=str(path),
            on_spikes=NetxRunner(path, graph),
            meaning=lambda values: meaning_of(graph),
            unrounded=lambda: _unrounded(path),
        )

    def graph_on(spikes: Values) -> SpikingGraph:
        return read_netx(path, time_steps=len(spikes), input_shape=spikes.shape[2:]).graph

    def on_images(values: Values) -> Record:
        run = run_netx(path, values, time_steps=asked.time_steps, runner=simulated)
        spikes = {f"layer{i}": np.swapaxes(fired, 0, 1) for i, fired in run.spikes.items()}
        membrane = np.swapaxes(run.membrane, 0, 1)
        return Record(spikes=spikes, readout=membrane[-1], readout_steps=membrane, margins={})

    return Form(
        name=str(path),
        on_images=on_images if file.encoder else None,
        on_spikes=lambda spikes: GraphRunner(graph_on(spikes))(spikes),
        meaning=lambda spikes: meaning_of(graph_on(spikes)),
    )


def _unrounded(path: Path) -> SpikingGraph | None:
    """The float graph of the run that a file lies in. Whoever names a file of weights expects no code to be run, as
    that of an imported network is."""
    folder = run_around(path)
    if folder is None:
        return None
    run = open_run(folder)
    try:
        if "imported" in read_json(run.config):
            return None
        return lower(traced(load_network(run)).graph)
    except (InputError, UnsupportedError, OSError):
        return None


def _onnx(path: Path, asked: Asked) -> Form:
    model = read_model(path)
    entry = next(iter(model.graph.input), None)
    if entry is not None and entry.name == "images":
        runner = OnnxRunner(path)
        if len(entry.type.tensor_type.shape.dim) == 4:
            return Form(name=str(path), on_images=lambda images: runner(np.asarray(images, np.float32)))
        return Form(name=str(path), on_spikes=lambda spikes: runner(np.ascontiguousarray(np.swapaxes(spikes, 0, 1))))
    graph, netx = graph_in(path, model), path.with_name("network.net")
    if graph is None and not netx.is_file():  # a twin.onnx of before carries none
        raise InputError(
            f"'{path}' neither reads images nor carries its graph, and there is no '{netx}' that names its populations;"
            " export it again."
        )
    known = read_graph(netx) if graph is None else graph
    run = TwinRunner(path, known) if known.arithmetic == "loihi" else GraphOnnxRunner(path, known)
    return Form(
        name=str(path), on_spikes=run, meaning=lambda values: meaning_of(known), unrounded=lambda: _unrounded(path)
    )


def _nir(path: Path, asked: Asked) -> Form:
    def graph_on(spikes: Values) -> SpikingGraph:
        return read_nir(path, time_steps=len(spikes), dt=asked.dt, input_shape=spikes.shape[2:]).graph

    return Form(
        name=str(path),
        on_spikes=lambda spikes: GraphRunner(graph_on(spikes))(spikes),
        meaning=lambda spikes: meaning_of(graph_on(spikes)),
    )


def _recorded(path: Path, asked: Asked) -> Form:
    """Arrays of an `.npz`: spikes_<i> uint8 [S, T, *shape] of layer/<i>, membrane [S, T, *shape] of the last one, as
    `spikeport run --out` writes them; or spikes under their population's name, and readout [S, classes]."""
    names = names_of(path)
    arrays = dict(zip(names, read_arrays(path, names), strict=True))
    membrane, readout = arrays.pop("membrane", None), arrays.pop("readout", None)
    wrong = [name for name, values in arrays.items() if values.ndim < 3 or not np.isin(values, (0, 1)).all()]
    if wrong or not arrays:
        what = f"`{wrong[0]}` is not" if wrong else "it holds none"
        raise InputError(f"'{path}' must hold spikes, 0 or 1, [S, T, *shape] of each population, but {what}.")
    spikes = {
        f"layer{name.removeprefix('spikes_')}" if name.startswith("spikes_") else name: np.swapaxes(values, 0, 1)
        for name, values in arrays.items()
    }
    steps = None if membrane is None else np.swapaxes(membrane, 0, 1)
    samples = next(iter(spikes.values())).shape[1]
    answer = readout if readout is not None else np.zeros((samples, 0)) if steps is None else steps[-1]
    order = {name: np.ascontiguousarray(spikes[name], np.uint8) for name in spikes}
    return Form(name=str(path), record=Record(spikes=order, readout=answer, readout_steps=steps, margins={}))


# A file's ending -> what opens it. A new format is one line here.
Loader = Callable[[Path, Asked], Form]
LOADERS: dict[str, Loader] = {".net": _netx, ".nir": _nir, ".onnx": _onnx, ".npz": _recorded}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Both records, and what was given to each side: images, or spikes [T, N, *shape]."""

    reference: Record
    candidate: Record
    values: tuple[Values, Values]
    spikes: Spikes | None  # that entered the graph, where they are known


def records(reference: Form, candidate: Form, values: Values) -> Recorded:
    """Both sides run on one input: images, with an even number of axes, or spikes [T, N, *shape], with an odd one.

    A side that reads spikes gets, of images, those that the other side's encoder fires. Raises InputError where neither
    can read the input.
    """
    if values.ndim % 2:
        return _on_spikes(reference, candidate, _spikes(values))
    found = [form.record or (form.on_images(values) if form.on_images else None) for form in (reference, candidate)]
    reads = [form.on_images is not None for form in (reference, candidate)]
    if not any(reads):
        raise InputError(
            f"The input has shape {list(values.shape)}, as images have, but neither side reads images; give spikes."
        )
    encoder = found[reads.index(True)]
    entry = None if encoder is None else next(iter(encoder.spikes.values()))
    for i, form in enumerate((reference, candidate)):
        if found[i] is None:
            if form.on_spikes is None or entry is None:
                raise InputError(f"{form.name} reads no images, and there is nothing that makes spikes of them.")
            found[i] = form.on_spikes(entry)
    assert found[0] is not None and found[1] is not None
    return Recorded(
        reference=found[0],
        candidate=found[1],
        values=(values if reads[0] or entry is None else entry, values if reads[1] or entry is None else entry),
        spikes=entry,
    )


def _on_spikes(reference: Form, candidate: Form, spikes: Spikes) -> Recorded:
    found = []
    for form in (reference, candidate):
        if form.record is None and form.on_spikes is None:
            raise InputError(f"{form.name} reads images, but the input has shape {list(spikes.shape)}, as spikes have.")
        found.append(form.record or form.on_spikes(spikes))  # type: ignore[misc]
    return Recorded(reference=found[0], candidate=found[1], values=(spikes, spikes), spikes=spikes)


def _spikes(values: Values) -> Spikes:
    if not np.isin(values, (0, 1)).all():
        raise InputError("Spikes [T, N, *shape] must be 0 or 1; images have an even number of axes, as [N, C, H, W].")
    return np.asarray(values, np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """candidate: its record in the reference's names and shapes. names: of the reference, compared, in its order.

    by_order: in words, whom the order matched. ours, theirs: the reference's and the candidate's that nobody matches.
    """

    candidate: Record
    names: tuple[str, ...]
    by_order: str | None
    ours: tuple[str, ...]
    theirs: tuple[str, ...]


def match(reference: Record, candidate: Record) -> Matched:
    """Which population is which: by name, else by order where numbers and shapes agree.

    Raises InputError where nothing can be compared: no name in both and other shapes, or other steps or samples.
    """
    pairs = {name: name for name in reference.spikes if name in candidate.spikes}
    ours = [name for name in reference.spikes if name not in pairs]
    theirs = [name for name in candidate.spikes if name not in pairs]
    by_order = None
    for skip, leave in ((0, 0), (1, 0), (0, 1)):  # the input stands first, and one of them may not have recorded it
        a, b = ours[skip:], theirs[leave:]
        if a and [_size(reference.spikes[n]) for n in a] == [_size(candidate.spikes[n]) for n in b]:
            told = ", ".join(f"'{other}' is '{name}'" for name, other in zip(a, b, strict=True))
            by_order = f"populations without a name in both are matched by order: {told}"
            pairs |= dict(zip(a, b, strict=True))
            ours, theirs = ours[:skip], theirs[:leave]
            break
    if not pairs:
        raise InputError(
            f"No population can be compared: the reference has {', '.join(reference.spikes)}, the candidate "
            f"{', '.join(candidate.spikes)}, and their numbers or shapes differ; name them alike."
        )
    common = tuple(name for name in reference.spikes if name in pairs)
    spikes = {name: _as(name, candidate.spikes[pairs[name]], reference.spikes[name]) for name in common}
    extra = {name: value for name, value in candidate.spikes.items() if name not in pairs.values()}
    return Matched(
        candidate=replace(candidate, spikes=spikes | {n: v for n, v in extra.items() if n not in spikes}),
        names=common,
        by_order=by_order,
        ours=tuple(ours),
        theirs=tuple(theirs),
    )


def _size(spikes: Spikes) -> tuple[int, ...]:
    return (*spikes.shape[:2], neurons(spikes.shape[2:]))


def _as(name: str, candidate: Spikes, reference: Spikes) -> Spikes:
    if _size(candidate) != _size(reference):
        raise InputError(
            f"Population '{name}': the reference has spikes [T, N, ...] {list(reference.shape)}, the candidate "
            f"{list(candidate.shape)}; record both on the same input, all steps and samples."
        )
    return np.ascontiguousarray(candidate.reshape(reference.shape))
