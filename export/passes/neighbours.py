"""Which populations may lie on one level, and an order in time for those that may not.

A level is one NetX layer with one register for the decay of the membrane and one for that of the current, so neurons
that leak unequally are put one after the other, and relays carry the spikes on. A product of spikes (AND) must forget
one spike before the next: it stands beside neurons that leak enough for the window's steps, or apart from them.
"""

from itertools import combinations

from ..graph import Population, SpikingGraph

REGISTER = 60  # a low threshold register, at which an AND's even weights fit it worst


def may_share(a: Population, b: Population, time_steps: int) -> bool:
    """Whether two populations may lie on one level of a window of so many steps."""
    if a.role == b.role == "neuron":
        return (a.decay, a.current_decay) == (b.decay, b.current_decay)
    for gate, other in ((a, b), (b, a)):
        if gate.role in ("and", "or", "relay") and other.role == "neuron":
            forgets = gate.role != "and" or _forgets(float(other.decay), time_steps)
            return forgets and not other.current_decay
    return True


def _forgets(decay: float, time_steps: int) -> bool:
    """Whether what a spike in every step of a window leaves behind never adds up to two of them."""
    weight = 2 * (REGISTER // 4 + 1)
    return sum(weight * decay**step for step in range(time_steps)) <= REGISTER


def one_after_the_other(graph: SpikingGraph, soonest: dict[str, int]) -> list[tuple[str, str]]:
    """Pairs of populations of which the first must lie on a level before the second one's; none where all may share.

    Each population takes, in topological order, the first level behind its sources where it may stand.
    """
    inner = [p for p in graph.populations if p.role != "readout"]
    # of any two: those on different levels now may be moved onto one, where that saves relays
    if all(may_share(a, b, graph.time_steps) for a, b in combinations(inner, 2)):
        return []
    level: dict[str, int] = dict.fromkeys((node.name for node in graph.inputs), 0)
    there: dict[int, list[Population]] = {}
    for population in sorted(inner, key=lambda p: soonest[p.name]):
        sources = [level[p.source] for p in graph.incoming(population.name) if p.source != population.name]
        number = 1 + max(sources, default=0)
        while not all(may_share(population, other, graph.time_steps) for other in there.get(number, [])):
            number += 1
        level[population.name] = number
        there.setdefault(number, []).append(population)
    return [
        (a.name, b.name)
        for a in inner
        for b in inner
        if level[a.name] < level[b.name] and not may_share(a, b, graph.time_steps)
    ]
