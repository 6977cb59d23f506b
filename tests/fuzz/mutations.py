"""What is done to a valid file: to its structure, for each format, or to its bytes."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx

Random = np.random.Generator

WORDS = ("a\x1b[31mred\nnext", "x" * 60_000, "", "é\u2028\u202e", "CUBA\0", "../" * 20, "%s{0}", "\udcff", "1e999")
NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 7, 255, 256, 4095, 4096, 2**17, 2**31, 2**53, 2**63 - 1, -(2**63), 10**30),
    *(0.5, -0.75, 1e300, float("nan"), float("inf")),
)
OUTSIDE = ("other.h5", "fifo", "words.txt")  # in the folder of the case, for nobody to read


def mutate(path: Path, kind: str, random: Random) -> str:
    """One to three changes in place, those of bytes last, for a library hangs on some; returns their names."""
    done = []
    changes = [_choice(random, (*STRUCTURE[kind], *BYTES)) for _ in range(random.integers(1, 4))]
    for change in sorted(changes, key=lambda change: change in BYTES):
        with suppress(Exception):  # after another change there may no longer be what this one would change
            change(path, random)
            done.append(change.__name__)
    return "+".join(done)


def _choice(random: Random, things: Any) -> Any:
    return things[int(random.integers(len(things)))]


# -- bytes


def flip(path: Path, random: Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(random.integers(1, 9)):
        data[random.integers(len(data))] ^= 1 << int(random.integers(8))
    path.write_bytes(data)


def replace(path: Path, random: Random) -> None:
    data = bytearray(path.read_bytes())
    at, length = int(random.integers(len(data))), int(random.choice([1, 2, 4, 8, 64]))
    data[at : at + length] = _choice(random, (b"\xff", b"\x00", b"\x7f", b"\x01")) * length
    path.write_bytes(data)


def cut(path: Path, random: Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: random.integers(len(data))])


def repeat(path: Path, random: Random) -> None:
    data = path.read_bytes()
    first, last = sorted(random.integers(len(data), size=2))
    path.write_bytes(data[:last] + data[first:])


BYTES = (flip, replace, cut, repeat)

# -- HDF5


def _places(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visit(found.append)
    return found


def _untimed() -> Any:
    """How a data set is made, without a note of the time: the same case has the same bytes."""
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_obj_track_times(False)
    return made


def _edited(edit: Callable[[h5py.File, str, Random], None]) -> Callable[[Path, Random], None]:
    def change(path: Path, random: Random) -> None:
        with h5py.File(path, "r+") as file:
            edit(file, str(_choice(random, _places(file))), random)

    change.__name__ = edit.__name__
    return change


@_edited
def value(file: h5py.File, place: str, random: Random) -> None:
    """Another value, type or shape."""
    shape = tuple(int(n) for n in random.integers(0, 4, random.integers(0, 4)))
    dtype = str(_choice(random, ("f2", "f8", ">i4", "u8", "i1", "?", "c16", "longdouble", "S5")))
    number = _choice(random, NUMBERS)
    with np.errstate(all="ignore"):
        made = np.full(shape, number, np.float64).astype(dtype) if dtype != "S5" else np.full(shape, b"conv", dtype)
    del file[place]
    file[place] = made


@_edited
def word(file: h5py.File, place: str, random: Random) -> None:
    del file[place]
    text = str(
        _choice(random, (*WORDS, "conv", "dense", "dense_rec", "flatten", "input", "SDNN", "RF", "CUBA", "LOIHI"))
    )
    data = text.encode("utf-8", "surrogateescape")
    file[place] = _choice(random, (np.bytes_(data), np.array([data]), data.decode("latin1").replace("\0", "")))


@_edited
def nothing(file: h5py.File, place: str, random: Random) -> None:
    del file[place]
    if random.random() < 0.5:
        file[place] = h5py.Empty(_choice(random, ("f8", "S4", "i2")))


@_edited
def name(file: h5py.File, place: str, random: Random) -> None:
    data = str(_choice(random, WORDS)).encode("utf-8", "surrogateescape").replace(b"\0", b"") or b"x"
    file.id.links.move(place.encode(), place.encode() + data)


@_edited
def link(file: h5py.File, place: str, random: Random) -> None:
    """To another file, behind a soft link, to itself, or in a circle of groups."""
    target, other = str(_choice(random, OUTSIDE)), str(_choice(random, _places(file)))
    made: Any = _choice(
        random,
        (
            h5py.ExternalLink(target, "/" + place),
            h5py.ExternalLink(target, "/"),
            h5py.SoftLink("/behind"),
            h5py.SoftLink("/" + place),
            h5py.SoftLink("/" + other),
            file["/"],
        ),
    )
    del file[place]
    file[place] = made
    if isinstance(made, h5py.SoftLink) and made.path == "/behind":
        file["behind"] = h5py.ExternalLink(target, "/" + place)


@_edited
def elsewhere(file: h5py.File, place: str, random: Random) -> None:
    """Numbers or words that lie in another file, or in themselves."""
    data = file[place]
    shape, dtype = data.shape or (1,), data.dtype
    del file[place]
    if random.random() < 0.4:
        size = int(np.prod(shape)) * dtype.itemsize
        file.create_dataset(place, shape, dtype, external=[("words.txt", 0, max(size, 1))])
        return
    source, inside = _choice(random, ((".", "/" + place), ("other.h5", "/" + place), ("fifo", "/a")))
    space, made = h5py.h5s.create_simple(shape), _untimed()
    made.set_virtual(space, source.encode(), inside.encode(), space)
    h5py.h5d.create(file.id, place.encode(), h5py.h5t.py_create(dtype, logical=True), space, made)


@_edited
def huge(file: h5py.File, place: str, random: Random) -> None:
    """Declared, in chunks that are not there."""
    size = int(_choice(random, (2**20, 2**27, 2**33)))
    del file[place]
    chunk = int(_choice(random, (1024, 2**20, 2**28)))
    file.create_dataset(place, (size,), "i2", chunks=(min(chunk, size),), compression="gzip")


@_edited
def bomb(file: h5py.File, place: str, random: Random) -> None:
    """A chunk that unpacks to more than it should, once or twice packed."""
    shape, dtype = file[place].shape or (1,), h5py.h5t.NATIVE_DOUBLE
    del file[place]
    made = _untimed()
    made.set_chunk(tuple(max(n, 1) for n in shape))
    made.set_deflate(9)
    twice = random.random() < 0.3
    if twice:
        made.set_deflate(9)
    space = h5py.h5s.create_simple(shape, (h5py.h5s.UNLIMITED,) * len(shape))
    data = h5py.h5d.create(file.id, place.encode(), dtype, space, made)
    packed = _zeros()
    data.write_direct_chunk((0,) * len(shape), zlib.compress(packed, 9) if twice else packed)


_packed: list[bytes] = []


def _zeros() -> bytes:
    """A gibibyte of zeros, packed."""
    if not _packed:
        packer = zlib.compressobj(9)
        first, block = (packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
        _packed.append(first + 63 * block + packer.flush())
    return _packed[0]


def written_newly(path: Path, random: Random) -> None:
    """The same in the newest format of HDF5, whose bytes are others."""
    copy = path.with_suffix(".new")
    with h5py.File(path, "r") as file, h5py.File(copy, "w", libver="latest") as new:
        for top in file:
            file.copy(top, new)
    copy.replace(path)


HDF5 = (value, value, word, nothing, name, link, elsewhere, huge, bomb, written_newly)


def graph_text(path: Path, random: Random) -> None:
    """In the text of a graph of ours."""
    with h5py.File(path, "r+") as file:
        kept = file["spikeport/graph"]
        if kept.shape:
            raise ValueError("a change before this one has made it an array, maybe of GiB")
        text = json.dumps(_changed(json.loads(kept[()]), random))
        del file["spikeport/graph"]
        file["spikeport/graph"] = text


# -- arrays


def header(path: Path, random: Random) -> None:
    text = str(
        _choice(
            random,
            (
                "{'descr': '<u1', 'fortran_order': False, 'shape': (2, 6, 8",
                "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n",
                f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({10 ** int(random.integers(1, 25))},), }}\n",
                "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }\n",
                "{[]: 1}",
                "(" * 5000,
                "-" * int(random.choice([100, 9000, 60000])) + "1",
            ),
        )
    ).encode()
    long = random.random() < 0.3
    start = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1 if random.random() < 0.3 else len(text))
    path.write_bytes(
        (start if long else b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) % 2**16)) + text + bytes(64)
    )


def zipped(path: Path, random: Random) -> None:
    """Members renamed, doubled, of zeros without end, or packed otherwise."""
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    way = int(random.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]))
    chosen = str(_choice(random, list(members)))
    if random.random() < 0.3:
        data = io.BytesIO()
        np.save(data, np.zeros(2**21, np.uint8))
        members[chosen] = data.getvalue()
    elif random.random() < 0.5:
        members[str(_choice(random, WORDS))[:60_000]] = members.pop(chosen)
    with zipfile.ZipFile(path, "w", way) as archive:
        for member, content in members.items():
            archive.writestr(zipfile.ZipInfo(member), content, way)  # without a note of the time


# -- text


def _changed(data: Any, random: Random) -> Any:
    """A value somewhere in it replaced, taken away, or nested deep."""
    if isinstance(data, dict) and data and random.random() < 0.85:
        key = _choice(random, list(data))
        if random.random() < 0.1:
            return {other: inner for other, inner in data.items() if other != key}
        if random.random() < 0.1:
            return data | {str(_choice(random, WORDS)).encode("utf-8", "replace").decode(): data[key]}
        return data | {key: _changed(data[key], random)}
    if isinstance(data, list) and data and random.random() < 0.8:
        at = int(random.integers(len(data)))
        return [*data[:at], _changed(data[at], random), *data[at + (random.random() < 0.7) :]]
    return _choice(
        random, (*NUMBERS, *(w.encode("utf-8", "replace").decode() for w in WORDS), None, True, [], {}, [[]])
    )


def json_value(path: Path, random: Random) -> None:
    path.write_text(json.dumps(_changed(json.loads(path.read_text()), random)))


def deep(path: Path, random: Random) -> None:
    path.write_text(path.read_text() + str(_choice(random, ("[", '{"a":', "a = [", "("))) * 200_000)


def long_number(path: Path, random: Random) -> None:
    path.write_text(path.read_text().replace("1", "1" * 10_000, 1))


def toml_value(path: Path, random: Random) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    at = int(random.integers(len(lines)))
    key = lines[at].partition("=")[0]
    other = json.dumps(_choice(random, (*NUMBERS[:14], 0.5, *WORDS[:3], True, []))).replace("null", "nan")
    lines[at] = f"{key}= {other}" if "=" in lines[at] else f"[{_choice(random, ('x', 'a.b', '', 'energy'))}]"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


# -- ONNX and safetensors


def node(path: Path, random: Random) -> None:
    model = onnx.load(str(path), load_external_data=False)
    chosen = _choice(random, list(model.graph.node))
    _choice(
        random,
        (
            lambda: model.graph.node.remove(chosen),
            lambda: setattr(chosen, "op_type", str(_choice(random, ("Nowhere", "Loop", "Relu", "Expand")))),
            lambda: chosen.input.__setitem__(0, str(_choice(random, ("", "spikes", "a\x1b[31m\nb", "x" * 60_000)))),
            lambda: chosen.output.__setitem__(0, "images"),
        ),
    )()
    path.write_bytes(model.SerializeToString())


def constant(path: Path, random: Random) -> None:
    """Of another shape, or in another file."""
    model = onnx.load(str(path), load_external_data=False)
    tensor = _choice(random, list(model.graph.initializer))
    if random.random() < 0.5:
        tensor.dims[:] = [int(n) for n in random.choice([1, 2, 2**20, 2**40, -1], len(tensor.dims))]
    else:
        target = str(_choice(random, (*OUTSIDE, "../" * 9 + "etc/passwd")))
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, content in (("location", target), ("offset", "0"), ("length", "16")):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, content
    path.write_bytes(model.SerializeToString())


def metadata(path: Path, random: Random) -> None:
    """What an ONNX file says of its graph."""
    model = onnx.load_model_from_string(path.read_bytes())
    if not model.metadata_props:
        return
    prop = model.metadata_props[int(random.integers(len(model.metadata_props)))]
    try:
        told = json.loads(prop.value)
    except ValueError:
        told = prop.value
    prop.value = json.dumps(_changed(told, random))
    path.write_bytes(model.SerializeToString())


def tensors_header(path: Path, random: Random) -> None:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    changed = json.dumps(_changed(json.loads(data[8 : 8 + length]), random)).encode()
    path.write_bytes(len(changed).to_bytes(8, "little") + changed + data[8 + length :])


TEXT = (json_value, json_value, deep, long_number)
STRUCTURE: dict[str, tuple[Callable[[Path, Random], None], ...]] = {
    "netx": HDF5,
    "nir": HDF5,
    "carried": (node, constant, metadata, metadata, metadata),
    "weights": (zipped, zipped, flip),
    "graph": (*HDF5, graph_text, graph_text, graph_text, graph_text),
    "array": (header, header),
    "arrays": (zipped, zipped),
    "events": (zipped, zipped),
    "model": (node, constant),
    "tensors": (tensors_header, tensors_header),
    "genotype": TEXT,
    "manifest": TEXT,
    "settings": (toml_value, toml_value, deep, long_number),
    "chip": (toml_value, toml_value, toml_value, deep, long_number),
    "prices": (toml_value, toml_value, toml_value, deep, long_number),
}
