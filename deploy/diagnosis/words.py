"""A diagnosis in words: rows of a table, and sentences."""

from collections.abc import Iterator

from ..run.record import Difference
from .diagnosis import Cause, Compared, Diagnosis, Suspect, Unexplained
from .hypotheses import RULES

COLUMNS = ("population", "spikes", "differ", "by itself", "first difference")
SHOWN = 5  # suspects, and changes that were tried


def headline(found: Diagnosis) -> str:
    """The verdict in one line."""
    differing = sum(row.differing for row in found.populations)
    compared = sum(row.compared for row in found.populations)
    return (
        f"{found.verdict.capitalize()}: {differing:,} of {compared:,} differ, {found.candidate} from {found.reference}"
    )


def rows(found: Diagnosis) -> Iterator[tuple[str, ...]]:
    """One for each population, in the order of `COLUMNS`."""
    for row in found.populations:
        own = "-" if row.own is None else f"{row.own:,}" + (f" + {row.ties:,} ties" if row.ties else "")
        spikes = "-" if row.spikes is None else f"{row.spikes:,}"
        yield row.name, spikes, f"{row.differing:,} of {row.compared:,}", own, _where(row)


def sentences(found: Diagnosis) -> Iterator[str]:
    """Causes and what to do, or what is known where there is none."""
    if found.first is not None:
        yield f"first difference: population '{found.first.population}', {_place(found.first)}"
    for cause in found.causes:
        yield from _cause(cause)
    if len(found.causes) > 1 and len({cause.populations for cause in found.causes}) == 1:
        yield "these explain it equally well on this input; to tell them apart, give one that has"
        yield from (f"  {RULES[rule].shows} ({rule})" for rule in found.rules)
    for one in found.unexplained:
        yield from _unexplained(one)
    if found.unexplained:
        yield from _excluded(found)
    if found.margins is not None and not found.causes:
        m = found.margins
        yield (
            f"where they differ by themselves, |membrane - threshold| is {m.smallest:.4g} to {m.largest:.4g}, median "
            f"{m.median:.4g}; {m.zero:,} of {m.spikes:,} meet the threshold exactly"
        )
    if found.verdict == "equal but for ties":
        yield "every difference is a tie: the floats of one form round to the other side of the threshold; no fault"
    yield from (f"note: {note}" for note in found.notes)


def _where(row: Compared) -> str:
    return "-" if row.first is None else _place(row.first)


def _place(first: Difference) -> str:
    margin = "" if first.margin is None else f", margin {first.margin:.4g}"
    neuron = ", ".join(map(str, first.neuron))
    return f"step {first.step}, sample {first.sample}, neuron ({neuron}){margin}"


def _cause(cause: Cause) -> Iterator[str]:
    where = "" if cause.everywhere else f" in {', '.join(cause.populations)} alone"
    yield f"cause ({cause.rule}): the candidate {cause.name}{where}"
    if cause.also:
        yield f"  and it {cause.also}"
    yield f"  where from: {cause.teaches}"
    yield f"  what to do: {cause.mend}"


def _unexplained(one: Unexplained) -> Iterator[str]:
    rows = ", ".join(map(str, one.rows[:10])) + (", ..." if len(one.rows) > 10 else "")
    yield (
        f"cause: weights, bias, threshold or decay of population '{one.population}', and none of the rules; "
        f"{one.neurons} neurons differ, in {len(one.rows)} of {one.of_rows} channels or neurons: {rows}"
    )
    if one.suspects:
        shown = "; ".join(_suspect(s) for s in one.suspects[:SHOWN])
        more = len(one.suspects) - SHOWN
        yield f"  one number alone would explain it: {shown}" + (f"; {more} others" if more > 0 else "")


def _suspect(s: Suspect) -> str:
    index = f"[{', '.join(map(str, s.index))}]" if s.index else ""
    source = f" from '{s.source}'" if s.source else ""
    return f"{s.kind}{index}{source}, {s.reference:.6g} here and {s.low:.6g} to {s.high:.6g} there"


def _excluded(found: Diagnosis) -> Iterator[str]:
    best = "; ".join(f"{one.name}: {one.differing:,}" for one in found.tried[:SHOWN])
    yield f"{len(found.tried)} changes were tried and excluded; spikes that still differ with the nearest: {best}"
