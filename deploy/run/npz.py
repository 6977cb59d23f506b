"""An `.npz` file written while its arrays come: `numpy.load` reads it as one of `numpy.savez_compressed`.

A zip file holds one array after the other, but a run makes a piece of each in turn. So each array is deflated as it
comes into a temporary file of its own beside the result; at the end these are joined, deflated as they are, and each is
removed once it is in. The disk must hold the finished file and its largest array once more; nothing is ever on it
uncompressed. Every field that may need it is that of zip64 (PKWARE APPNOTE 6.3.9, 4.3 and 4.5.3).
"""

import io
import shutil
import struct
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

Shape = tuple[int, ...]

BLOCK = 2**22  # bytes that are deflated or copied at once
DEFLATED, VERSION, ZIP64, FULL = 8, 45, 1, 0xFFFF_FFFF
THE_FIRST_DAY = 0x21  # 1980-01-01, so that the same run is the same bytes


class Member:
    """One array, deflated as it comes, in C-order."""

    def __init__(self, path: Path, name: str, shape: Shape, dtype: np.dtype[np.generic]) -> None:
        self.path, self.name, self.dtype = path, f"{name}.npy".encode(), dtype
        self.left = dtype.itemsize * int(np.prod(shape, dtype=object))
        self.size = self.deflated = self.crc = 0
        self.file: BinaryIO = path.open("wb")
        # runs alone: spikes and membranes become as small as by level 6 with all matches, six times as fast
        self._deflate = zlib.compressobj(1, zlib.DEFLATED, -15, 8, zlib.Z_RLE)
        header = io.BytesIO()
        described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, described)
        self._add(memoryview(header.getvalue()))

    def add(self, values: NDArray[np.generic]) -> None:
        data = np.ascontiguousarray(values, self.dtype).reshape(-1).view(np.uint8).data
        self.left -= len(data)
        for start in range(0, len(data), BLOCK):
            self._add(data[start : start + BLOCK])

    def close(self) -> None:
        if self.left:
            raise ValueError(f"`{self.name.decode()}` lacks {self.left} bytes of its shape")
        self._write(self._deflate.flush())
        self.file.close()

    def _add(self, data: memoryview) -> None:
        self.size += len(data)
        self.crc = zlib.crc32(data, self.crc)
        self._write(self._deflate.compress(data))

    def _write(self, data: bytes) -> None:
        self.file.write(data)
        self.deflated += len(data)


class NpzWriter:
    """arrays: name -> (shape, dtype). Write them with `add`, piece by piece; the file is there after `with`."""

    def __init__(self, path: Path, arrays: Mapping[str, tuple[Shape, DTypeLike]]) -> None:
        self.path, self.arrays = path, arrays
        self.members: dict[str, Member] = {}

    def __enter__(self) -> Self:
        try:
            for name, (shape, dtype) in self.arrays.items():
                beside = self.path.with_name(f"{self.path.name}.{name}")
                self.members[name] = Member(beside, name, shape, np.dtype(dtype))
        except OSError:
            self._remove()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if error is None:
                self._join()
        finally:
            self._remove()

    def add(self, name: str, values: NDArray[np.generic]) -> None:
        """The next numbers of an array, in C-order."""
        self.members[name].add(values)

    @property
    def written(self) -> int:
        """Bytes so far, deflated."""
        return sum(member.deflated for member in self.members.values())

    def _remove(self) -> None:
        for member in self.members.values():
            with suppress(OSError):  # of a full disk, on which the last bytes have no place
                member.file.close()
            member.path.unlink(missing_ok=True)

    def _join(self) -> None:
        directory = b""
        with self.path.open("wb") as out:
            for member in self.members.values():
                member.close()
                at = out.tell()
                common = (VERSION, 0, DEFLATED, 0, THE_FIRST_DAY, member.crc, FULL, FULL, len(member.name))
                sizes = struct.pack("<HHQQ", ZIP64, 16, member.size, member.deflated)
                out.write(struct.pack("<4s5H3I2H", b"PK\3\4", *common, len(sizes)) + member.name + sizes)
                with member.path.open("rb") as file:
                    shutil.copyfileobj(file, out, BLOCK)
                member.path.unlink()
                where = struct.pack("<HHQQQ", ZIP64, 24, member.size, member.deflated, at)
                rest = (len(where), 0, 0, 0, 0, FULL)  # no comment, on the first disk, no attributes, offset in zip64
                directory += struct.pack("<4s6H3I5H2I", b"PK\1\2", VERSION, *common, *rest) + member.name + where
            at, many, long = out.tell(), len(self.members), len(directory)
            out.write(directory)
            end = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, VERSION, VERSION, 0, 0, many, many, long, at)
            locator = struct.pack("<4sIQI", b"PK\6\7", 0, at + long, 1)
            out.write(end + locator + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, many, many, FULL, FULL, 0))
