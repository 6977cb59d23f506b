"""Any form of a network, run: the network itself, its graph, or a file of it."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...errors import InputError
from ...export.graph import SpikingGraph
from ...export.netx.file import read_layers
from ...export.netx.reader import read_netx
from ...export.netx.writer import read_graph
from ...export.nir.reader import read_nir
from ...export.onnx.carried import graph_in
from .forms import EncoderRunner, GraphOnnxRunner, GraphRunner, NetxRunner, OnnxRunner, TwinRunner
from .record import Record, Spikes
from .torch_network import TorchRunner


def run(
    form: nn.Module | SpikingGraph | Path | str, values: NDArray[np.generic], graph: SpikingGraph | None = None
) -> Record:
    """What a form of a network answers: the spikes of every population, and the readout.

    form: a network in eval mode or model.onnx, which read images float32 [N, C, H, W]; a graph, float or quantized, a
    NetX file, a NIR file of spikeport (of others: `read_nir` and its graph), or the ONNX file of a graph (twin.onnx),
    which read spikes uint8 [T, N, *shape]. The populations
    of a NetX file are those of the graph that it was written from, or, of anyone else's, its layers. Raises InputError
    for a file that is damaged or of another kind.

    >>> network, images = spikeport.example_network()
    >>> spikeport.run(network, images).readout.shape
    (8, 10)
    """
    if isinstance(form, nn.Module):
        images = np.asarray(values, np.float32)
        return TorchRunner(form, images[:1])(images)
    if isinstance(form, SpikingGraph):
        return GraphRunner(form)(_spikes(values))
    path = Path(form)
    if path.suffix == ".net":
        spikes = _spikes(values)
        if read_layers(path).carries_graph:
            return NetxRunner(path, read_graph(path))(spikes)
        if spikes.ndim == 4:  # [T, N, H, W]: two axes are flat in a graph
            spikes = spikes.reshape(*spikes.shape[:2], -1)
        return GraphRunner(read_netx(path, time_steps=len(spikes), input_shape=spikes.shape[2:]).graph)(spikes)
    if path.suffix == ".nir":
        return GraphRunner(read_nir(path).graph)(_spikes(values))
    graph = graph_in(path) if graph is None else graph  # files of before carry none
    if graph is not None:
        runner = TwinRunner if graph.arithmetic == "loihi" else GraphOnnxRunner
        return runner(path, graph)(_spikes(values))
    return OnnxRunner(path)(np.asarray(values, np.float32))


def encode(encoder: nn.Module | Path | str, images: NDArray[np.float32] | torch.Tensor) -> Spikes:
    """Images [N, C, H, W] -> the spikes uint8 [T, N, *shape] that enter the chip (files have the samples first).

    encoder: `Traced.encoder`, encoder.onnx, or a whole network, of which the first spiking layer is meant.

    >>> network, images = spikeport.example_network()
    >>> spikeport.encode(network, images).shape
    (4, 8, 8, 8, 8)
    """
    pixels = np.asarray(images, np.float32)
    if not isinstance(encoder, nn.Module):
        return EncoderRunner(Path(encoder))(pixels)
    found = TorchRunner(encoder, pixels[:1]).first_spikes(pixels)
    return np.ascontiguousarray(found)


def _spikes(values: NDArray[np.generic]) -> Spikes:
    if not np.isin(values, (0, 1)).all():
        raise InputError(
            "This form reads spikes, 0 or 1, but got other values; `spikeport.encode` makes them of images."
        )
    return np.asarray(values, np.uint8)
