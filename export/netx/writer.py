"""NetX HDF5: a chain of quantized populations -> the file that unmodified lava-dl 0.6.0 loads.

    layer/<i>/type     b"conv" | b"flatten" | b"dense" | b"dense_rec"
    layer/<i>/shape    [C, H, W] or [N];  weight [O, I, kh, kw] or [O, I], integers;  bias [C] or [N], integers
    layer/<i>/         stride, padding, dilation (row, column), groups (one number): conv only
    layer/<i>/         delay [O, I] steps, if there are any: dense only;  weight_rec [O, O]: dense_rec only
    layer/<i>/neuron   type b"CUBA", iDecay, vDecay, vThMant, refDelay, wgtExp

A flatten stands between a conv and a dense layer; the dense layer's columns then count [C, H, W] in C-order. iDecay
counts what a step forgets, in 1/4096, and 4096 forgets all (the register holds one less and the chip adds it); vDecay
likewise. Where channels differ, these and vThMant are arrays [C] ([N]). refDelay and wgtExp are there for other
readers: Lava reads neither. Source: lava-dl 0.6.0 lava/lib/dl/netx/hdf5.py.

The quantized graph itself travels in the same file under /spikeport, which Lava ignores.
"""

import json
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, UnsupportedError
from ...files import replacing
from ...path_kind import NETX, expected
from ...reading.hdf5 import Dataset, Group, read_tree
from ..graph import REGISTERS, Array, Conv, Dense, Population, Projection, SpikingGraph
from ..parts import graph_of, parts_of
from ..simulate import DECAY_UNITY, in_registers
from .chain import Chain, chain_of
from .loaded_weights import lava_matrices

PATTERN = {"spikeport": {"graph": True, **{key: {"*": True} for key in ("weight", "bias", "delay", *REGISTERS)}}}


def layer_indices(chain: Chain) -> dict[str, int]:
    """Population of the chain -> i of its `layer/<i>`. A flatten takes an index of its own before a dense layer."""
    indices: dict[str, int] = {}
    index, before = 0, chain.graph.inputs[0].shape
    for population in chain.graph.populations:
        index += len(before) == 3 and len(population.shape) == 1
        indices[population.name] = index
        index, before = index + 1, population.shape
    return indices


def check_netx(chain: Chain) -> None:
    """Raises UnsupportedError for matrices that lava-dl would load with other weights.

    Its `optimize_weight_bits` (lava/lib/dl/netx/utils.py) divides by the largest weight and stores a matrix without
    positive weights unsigned: -64 is read as -63, and all zeros cannot be loaded.
    """
    for population in chain.graph.populations:
        weights = [p.kernel.weight for p in chain.graph.incoming(population.name) if isinstance(p.kernel, Dense)]
        if len(weights) == 1 and not (weights[0] > 0).any():
            raise UnsupportedError(
                f"Population '{population.name}': lava-dl needs a positive weight in a full matrix, but there is none; "
                "train the network further."
            )
        if len(weights) > 1 and not _loaded_as_they_are(weights):
            raise UnsupportedError(
                f"Population '{population.name}': lava-dl stores the two matrices of a recurrent layer with one number "
                "of bits and loads them with other weights where only one of them has weights of both signs; train the "
                "network further."
            )


def _loaded_as_they_are(weights: list[Array]) -> bool:
    """Of a recurrent layer."""
    whole = [weight.astype(np.int64) for weight in weights]
    if not any(weight.any() for weight in whole):
        return False
    loaded = lava_matrices(*whole)
    return all(m.linear and np.array_equal(m.effective, w) for m, w in zip(loaded, whole, strict=True))


def write_netx(path: Path, graph: SpikingGraph, chain: Chain | None = None) -> Path:
    """A quantized graph as a NetX file that stock lava-dl 0.6.0 loads; the graph itself travels in it, too.

    chain: the graph as a chain (`chain_of`), where one has it already. Returns the path. Raises UnsupportedError that
    names the population that a chain, or lava-dl, cannot hold.

    >>> network, images = spikeport.example_network()
    >>> graph = spikeport.quantize(spikeport.lower(spikeport.trace(network, images[:1], 4).graph), peak=1.0)
    >>> spikeport.write_netx("network.net", graph).exists()
    True
    """
    if graph.arithmetic != "loihi":
        raise UnsupportedError("A NetX file holds the chip's integers, but the graph is float; quantize it first.")
    path, chain = Path(path), chain_of(graph) if chain is None else chain
    check_netx(chain)
    indices = layer_indices(chain)
    # In memory first: where the disk is full, HDF5 fails in ways that leave the file open.
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        for population in chain.graph.populations:
            index = indices[population.name]
            if index - 1 not in (-1, *indices.values()):
                file.create_group(f"layer/{index - 1}")["type"] = b"flatten"
            layer = file.create_group(f"layer/{index}")
            _write_layer(layer, population, *chain.graph.incoming(population.name))
        _write_graph(file.create_group("spikeport"), graph)
        file.flush()
        whole = file.id.get_file_image()
    with replacing(path) as temporary:
        temporary.write_bytes(whole)
    return path


def read_graph(path: Path) -> SpikingGraph:
    """The quantized graph of a file that `write_netx` wrote, name for name.

    Raises InputError for a file that is missing, no HDF5, truncated, damaged, or without that graph.

    >>> network, images = spikeport.example_network()
    >>> graph = spikeport.quantize(spikeport.lower(spikeport.trace(network, images[:1], 4).graph), peak=1.0)
    >>> again = spikeport.read_graph(spikeport.write_netx("network.net", graph))
    >>> [population.name for population in again.populations] == [population.name for population in graph.populations]
    True
    """
    root = read_tree(expected(path, NETX), PATTERN)
    try:
        found = root.get("spikeport")
        if not isinstance(found, Group):
            raise KeyError("there is none; `spikeport export` did not write this file")
        return _read_graph(found)
    except (InputError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged in its group /spikeport ({error}); export it again.") from error


def _write_layer(
    layer: h5py.Group, population: Population, forward: Projection, recurrent: Projection | None = None
) -> None:
    kernel = forward.kernel
    layer["type"] = b"conv" if isinstance(kernel, Conv) else b"dense_rec" if recurrent else b"dense"
    layer["shape"] = np.array(population.shape, np.int64)
    layer.create_dataset("weight", data=_whole(kernel.weight), compression="gzip")
    layer["bias"] = population.bias.astype(np.int32)
    if recurrent:
        layer.create_dataset("weight_rec", data=_whole(recurrent.kernel.weight), compression="gzip")
    if forward.delay is not None:
        layer["delay"] = forward.delay
    if isinstance(kernel, Conv):
        layer["stride"] = np.array(kernel.stride, np.int64)
        layer["padding"] = np.array(kernel.padding, np.int64)
        layer["dilation"] = np.array(kernel.dilation, np.int64)
        layer["groups"] = kernel.groups
    neuron = layer.create_group("neuron")
    neuron["type"] = b"CUBA"
    neuron["iDecay"] = DECAY_UNITY - in_registers(population.current_decay)
    neuron["vDecay"] = DECAY_UNITY - in_registers(population.decay)
    neuron["vThMant"] = np.asarray(population.threshold).astype(np.int64)
    neuron["refDelay"] = 1
    neuron["wgtExp"] = 0


def _whole(weight: Array) -> NDArray[np.signedinteger]:
    """Two bytes hold what the chip does; a convolution of other tools' files may be wider."""
    return weight.astype(np.int16 if np.abs(weight).max() < 2**15 else np.int32)


def _write_graph(group: h5py.Group, graph: SpikingGraph) -> None:
    """As data sets: the head in JSON, and the arrays."""
    head, arrays = parts_of(graph)
    for name, array in arrays.items():
        kind = name.partition("/")[0]
        if kind == "weight":
            group.create_dataset(name, data=_whole(array), compression="gzip")
        else:
            group[name] = array.astype(np.int32) if kind == "bias" else array
    group["graph"] = json.dumps(head)


def _read_graph(group: Group) -> SpikingGraph:
    def dataset(path: str) -> Dataset:
        found = group.get(path)
        if not isinstance(found, Dataset):
            raise ValueError(f"`{path}` is a group, or does not exist")
        return found

    graph = graph_of(json.loads(dataset("graph").text()), lambda path: dataset(path).numbers(), lambda n: n in group)
    if graph.arithmetic != "loihi":
        raise ValueError(f"a NetX file holds the chip's integers, but the graph is {graph.arithmetic}")
    return graph
