"""Each node of NIR by a trace that can be redone on paper. Decay 1/2 (tau = 2 dt), threshold 1, unless it says more."""

from dataclasses import replace

import nir
import numpy as np
import pytest

from spikeport.export.graph import Conv, Dense

from .graphs import DT, chain, cuba, fired, if_, lif, read, run


def membranes(trace: object, name: str) -> list[float]:
    return trace.membranes[name][:, 0].squeeze().tolist()  # type: ignore[attr-defined]


def test_lif() -> None:
    """Weight 0.75: 0.75, 0.375 + 0.75 = 1.125 spikes, 0.75, 0.375."""
    graph = read(chain(nir.Linear(np.array([[0.75]])), lif(1), shape=(1,))).graph
    trace = run(graph, 1, 1, 1, 0)
    assert membranes(trace, "n1") == [0.75, 1.125, 0.75, 0.375]
    assert fired(trace, "n1") == [0, 1, 0, 0]
    assert trace.readout[:, 0, 0].tolist() == [0, 1, 1, 1]  # spikes, counted


def test_lif_of_the_equation() -> None:
    """R = 3, v_leak = 0.5: v += 1/2 (0.5 - v + 3 S): the weight 0.25 is 0.375, the bias 0.25."""
    node = lif(1, r=3.0, v_leak=0.5)
    trace = run(read(chain(nir.Linear(np.array([[0.25]])), node, shape=(1,))).graph, 1, 1, 1, 0)
    assert membranes(trace, "n1") == [0.625, 0.9375, 1.09375, 0.25]


def test_a_reset_to_another_voltage_moves_the_origin() -> None:
    """v_reset = v_leak = -1, threshold 0: from -1 the weight 1.25 goes to 0.25, spikes, and is at -1 again."""
    network = read(
        chain(nir.Linear(np.array([[1.25]])), lif(1, v_leak=-1.0, v_reset=-1.0, v_threshold=0.0), shape=(1,))
    )
    trace = run(network.graph, 1, 0, 1, 1)
    assert membranes(trace, "n1") == [1.25, 0, 1.25, 1.25]  # counted from -1
    assert fired(trace, "n1") == [1, 0, 1, 1]
    assert not any("v_leak" in note for note in network.notes)


def test_a_leak_other_than_the_reset_is_noted() -> None:
    network = read(chain(nir.Linear(np.array([[1.0]])), lif(1, v_leak=0.5), shape=(1,)))
    assert "Node 'n1' (LIF) starts at v_reset, not at v_leak, where Norse starts" in network.notes


def test_if() -> None:
    """R = 1/dt: nothing leaks; 0.5, 1.0 spikes (>=), 0.5, 0.5."""
    graph = read(chain(nir.Linear(np.array([[0.5]])), if_(1), shape=(1,))).graph
    trace = run(graph, 1, 1, 1, 0)
    assert membranes(trace, "n1") == [0.5, 1.0, 0.5, 0.5]
    assert fired(trace, "n1") == [0, 1, 0, 0]


def test_a_tie_fires_with_one_rule_only() -> None:
    node = chain(nir.Linear(np.array([[0.5]])), if_(1), shape=(1,))
    assert fired(run(read(node, fires=">").graph, 1, 1, 0, 1), "n1") == [0, 0, 0, 1]
    assert fired(run(read(node, fires=None).graph, 1, 1, 0, 1), "n1") == [0, 0, 0, 1]  # what NIR says
    assert fired(run(read(node, fires=">=").graph, 1, 1, 0, 1), "n1") == [0, 1, 0, 0]


def test_cuba_lif() -> None:
    """u: 0.5, 0.25, 0.625, 0.3125; v: 0.5, 0.5, 0.875, 0.75."""
    graph = read(chain(nir.Linear(np.array([[0.5]])), cuba(1), shape=(1,))).graph
    trace = run(graph, 1, 0, 1, 0)
    assert membranes(trace, "n1") == [0.5, 0.5, 0.875, 0.75]


def test_cuba_lif_of_the_equation() -> None:
    """w_in = 1, R = 1, tau_syn = 4 dt: I += 1/4 (-I + S), v += 1/2 (-v + I)."""
    graph = read(chain(nir.Linear(np.array([[1.0]])), cuba(1, 4 * DT, 2 * DT, w_in=1.0, r=1.0), shape=(1,))).graph
    current, v, expected = 0.0, 0.0, []
    for s in (1, 1, 0, 1):
        current += (s - current) / 4
        v += (current - v) / 2
        expected.append(v)
    assert membranes(run(graph, 1, 1, 0, 1), "n1") == expected


def test_a_bias_before_the_synaptic_filter_is_filtered() -> None:
    """0.25 in every step: u = 0.25, 0.375, 0.4375, 0.46875; v = 0.25, 0.5, 0.6875, 0.8125."""
    affine = nir.Affine(np.array([[1.0]]), np.array([0.25]))
    network = read(chain(affine, cuba(1), shape=(1,)))
    assert membranes(run(network.graph, 0, 0, 0, 0), "n1") == [0.25, 0.5, 0.6875, 0.8125]
    assert "the bias of 'n1' goes through its synaptic filter: 'n1.bias' fires it in every step" in network.notes


def test_threshold_has_no_memory() -> None:
    graph = read(chain(nir.Linear(np.array([[0.75]])), nir.Threshold(np.array([0.5])), shape=(1,))).graph
    assert fired(run(graph, 1, 0, 1, 1), "n1") == [1, 0, 1, 1]
    assert graph.populations[0].decay == 0


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (nir.LI(*(np.array([x]) for x in (2 * DT, 2.0, 0.0))), [1, 0.5, 1.25, 0.625]),
        (nir.I(np.array([1 / DT])), [1, 1, 2, 2]),
        (nir.CubaLI(*(np.array([x]) for x in (2 * DT, 2 * DT, 2.0, 0.0)), w_in=np.array([2.0])), [1, 1, 1.75, 1.5]),
    ],
)
def test_an_integrator_is_the_readout(node: nir.NIRNode, expected: list[float]) -> None:
    network = read(chain(nir.Linear(np.array([[1.0]])), node, shape=(1,)))
    assert network.graph.readout.name == "n1"
    assert "the answer is the membrane of 'n1' after the last step" in network.notes
    assert run(network.graph, 1, 0, 1, 0).readout[:, 0, 0].tolist() == expected


def test_a_linear_end_is_summed_or_averaged_over_time() -> None:
    graph = chain(nir.Affine(np.array([[2.0]]), np.array([1.0])), shape=(1,))
    assert run(read(graph).graph, 1, 0, 1, 0).readout[:, 0, 0].tolist() == [3, 4, 7, 8]
    assert run(read(graph, answer="mean").graph, 1, 0, 1, 0).readout[-1, 0, 0] == 2
    assert read(graph).notes == ("the answer is the sum over time of what comes out of the last layer",)


def test_affine_scale_and_linear_fold() -> None:
    """2 * (3 x + 1), then [1, -1]: weights 6 and -6, biases 2 and -2."""
    nodes = (
        nir.Affine(np.array([[3.0]]), np.array([1.0])),
        nir.Scale(np.array([2.0])),
        nir.Linear(np.array([[1.0], [-1]])),
    )
    graph = read(chain(*nodes, lif(2), shape=(1,))).graph
    assert graph.projections[0].kernel.weight.tolist() == [[6], [-6]]
    assert graph.populations[0].bias.tolist() == [2, -2]


def test_conv2d_pools_and_flatten() -> None:
    """A 2x2 sum of a 4x4 image is a convolution of ones; so is the mean, by 1/4."""
    image = np.arange(16).reshape(4, 4) % 3 == 0
    for pool, weight in ((nir.SumPool2d, 1.0), (nir.AvgPool2d, 0.25)):
        node = pool(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0]))
        flatten = nir.Flatten({"input": None}, 0, -1)
        graph = read(chain(node, flatten, nir.I(np.full(4, 1 / DT)), shape=(1, 4, 4)), time_steps=1).graph
        sums = image.reshape(2, 2, 2, 2).sum((1, 3)) * weight
        assert run(graph, image).readout[-1, 0].tolist() == sums.reshape(-1).tolist()


def test_conv2d_keeps_its_geometry() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 1, 3, 3))
    node = nir.Conv2d((5, 6), weight, (2, 1), (1, 0), (1, 2), 2, np.arange(4.0))
    network = read(chain(node, lif((4, 3, 2)), shape=(2, 5, 6)))
    expected = Conv(weight=weight, stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)
    found = network.graph.projections[0].kernel
    assert np.array_equal(found.weight, weight) and replace(found, weight=weight) == expected
    assert network.graph.populations[0].bias.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("padding", "zeros", "size"), [("same", (2, 1), (5, 6)), ("valid", (0, 0), (1, 4))])
def test_padding_in_words(padding: str, zeros: tuple[int, int], size: tuple[int, int]) -> None:
    node = nir.Conv2d((5, 6), np.ones((1, 1, 5, 3)), 1, padding, 1, 1, np.zeros(1))
    graph = read(chain(node, lif((1, *size)), shape=(1, 5, 6))).graph
    assert graph.projections[0].kernel.padding == zeros
    assert graph.populations[0].shape == (1, *size)


def test_conv1d_is_a_row() -> None:
    """Kernel 1, 2 over 1 0 1: with stride 1 it gives 1, 2."""
    node = nir.Conv1d(3, np.array([[[1.0, 2.0]]]), 1, 0, 1, 1, np.zeros(1))
    flatten = nir.Flatten({"input": np.array([1, 2])}, 0, -1)
    graph = read(chain(node, flatten, nir.I(np.full(2, 1 / DT)), shape=(1, 3)), time_steps=1).graph
    assert graph.inputs[0].shape == (1, 1, 3)
    assert run(graph, [1, 0, 1]).readout[-1, 0].tolist() == [1, 2]


def test_a_delay_in_front_of_a_layer_is_one_of_its_synapses() -> None:
    """The first neuron's spike comes two steps later."""
    nodes = (nir.Delay(np.array([2 * DT, 0.0])), nir.Linear(np.array([[1.0, 10.0]])), nir.I(np.array([1 / DT])))
    graph = read(chain(*nodes, shape=(2,))).graph
    assert graph.projections[0].delay.tolist() == [[2, 0]]
    assert run(graph, [1, 0], [0, 1], [0, 0], [0, 0]).readout[:, 0, 0].tolist() == [0, 10, 11, 11]


def test_a_delay_behind_a_layer_is_one_of_its_rows() -> None:
    nodes = (
        nir.Linear(np.array([[1.0, 10.0], [2.0, 20.0]])),
        nir.Delay(np.array([DT, 0.0])),
        nir.I(np.full(2, 1 / DT)),
    )
    graph = read(chain(*nodes, shape=(2,))).graph
    (projection,) = graph.projections
    assert projection.kernel.weight.tolist() == [[1, 10], [2, 20]]
    assert projection.delay.tolist() == [[1, 1], [0, 0]]
    assert run(graph, [1, 0], [0, 1], [0, 0], [0, 0]).readout[:, 0].tolist() == [[0, 2], [1, 22], [11, 22], [11, 22]]


def test_delays_add_up_and_those_of_an_image_become_matrices() -> None:
    kernel = nir.Conv2d((1, 2), np.ones((1, 1, 1, 1)), 1, 0, 1, 1, np.zeros(1))
    nodes = (
        nir.Delay(np.full((1, 1, 2), DT)),
        nir.Delay(np.array([[[DT, 0]]])),
        kernel,
        lif((1, 1, 2), v_threshold=0.5),
    )
    graph = read(chain(*nodes, shape=(1, 1, 2))).graph
    assert isinstance(graph.projections[0].kernel, Dense)
    assert fired(run(graph, [1, 1], [0, 0], [0, 0], [0, 0]), "n3") == [[0, 0], [0, 1], [1, 0], [0, 0]]


def test_a_loop_reads_its_own_spikes_of_the_step_before() -> None:
    """Threshold 1, weight 1 in, 1 back: one spike goes round for ever."""
    nodes = {"input": nir.Input(np.array([1])), "w": nir.Linear(np.array([[1.0]])), "lif": lif(1)}
    nodes |= {"back": nir.Linear(np.array([[1.0]])), "output": nir.Output(np.array([1]))}
    edges = [("input", "w"), ("w", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "output")]
    graph = read(nir.NIRGraph(nodes, edges)).graph
    assert ("lif", "lif") in [(p.source, p.target) for p in graph.projections]
    assert fired(run(graph, 1, 0, 0, 0), "lif") == [1, 1, 1, 1]


def test_a_subgraph_is_flattened() -> None:
    inner = chain(nir.Linear(np.array([[1.0]])), lif(1), shape=(1,))
    graph = read(chain(inner, nir.Linear(np.array([[2.0]])), lif(1), shape=(1,))).graph
    assert [p.name for p in graph.populations] == ["n0.n1", "n2", "output"]
    assert fired(run(graph, 1, 0, 1, 0), "n2") == [1, 0, 1, 0]


def test_edges_into_one_node_add_up() -> None:
    nodes = {"input": nir.Input(np.array([1])), "a": nir.Linear(np.array([[0.5]])), "b": nir.Linear(np.array([[0.25]]))}
    nodes |= {"i": nir.I(np.array([1 / DT])), "output": nir.Output(np.array([1]))}
    edges = [("input", "a"), ("input", "b"), ("a", "i"), ("b", "i"), ("i", "output")]
    graph = read(nir.NIRGraph(nodes, edges)).graph
    assert len(graph.projections) == 2
    assert run(graph, 1, 0, 0, 0).readout[0, 0, 0] == 0.75


def test_gains_per_channel_scale_the_rows() -> None:
    node = lif((2, 1, 1), r=np.array([2.0, 6.0]).reshape(2, 1, 1))
    conv = nir.Conv2d((1, 1), np.ones((2, 1, 1, 1)), 1, 0, 1, 1, np.zeros(2))
    graph = read(chain(conv, node, shape=(1, 1, 1))).graph
    assert graph.projections[0].kernel.weight.reshape(-1).tolist() == [1, 3]


def test_soft_reset_is_read_where_it_is_said() -> None:
    """Weight 1.5: 1.5 spikes, leaves 0.5, 0.25; hard, it leaves 0."""
    graph = chain(nir.Linear(np.array([[1.5]])), lif(1), shape=(1,))
    assert membranes(run(read(graph).graph, 1, 0, 0, 0), "n1") == [1.5, 0, 0, 0]
    assert membranes(run(read(graph, reset="subtract").graph, 1, 0, 0, 0), "n1") == [1.5, 0.25, 0.125, 0.0625]
    later = read(graph, reset="subtract later").graph
    assert membranes(run(later, 1, 0, 0, 0), "n1") == [1.5, -0.25, -0.125, -0.0625]  # 0.75 - 1
