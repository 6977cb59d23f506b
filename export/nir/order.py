"""The order in which nodes are read: each after what it reads, but for edges that close a loop of one population."""

import heapq
from collections.abc import Collection
from dataclasses import dataclass

from ...errors import UnsupportedError
from .file import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """nodes: sources first. into: node -> places of its edges in the file. after: node -> what reads it."""

    network: Network
    nodes: tuple[str, ...]
    into: dict[str, tuple[int, ...]]
    after: dict[str, tuple[str, ...]]

    def before(self, name: str) -> tuple[str, ...]:
        """What a node reads, in the order of the file's edges."""
        return tuple(self.network.edges[place][0] for place in self.into[name])


def order_of(network: Network, stateful: Collection[str]) -> Order:
    """stateful: kinds of nodes that are populations. Raises UnsupportedError for a loop through none or several."""
    after: dict[str, list[str]] = {name: [] for name in network.nodes}
    into: dict[str, list[int]] = {name: [] for name in network.nodes}
    for place, (source, target) in enumerate(network.edges):
        after[source].append(target)
        into[target].append(place)
    loop = {name: number for number, names in enumerate(_strong(after)) for name in names}
    members: dict[int, list[str]] = {}
    for name in network.nodes:
        if network.nodes[name].kind in stateful:
            members.setdefault(loop[name], []).append(name)
    waits = dict.fromkeys(network.nodes, 0)
    open_edges: dict[str, list[str]] = {name: [] for name in network.nodes}
    for source, target in network.edges:
        inside = loop[source] == loop[target]
        if inside and len(members.get(loop[target], ())) > 1:
            raise UnsupportedError(_several(members[loop[target]]))
        if inside and network.nodes[target].kind in stateful:
            continue  # it closes the loop: the spikes of the step before
        open_edges[source].append(target)
        waits[target] += 1
    found = sorted_by(open_edges, waits)
    if len(found) < len(network.nodes):
        stuck = sorted(set(network.nodes) - set(found))
        raise UnsupportedError(
            f"the nodes {', '.join(repr(name) for name in stuck[:3])} read themselves within one step, with no neuron "
            "between; put one into the loop, or take an edge out."
        )
    return Order(
        network=network,
        nodes=tuple(found),
        into={name: tuple(places) for name, places in into.items()},
        after={name: tuple(names) for name, names in after.items()},
    )


def sorted_by(after: dict[str, list[str]], waits: dict[str, int]) -> list[str]:
    """Sources first, and of those that may come next the one that stands first in `waits`; without what is in loops."""
    rank = {name: number for number, name in enumerate(waits)}
    names, left = list(waits), dict(waits)
    ready = [rank[name] for name in names if not left[name]]
    found = []
    while ready:
        name = names[heapq.heappop(ready)]
        found.append(name)
        for target in after[name]:
            left[target] -= 1
            if not left[target]:
                heapq.heappush(ready, rank[target])
    return found


def _several(names: list[str]) -> str:
    return (
        f"the populations {', '.join(repr(name) for name in names[:3])} feed back into each other, and a spiking graph "
        "has recurrence within one population only; make them one layer."
    )


def _strong(after: dict[str, list[str]]) -> list[list[str]]:
    """The strongly connected components [Tarjan, SIAM J. Comput. 1 (1972) 146], without recursion."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: list[list[str]] = []
    for root in after:
        if root in index:
            continue
        work = [(root, iter(after[root]))]
        while work:
            name, rest = work[-1]
            if name not in index:
                index[name] = low[name] = len(index)
                stack.append(name)
                on_stack.add(name)
            for target in rest:
                if target not in index:
                    work.append((target, iter(after[target])))
                    break
                if target in on_stack:
                    low[name] = min(low[name], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    cut = stack.index(name)
                    found.append(stack[cut:])
                    on_stack.difference_update(stack[cut:])
                    del stack[cut:]
    return found
