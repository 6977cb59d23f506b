"""Reads HDF5 for `hdf5.py`, as a process of its own that may crash: stdin asks, stdout answers.

A question is a line of JSON, {"path": ..., "pattern": ..., "numbers": ...}. The pattern says what is read: a name, or
"*" for every one, -> `true` for an array or a word, "words" for an array of words, or the pattern of a group. Of
everything else the name is told.

An answer is the bytes of each array, in the order of the tree, and then a text of JSON, each after twice 8 bytes: the
length of the text and that of the array, one of which is 0. The text says {"error": ...} or {"root": NODE}, where NODE
is {"group": {name: NODE}}, {"word": ...}, {"words": [...], "shape": ...}, {"dtype": ..., "shape": ...}, {"refused":
reason} (with dtype and shape where it would be an array), or {} for what is not read. An array is sent before the next
one is read: memory holds one.
"""

import codecs
import json
import mmap
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # its threads' buffers would count as memory
    here = Path(__file__).resolve().parent
    sys.path = [folder for folder in sys.path if Path(folder).resolve() != here]

import h5py
import numpy as np

try:
    import resource
except ImportError:  # Windows: the policy below holds, the limits of the system are not there
    resource = None  # type: ignore[assignment]

MEMORY = 5 * 2**27  # bytes beyond what the process has once it has started
CHUNK_BYTES = 2**26  # of one chunk, unpacked
CHUNK_OVERHEAD = 2**10  # bytes that packing may add to one that it makes no smaller: checksums, sizes
NAMES = 2**16  # of a group
NAME_LENGTH = 1000
WORD_BYTES = 2**26
WORDS = 2**18  # of an array of words
FILTERS = {"gzip": 1, "shuffle": 2, "fletcher32": 3, "szip": 4, "nbit": 5, "scaleoffset": 6, "lzf": 32000}
ENCODINGS = ("ascii", "latin-1", "utf-8")
HEAP = b"GCOL\x01\0\0\0"


class Refused(Exception):
    """Of one array: the others may be read."""


class Reader:
    """send: takes each array as it is read."""

    def __init__(self, numbers: int, send: Callable[[np.ndarray[Any, Any]], object]) -> None:
        self.left, self.limit = numbers, numbers
        self.send = send

    def group(self, group: h5py.Group, pattern: dict[str, Any]) -> dict[str, Any]:
        if len(group) > NAMES:
            return {"refused": f"has {len(group)} names, more than {NAMES}"}
        nodes = {}
        for name in group:
            if name[:NAME_LENGTH] in nodes:  # in a damaged file
                continue
            wanted = pattern.get(name, pattern.get("*"))
            nodes[name[:NAME_LENGTH]] = self.node(group, name, wanted) if wanted else {}
        return {"group": nodes}

    def node(self, group: h5py.Group, name: str, wanted: Any) -> dict[str, Any]:
        if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
            return {"refused": "is a link to another file"}
        try:
            found = group[name]
        except (KeyError, OSError, RuntimeError) as error:
            return {"refused": f"cannot be opened ({line(error)})"}
        if isinstance(found, h5py.Group):
            return self.group(found, wanted if isinstance(wanted, dict) else {})
        return self.array(found, wanted) if isinstance(found, h5py.Dataset) else {"refused": "is no array"}

    def array(self, data: h5py.Dataset, wanted: Any) -> dict[str, Any]:
        described: dict[str, Any] = {}
        try:
            if data.is_virtual or data.external:
                raise Refused("lies in another file")
            if h5py.check_string_dtype(data.dtype) is not None:
                check_packing(data)
                return self.words(data) if wanted == "words" else {"word": word(data)}
            if data.shape is None or data.dtype.kind not in "biuf" or data.dtype.itemsize > 8 or data.dtype.subdtype:
                raise Refused("holds no numbers")
            described = {"dtype": data.dtype.str, "shape": list(data.shape)}
            check_packing(data)
            size = 1
            for number in data.shape:
                size *= number
            self.take(size)
            values = np.ascontiguousarray(data[()], data.dtype.newbyteorder("="))
        except Refused as reason:
            return described | {"refused": str(reason)}
        self.send(values)
        return {"dtype": values.dtype.str, "shape": list(data.shape)}

    def words(self, data: h5py.Dataset) -> dict[str, Any]:
        if data.shape is None or data.size > WORDS or data.size * data.dtype.itemsize > WORD_BYTES:
            raise Refused(f"has no words, or more than {WORDS}")
        self.take(data.size)
        found = np.asarray(data[()]).reshape(-1)
        return {"words": [text_of(value) for value in found], "shape": list(data.shape)}

    def take(self, size: int) -> None:
        if size > self.left:
            raise Refused(f"declares {size} numbers, but this file may have {self.limit} in all")
        self.left -= size


def check_packing(data: h5py.Dataset) -> None:
    """Refuses chunks that are too large, or packed by who knows what."""
    made = data.id.get_create_plist()
    if made.get_layout() == h5py.h5d.CHUNKED:
        size = data.dtype.itemsize
        for number in made.get_chunk():
            size *= number
        if size > CHUNK_BYTES:
            raise Refused(f"has chunks of {size} bytes, more than {CHUNK_BYTES}")
        check_chunks(data, size)
    filters = [made.get_filter(i)[0] for i in range(made.get_nfilters())]
    if not set(filters) <= set(FILTERS.values()):
        raise Refused(f"is packed in a way other than {', '.join(FILTERS)}")
    if len(set(filters)) != len(filters):
        raise Refused("is packed twice in the same way")


def check_chunks(data: h5py.Dataset, size: int) -> None:
    """Refuses chunks of which more is stored than what they hold: they would unpack to many times that."""
    most = size + CHUNK_OVERHEAD
    large: list[int] = []

    def look(chunk: Any) -> bool | None:
        if chunk.size > most:
            large.append(chunk.size)
        return bool(large) or None  # True: no further ones

    if hasattr(data.id, "chunk_iter"):  # not with an HDF5 library before 1.12.3, whose chunks MEMORY alone bounds
        data.id.chunk_iter(look)
    if large:
        raise Refused(f"has a chunk of {size} bytes for which {large[0]} are stored")


def word(data: h5py.Dataset) -> str:
    if data.shape is None or data.size != 1 or data.dtype.itemsize > WORD_BYTES:
        raise Refused("is not one word")
    return text_of(np.asarray(data[()]).reshape(-1)[0])


def text_of(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def check_heaps(path: str) -> None:
    """Refuses damaged global heaps, which hold strings and in which the HDF5 library would search without end.

    Their layout: HDF5 File Format Specification 3.0, section III.E.
    """
    with Path(path).open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise ValueError("is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            start = data.find(HEAP)
            while start >= 0:
                size = int.from_bytes(data[start + 8 : start + 16], "little")
                end, at = start + size, start + 16
                while at + 16 <= end <= len(data):
                    index = int.from_bytes(data[at : at + 2], "little")
                    length = int.from_bytes(data[at + 8 : at + 16], "little")
                    at += length if index == 0 else 16 + -(-length // 8) * 8  # 0: free space, header included
                    if index == 0 and length < 16:
                        at = end + 1
                if at > end or end > len(data):
                    raise ValueError("its strings are damaged")
                start = data.find(HEAP, start + 8)


@contextmanager
def no_further_file() -> Iterator[None]:
    """Inside, the system refuses to open any file: not even a defect of the HDF5 library reads another one."""
    if resource is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = os.dup(0)  # the lowest number that is free: all below are taken
    os.close(taken)
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def read(
    path: str, pattern: dict[str, Any], numbers: int, send: Callable[[np.ndarray[Any, Any]], object]
) -> dict[str, Any]:
    check_heaps(path)
    with h5py.File(path, "r") as file, no_further_file():
        return {"root": Reader(numbers, send).group(file, pattern)}


def line(error: BaseException) -> str:
    return " ".join(str(error).split()).strip("'\"").rstrip(".")[:300]


def answer(question: dict[str, Any], send: Callable[[np.ndarray[Any, Any]], object]) -> dict[str, Any]:
    try:
        return read(question["path"], question["pattern"], question["numbers"], send)
    except MemoryError:
        return {"error": "it takes more memory than it may", "spent": True}
    except Exception as error:  # noqa: BLE001 (h5py raises all there are; this process is for what may fail)
        return {"error": line(error) or type(error).__name__}


def limit_memory() -> None:
    if resource is not None and Path("/proc/self/statm").exists():
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = used + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (wanted if hard < 0 else min(wanted, hard), hard))
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints must not stand between the answers
    for encoding in ENCODINGS:  # what is imported late must be by now, for no file can be opened then
        codecs.lookup(encoding)
    with h5py.File("warm", "w", driver="core", backing_store=False) as file:
        file["a"], file["b"], file["c"] = np.arange(3), "word", np.bytes_(b"word")
        file.create_dataset("d", data=np.arange(8.0), chunks=(4,), compression="gzip", shuffle=True)
        Reader(100, id).group(file, {"*": True})
    limit_memory()

    def write(*parts: memoryview) -> None:
        for rest in parts:
            while rest:
                rest = rest[output.write(rest) :]

    def send(values: np.ndarray[Any, Any]) -> None:
        write(memoryview(bytes(8) + values.nbytes.to_bytes(8, "little")), values.reshape(-1).view(np.uint8).data)

    for question in sys.stdin:
        text = json.dumps(answer(json.loads(question), send)).encode()
        write(memoryview(len(text).to_bytes(8, "little") + bytes(8) + text))


if __name__ == "__main__":
    main()
