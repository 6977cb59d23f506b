"""What the terms of an energy, the roles of populations and the limits of a core are called, and their colours.

A colour is a class of the page's style sheet. Terms of one family share a hue; neighbours in a bar differ in lightness,
so that they are told apart without hue, too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One summand of an energy: its name in a table, in a narrow place, and the class of its colour."""

    title: str
    short: str
    kind: str


# in the order in which bars are stacked
TERMS: Mapping[str, Term] = {
    "synaptic_operations": Term(title="synaptic operations", short="SOPs", kind="c-syn"),
    "synaptic_operations_conv": Term(title="synaptic operations, convolution", short="SOPs, conv", kind="c-syn"),
    "synaptic_operations_dense": Term(title="synaptic operations, dense", short="SOPs, dense", kind="c-syn2"),
    "synaptic_operations_sparse": Term(title="synaptic operations, sparse", short="SOPs, sparse", kind="c-syn3"),
    "neuron_updates": Term(title="neuron updates, every neuron and step", short="access", kind="c-upd"),
    "active_updates": Term(title="neuron updates, active", short="active", kind="c-act"),
    "idle_updates": Term(title="neuron updates, idle", short="idle", kind="c-idle"),
    "spikes": Term(title="spikes fired", short="fired", kind="c-fire"),
    "messages": Term(title="messages between cores", short="messages", kind="c-msg"),
    "hops_x": Term(title="hops east-west", short="hops x", kind="c-hopx"),
    "hops_y": Term(title="hops north-south", short="hops y", kind="c-hopy"),
    "static": Term(title="static power", short="static", kind="c-static"),
    "host": Term(title="host cores on the chip", short="host", kind="c-host"),
}
ROLES = {
    "input": "inputs, from the host",
    "neuron": "neurons of the network",
    "relay": "relays, which carry a spike to a later level",
    "or": "OR populations, which are max-pools",
    "and": "AND populations, which are products of spikes",
    "readout": "readout",
}
LIMITS = {"neurons": "neurons", "in_axons": "in-axons", "out_axons": "out-axons", "memory_bits": "synapse memory"}
GRADES = "P primary source seen, S quoted in secondary sources, D derived or measured from P"


def term(name: str) -> Term:
    """The words of a term; one that the table does not know keeps its own name and a colour of its own."""
    plain = name.replace("_", " ")
    return TERMS.get(name, Term(title=plain, short=plain, kind="c-other"))


def terms_in(energies: Iterable[Mapping[str, Any] | None]) -> list[str]:
    """The terms that cost anything in at least one of the energies, in the order of TERMS, unknown ones last."""
    found = {name for one in energies for name, joules in (one or {}).items() if joules and name != "total"}
    return [name for name in TERMS if name in found] + sorted(found - set(TERMS))
