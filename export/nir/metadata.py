"""What `write_nir` notes beside the nodes, so that reading back gives the same graph: checked, never believed.

node/metadata: spikeport (its version), format, time_steps, dt, arithmetic, fires (">=") and graph, a JSON text of the
populations in their order (name, node, role, reset, decays and, where no layer carries it, bias) and of the projections
in theirs (ends, and groups). Nodes hold the time constant dt / (1 - decay), of which rounding does not always give the
decay back; the note does, where it agrees.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from ... import __version__
from ...errors import InputError
from ..graph import Array, Conv, Population, Projection, Role, SpikingGraph
from ..taps import ungrouped
from .file import Stored

Fires = Literal[">", ">="]

FORMAT = 1
ROUNDING = 2.0**-48  # how far a note may be from what its node says


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A population as it was. bias: where no layer's bias holds it."""

    name: str
    node: str  # of the population; of a readout that is a sum over time, the Output
    role: Role
    reset: Literal["zero", "subtract"]
    decay: float
    current_decay: float
    bias: tuple[float, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """Of a file of ours; of others nothing is known."""

    time_steps: int | None = None
    dt: float | None = None
    fires: Fires | None = None
    populations: tuple[Noted, ...] = ()
    output: str | None = None  # the Output; nir.read adds others behind what nothing reads
    joins: tuple[tuple[str, str, int], ...] = ()  # (source, target, groups) of the projections
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # input -> shape


def noted(
    graph: SpikingGraph, dt: float, nodes: Mapping[str, str], own_bias: frozenset[str], output: str
) -> dict[str, Any]:
    """nodes: population -> its node. own_bias: populations whose bias is no layer's. output: the name of the Output."""
    populations = [
        {
            "name": p.name,
            "node": nodes[p.name],
            "role": p.role,
            "reset": p.reset,
            "decay": p.decay,
            "current_decay": p.current_decay,
            "bias": p.bias.tolist() if p.name in own_bias else None,
        }
        for p in graph.populations
    ]
    inputs = [{"name": node.name, "shape": node.shape} for node in graph.inputs]
    joins = [(p.source, p.target, p.kernel.groups if isinstance(p.kernel, Conv) else 1) for p in graph.projections]
    return {
        "spikeport": __version__,
        "format": FORMAT,
        "time_steps": graph.time_steps,
        "dt": dt,
        "arithmetic": graph.arithmetic,
        "fires": ">=",
        "graph": json.dumps({"inputs": inputs, "populations": populations, "projections": joins, "output": output}),
    }


def read_metadata(stored: Mapping[str, Stored]) -> Metadata:
    """Raises InputError for a note of ours that is damaged."""
    if "spikeport" not in stored or "graph" not in stored:
        return Metadata()
    try:
        if _whole(stored["format"]) != FORMAT:
            raise ValueError(f"format {stored['format']} instead of {FORMAT}")
        told = json.loads(_word(stored["graph"]))
        fires = _word(stored["fires"])
        if fires not in get_args(Fires) or _word(stored["arithmetic"]) != "float":
            raise ValueError(f"fires {fires}, arithmetic {stored['arithmetic']}")
        return Metadata(
            time_steps=_whole(stored["time_steps"]),
            dt=_positive(float(np.asarray(stored["dt"]).item())),
            fires=fires,  # type: ignore[arg-type]
            populations=tuple(_noted(each) for each in told["populations"]),
            output=_word(told["output"]),
            joins=tuple(
                (_word(source), _word(target), _whole(groups)) for source, target, groups in told["projections"]
            ),
            shapes={_word(each["name"]): tuple(_whole(n) for n in each["shape"]) for each in told["inputs"]},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"its metadata of spikeport is damaged ({' '.join(str(error).split())[:200]}); export it again, or read it "
            "with ignore_metadata=True."
        ) from error


def as_noted(graph: SpikingGraph, known: Metadata) -> SpikingGraph:
    """The graph with the names, order and numbers that were noted. Raises InputError where it says something else."""
    if not known.populations:
        return graph
    notes = {note.node: note for note in known.populations}
    names = {node: note.name for node, note in notes.items()}
    found = {p.name: agreed(p, notes[p.name]) for p in graph.populations if p.name in notes}
    if len(found) < max(len(graph.populations), len(notes)):
        odd = sorted({p.name for p in graph.populations} ^ set(notes))
        raise _edited(odd[0], "been added or taken out", "otherwise")
    if {node.name: node.shape for node in graph.inputs} != known.shapes:
        raise _edited(graph.inputs[0].name, "another name or shape", "otherwise")
    ordered = {node.name: node for node in graph.inputs}
    left: dict[tuple[str, str], list[Projection]] = {}
    for p in graph.projections:
        ends = (names.get(p.source, p.source), names.get(p.target, p.target))
        left.setdefault(ends, []).append(replace(p, source=ends[0], target=ends[1]))
    if {ends: len(some) for ends, some in left.items()} != Counter(join[:2] for join in known.joins):
        raise _edited(graph.readout.name, "other layers before it", "otherwise")
    return replace(
        graph,
        inputs=tuple(ordered[name] for name in known.shapes),
        populations=tuple(replace(found[note.node], name=note.name) for note in known.populations),
        projections=tuple(_regrouped(left[source, target].pop(0), groups) for source, target, groups in known.joins),
    )


def _regrouped(projection: Projection, groups: int) -> Projection:
    """The projection with a convolution in so many groups, between which its weights are 0."""
    kernel = projection.kernel
    if groups == 1:
        return projection
    if (
        isinstance(kernel, Conv)
        and kernel.groups == 1
        and not (kernel.weight.shape[0] % groups or kernel.weight.shape[1] % groups)
    ):
        rows, columns = (size // groups for size in kernel.weight.shape[:2])
        blocks = [kernel.weight[g * rows : (g + 1) * rows, g * columns : (g + 1) * columns] for g in range(groups)]
        split = Conv(
            weight=np.concatenate(blocks),
            stride=kernel.stride,
            padding=kernel.padding,
            dilation=kernel.dilation,
            groups=groups,
        )
        if np.array_equal(ungrouped(split).weight, kernel.weight):
            return replace(projection, kernel=split)
    raise _edited(projection.target, f"a layer from '{projection.source}' without groups", f"{groups} groups")


def agreed(population: Population, note: Noted) -> Population:
    """The population with what the note says more exactly. Raises InputError where it says something else."""
    told = {"decay": note.decay, "current_decay": note.current_decay}
    for key, value in told.items():
        found = float(getattr(population, key))
        if abs(found - value) > ROUNDING:
            raise _edited(population.name, f"{key}={found:.17g}", f"{value:.17g}")
    if note.reset != population.reset and note.decay:
        raise _edited(population.name, f"reset '{population.reset}'", f"'{note.reset}'")
    if (note.role == "readout") != (population.role == "readout") or (
        note.role in ("or", "and", "relay") and (note.decay or note.current_decay)
    ):
        raise _edited(population.name, f"decay {note.decay:g} and role '{population.role}'", f"role '{note.role}'")
    bias = population.bias
    if note.bias is not None:
        bias = _agreed_bias(population, np.array(note.bias, np.float64))
    return replace(
        population, bias=bias, decay=note.decay, current_decay=note.current_decay, reset=note.reset, role=note.role
    )


def _agreed_bias(population: Population, told: Array) -> Array:
    near = ROUNDING * np.maximum(1.0, np.abs(population.bias))
    if told.shape != population.bias.shape or not (np.abs(told - population.bias) <= near).all():
        raise _edited(population.name, "another bias", "it")
    return told


def _edited(name: str, found: str, told: str) -> InputError:
    return InputError(
        f"Node '{name}' has {found}, but the metadata says {told}: the file was changed after spikeport wrote "
        "it; read it with ignore_metadata=True."
    )


def _noted(each: Any) -> Noted:
    bias = each["bias"]
    if each["role"] not in get_args(Role) or each["reset"] not in ("zero", "subtract"):
        raise ValueError(f"role {each['role']}, reset {each['reset']}")
    return Noted(
        name=_word(each["name"]),
        node=_word(each["node"]),
        role=each["role"],
        reset=each["reset"],
        decay=_number(each["decay"]),
        current_decay=_number(each["current_decay"]),
        bias=None if bias is None else tuple(_number(value) for value in bias),
    )


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a word is needed, but there is {str(value)[:40]}")
    return value


def _whole(value: Any) -> int:
    number = np.asarray(value)
    if number.ndim or number.dtype.kind not in "iu" or not 0 < int(number) < 2**31:
        raise ValueError(f"a positive number is needed, but there is {str(value)[:40]}")
    return int(number)


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not abs(value) < 2**53:
        raise ValueError(f"a number is needed, but there is {str(value)[:40]}")
    return float(value)


def _positive(value: float) -> float:
    if not 0 < value < np.inf:
        raise ValueError(f"a positive number is needed, but there is {value}")
    return value
