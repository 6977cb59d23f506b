"""The network that is to be fitted: a run, a NetX file of anyone's, or a genotype that nobody has trained yet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ....errors import InputError
from ....export.graph import SpikingGraph
from ....export.netx.file import read_layers
from ....export.netx.reader import network_of
from ....export.netx.writer import read_graph
from ....export.passes import lower
from ....export.targets import traced
from ....path_kind import NETWORK, Kind, expected, kind_of
from ....search.random_streams import seeded
from ....search.runs import open_run
from ....search.space.genotype import from_file
from ....search.space.network import NetworkConfig, SpikingNetwork, load_network
from ...settings import PlannedNetwork

SEED = 0  # of weights that nobody has trained; only where they are zero matters, and none is


def planned_config(planned: PlannedNetwork) -> NetworkConfig:
    """Raises InputError when a value is out of range."""
    return NetworkConfig(
        channels=planned.channels,
        cells=planned.cells,
        time_steps=planned.time_steps,
        classes=planned.classes,
        input_shape=planned.image,
        stem_stride=planned.stem_stride,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSource:
    """channels: of the network's settings, None where they are not known. on_chip_inputs: as `map_graph` takes them."""

    path: Path
    graph: SpikingGraph
    channels: int | None
    on_chip_inputs: frozenset[str] = frozenset()


def read_source(path: Path, planned: Mapping[str, int | str]) -> FitSource:
    """The network in a run folder, a NetX file or a genotype's JSON.

    planned: fields of PlannedNetwork that are given; a genotype alone takes them. Raises InputError for a path that is
    none of the three, damaged or given with settings of its own, UnsupportedError for a network with attention.
    """
    read = READERS.get(kind_of(expected(path, NETWORK, "fit")), _genotype)
    if planned and read is not _genotype:
        raise InputError(
            f"'{path}' says itself how large its network is, so --{'/--'.join(planned).replace('_', '-')} cannot be "
            "given; they are for a genotype's .json file."
        )
    return read(path, planned)


def _run(path: Path, planned: Mapping[str, int | str]) -> FitSource:
    """The exported network, or else the trained one."""
    run = open_run(path)
    network = load_network(run)
    exported = run.export_folder("loihi") / "network.net"
    graph = read_graph(exported) if exported.is_file() else lower(traced(network).graph)
    return FitSource(path=path, graph=graph, channels=network.config.channels)


def _netx(path: Path, planned: Mapping[str, int | str]) -> FitSource:
    file = read_layers(path)
    if file.carries_graph:
        return FitSource(path=path, graph=read_graph(path), channels=None)
    network = network_of(file, time_steps=file.window or 1)
    inputs = frozenset(node.name for node in network.graph.inputs) if network.encoder else frozenset()
    return FitSource(path=path, graph=network.graph, channels=None, on_chip_inputs=inputs)


def _genotype(path: Path, planned: Mapping[str, int | str]) -> FitSource:
    """The network built from it, with random weights. A path, and cells for every layer, have their number of cells; no
    other may be given."""
    genotype = from_file(path)
    own = {} if genotype.depth is None else {"cells": genotype.depth}
    config = planned_config(PlannedNetwork(**own | dict(planned)))  # type: ignore[arg-type]
    with seeded(SEED, "train weights"):  # the weights with which a training would begin
        network = SpikingNetwork(genotype, config)
    return FitSource(path=path, graph=lower(traced(network.eval()).graph), channels=config.channels)


READERS: dict[Kind, Callable[[Path, Mapping[str, int | str]], FitSource]] = {"run": _run, "netx": _netx}
