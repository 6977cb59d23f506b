"""NIR files as others write, vary and damage them: read like `nir.read` reads them, or refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.export.nir.file import read_nodes
from spikeport.export.nir.reader import read_nir

from .graphs import DT, chain, cuba, equal, lif, read


def network() -> nir.NIRGraph:
    """Every kind of value: arrays, numbers, words, a subgraph, metadata."""
    conv = nir.Conv2d((4, 4), np.ones((2, 1, 3, 3), np.float32), 1, "same", 1, 1, np.zeros(2, np.float32))
    inner = chain(nir.SumPool2d(*(np.array(x) for x in ([2, 2], [2, 2], [0, 0]))), shape=(2, 4, 4))
    inner.nodes["output"] = nir.Output(np.array([2, 2, 2]))
    nodes = (
        conv,
        lif((2, 4, 4)),
        inner,
        nir.Flatten({"input": np.array([2, 2, 2])}, 0, -1),
        nir.Linear(np.ones((3, 8))),
    )
    graph = chain(*nodes, cuba(3), shape=(1, 4, 4))
    graph.nodes["output"] = nir.Output(np.array([3]))
    graph.metadata = {"author": "someone"}
    return graph


def written(path: Path, graph: nir.NIRGraph | None = None) -> Path:
    nir.write(path / "network.nir", graph or network())
    return path / "network.nir"


def edited(path: Path, edit: Callable[[h5py.File], Any]) -> Path:
    with h5py.File(written(path), "r+") as file:
        edit(file)
    return path / "network.nir"


def replaced(key: str, value: Any) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        if key in file:
            del file[key]
        if value is not None:
            file[key] = value

    return edit


def test_the_same_nodes_as_the_library_reads(tmp_path: Path) -> None:
    ours, theirs = read_nodes(written(tmp_path)), nir.read(tmp_path / "network.nir", type_check=False)
    assert set(ours.edges) == {
        (a.replace("n2", x), b.replace("n2", y)) for a, b in theirs.edges for x, y in [("n2.output", "n2.input")]
    } | {
        ("n2.input", "n2.n0"),
        ("n2.n0", "n2.output"),
    }
    assert ours.metadata == theirs.metadata
    for name, node in theirs.nodes.items():
        if name == "n2":
            continue
        stored = {
            key: value for key, value in node.to_dict().items() if key not in ("type", "metadata") and value is not None
        }
        assert set(ours.nodes[name].values) == set(stored), name
        for key, value in stored.items():
            found = ours.nodes[name].values[key]
            same = found == value if isinstance(found, str) else np.array_equal(found, np.asarray(value))
            assert same and (isinstance(found, str) or found.dtype == np.asarray(value).dtype), (name, key)


def test_the_same_graph_from_the_file_and_from_memory(tmp_path: Path) -> None:
    assert equal(read(written(tmp_path)).graph, read(network()).graph)


def test_older_files(tmp_path: Path) -> None:
    """Without a version, without v_reset and w_in, which nir 1.0.8 has defaults for."""

    def edit(file: h5py.File) -> None:
        del file["version"]
        del file["node/nodes/n1/v_reset"]
        del file["node/nodes/n5/v_reset"]
        file["node/nodes/n5/w_in"][...] = 1.0
        del file["node/nodes/n2/nodes/output/shape"]

    graph = read(edited(tmp_path, edit)).graph
    with h5py.File(tmp_path / "network.nir", "r+") as file:
        del file["node/nodes/n5/w_in"]
    assert equal(read(tmp_path / "network.nir").graph, graph)


def test_edges_as_bytes_of_fixed_length_and_twice(tmp_path: Path) -> None:
    def edit(file: h5py.File) -> None:
        edges = [tuple(word.decode() for word in edge) for edge in file["node/edges"][()]]
        replaced("node/edges", np.array([*edges, edges[0]], "S20"))(file)

    found = read(edited(tmp_path, edit))
    assert equal(found.graph, read(network()).graph)
    assert found.notes[0] == "edge input -> n0 stands twice and counts once"


def test_a_graph_without_an_output_ends_where_it_ends() -> None:
    graph = network()
    del graph.nodes["output"]
    graph.edges.pop()
    found = read(graph)
    assert [p.name for p in found.graph.populations] == ["n1", "n5", "output"]


DAMAGED = [
    (replaced("node", None), "a NIR file must have a group `node`, but this HDF5 file has none"),
    (replaced("node", 3), "a NIR file must have a group `node`, but this HDF5 file has none"),
    (replaced("node/nodes", None), "The NIR graph must have nodes, but has none"),
    (replaced("node/nodes/n1/type", None), "Node 'n1' must have one word as `type`"),
    (replaced("node/nodes/n1/type", 5), "Node 'n1' must have one word as `type`"),
    (replaced("node/nodes/n1", np.zeros(3)), "Node 'n1' must be a group, but is an array"),
    (replaced("node/nodes/n1/tau", None), r"Node 'n1' \(LIF\) must have `tau`, but has none"),
    (replaced("node/nodes/n1/tau", "long"), r"Node 'n1' \(LIF\) must have numbers as `tau`"),
    (
        replaced("node/nodes/n1/tau", np.zeros(0)),
        r"Node 'n1' \(LIF\) must have numbers as `tau`, but there is none, or NaN",
    ),
    (
        replaced("node/nodes/n1/tau", h5py.ExternalLink("/etc/passwd", "x")),
        "must hold `tau` itself, but it is a link to another",
    ),
    (replaced("node/nodes/n1/tau", np.ones((2, 4, 5))), r"must have parameters of one shape, but has \[2, 4, 5\] and"),
    (replaced("node/nodes/n0/padding", "around"), "padding must be numbers, 'same' or 'valid', but is 'around'"),
    (
        replaced("node/nodes/input/shape", [1, -4, 4]),
        r"must have a shape \[N\], \[C, L\] or \[C, H, W\], but has \[1, -4, 4\]",
    ),
    (replaced("node/nodes/input/shape", [2**30, 4, 4]), r"must have a shape \[N\]"),
    (replaced("node/nodes/input/shape", [2**40, 4, 4]), r"must have numbers below 2\^31 as `shape`"),
    (replaced("node/edges", None), "The NIR graph must have edges, but has none"),
    (replaced("node/edges", np.zeros((3, 2))), r"The NIR graph must have edges \[E, 2\] of words, but has \[3, 2\]"),
    (replaced("node/edges", ["a", "b"]), r"The NIR graph must have edges \[E, 2\] of words, but has \[2\]"),
    (replaced("node/edges", [["a", "n0"]]), "The NIR graph has an edge of 'a', but no such node"),
    (replaced("node/edges", np.zeros((0, 2))), "Output 'output' must read something"),
    (replaced("node/nodes/n2/edges", [["a", "n0"]]), "Subgraph 'n2' has an edge of 'a', but no such node"),
]


@pytest.mark.parametrize(("edit", "said"), DAMAGED, ids=[said[:45] for _, said in DAMAGED])
def test_a_damaged_file_is_named(tmp_path: Path, edit: Callable[[h5py.File], Any], said: str) -> None:
    path = edited(tmp_path, edit)
    with pytest.raises(InputError, match=said) as caught:
        read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_no_file_and_another_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no .*; give a NIR file \(HDF5\)"):
        read(tmp_path / "network.nir")
    (tmp_path / "a.txt").write_text("word")
    with pytest.raises(InputError, match=r"is a text file, but a NIR file \(HDF5\) is needed here"):
        read(tmp_path / "a.txt")
    whole = written(tmp_path).read_bytes()
    (tmp_path / "half.nir").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"half.nir' is a damaged HDF5 file"):
        read(tmp_path / "half.nir")


def test_a_netx_file_is_no_nir(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.net", "w") as file:
        file["layer/0/type"] = b"dense"
    with pytest.raises(InputError, match="a NIR file must have a group `node`"):
        read(tmp_path / "a.net")


def test_subgraphs_have_a_depth(tmp_path: Path) -> None:
    def nested(depth: int) -> dict[str, Any]:
        inside = nested(depth - 1) if depth else {"type": "Scale", "scale": np.ones(1)}
        return {"type": "NIRGraph", "nodes": {"a": inside}, "edges": []}

    class Graph:
        def __init__(self, depth: int) -> None:
            self.depth = depth

        def to_dict(self) -> dict[str, Any]:
            return nested(self.depth)

    assert list(read_nodes(Graph(8)).nodes) == [".".join("a" * 9)]
    with pytest.raises(
        InputError, match=r"Subgraph 'a\.a\.a\.a\.a\.a\.a\.a\.a' lies in more than 8 others; flatten it"
    ):
        read_nodes(Graph(9))

    def write(group: h5py.Group, told: dict[str, Any]) -> None:
        for key, value in told.items():
            write(group.create_group(key), value) if isinstance(value, dict) else group.__setitem__(key, value)

    with h5py.File(tmp_path / "deep.nir", "w") as file:
        write(file.create_group("node"), nested(30))
    with pytest.raises(InputError, match=r"lies in more than 8 others|must have one word"):
        read(tmp_path / "deep.nir")


def test_two_nodes_of_one_name() -> None:
    graph = network()
    graph.nodes["n2.n0"] = nir.Scale(np.ones(1))
    with pytest.raises(InputError, match=r"Names must be unique, but 'n2\.n0' stands for two nodes; rename one"):
        read(graph)


def test_many_nodes_in_a_row_are_read_without_recursion() -> None:
    graph = chain(*[nir.Scale(np.ones(1)) for _ in range(3000)], nir.I(np.ones(1) / DT), shape=(1,))
    assert len(read_nir(graph, time_steps=1, dt=DT).graph.populations) == 1
