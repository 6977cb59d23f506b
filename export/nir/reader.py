"""NIR -> SpikingGraph, or the node that it cannot be.

Nodes with a state, and Threshold, become populations (`neurons.py`), the stateless ones between them fold into kernels
(`linear_nodes.py`, `delays.py`). An edge that closes a loop makes its population read its own spikes of the step
before, as the frameworks do (nirtorch 2.6, nir_interpreter.py: the previous output); a loop through two is refused.

The answer, which a SpikingGraph has in its last population's membrane:

    I, LI or CubaLI before the Output    its membrane after the last step
    Linear, ... before the Output        the sum over time of what comes out, or its mean
    neurons before the Output            how many spikes each fired, or at which rate; their spikes stay visible

What a file cannot say is asked for: `dt`, `time_steps`, and what its frameworks differ in, `fires` and `reset`.
"""

from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np

from ...errors import InputError
from ..graph import Shape, SpikingGraph, check
from .delays import Delays
from .file import named, read_nodes
from .metadata import Fires, Metadata, as_noted, read_metadata
from .neurons import NEURONS, Clock
from .order import order_of
from .populations import Answer, Choices, Populations, Reset
from .signals import Signals, ending_in


@dataclass(frozen=True, slots=True, kw_only=True)
class NirNetwork:
    """graph: what was read. notes: what was decided on the way. dt: seconds of a step, None where none was needed."""

    graph: SpikingGraph
    notes: tuple[str, ...]
    dt: float | None


def read_nir(
    source: Any,
    *,
    time_steps: int | None = None,
    dt: float | None = None,
    input_shape: Shape | None = None,
    fires: Fires | None = None,
    reset: Reset = "zero",
    answer: Answer = "sum",
    output: str | None = None,
    ignore_metadata: bool = False,
) -> NirNetwork:
    """A NIR file (a path), or a nir.NIRGraph, as a SpikingGraph in float arithmetic.

    time_steps: T of the window; dt: seconds of a step; a file of spikeport has both. input_shape: [N], [C, L] or [C, H,
    W] of the spikes, for a file that lacks it. fires: ">" where a membrane is above the threshold, as NIR, snnTorch and
    Norse have it (the default), ">=" as SpikingJelly does; a file of spikeport says it. reset: what NIR has is "zero"
    (to v_reset); snnTorch writes neurons that subtract as if they did not: "subtract" reads them so, "subtract later"
    with its `reset_delay`, which takes the threshold off one step later, undecayed. answer: of a network that ends
    without an integrator. output: the Output that is meant, where there are several. ignore_metadata: of a file of
    spikeport that was changed.

    Raises InputError for a file that is missing, damaged, inconsistent or lacks what no argument gives,
    UnsupportedError for a node that a SpikingGraph cannot hold; each names the file and the node.

    >>> network, images = spikeport.example_network()
    >>> graph = spikeport.trace(network, images[:1], 4).graph
    >>> again = spikeport.read_nir(spikeport.write_nir("network.nir", graph)).graph
    >>> [population.name for population in again.populations] == [population.name for population in graph.populations]
    True
    """
    for word, value, choices in (("fires", fires or ">", Fires), ("reset", reset, Reset), ("answer", answer, Answer)):
        if value not in get_args(choices):
            raise InputError(f"Unknown {word} '{value}'; choose from {', '.join(map(repr, get_args(choices)))}.")
    if dt is not None and not 0 < dt < np.inf:
        raise InputError(f"`dt > 0` must hold, in seconds, but dt={dt}.")
    with named(source):
        network = read_nodes(source)
        known = Metadata() if ignore_metadata else read_metadata(network.metadata)
        steps = time_steps or known.time_steps
        if steps is None:
            raise InputError("the file does not say how many steps a window has; give time_steps.")
        dt = dt or known.dt
        notes = [f"edge {a} -> {b} stands twice and counts once" for a, b in network.repeated]
        if dt != known.dt:
            known = replace(known, populations=())
        network, last = ending_in(network, output or known.output)
        order = order_of(network, NEURONS)
        signals = Signals(
            order=order, clock=Clock(dt), delays=Delays(clock=Clock(dt)), input_shape=input_shape, last=last
        )
        signals.read()
        chosen = Choices(time_steps=steps, fires=fires or known.fires or ">", reset=reset, answer=answer)
        joined = Populations(signals=signals, choices=chosen, notes=notes)
        joined.read()
        graph = as_noted(joined.graph(), known)
        return NirNetwork(graph=check(graph), notes=tuple(notes), dt=dt)
