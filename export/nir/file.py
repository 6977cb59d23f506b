"""The nodes and edges of a NIR graph as anyone may have written them: read defensively, subgraphs flattened.

What `nir.write` makes (nir 1.0.8, nir/serialization.py), and how files vary:

    version                     a word; not every file has one, and nothing here depends on it
    node/type                   "NIRGraph"
    node/nodes/<name>/type      "LIF", "Conv2d", ...; a subgraph is a "NIRGraph" with nodes and edges of its own
    node/nodes/<name>/<param>   arrays, numbers; padding may be a word; metadata may be a group
    node/edges                  [E, 2] words: from, to. A set: what stands twice counts once
    node/metadata               words and numbers

A node `inner` of a subgraph `outer` becomes `outer.inner`; the subgraph's own Input and Output carry values through.
HDF5 keeps no order of names, so the order of nodes says nothing.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, UnsupportedError
from ...path_kind import NIR, expected
from ...reading.hdf5 import Dataset, Group, read_tree
from ..graph import Array

Stored = NDArray[Any] | str  # an array as it is stored, or a word
Edge = tuple[str, str]

DEPTH = 8  # of subgraphs in subgraphs
MAX_NODES = 2**16
THROUGH = "Through"  # the kind of a subgraph's Input or Output


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """values: parameter -> what is stored."""

    name: str
    kind: str
    values: Mapping[str, Stored]

    @property
    def where(self) -> str:
        return f"Node '{self.name}' ({self.kind})"

    def stored(self, key: str) -> NDArray[Any]:
        """An array of numbers without NaN, in the type it is stored in. Raises InputError."""
        found = self.values.get(key)
        if found is None:
            raise InputError(f"{self.where} must have `{key}`, but has none; write the file again.")
        if isinstance(found, str) or found.dtype.kind not in "biuf":
            raise InputError(f"{self.where} must have numbers as `{key}`; write the file again.")
        if not found.size or np.isnan(found).any():
            raise InputError(f"{self.where} must have numbers as `{key}`, but there is none, or NaN.")
        return found

    def numbers(self, key: str) -> Array:
        return np.asarray(self.stored(key), np.float64)

    def whole(self, key: str) -> tuple[int, ...]:
        """A few whole numbers."""
        values = self.numbers(key).reshape(-1)
        if values.size > 16 or not np.isfinite(values).all() or (values != np.rint(values)).any():
            raise InputError(f"{self.where} must have a few whole numbers as `{key}`, but has {values[:16].tolist()}.")
        if np.abs(values).max() >= 2**31:
            raise InputError(f"{self.where} must have numbers below 2^31 as `{key}`, but has {values.max():.0f}.")
        return tuple(int(value) for value in values)

    def sizes(self, key: str, axes: int, least: int) -> tuple[int, ...]:
        """One number for each axis, or one for all."""
        found = self.whole(key)
        found = found * axes if len(found) == 1 else found
        if len(found) != axes or min(found) < least:
            raise InputError(f"{self.where} must have {axes} numbers >= {least} as `{key}`, but has {list(found)}.")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Nodes by name, edges in the order of the file."""

    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]
    metadata: Mapping[str, Stored]
    repeated: tuple[Edge, ...] = ()  # edges that stand more than once


@contextmanager
def named(source: object) -> Iterator[None]:
    """An error inside names the file that was read, if it is one."""
    try:
        yield
    except (InputError, UnsupportedError) as error:
        if not isinstance(source, str | Path):
            raise
        raise type(error)(f"{source}: {error}") from error


def read_nodes(source: Any) -> Network:
    """The nodes of a NIR file, or of a `nir.NIRGraph` in memory.

    Raises InputError for a file that is missing, no HDF5, damaged or no NIR.
    """
    if isinstance(source, str | Path):
        tree = read_tree(expected(Path(source), NIR), PATTERN).get("node")
        if not isinstance(tree, Group):
            raise InputError(
                "a NIR file must have a group `node`, but this HDF5 file has none; `nir.write` writes one."
            )
        told: Mapping[str, Any] = tree
    elif hasattr(source, "to_dict"):
        told = source.to_dict()
    else:
        raise InputError(f"A NIR file or a nir.NIRGraph is needed, but this is a {type(source).__name__}.")
    flat = _Flat(nodes={}, edges=[])
    flat.graph("", told)
    edges = tuple(dict.fromkeys(flat.edges))
    repeated = (
        tuple(dict.fromkeys(edge for edge in edges if flat.edges.count(edge) > 1))
        if len(edges) < len(flat.edges)
        else ()
    )
    metadata = told.get("metadata")
    return Network(
        nodes=flat.nodes,
        edges=edges,
        metadata=_values("", metadata) if isinstance(metadata, Mapping) else {},
        repeated=repeated,
    )


def _pattern(depth: int) -> dict[str, Any]:
    inside: dict[str, Any] = {"*": True, "edges": "words", "metadata": {"*": True}}
    return inside | ({"nodes": {"*": _pattern(depth - 1)}} if depth else {})


PATTERN = {"node": _pattern(DEPTH + 1)}


@dataclass(slots=True, kw_only=True)
class _Flat:
    """Goes through graphs in graphs."""

    nodes: dict[str, Node]
    edges: list[Edge]

    def graph(self, prefix: str, told: Mapping[str, Any], depth: int = 0) -> tuple[list[str], list[str]]:
        """Adds what a graph holds; the names of its inputs and of its outputs."""
        where = f"Subgraph '{prefix[:-1]}'" if prefix else "The NIR graph"
        if depth > DEPTH:
            raise InputError(f"{where} lies in more than {DEPTH} others; flatten it.")
        nodes = told.get("nodes")
        if not isinstance(nodes, Mapping) or not nodes:
            raise InputError(f"{where} must have nodes, but has none; `nir.write` writes them.")
        entries, exits = dict[str, list[str]](), dict[str, list[str]]()
        for name, node in nodes.items():
            if not isinstance(node, Mapping):
                raise InputError(f"Node '{prefix}{name}' must be a group, but is an array; write the file again.")
            kind = _kind(f"{prefix}{name}", node)
            if kind == "NIRGraph":
                entries[name], exits[name] = self.graph(f"{prefix}{name}.", node, depth + 1)
            else:
                entries[name] = exits[name] = [self._add(f"{prefix}{name}", kind, node, inner=bool(prefix))]
        for source, target in _edges(where, told.get("edges")):
            for end in (source, target):
                if end not in entries:
                    raise InputError(f"{where} has an edge of '{end}', but no such node; write the file again.")
            self.edges.append((_only(where, source, exits[source]), _only(where, target, entries[target])))
        ends: tuple[list[str], list[str]] = ([], [])
        for name, node in nodes.items():
            for found, kind in zip(ends, ("Input", "Output"), strict=True):
                found += [f"{prefix}{name}"] if _kind(name, node) == kind else []
        return ends

    def _add(self, name: str, kind: str, node: Mapping[str, Any], *, inner: bool) -> str:
        if name in self.nodes:
            raise InputError(f"Names must be unique, but '{name}' stands for two nodes; rename one.")
        if len(self.nodes) >= MAX_NODES:
            raise InputError(f"A graph may have {MAX_NODES} nodes, but this one has more.")
        kind = THROUGH if inner and kind in ("Input", "Output") else kind
        self.nodes[name] = Node(name=name, kind=kind, values=_values(name, node))
        return name


def _only(where: str, name: str, found: list[str]) -> str:
    if len(found) != 1:
        raise UnsupportedError(
            f"{where}: an edge to or from the subgraph '{name}' needs one Input and one Output in it, but there are "
            f"{len(found)}; connect its nodes themselves."
        )
    return found[0]


def _kind(name: str, node: Mapping[str, Any]) -> str:
    kind = _value(node.get("type"))
    if not isinstance(kind, str) or not 0 < len(kind) <= 100:
        raise InputError(f"Node '{name}' must have one word as `type`; write the file again.")
    return kind


def _values(name: str, node: Mapping[str, Any]) -> dict[str, Stored]:
    found = {}
    for key, value in node.items():
        if isinstance(value, Dataset) and value.refused:
            raise InputError(f"Node '{name}' must hold `{key}` itself, but it {value.refused}.")
        stored = _value(value)
        if stored is not None and key not in ("type", "edges"):
            found[key] = stored
    return found


def _value(value: Any) -> Stored | None:
    """None: nothing that a node can hold."""
    if isinstance(value, Dataset):
        return value.word if value.word is not None else value.values
    if value is None or isinstance(value, Mapping):
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else np.asarray(value)


def _edges(where: str, value: Any) -> list[Edge]:
    if isinstance(value, Dataset):
        if value.words is None and value.size == 0:
            return []
        if value.words is None or len(value.shape) != 2 or value.shape[1] != 2:
            raise InputError(f"{where} must have edges [E, 2] of words, but has {value.refused or list(value.shape)}.")
        return list(zip(value.words[::2], value.words[1::2], strict=True))
    if value is None or isinstance(value, Group):
        raise InputError(f"{where} must have edges, but has none; write the file again.")
    return [(str(source), str(target)) for source, target in value]
