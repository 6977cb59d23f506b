"""Small valid files, one kind for each reader: what a mutation begins with."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import safetensors.numpy
from onnx import TensorProto, helper

from spikeport.search.settings.run import choose
from spikeport.search.space.genotype import random_genotype, to_dict

Random = np.random.Generator


def netx(path: Path, random: Random) -> None:
    """A chain of one to three layers of every kind that runs."""
    with h5py.File(path, "w") as file:
        shape: tuple[int, ...] = (int(random.integers(1, 4)), 5, 6) if random.random() < 0.5 else (9,)
        group = file.create_group("layer/0")
        group["type"], group["shape"] = np.bytes_("input"), np.array(shape)
        if random.random() < 0.2:
            group["weight"], group["bias"] = 8, 2
            _neuron(group, random)
        index = 1
        for _ in range(random.integers(1, 4)):
            if len(shape) == 3 and random.random() < 0.6:
                group = file.create_group(f"layer/{index}")
                outputs, kernel = int(random.integers(1, 5)), int(random.integers(1, 4))
                group["type"] = np.bytes_("conv")
                group["weight"] = 2 * random.integers(-64, 64, (outputs, shape[0], kernel, kernel))
                for key, value in (("stride", 1), ("padding", kernel // 2), ("dilation", 1), ("groups", 1)):
                    group[key] = value
                size = [n + 2 * (kernel // 2) - kernel + 1 for n in shape[1:]]
                shape = (outputs, *size)
            else:
                if len(shape) == 3:
                    file[f"layer/{index}/type"] = np.bytes_("flatten")
                    index, shape = index + 1, (int(np.prod(shape)),)
                group = file.create_group(f"layer/{index}")
                outputs, recurrent = int(random.integers(2, 7)), random.random() < 0.2
                group["type"] = np.bytes_("dense_rec" if recurrent else "dense")
                weight = 2 * random.integers(-60, 64, (outputs, *shape))
                if random.random() < 0.5:
                    group.create_dataset("weight", data=weight, compression="gzip")
                else:
                    group["weight"] = weight.astype(np.float32)
                if recurrent:
                    group["weight_rec"] = 2 * random.integers(-60, 64, (outputs, outputs))
                elif random.random() < 0.2:
                    group["delay"] = random.integers(0, 5, weight.shape)
                shape = (outputs,)
            group["shape"] = np.array(shape)
            if random.random() < 0.5:
                group["bias"] = random.integers(-50, 50, shape[0])
            _neuron(group, random)
            index += 1
        if random.random() < 0.2:
            file["simulation/tSample"] = 4


def _neuron(group: h5py.Group, random: Random) -> None:
    neuron = group.create_group("neuron")
    neuron["type"] = np.bytes_("CUBA")
    neuron["iDecay"], neuron["vDecay"] = int(random.choice([4096, 2048, 300])), int(random.choice([128, 0, 4096]))
    neuron["vThMant"], neuron["refDelay"] = int(random.integers(1, 300)), 1


@cache
def _exported() -> bytes:
    """A file of ours, with its group /spikeport."""
    import tempfile

    import spikeport

    network, images = spikeport.example_network()
    graph = spikeport.quantize(spikeport.lower(spikeport.trace(network, images[:1], 4).graph), peak=1.0)
    with tempfile.TemporaryDirectory() as folder:
        return spikeport.write_netx(Path(folder, "network.net"), graph).read_bytes()


def exported(path: Path, random: Random) -> None:
    path.write_bytes(_exported())


@cache
def _written(ending: str) -> bytes:
    """A float graph with a convolution and a matrix, in another format."""
    import tempfile

    import spikeport

    network, images = spikeport.example_network()
    graph = spikeport.trace(network, images[:1], 4).graph
    with tempfile.TemporaryDirectory() as folder:
        start = spikeport.write_nir(Path(folder, "network.nir"), graph)
        return (start if ending == "nir" else spikeport.convert(start, Path(folder, "network.onnx")).path).read_bytes()


def nir(path: Path, random: Random) -> None:
    path.write_bytes(_written("nir"))


def carried(path: Path, random: Random) -> None:
    """An ONNX file that carries its graph."""
    path.write_bytes(_written("onnx"))


def weights(path: Path, random: Random) -> None:
    """A checkpoint of torch."""
    import torch

    state = {"state_dict": {"a": torch.ones(2, 3), "b": torch.arange(4)}, "epoch": 3}
    torch.save(state, path)


def array(path: Path, random: Random) -> None:
    shape = tuple(random.integers(0, 5, random.integers(0, 5)))
    dtype = random.choice(["u1", "i8", "f4", ">i2", "?"])
    with path.open("wb") as file:
        np.save(file, random.integers(0, 2, shape).astype(dtype))


def arrays(path: Path, random: Random) -> None:
    save: Callable[..., None] = np.savez if random.random() < 0.5 else np.savez_compressed
    with path.open("wb") as file:
        save(file, images=random.integers(0, 256, (4, 3, 3, 1)).astype(np.uint8), labels=np.arange(4) % 2)


def events(path: Path, random: Random) -> None:
    """Four recordings of a camera of 6x5 pixels, one of them without events."""
    counts = np.concatenate([random.integers(1, 9, 3), [0]])
    total = int(counts.sum())
    of_each = {"t_us": 1000, "x": 5, "y": 6, "p": 2}  # name -> one above the largest
    named = {name: random.integers(0, above, total).astype(np.int32) for name, above in of_each.items()}
    offsets = np.concatenate([[0], np.cumsum(counts)])
    save: Callable[..., None] = np.savez if random.random() < 0.5 else np.savez_compressed
    with path.open("wb") as file:
        save(file, **named, offsets=offsets, labels=np.arange(4) % 2)


def model(path: Path, random: Random) -> None:
    """As much of an encoder as its reader asks for."""
    weight = helper.make_tensor("weight", TensorProto.FLOAT, [2, 2], [1.0, 0.5, -1.0, 2.0])
    nodes = [
        helper.make_node("MatMul", ["images", "weight"], ["current"]),
        helper.make_node("Unsqueeze", ["current", "axis"], ["many"]),
        helper.make_node("Greater", ["many", "threshold"], ["fired"]),
        helper.make_node("Cast", ["fired"], ["spikes"], to=TensorProto.FLOAT),
    ]
    constants = [
        weight,
        helper.make_tensor("axis", TensorProto.INT64, [1], [0]),
        helper.make_tensor("threshold", TensorProto.FLOAT, [], [0.5]),
    ]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("spikes", TensorProto.FLOAT, [1, "batch", 2])],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    made.ir_version = 8
    onnx.save(made, str(path))


def tensors(path: Path, random: Random) -> None:
    safetensors.numpy.save_file(
        {"a": random.random((2, 3)).astype(np.float32), "b": np.arange(4)}, path, {"state": json.dumps({"epoch": 1})}
    )


def genotype(path: Path, random: Random) -> None:
    path.write_text(json.dumps(to_dict(random_genotype(random, "plain"))))


def manifest(path: Path, random: Random) -> None:
    path.write_text(json.dumps({"settings": choose(seed=int(random.integers(9))).to_dict(), "version": 1}))


def settings(path: Path, random: Random) -> None:
    lines = ["seed = 3", "[network]", "channels = 4", 'primitives = "plain"', "[training]", "train_epochs = 2"]
    path.write_text("\n".join(lines[: int(random.integers(1, len(lines) + 1))]) + "\n")


def _first_of(folder: str) -> str:
    import spikeport

    found = sorted((Path(spikeport.__file__).parent / folder).glob("*.toml"))
    return found[0].read_text(encoding="utf-8")


def chip(path: Path, random: Random) -> None:
    path.write_text(_first_of("deploy/mapping/chips"), encoding="utf-8")


def prices(path: Path, random: Random) -> None:
    path.write_text(_first_of("deploy/cost/profiles"), encoding="utf-8")


SEEDS: dict[str, tuple[str, Callable[[Path, Random], Any]]] = {  # kind -> file name, writer
    "netx": ("case.net", netx),
    "graph": ("case.net", exported),
    "nir": ("case.nir", nir),
    "carried": ("case.onnx", carried),
    "weights": ("case.pt", weights),
    "array": ("case.npy", array),
    "arrays": ("case.npz", arrays),
    "events": ("case.npz", events),
    "model": ("case.onnx", model),
    "tensors": ("case.safetensors", tensors),
    "genotype": ("case.json", genotype),
    "manifest": ("manifest.json", manifest),
    "settings": ("case.toml", settings),
    "chip": ("case.toml", chip),
    "prices": ("case.toml", prices),
}
