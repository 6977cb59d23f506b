"""What `write_nir` writes, in snnTorch 1.0.0's reader (import_nir.py): the same spikes where no membrane is a tie.

It takes dt = 1e-4, fires on > and flattens a batch away (`Flatten` with NIR's dimensions), so samples go one by one.
"""

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch

from spikeport.export.graph import Conv, Dense, Population, Projection, SpikeInput, SpikingGraph
from spikeport.export.nir.writer import write_nir
from spikeport.export.simulate import simulate

pytest.importorskip("snntorch", reason="snntorch is not installed; it is in the extra dev")
STEPS = 10


def graph(threshold: float) -> SpikingGraph:
    """Convolution with LIF, full matrix with a current decay, readout; weights of multiples of 1/64."""
    rng = np.random.default_rng(2)

    def weight(*shape: int) -> Any:
        return rng.integers(-20, 40, shape) / 64

    populations = (
        Population(name="conv", shape=(2, 4, 4), decay=0.5, threshold=threshold, bias=weight(2) / 4),
        Population(name="or", shape=(2, 2, 2), decay=0.0, threshold=0.5, bias=np.zeros(2), role="or"),
        Population(name="cuba", shape=(5,), decay=0.75, current_decay=0.5, threshold=2 * threshold, bias=np.zeros(5)),
        Population(name="readout", shape=(3,), decay=1.0, threshold=np.inf, bias=weight(3), role="readout"),
    )
    kernels = (
        ("input", "conv", Conv(weight=weight(2, 1, 3, 3), padding=(1, 1))),
        ("conv", "or", Conv(weight=np.ones((2, 1, 2, 2)), stride=(2, 2), groups=2)),
        ("or", "cuba", Dense(weight=weight(5, 8))),
        ("cuba", "readout", Dense(weight=weight(3, 5))),
    )
    projections = tuple(Projection(source=s, target=t, kernel=k) for s, t, k in kernels)
    entry = SpikeInput(name="input", shape=(1, 4, 4))
    return SpikingGraph(inputs=(entry,), populations=populations, projections=projections, time_steps=STEPS)


def imported(path: Path, spikes: Any) -> tuple[dict[str, Any], Any]:
    """(population -> spikes [T, *shape], the sum over time of the output) of one sample."""
    from snntorch import SpikingNeuron
    from snntorch.import_nir import import_from_nir

    network, state, total, found = import_from_nir(nir.read(path)), None, 0.0, {}
    for name, module in network.named_modules():
        if isinstance(module, SpikingNeuron):
            module.register_forward_hook(lambda _, __, out, name=name: found.setdefault(name, []).append(out.numpy()))
    with torch.no_grad():
        for step in spikes:
            out, state = network(torch.tensor(step, dtype=torch.float32), state)
            total = total + out.numpy()
    return {name.removeprefix("nir_node_"): np.stack(steps).astype(np.uint8) for name, steps in found.items()}, total


def test_it_reads_what_we_write(tmp_path: Path) -> None:
    ours = graph(threshold=1.001)
    path = write_nir(tmp_path / "network.nir", ours)
    spikes = (np.random.default_rng(0).random((STEPS, 4, 1, 4, 4)) < 0.5).astype(np.uint8)
    expected = simulate(ours, {"input": spikes})
    for sample in range(spikes.shape[1]):
        theirs, total = imported(path, spikes[:, sample])
        assert set(theirs) == {"conv", "or", "cuba"}
        for name, fired in theirs.items():
            assert 0.05 < expected.spikes[name].mean() < 0.95, name
            assert (fired == expected.spikes[name][:, sample]).all(), name
        assert np.abs(total - expected.readout[-1, sample]).max() < 1e-5


def test_at_a_tie_it_differs_by_its_rule(tmp_path: Path) -> None:
    """A weight of 1 at threshold 1: a graph fires, what fires on > does not."""
    entry = SpikeInput(name="input", shape=(1,))
    hidden = Population(name="hidden", shape=(1,), decay=0.5, threshold=1.0, bias=np.zeros(1))
    readout = Population(name="readout", shape=(1,), decay=1.0, threshold=np.inf, bias=np.zeros(1), role="readout")
    projections = (
        Projection(source="input", target="hidden", kernel=Dense(weight=np.ones((1, 1)))),
        Projection(source="hidden", target="readout", kernel=Dense(weight=np.ones((1, 1)))),
    )
    ours = SpikingGraph(inputs=(entry,), populations=(hidden, readout), projections=projections, time_steps=1)
    path, spikes = write_nir(tmp_path / "network.nir", ours), np.ones((1, 1, 1), np.uint8)
    assert simulate(ours, {"input": spikes}).spikes["hidden"].sum() == 1
    assert imported(path, spikes[:, 0])[0]["hidden"].sum() == 0
