"""What is refused when a NIR graph is read: each with its node, the values and the next step."""

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import pytest

from spikeport.errors import InputError, UnsupportedError
from spikeport.export.nir.reader import read_nir

from .graphs import DT, chain, cuba, if_, lif, read

LINEAR = nir.Linear(np.ones((2, 3)))


def graph(nodes: dict[str, nir.NIRNode], *edges: tuple[str, str]) -> nir.NIRGraph:
    return nir.NIRGraph(nodes, list(edges), type_check=False)


def flat(*nodes: nir.NIRNode) -> Callable[[], Any]:
    return lambda: read(chain(*nodes, shape=(3,)))


def image(*nodes: nir.NIRNode) -> Callable[[], Any]:
    return lambda: read(chain(*nodes, shape=(2, 4, 4)))


def conv(**given: Any) -> nir.Conv2d:
    values = {"input_shape": (4, 4), "weight": np.ones((2, 2, 3, 3)), "stride": 1, "padding": 0, "dilation": 1}
    return nir.Conv2d(**values | {"groups": 1, "bias": np.zeros(2)} | given)


def pool(size: int, padding: int = 0) -> nir.AvgPool2d:
    return nir.AvgPool2d(np.array([size, size]), np.array([size, size]), np.array([padding, padding]))


def ends(n: int = 2) -> dict[str, nir.NIRNode]:
    return {"input": nir.Input(np.array([n])), "output": nir.Output(np.array([n]))}


def feedback() -> Any:
    nodes = ends() | {"a": lif(2), "b": lif(2)}
    return read(graph(nodes, ("input", "a"), ("a", "b"), ("b", "a"), ("b", "output")))


def empty_loop() -> Any:
    nodes = ends() | {"a": nir.Scale(np.ones(2)), "b": nir.Scale(np.ones(2))}
    return read(graph(nodes, ("input", "a"), ("a", "b"), ("b", "a"), ("b", "output")))


def two_outputs(**given: Any) -> Any:
    nodes = ends() | {"a": lif(2), "other": nir.Output(np.array([2]))}
    return read(graph(nodes, ("input", "a"), ("a", "output"), ("a", "other")), **given)


def membrane_read() -> Any:
    nodes = ends() | {"a": nir.I(np.ones(2)), "b": lif(2)}
    return read(graph(nodes, ("input", "a"), ("a", "b"), ("b", "output")))


def second_integrator() -> Any:
    nodes = ends() | {"a": nir.I(np.ones(2)), "b": lif(2)}
    return read(graph(nodes, ("input", "a"), ("input", "b"), ("b", "output")))


def shapes_apart() -> Any:
    nodes = ends() | {"a": nir.Linear(np.ones((2, 2))), "b": nir.Linear(np.ones((3, 2))), "c": lif(2)}
    return read(graph(nodes, ("input", "a"), ("input", "b"), ("a", "c"), ("b", "c"), ("c", "output")))


def without_shape(**given: Any) -> Any:
    nodes = {"input": nir.Input({"input": None}), "a": nir.Scale(np.ones(2)), "output": nir.Output(np.array([2]))}
    return read_nir(graph(nodes, ("input", "a"), ("a", "output")), time_steps=1, **given)


def into_input() -> Any:
    nodes = ends() | {"a": lif(2)}
    return read(graph(nodes, ("input", "a"), ("a", "input"), ("a", "output")))


def unread_node() -> Any:
    return read(graph(ends() | {"a": nir.Scale(np.ones(2))}, ("input", "output"), ("a", "output")))


def output_leads_on() -> Any:
    return read(graph(ends() | {"a": lif(2)}, ("input", "output"), ("output", "a")))


def inner(**given: nir.NIRNode) -> Any:
    nodes = {"in": nir.Input(np.array([3])), "also": nir.Input(np.array([3])), "out": nir.Output(np.array([3]))}
    return read(chain(graph(nodes | given, ("in", "out"), ("also", "out")), shape=(3,)))


UNSUPPORTED = [
    (
        flat(LINEAR, lif(2, tau=np.array([2 * DT, 3 * DT]))),
        r"Node 'n1' \(LIF\): a population has one `tau` for all its neurons",
    ),
    (
        flat(LINEAR, lif(2, tau=DT / 2)),
        r"Node 'n1' \(LIF\): `dt <= tau` must hold for forward Euler, but dt=0.001 and tau=0.0005",
    ),
    (
        image(conv(), lif((2, 2, 2), r=np.arange(8.0).reshape(2, 2, 2))),
        r"`r` must be the same for all neurons of a channel",
    ),
    (flat(nir.Linear(np.ones((1, 2, 3)))), r"Node 'n0' \(Linear\): its weight must be \[O, I\], but is \[1, 2, 3\]"),
    (
        image(conv(padding="same", weight=np.ones((2, 2, 2, 2)))),
        r"padding 'same' of a kernel \[2, 2\], stride \[1, 1\]",
    ),
    (
        image(conv(weight=np.ones((2, 2, 2, 2))), conv(input_shape=(3, 3), padding=1)),
        "a padded 3x3 kernel directly after a 2x2",
    ),
    (
        image(conv(bias=np.ones(2)), conv(input_shape=(2, 2), padding=1)),
        r"Node 'n1' \(Conv2d\): a padded convolution after a bias",
    ),
    (image(nir.Scale(np.arange(32.0).reshape(2, 4, 4))), r"Node 'n0' \(Scale\): it differs within a channel"),
    (
        image(nir.Flatten({"input": np.array([2, 4, 4])}, 1, -1)),
        r"it flattens dimensions 1 to -1 of \[2, 4, 4\], and only 0 to -1",
    ),
    (
        flat(nir.Delay(np.full(3, DT / 2))),
        r"Node 'n0' \(Delay\): a delay must be whole steps >= 0 of dt=0.001, but one is 0.0005",
    ),
    (flat(nir.Delay(np.full(3, 1e3))), "a delay may be 65536 steps of dt=0.001, but one is 1000000; give another dt"),
    (
        flat(nir.Affine(np.ones((2, 3)), np.ones(2)), nir.Delay(np.full(2, DT))),
        "a delayed bias has no place in a spiking graph",
    ),
    (
        image(conv(), nir.Delay(DT * np.arange(8.0).reshape(2, 2, 2))),
        "it differs within a channel, which no kernel does; put it",
    ),
    (feedback, "the populations 'a', 'b' feed back into each other, and a spiking graph has recurrence within one"),
    (
        empty_loop,
        "the nodes 'a', 'b', 'output' read themselves within one step, with no neuron between; put one into the loop",
    ),
    (two_outputs, "a spiking graph has one readout, but this one has 2 ends: output, other; say which by `output`"),
    (membrane_read, r"Node 'a' \(I\) sends its membrane to others, and populations send spikes; let an LI or I lead"),
    (second_integrator, r"Node 'a' \(I\) is not what the network ends in, and a spiking graph has one readout"),
    (
        inner,
        "The NIR graph: an edge to or from the subgraph 'n0' needs one Input and one Output in it, but there are 2",
    ),
]

INVALID = [
    (flat(LINEAR, lif(2, tau=0.0)), r"Node 'n1' \(LIF\): `tau > 0` must hold, but tau=0"),
    (
        flat(LINEAR, lif(2, tau=np.inf, r=1.0)),
        r"Node 'n1' \(LIF\): `tau` must be finite, but is inf; an IF or I has no leak",
    ),
    (flat(LINEAR, lif(2, r=np.inf)), r"Node 'n1' \(LIF\): `r` must be finite, but has infinity"),
    (
        flat(LINEAR, lif(2, v_threshold=np.nan)),
        r"Node 'n1' \(LIF\) must have numbers as `v_threshold`, but there is none, or NaN",
    ),
    (
        flat(nir.Linear(np.ones((2, 4)))),
        r"Node 'n0' \(Linear\) reads \[4\], but what enters it has shape \[3\]; write the file again",
    ),
    (
        image(nir.Linear(np.ones((2, 32)))),
        r"reads \[32\], but what enters it has shape \[2, 4, 4\]; put a Flatten before it",
    ),
    (flat(nir.Affine(np.ones((2, 3)), np.ones(3))), r"Node 'n0' \(Affine\) must have a bias \[2\], but has \[3\]"),
    (flat(LINEAR, lif(5)), r"Node 'n1' \(LIF\) has parameters \[5\], but what enters it has shape \[2\]"),
    (flat(LINEAR, lif((2, 1, 1))), r"has parameters \[2, 1, 1\], but what enters it has shape \[2\]"),
    (image(conv(), lif(8)), r"has parameters \[8\], but what enters it has shape \[2, 2, 2\]; put a Flatten before it"),
    (flat(conv()), r"Node 'n0' \(Conv2d\) must have a weight \[O, I, kh, kw\] and read \[C, H, W\], but has"),
    (
        image(nir.Conv1d(4, np.ones((1, 2, 3)), 1, 0, 1, 1, np.zeros(1))),
        r"must have a weight \[O, I, k\] and read \[C, L\]",
    ),
    (
        image(conv(input_shape=(5, 5))),
        r"Node 'n0' \(Conv2d\) declares an input \[5, 5\], but what enters it is \[2, 4, 4\]",
    ),
    (image(conv(groups=2)), r"has a weight \[2, 2, 3, 3\] and 2 groups, but reads 2 channels"),
    (
        image(conv(stride=0, input_shape=None)),
        r"Node 'n0' \(Conv2d\) must have 2 numbers >= 1 as `stride`, but has \[0, 0\]",
    ),
    (image(conv(stride=(1, 1, 1), input_shape=None)), r"must have 2 numbers >= 1 as `stride`, but has \[1, 1, 1\]"),
    (
        image(conv(stride=np.array([0.5, 1]), input_shape=None)),
        r"must have a few whole numbers as `stride`, but has \[0.5, 1.0\]",
    ),
    (image(conv(dilation=4)), r"gives shape \[2, -4, -4\] of \[2, 4, 4\]; its kernel is larger than the image"),
    (image(pool(9)), r"Node 'n0' \(AvgPool2d\) has a window \[9, 9\], larger than the image \[2, 4, 4\]"),
    (flat(pool(2)), r"Node 'n0' \(AvgPool2d\) reads \[C, H, W\], but what enters it has shape \[3\]"),
    (flat(nir.Scale(np.arange(4.0))), r"Node 'n0' \(Scale\) has shape \[4\], but what enters it \[3\]"),
    (flat(nir.Delay(np.full(4, DT))), r"Node 'n0' \(Delay\) has shape \[4\], but what enters it \[3\]"),
    (shapes_apart, r"Node 'c' \(LIF\) has shape \[2\], but reads \[3\]"),
    (into_input, r"Node 'input' \(Input\) must stand first, but something leads into it"),
    (unread_node, r"Node 'a' \(Scale\) reads nothing; connect it, or leave it out"),
    (output_leads_on, "Output 'output' must read something and lead nowhere"),
    (without_shape, r"Node 'input' \(Input\) has no shape, and what reads it tells none; give input_shape"),
    (
        lambda: without_shape(input_shape=(1, 2, 3, 4)),
        r"must have a shape \[N\], \[C, L\] or \[C, H, W\], but has \[1, 2, 3, 4\]",
    ),
    (
        lambda: read(chain(LINEAR, shape=(3,)), input_shape=(4,)),
        r"Node 'input' \(Input\) has shape \[3\], but input_shape is \[4\]",
    ),
    (lambda: two_outputs(output="c"), "There is no Output 'c'; choose from output, other"),
    (lambda: read(chain(LINEAR, shape=(3,)), fires="<"), "Unknown fires '<'; choose from '>', '>='"),
    (
        lambda: read(chain(LINEAR, shape=(3,)), reset="soft"),
        "Unknown reset 'soft'; choose from 'zero', 'subtract', 'subtract later'",
    ),
    (lambda: read(chain(LINEAR, shape=(3,)), answer="max"), "Unknown answer 'max'; choose from 'sum', 'mean'"),
    (lambda: read(chain(LINEAR, shape=(3,)), dt=-1.0), "`dt > 0` must hold, in seconds, but dt=-1.0"),
    (
        lambda: read(chain(LINEAR, shape=(3,)), time_steps=None),
        "the file does not say how many steps a window has; give time_steps",
    ),
    (
        lambda: read(chain(LINEAR, shape=(3,)), time_steps=-1),
        "`time_steps >= 1` must hold, but the graph has time_steps=-1",
    ),
    (lambda: read(3), "A NIR file or a nir.NIRGraph is needed, but this is a int"),
]


@pytest.mark.parametrize(("act", "said"), UNSUPPORTED, ids=[said[:50] for _, said in UNSUPPORTED])
def test_what_a_graph_cannot_hold(act: Callable[[], Any], said: str) -> None:
    with pytest.raises(UnsupportedError, match=said) as caught:
        act()
    assert "\n" not in str(caught.value) and str(caught.value).count("Node '") <= 1


@pytest.mark.parametrize(("act", "said"), INVALID, ids=[said[:50] for _, said in INVALID])
def test_what_is_wrong_or_lacking(act: Callable[[], Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        act()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("node", [lif(2), if_(2), cuba(2), nir.Delay(np.full(2, DT))])
def test_seconds_need_a_step(node: nir.NIRNode) -> None:
    kind = type(node).__name__
    with pytest.raises(
        InputError, match=rf"Node 'n1' \({kind}\) has constants in seconds, so dt, the seconds of a step"
    ):
        read(chain(LINEAR, node, shape=(3,)), dt=None)


def test_what_has_no_seconds_needs_no_step() -> None:
    network = read(chain(LINEAR, nir.Threshold(np.ones(2)), nir.Linear(np.ones((2, 2))), shape=(3,)), dt=None)
    assert network.dt is None


def test_an_unknown_node_is_named_and_the_known_ones_are() -> None:
    told = {"nodes": {"a": {"type": "Input", "shape": [1]}, "b": {"type": "Softmax"}}, "edges": [("a", "b")]}

    class Graph:
        def to_dict(self) -> dict[str, Any]:
            return told

    with pytest.raises(
        UnsupportedError, match=r"Node 'b' \(Softmax\) is no neuron, synapse, pool or delay .* known are Affine, A"
    ):
        read(Graph())


def test_an_output_that_is_chosen() -> None:
    assert two_outputs(output="other").graph.readout.name == "other"


def test_a_full_matrix_that_fits_nowhere() -> None:
    nodes = (pool(2), nir.Flatten({"input": None}, 0, -1))
    with pytest.raises(UnsupportedError, match=r"Node 'n1' \(Flatten\): it would need a full matrix of 65536 x 65536"):
        read(chain(*nodes, shape=(1, 256, 256)))


def test_spikes_too_many_to_be_counted_one_by_one() -> None:
    with pytest.raises(UnsupportedError, match=r"Node 'n0' \(LIF\): it would need a full matrix of 65536 x 65536"):
        read(chain(lif(65536), shape=(65536,)))


def test_a_shape_that_the_next_layer_tells() -> None:
    nodes = {"input": nir.Input({"input": None}), "a": LINEAR, "output": nir.Output(np.array([2]))}
    assert read(graph(nodes, ("input", "a"), ("a", "output"))).graph.inputs[0].shape == (3,)
    nodes["a"] = conv()
    assert read(graph(nodes, ("input", "a"), ("a", "output"))).graph.inputs[0].shape == (2, 4, 4)
    nodes["a"] = conv(input_shape=None)
    assert read(graph(nodes, ("input", "a"), ("a", "output")), input_shape=(2, 7, 5)).graph.inputs[0].shape == (2, 7, 5)
