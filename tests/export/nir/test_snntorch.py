"""Networks that snnTorch 1.0.0 exports fire here as they do in snnTorch, or where they do not, its rule says why.

Weights are multiples of 1/64 and decays of 1/8, so that float32 rounds nothing: every spike compares with ==. Its
rules: it fires on > (_neurons/neurons.py, `fire`); `reset_mechanism="subtract"` is its default, and its exporter writes
it as a reset to zero (export_nir.py: v_reset = 0); `reset_delay=True` resets one step later, where Synaptic, RLeaky and
RSynaptic then lose that step's input, too (_neurons/synaptic.py, `_base_zero`).
"""

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spikeport.deploy.run.any_form import run
from spikeport.errors import UnsupportedError
from spikeport.export.netx.writer import write_netx
from spikeport.export.nir.reader import read_nir
from spikeport.export.passes import lower
from spikeport.export.passes.quantize import quantize
from spikeport.export.simulate import simulate

snn = pytest.importorskip("snntorch", reason="snntorch is not installed; it is in the extra dev")

pytestmark = pytest.mark.filterwarnings("ignore:nirtorch.extract_nir_graph is being deprecated:DeprecationWarning")

STEPS, SAMPLES, DT = 12, 16, 1e-4  # its dt: export_nir.py


def exact(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """With weights of few bits."""
    made = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        if parameter.ndim:
            parameter.data = torch.randint(-24, 40, parameter.shape, generator=made) / 64
    return module.eval()


def fires(network: torch.nn.Module, spikes: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    """Module -> spikes [T, N, ...] of every neuron layer."""
    found: dict[str, list[Any]] = {}
    handles = []
    for name, module in network.named_children():
        if isinstance(module, snn.SpikingNeuron):
            module.reset_hidden() if hasattr(module, "reset_hidden") else None
            module.mem = torch.zeros(0)
            if hasattr(module, "syn"):
                module.syn = torch.zeros(0)
            if hasattr(module, "spk"):
                module.spk = torch.zeros(0)

            def keep(_: Any, __: Any, out: Any, name: str = name) -> None:
                found.setdefault(name, []).append(out.numpy().astype(np.uint8))

            handles.append(module.register_forward_hook(keep))
    with torch.no_grad():
        for step in spikes:
            network(torch.tensor(step, dtype=torch.float32))
    for handle in handles:
        handle.remove()
    return {name: np.stack(steps) for name, steps in found.items()}


def exported(network: torch.nn.Module, shape: tuple[int, ...]) -> Any:
    from snntorch.export_nir import export_to_nir

    return export_to_nir(network, torch.zeros(1, *shape), ignore_dims=[0])


def random_spikes(*shape: int) -> NDArray[np.uint8]:
    return (np.random.default_rng(1).random((STEPS, SAMPLES, *shape)) < 0.4).astype(np.uint8)


def dense(*, beta: float = 0.75, **given: Any) -> torch.nn.Module:
    layers = [torch.nn.Linear(6, 8), leaky(8, beta=beta, **given), torch.nn.Linear(8, 4), leaky(4, beta=beta, **given)]
    return exact(torch.nn.Sequential(*layers))


def leaky(*shape: int, beta: float = 0.75, **given: Any) -> torch.nn.Module:
    given = {"reset_mechanism": "zero", "init_hidden": True} | given
    return snn.Leaky(beta=torch.full(shape, beta), threshold=torch.ones(shape), **given)


def differing(network: torch.nn.Module, shape: tuple[int, ...], **given: Any) -> int:
    """Spikes of all layers that differ, of those that snnTorch fires some."""
    spikes = random_spikes(*shape)
    theirs = fires(network, spikes)
    graph = read_nir(exported(network, shape), time_steps=STEPS, dt=DT, **given).graph
    ours = simulate(graph, {graph.inputs[0].name: spikes}).spikes
    for name, fired in theirs.items():
        assert 0.02 < fired.mean() < 0.9, name
    return sum(int((ours.get(name, ours.get(f"{name}.lif")) != fired).sum()) for name, fired in theirs.items())


@pytest.mark.parametrize("reset_delay", [True, False])
def test_leaky(reset_delay: bool) -> None:
    assert differing(dense(reset_delay=reset_delay), (6,)) == 0


def test_betas_that_float32_rounds_are_read_as_they_were_trained() -> None:
    network = dense(beta=0.9)
    graph = read_nir(exported(network, (6,)), time_steps=STEPS, dt=DT).graph
    assert {p.decay for p in graph.populations[:-1]} == {float(np.float32(0.9))}


def test_one_broken_weight_is_seen() -> None:
    network, broken, spikes = dense(), dense(), random_spikes(6)
    broken[0].weight.data[0, 0] += 0.5
    graph = read_nir(exported(broken, (6,)), time_steps=STEPS, dt=DT).graph
    assert (simulate(graph, {"input": spikes}).spikes["1"] != fires(network, spikes)["1"]).any()


def test_convolutions_pools_and_flatten() -> None:
    layers = [torch.nn.Conv2d(1, 4, 3, padding=1), leaky(4, 6, 6), torch.nn.AvgPool2d(2), torch.nn.Flatten()]
    network = exact(torch.nn.Sequential(*layers, torch.nn.Linear(36, 5), leaky(5)))
    assert differing(network, (1, 6, 6)) == 0


def test_recurrent_layers() -> None:
    given = {"reset_mechanism": "zero", "init_hidden": True, "reset_delay": False}
    recurrent = snn.RLeaky(beta=0.75, linear_features=8, **given)
    assert differing(exact(torch.nn.Sequential(torch.nn.Linear(6, 8), recurrent)), (6,)) == 0


def test_synaptic() -> None:
    given = {"reset_mechanism": "zero", "init_hidden": True, "reset_delay": False}
    values = {"alpha": torch.full((8,), 0.5), "beta": torch.full((8,), 0.75), "threshold": torch.full((8,), 2.0)}
    network = exact(torch.nn.Sequential(torch.nn.Linear(6, 8), snn.Synaptic(**values, **given)))
    assert differing(network, (6,)) == 0  # the layer's bias goes through the synaptic filter, as theirs does


def test_recurrent_synaptic_until_its_first_reset() -> None:
    """It has delayed resets only (without, snnTorch 1.0.0 raises), so it is compared until the first spike of a sample,
    and those that did not fire one step further, which is as far as that spike's way back."""
    given = {"reset_mechanism": "zero", "init_hidden": True}
    recurrent = snn.RSynaptic(alpha=0.5, beta=0.75, threshold=4.0, linear_features=8, **given)
    network, spikes = exact(torch.nn.Sequential(torch.nn.Linear(6, 8), recurrent)), random_spikes(6)
    theirs = fires(network, spikes)["1"]
    graph = read_nir(exported(network, (6,)), time_steps=STEPS, dt=DT).graph
    ours = simulate(graph, {"input": spikes}).spikes["1.lif"]
    later = 0
    for sample in range(SAMPLES):
        first = int(theirs[:, sample].any(1).argmax())
        silent = theirs[first, sample] == 0
        assert (ours[: first + 1, sample] == theirs[: first + 1, sample]).all()
        assert (ours[first + 1, sample, silent] == theirs[first + 1, sample, silent]).all()
        later += int(theirs[first + 1, sample, silent].sum())
    assert later > 5


# -- where it differs, and by which rule


def test_it_fires_above_the_threshold_and_not_at_it() -> None:
    """A planted tie: 0.5 + 0.5 at threshold 1 without a leak is 1."""
    network = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), leaky(1, beta=0.9999999))
    network[0].weight.data[:] = 1.0
    spikes = np.ones((1, 1, 1), np.uint8)
    graph = exported(network, (1,))
    assert fires(network, spikes)["1"].sum() == 0
    for rule, count in ((">", 0), (">=", 1)):
        read = read_nir(graph, time_steps=1, dt=DT, fires=rule).graph
        assert simulate(read, {"input": spikes}).spikes["1"].sum() == count


def test_the_tie_rule_is_all_that_differs() -> None:
    """With thresholds that no membrane of multiples of 1/64 in three steps can hit, both rules are one."""
    network = dense()
    for index in (1, 3):
        network[index].threshold = torch.full_like(network[index].threshold, 1.001)
    assert differing(network, (6,), fires=">=") == differing(network, (6,), fires=">") == 0


def test_its_default_reset_is_not_in_the_file() -> None:
    network = dense(reset_mechanism="subtract", reset_delay=True)
    assert differing(network, (6,)) > 0  # the file says reset to zero
    assert differing(network, (6,), reset="subtract later") == 0


def test_its_reset_by_subtraction_without_delay() -> None:
    """Equal while no membrane reaches twice the threshold: above, it takes a second threshold off and puts it back."""
    network = dense(reset_mechanism="subtract", reset_delay=False)
    for index in (0, 2):
        network[index].weight.data /= 4
        network[index].bias.data += 0.25
    assert differing(network, (6,)) > 0
    assert differing(network, (6,), reset="subtract") == 0


def test_a_delayed_reset_of_synaptic_loses_an_input() -> None:
    """Its rule: the membrane of the step after a spike is 0, whatever arrives then."""
    values = {"alpha": torch.zeros(1), "beta": torch.full((1,), 0.5), "threshold": torch.full((1,), 0.75)}
    given = {"reset_mechanism": "zero", "init_hidden": True}
    spikes = np.ones((4, 1, 1), np.uint8)
    found = []
    for delayed in (True, False):
        network = torch.nn.Sequential(
            torch.nn.Linear(1, 1, bias=False), snn.Synaptic(**values, **given, reset_delay=delayed)
        )
        network[0].weight.data[:] = 1.0
        found.append(fires(network, spikes)["1"].reshape(-1).tolist())
        graph = read_nir(exported(network, (1,)), time_steps=4, dt=DT).graph
        assert simulate(graph, {"input": spikes}).spikes["1"].reshape(-1).tolist() == [1, 1, 1, 1]
    assert found == [[1, 0, 1, 0], [1, 1, 1, 1]]


def test_a_threshold_taken_off_behind_a_filter_is_refused() -> None:
    values = {"alpha": torch.full((1,), 0.5), "beta": torch.full((1,), 0.5), "threshold": torch.ones(1)}
    network = torch.nn.Sequential(torch.nn.Linear(1, 1), snn.Synaptic(**values, init_hidden=True))
    with pytest.raises(UnsupportedError, match=r"Node '1' \(CubaLIF\): a threshold taken off one step later would go"):
        read_nir(exported(network, (1,)), time_steps=4, dt=DT, reset="subtract later")


def test_parameters_without_a_shape_take_that_of_the_layer_before() -> None:
    """As its exporter writes a Synaptic of single numbers, where nobody checks types."""
    cuba = nir.CubaLIF(*(np.float32(x) for x in (2 * DT, 2 * DT, 2.0, 0.0, 1.0)), w_in=np.float32(2.0))
    nodes = {"input": nir.Input(np.array([2])), "w": nir.Linear(np.ones((3, 2), np.float32)), "syn": cuba}
    nodes |= {"output": nir.Output(np.array([3]))}
    edges = [("input", "w"), ("w", "syn"), ("syn", "output")]
    graph = read_nir(nir.NIRGraph(nodes, edges, type_check=False), time_steps=2, dt=DT).graph
    assert graph.populations[0].shape == (3,)
    assert (graph.populations[0].decay, graph.populations[0].current_decay) == (0.5, 0.5)


def test_from_snntorch_to_the_chip(tmp_path: Path) -> None:
    """snnTorch -> NIR -> SpikingGraph -> NetX: the file computes the integers of the quantized graph."""
    layers = [torch.nn.Conv2d(1, 4, 3, padding=1), leaky(4, 6, 6), torch.nn.AvgPool2d(2), torch.nn.Flatten()]
    network = exact(torch.nn.Sequential(*layers, torch.nn.Linear(36, 5), leaky(5)))
    graph = quantize(lower(read_nir(exported(network, (1, 6, 6)), time_steps=STEPS, dt=DT).graph), peak=float(STEPS))
    spikes = random_spikes(1, 6, 6)
    found, expected = run(write_netx(tmp_path / "network.net", graph), spikes), run(graph, spikes)
    assert all((found.spikes[name] == fired).all() for name, fired in expected.spikes.items())
    assert (found.readout == expected.readout).all() and expected.readout.any()
