"""Graphs as Norse writes them; Norse itself (LGPL) is not installed, so its exporter's facts stand here.

norse/torch/utils/export_nir.py (2025): LIFBoxCell -> LIF and LIBoxCell -> LI with tau = 1 / tau_mem_inv, R = 1, in
float32; Conv2d without input_shape; IAFCell -> IF with R = 1; LIFCell -> CubaLIF with R = 1 and w_in = 1. Its cells
compute with dt = 1e-3 (torch/functional/lif_box.py: dv = dt tau_mem_inv (x + v_leak - v), z = v - v_th > 0, v = v_reset
where it fired) and start at v_leak.
"""

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.export.nir.reader import read_nir
from spikeport.export.simulate import simulate

STEPS, SAMPLES, DT = 10, 12, 1e-3
F = np.float32


def lif_box(x: NDArray[np.float32], *, tau_inv: float, v_th: float, v_reset: float = 0.0) -> NDArray[np.uint8]:
    """Its cell, step by step in float32: currents [T, N, K] -> spikes."""
    v, fired = np.zeros_like(x[0]), []
    for step in x:
        v = v + F(F(DT) * F(tau_inv)) * (step - v)
        z = v - F(v_th) > 0
        fired.append(z)
        v = np.where(z, F(v_reset), v)
    return np.array(fired, np.uint8)


def network(weight: NDArray[np.float32], bias: NDArray[np.float32], tau_inv: float, v_th: float) -> nir.NIRGraph:
    n = len(weight)
    one = np.ones(n, np.float32)
    lif = nir.LIF(tau=one / F(tau_inv), r=one, v_leak=0 * one, v_threshold=F(v_th) * one, v_reset=0 * one)
    nodes = {"input": nir.Input(np.array(weight.shape[1:])), "0": nir.Affine(weight, bias), "1": lif}
    nodes |= {"output": nir.Output(np.array([n]))}
    return nir.NIRGraph(nodes, [("input", "0"), ("0", "1"), ("1", "output")])


def test_lif_box_cells() -> None:
    """No membrane comes within 1e-4 of its threshold here, so float32 and float64 must agree on every spike."""
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(2, 6, (8, 5)).astype(F), rng.normal(0, 1, 8).astype(F)
    spikes = (rng.random((STEPS, SAMPLES, 5)) < 0.5).astype(np.uint8)
    graph = read_nir(network(weight, bias, 200.0, 1.0), time_steps=STEPS, dt=DT).graph
    assert abs(graph.populations[0].decay - 0.8) < 1e-7
    trace = simulate(graph, {"input": spikes})
    assert np.abs(trace.membranes["1"] - 1.0).min() > 1e-4
    theirs = lif_box(spikes.astype(F) @ weight.T + bias, tau_inv=200.0, v_th=1.0)
    assert (trace.spikes["1"] == theirs).all() and 0.1 < theirs.mean() < 0.9
    broken = weight.copy()
    broken[0, 0] += 5
    graph = read_nir(network(broken, bias, 200.0, 1.0), time_steps=STEPS, dt=DT).graph
    assert (simulate(graph, {"input": spikes}).spikes["1"] != theirs).any()


def test_it_fires_above_the_threshold_and_not_at_it() -> None:
    """A planted tie: dt/tau = 1/2 and a weight of 2 make 1."""
    graph = network(np.array([[2.0]], F), np.zeros(1, F), 500.0, 1.0)
    spikes = np.ones((1, 1, 1), np.uint8)
    assert lif_box(np.full((1, 1, 1), 2.0, F), tau_inv=500.0, v_th=1.0).sum() == 0
    for rule, count in ((">", 0), (">=", 1)):
        read = read_nir(graph, time_steps=1, dt=DT, fires=rule).graph
        assert simulate(read, {"input": spikes}).spikes["1"].sum() == count


def test_a_readout_of_li_box_cells() -> None:
    one = np.ones(2, F)
    nodes = {"input": nir.Input(np.array([2])), "0": nir.Linear(np.array([[1, 2], [3, 4]], F))}
    nodes |= {"1": nir.LI(tau=one / F(250.0), r=one, v_leak=0 * one), "output": nir.Output(np.array([2]))}
    graph = read_nir(nir.NIRGraph(nodes, [("input", "0"), ("0", "1"), ("1", "output")]), time_steps=2, dt=DT).graph
    found = simulate(graph, {"input": np.array([[[1, 0]], [[1, 1]]], np.uint8)}).readout[:, 0]
    assert np.abs(found - [[0.25, 0.75], [0.9375, 2.3125]]).max() < 1e-6


def test_a_convolution_without_a_shape() -> None:
    """Norse's exporter leaves input_shape out; the Input tells it."""
    nodes = {
        "input": nir.Input(np.array([1, 5, 5])),
        "0": nir.Conv2d(None, np.ones((2, 1, 3, 3), F), 1, 0, 1, 1, np.zeros(2, F)),
    }
    one = np.ones((2, 3, 3), F)
    nodes |= {"1": nir.LIF(one * F(0.002), one, 0 * one, one, 0 * one), "output": nir.Output(np.array([2, 3, 3]))}
    graph = read_nir(
        nir.NIRGraph(nodes, [("input", "0"), ("0", "1"), ("1", "output")], type_check=False), time_steps=1, dt=DT
    )
    assert graph.graph.populations[0].shape == (2, 3, 3)


def test_its_if_cells_do_not_mean_seconds() -> None:
    """IAFCell adds its input without dt, and R = 1 is written: with dt = 1 the file says what the cell computes."""
    one = np.ones(1)
    nodes = {
        "input": nir.Input(np.array([1])),
        "0": nir.Linear(np.array([[0.75]])),
        "1": nir.IF(r=one, v_threshold=one),
    }
    nodes |= {"output": nir.Output(np.array([1]))}
    graph = nir.NIRGraph(nodes, [("input", "0"), ("0", "1"), ("1", "output")])
    assert read_nir(graph, time_steps=1, dt=1.0).graph.projections[0].kernel.weight.item() == 0.75
    assert read_nir(graph, time_steps=1, dt=DT).graph.projections[0].kernel.weight.item() == 0.75 * DT
