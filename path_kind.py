"""What a path is, told from its first bytes and its keys, and which command wants it: for whoever named another one.

Only the standard library is used, so that an error comes at once, and nothing is unpickled or decompressed.
"""

import json
import shlex
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .errors import InputError

# fmt: off
Kind = Literal[
    "nothing", "run", "export", "runs", "folder", "closed", "pipe", "empty", "pointer",
    "netx", "onnx", "safetensors", "array", "arrays", "checkpoint", "archive", "pickle", "image", "page",
    "genotype", "energy", "equivalence", "activity", "metrics", "manifest", "config", "json",
    "settings", "chip", "prices", "toml", "text", "encoded", "unknown",
]
# fmt: on

HEAD = 1024  # bytes that tell a format
CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\r\f\x1b")  # bytes that no text has
LARGEST = 2**25  # bytes of a text that is read to tell what it says

# kind -> what it is, and the command that wants it: {path} is the path, {run} the run that it lies in, or RUN
KINDS: Mapping[Kind, tuple[str, str]] = {
    "nothing": ("nothing", ""),
    "run": ("a run folder", "`spikeport export {path}`, deploy, energy, fit and report read it"),
    "export": ("an export folder of a run", "name the run: `spikeport deploy {run}`"),
    "runs": ("a folder of runs", "name one of them, as {inside}"),
    "folder": ("a folder that holds no run", "name the file itself; `spikeport search --out` makes a run"),
    "closed": ("closed to you", "change its permissions"),
    "pipe": ("no regular file", "write it to a file first"),
    "empty": ("an empty file", "write or copy it again"),
    "pointer": ("a Git LFS pointer", "fetch the file that it stands for: `git lfs pull`"),
    "netx": ("an HDF5 file, as NetX is", "`spikeport inspect {path}` reads it, and so do run, energy and fit"),
    "onnx": ("an ONNX file", "`spikeport deploy {run}` compares those of a run, and `spikeport compare` two forms"),
    "safetensors": ("a file of weights (safetensors)", "name its run: `spikeport export {run}`"),
    "array": ("an array (.npy)", "`spikeport run NETWORK.net --input {path}` reads it"),
    "arrays": ("a file of several arrays (.npz)", "`spikeport search --dataset npz:{path},TEST.npz` reads images"),
    "checkpoint": ("a PyTorch checkpoint", "`spikeport import MODULE:BUILDER --weights {path}` reads its weights"),
    "archive": ("an archive", "unpack it and name a file in it"),
    "pickle": ("a pickle, which may run any code", "no command opens it; save arrays with numpy.save"),
    "image": ("an image", "save its pixels with numpy.save, or with numpy.savez for --dataset npz:"),
    "page": ("a page or drawing for people", "open it in a browser; `spikeport report {run}` writes reports again"),
    "genotype": ("a genotype", "`spikeport fit {path}` and `spikeport search --genotype {path}` read it"),
    "energy": ("the energy.json of a run", "`spikeport report {run}` reads it"),
    "equivalence": ("the equivalence.json of a run", "`spikeport report {run}` reads it"),
    "activity": ("the activity.json of a run", "`spikeport report {run}` reads it"),
    "metrics": ("the metrics.json of a run", "`spikeport report {run}` reads it"),
    "manifest": ("the manifest.json of a run", "name the run: `spikeport report {run}`"),
    "config": ("the model/config.json of a run", "name the run: `spikeport export {run}`"),
    "json": ("a JSON file", "no command reads one like it"),
    "settings": ("a settings file", "`spikeport search --settings {path}` reads it"),
    "chip": ("the limits of a chip", "`spikeport fit NETWORK --chip {path}` reads it"),
    "prices": ("a price list", "`spikeport energy NETWORK --profiles {path}` reads it"),
    "toml": ("a TOML file", "no command reads one like it"),
    "text": ("a text file", "no command reads it"),
    "encoded": ("a text in another encoding than UTF-8", "save it as UTF-8"),
    "unknown": ("a file of unknown kind", "no command reads it"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a command reads. kinds: what is let through; its reader then says what is wrong inside."""

    words: str
    kinds: frozenset[Kind]
    of_a_run: str = ""  # where a run has one


RUN = Wanted(words="a run folder", kinds=frozenset({"run"}))
NETX = Wanted(words="a NetX file (HDF5)", kinds=frozenset({"netx"}), of_a_run="export/loihi/network.net")
NIR = Wanted(words="a NIR file (HDF5)", kinds=frozenset({"netx"}), of_a_run="export/nir/network.nir")
ARRAY = Wanted(words="an array that numpy.save wrote", kinds=frozenset({"array"}))
ARRAYS = Wanted(words="an .npz file of `images` and `labels`", kinds=frozenset({"arrays", "archive"}))
GENOTYPE = Wanted(
    words="a genotype (JSON)", kinds=frozenset({"genotype", "json", "text"}), of_a_run="search/genotype.json"
)
SETTINGS = Wanted(words="a settings file (TOML)", kinds=frozenset({"settings", "empty", "toml", "text", "pipe"}))
CHIP = Wanted(words="the limits of a chip (TOML)", kinds=frozenset({"chip", "toml", "text"}))
PRICES = Wanted(words="a price list (TOML)", kinds=frozenset({"prices", "toml", "text"}))
NETWORK = Wanted(words="a run folder, a NetX file or a genotype", kinds=frozenset({"run", "netx", "genotype", "json"}))
WEIGHTS = Wanted(
    words="weights (safetensors or a checkpoint)", kinds=frozenset({"safetensors", "checkpoint", "pickle"})
)
PRICED = Wanted(words="a run folder or a NetX file", kinds=frozenset({"run", "netx"}))


def expected(path: Path, wanted: Wanted, by: str = "") -> Path:
    """The path, where it is of a kind that is wanted. by: the command or option that reads it.

    Raises InputError that says what it is instead and which command wants it, or that nothing is there.
    """
    kind = kind_of(path)
    if kind in wanted.kinds:
        return path
    if kind == "nothing":
        raise InputError(f"There is no '{path}'; give {wanted.words}.")
    reader = f"{by} reads {wanted.words}" if by else f"{wanted.words} is needed here"
    raise InputError(f"'{path}' is {KINDS[kind][0]}, but {reader}; {_next(path, kind, wanted, by)}.")


def kind_of(path: Path) -> Kind:
    """Reads no more than it takes; never raises."""
    try:
        if path.is_dir():
            return _folder(path)
        if not path.exists():
            return "nothing"
        if not path.is_file():
            return "pipe"
        with path.open("rb") as file:
            return _file(path, file.read(HEAD))
    except (OSError, ValueError):  # ValueError: a name with a zero byte
        return "nothing" if _unthinkable(path) else "closed"


def itself(path: Path) -> Path:
    """The path, unless its file only points to the one that is meant. Raises InputError that says how to fetch it."""
    if kind_of(path) == "pointer":
        raise InputError(f"'{path}' is a Git LFS pointer; {KINDS['pointer'][1]}.")
    return path


def run_around(path: Path) -> Path | None:
    """The run that a path lies in."""
    return next((folder for folder in path.parents if _is_run(folder)), None)


def _unthinkable(path: Path) -> bool:
    """Whether no file can have such a name."""
    name = str(path)
    return "\0" in name or max(map(len, map(str.encode, path.parts)), default=0) > 255 or len(name.encode()) > 4095


def _is_run(folder: Path) -> bool:
    found = folder / "manifest.json"
    return found.is_file() and folder.parent.name != "export"


def _folder(path: Path) -> Kind:
    if _is_run(path):
        return "run"
    if path.parent.name == "export" and run_around(path):
        return "export"
    return "runs" if _runs(path) else "folder"


def _runs(folder: Path) -> list[Path]:
    return sorted(found.parent for found in folder.glob("*/manifest.json") if _is_run(found.parent))


def _file(path: Path, head: bytes) -> Kind:
    if not head:
        return "empty"
    for starts, kind in MAGIC:
        if head.startswith(starts):
            return kind
    if head.startswith(b"PK"):
        return _archive(path)
    if head[4:8] == b"ftyp" or (head.startswith(b"RIFF") and head[8:12] == b"WEBP"):
        return "image"
    if head[8:9] == b"{" and head[6:8] == b"\0\0":  # length of the header, 8 bytes, then JSON
        return "safetensors"
    if head[0] == 8 and head[1:2] < b"\x40" and head[2:3] in (b"\x12", b"\x1a", b"\x3a", b"\x42"):  # ir_version, then
        return "onnx"  # producer, its version, graph or operator set
    if head[0] == 0x80 and head[1:2] <= b"\x05":
        return "pickle"
    return _text(path, head)


MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"\x89HDF\r\n\x1a\n", "netx"),
    (b"\x93NUMPY", "array"),
    (b"version https://git-lfs.github.com/spec/", "pointer"),
    (b"\x89PNG", "image"),
    (b"\xff\xd8\xff", "image"),
    (b"GIF8", "image"),
    (b"BM", "image"),
    (b"II*\0", "image"),
    (b"MM\0*", "image"),
    (b"\x1f\x8b", "archive"),
    (b"BZh", "archive"),
    (b"\xfd7zXZ\0", "archive"),
    (b"\x28\xb5\x2f\xfd", "archive"),
    (b"%PDF", "page"),
)


def _archive(path: Path) -> Kind:
    """Of a zip by the names in it; a damaged one by its own name."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "arrays" if path.suffix == ".npz" else "archive"
    if any(name.endswith("data.pkl") for name in names):
        return "checkpoint"
    return "arrays" if names and all(name.endswith(".npy") for name in names) else "archive"


def _text(path: Path, head: bytes) -> Kind:
    if b"\0" in head or path.stat().st_size > LARGEST:
        return "unknown"
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        return "unknown" if CONTROLS.intersection(head) else "encoded"
    start = text.lstrip()[:9].lower()
    if start.startswith(("<!doctype", "<html", "<svg", "<?xml")):
        return "page"
    if start.startswith(("{", "[")) and path.suffix != ".toml":
        return _by_keys(_parsed(json.loads, text), OF_JSON, "json" if path.suffix == ".json" else "text", "json")
    return _by_keys(_parsed(tomllib.loads, text), OF_TOML, "toml" if path.suffix == ".toml" else "text", "toml")


def _parsed(parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except (ValueError, RecursionError):  # both parsers' errors are ValueErrors
        return None


def _by_keys(data: Any, table: tuple[tuple[set[str], Kind], ...], damaged: Kind, other: Kind) -> Kind:
    if not isinstance(data, dict) or not data:  # a page of comments is TOML, too
        return damaged
    return next((kind for keys, kind in table if keys <= data.keys()), other)


OF_JSON: tuple[tuple[set[str], Kind], ...] = (
    ({"primitives", "normal", "reduce"}, "genotype"),
    ({"profiles", "per_population"}, "energy"),
    ({"verdict", "checks"}, "equivalence"),
    ({"populations", "sample"}, "activity"),
    ({"test_accuracy", "parameters"}, "metrics"),
    ({"command", "settings"}, "manifest"),
    ({"populations", "places"}, "manifest"),
    ({"populations", "dt"}, "manifest"),
    ({"genotype", "network"}, "config"),
    ({"imported"}, "config"),
)

OF_TOML: tuple[tuple[set[str], Kind], ...] = (
    ({"rule", "limits"}, "chip"),
    ({"technology", "evidence"}, "prices"),
    *(
        ({table}, "settings")
        for table in ("network", "data", "training", "objective", "supernet", "trials", "strategy")
    ),
    *(({name}, "settings") for name in ("dataset", "channels", "search_epochs", "train_epochs", "seed")),
)


def _next(path: Path, kind: Kind, wanted: Wanted, by: str) -> str:
    """The next step: what of the run is wanted, or the command that reads what was named."""
    run = path if kind == "run" else run_around(path)
    if kind not in ("empty", "pointer", "closed") and run is not None:
        if wanted.of_a_run:
            found = run / wanted.of_a_run
            what = wanted.words.split(" (")[0].removeprefix("a ")
            if found.is_file():
                again = f" (`spikeport {by} {_word(found)}{' --input ARRAY.npy' if by == 'run' else ''}`)" if by else ""
                return f"its {what} is '{found}'{again}"
            if wanted is NETX:
                return f"it was not exported for a chip: `spikeport export {_word(run)} --target loihi` does"
        elif "run" in wanted.kinds and kind != "run":
            return f"it belongs to the run '{run}'"
    if wanted is ARRAY and kind == "arrays":
        return f"save one of its arrays by itself: numpy.save('one.npy', numpy.load('{path}')['NAME'])"
    inside = _runs(path)[0] if kind == "runs" else path
    return KINDS[kind][1].format(path=_word(path), run="RUN" if run is None else _word(run), inside=_word(inside))


def _word(path: Path) -> str:
    return shlex.quote(str(path))
