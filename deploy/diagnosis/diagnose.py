"""Two forms of one network on one input: what differs, where first, and which one rule explains it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ...errors import InputError, UnsupportedError
from ...export.graph import SpikingGraph
from ..run.record import Difference, Record
from . import whole
from .diagnosis import Cause, Compared, Diagnosis, Margins, Tried, Unexplained, Verdict
from .examination import Examination, Own, answers, answers_near, same
from .forms import Asked, Form, Matched, Recorded, form_of, is_recorded, match, records
from .hypotheses import RULES, Hypothesis, hypotheses
from .narrowing import unexplained
from .rules import Meaning
from .torch_form import Reads

ANSWERS = "answers"
STRICT = "fires on v > threshold only"
MANY_TIES = 3  # that meet the threshold exactly and all fall to one side: a rule; fewer may be rounding


def diagnose(
    reference: nn.Module | SpikingGraph | Record | Path | str,
    candidate: nn.Module | SpikingGraph | Record | Path | str,
    values: NDArray[np.generic],
    *,
    reads: Reads = "images",
    time_steps: int | None = None,
    dt: float | None = None,
    unrounded: SpikingGraph | None = None,
) -> Diagnosis:
    """Why do two forms of one network differ? Each known rule is switched in the reference, one at a time.

    reference, candidate: a torch network in eval mode, a graph, a run folder, a NetX, NIR or ONNX file, an `.npz` of
    recorded spikes, or a `Record` of any other framework. values: images float [N, C, H, W], or spikes [T, N, *shape].
    reads: what a torch network reads, where it is not images; its values are given as spikes [T, N, *shape] all the
    same. time_steps: for which a NetX file with input neurons shows an image. dt: seconds of a step, of a NIR file that
    does not say it. unrounded: the lowered float graph that a quantized reference came from, to round its weights
    otherwise; of a run's files it is found.

    A cause is named only if the reference, with that one rule switched, computes every spike of the candidate from the
    spikes that the candidate's own populations sent; in floats but for ties. Raises InputError where the two cannot be
    compared.

    >>> network, images = spikeport.example_network()
    >>> graph, spikes = spikeport.trace(network, images[:1], 4).graph, spikeport.encode(network, images)
    >>> from dataclasses import replace
    >>> hidden, readout = graph.populations
    >>> other = replace(graph, populations=(replace(hidden, reset="subtract"), readout))
    >>> [cause.name for cause in spikeport.diagnose(graph, other, spikes).causes]
    ['resets by subtraction of the threshold']
    """
    by_layers = is_recorded(reference) or is_recorded(candidate)
    asked = Asked(reads=reads, time_steps=time_steps, dt=dt, by_layers=by_layers)
    a, b = form_of(reference, "reference", asked), form_of(candidate, "candidate", asked)
    turned = a.meaning is None and b.meaning is not None
    if turned:  # the rules are switched in the one that says its rules
        a, b = b, a
    if unrounded is not None:
        a = replace(a, unrounded=lambda: unrounded)
    found = records(a, b, np.array(values))
    matched = match(found.reference, found.candidate)
    notes = [matched.by_order] if matched.by_order else []
    if turned:
        notes.append(f"{b.name} does not say how it computes; so {a.name} is the reference in its place")
    return _Diagnosing(a, b, found, matched, notes).diagnosis()


def diagnose_files(
    reference: Path,
    candidate: Path,
    values: NDArray[np.generic],
    time_steps: int | None = None,
    dt: float | None = None,
) -> Diagnosis:
    """`diagnose` on files' values, which have the samples first: images [S, C, H, W] or [S, N], or spikes [S, T, ...].

    Raises InputError where spikes have other steps than are asked for.
    """
    if values.ndim % 2 == 0:
        return diagnose(reference, candidate, values, time_steps=time_steps, dt=dt)
    if time_steps not in (None, values.shape[1]):
        raise InputError(f"The spikes have {values.shape[1]} time steps, but {time_steps} are asked for.")
    return diagnose(reference, candidate, np.swapaxes(values, 0, 1), dt=dt)


class _Diagnosing:
    def __init__(self, reference: Form, candidate: Form, found: Recorded, matched: Matched, notes: list[str]) -> None:
        self.sides, self.notes, self.found = (reference, candidate), notes, found
        self.reference, self.candidate, self.names = found.reference, matched.candidate, matched.names
        self.matched = matched
        self.tried: list[Tried] = []

    def diagnosis(self) -> Diagnosis:
        rows = [self._compared(name) for name in self.names]
        unequal = any(row.differing for row in rows) or not answers_near(self.reference, self.candidate)
        exam = self._examination() if unequal else None
        if exam is not None:
            rows = self._with_own(rows, exam)
        self._note_alone(exam)
        rows += self._answers(exam)
        causes = self._causes(exam) if unequal else []
        left = self._left(exam, causes) if exam is not None else ()
        faults = exam is None or any(own.count for own in exam.base.values()) or (not causes and self._strays(exam))
        verdict: Verdict = "equal" if not unequal else "different" if faults or causes else "equal but for ties"
        tried = sorted(self.tried, key=lambda one: one.differing)
        names = [row.name for row in rows]
        firsts = [row.first for row in rows if row.first is not None]
        return Diagnosis(
            reference=self.sides[0].name,
            candidate=self.sides[1].name,
            verdict=verdict,
            populations=tuple(rows),
            first=min(firsts, key=lambda d: names.index(d.population)) if firsts else None,
            causes=tuple(causes),
            unexplained=left,
            tried=tuple(tried),
            margins=None if exam is None else _margins(exam),
            notes=tuple(self.notes),
        )

    def _compared(self, name: str) -> Compared:
        ours, theirs = self.reference.spikes[name], self.candidate.spikes[name]
        unequal = ours != theirs
        first = None
        if unequal.any():
            step, sample, *neuron = (int(i) for i in np.argwhere(unequal)[0])
            margins = self.reference.margins.get(name)
            margin = None if margins is None else float(margins[(step, sample, *neuron)])
            first = Difference(population=name, sample=sample, step=step, neuron=tuple(neuron), margin=margin)
        return Compared(
            name=name, spikes=int(ours.sum()), compared=ours.size, differing=int(unequal.sum()), first=first
        )

    def _examination(self) -> Examination | None:
        """None where the reference does not say how it computes, which is noted."""
        form = self.sides[0]
        if form.meaning is None:
            self.notes.append(
                "neither side says how it computes, so no cause can be looked for; give a graph or a file"
            )
            return None
        try:
            given = self.found.values[0] if form.torch or self.found.spikes is None else self.found.spikes
            meaning = form.meaning(given)
        except UnsupportedError as error:
            self.notes.append(f"the reference has no graph ({error}), so only its batch norms and input were looked at")
            return None
        recorded = dict(self.candidate.spikes)
        for node in meaning.graph.inputs:
            if node.name in recorded:
                continue
            entry = self.reference.spikes.get(node.name, self.found.spikes)
            if entry is None:
                raise InputError(f"Nobody recorded the spikes of the input '{node.name}'; give spikes, not images.")
            recorded[node.name] = entry
        known = {node.name for node in meaning.graph.inputs} | {p.name for p in meaning.populations}
        heard = {name: spikes for name, spikes in recorded.items() if name in known}
        more = [p for p in meaning.populations if p.name in heard and p.name not in self.names]
        fitting = [p.name for p in more if heard[p.name].shape[2:] == p.shape]  # pools, say, which torch has not
        names = tuple(p.name for p in meaning.populations if p.name in (*self.names, *fitting))
        return Examination(meaning, self.candidate, names, heard)

    def _strays(self, exam: Examination) -> bool:
        """Whether the reference itself does not do what it says, by more than ties. That is noted."""
        inputs = {node.name for node in exam.meaning.graph.inputs}
        heard = {name: spikes for name, spikes in exam.replay.recorded.items() if name in inputs}
        heard |= {name: self.reference.spikes[name] for name in self.names if name in exam.replay.recorded}
        names = tuple(name for name in exam.spiking if name in heard)
        itself = Examination(exam.meaning, self.reference, names, heard)
        count = sum(own.count for own in itself.base.values())
        if count:
            self.notes.append(
                f"the reference is not what its own graph says, in {count:,} spikes or answers: trust neither"
            )
        return count > 0

    def _with_own(self, rows: list[Compared], exam: Examination) -> list[Compared]:
        """The rows with what differs by itself."""
        found = []
        for row in rows:
            own = exam.base.get(row.name)
            if own is None:
                found.append(row)
                continue
            first = row.first
            if first is not None and first.margin is None:
                first = replace(first, margin=float(own.margins[(first.step, first.sample, *first.neuron)]))
            found.append(replace(row, own=int(own.wrong.sum()), ties=int(own.ties.sum()), first=first))
        found += [_of_the_candidate_alone(name, exam.base[name]) for name in exam.spiking if name not in self.names]
        order = {name: i for i, name in enumerate(exam.spiking)}
        return sorted(found, key=lambda row: order.get(row.name, -1))  # inputs first

    def _note_alone(self, exam: Examination | None) -> None:
        """Populations that only one side has; those that the reference's graph has, too, are compared with it."""
        known = () if exam is None else exam.spiking
        theirs = [name for name in self.matched.theirs if name not in known]
        for whose, names in (("reference", self.matched.ours), ("candidate", theirs)):
            if names:
                self.notes.append(f"not compared, only the {whose} has them: {', '.join(names)}")

    def _answers(self, exam: Examination | None) -> list[Compared]:
        """One row more, of the answers; noted where they cannot be compared."""
        found = answers(self.reference, self.candidate)
        if isinstance(found, str):
            self.notes.append(f"answers were not compared: {found}")
            return []
        own = None if exam is None else exam.base[exam.readout].answers
        return [Compared(name=ANSWERS, spikes=None, compared=found[1], differing=found[0], own=own)]

    def _causes(self, exam: Examination | None) -> list[Cause]:
        found = [*self._of_whole()]
        if exam is None:
            return found
        faulty = tuple(name for name, own in exam.base.items() if own.count)
        ties = _tie_rule(exam)
        if not faulty:
            return [*found, *ties]
        everywhere: list[Cause] = []
        somewhere: list[Cause] = []
        parts: list[Cause] = []
        known: list[tuple[Meaning, tuple[str, ...]]] = []  # that explain some populations alone
        for one in self._hypotheses(exam):
            changed = one.change(exam.meaning)
            if changed is None:
                continue
            counts = {name: self._count(exam, changed, name) for name in faulty}
            self.tried.append(Tried(rule=one.rule, name=one.name, differing=sum(counts.values())))
            explained = tuple(name for name in faulty if counts[name] == 0)
            if not explained:
                continue
            rest = [n for n in exam.names if n not in faulty and (one.answers or n != exam.readout)]
            holds = explained == faulty and not any(self._count(exam, changed, name) for name in rest)
            if not holds:
                if any(names == explained and same(before, changed, names) for before, names in known):
                    continue  # the same by another name
                known.append((changed, explained))
            cause = replace(_cause(one, explained, everywhere=holds), also=_also(exam, changed, explained))
            (everywhere if holds else somewhere if explained == faulty else parts).append(cause)
        complete = [*found, *(everywhere or somewhere)]
        return complete or [*parts, *ties]

    def _hypotheses(self, exam: Examination) -> Iterator[Hypothesis]:
        graph = exam.meaning.graph
        spikes = exam.replay.recorded[graph.inputs[0].name]
        return hypotheses(spikes, self.sides[0].unrounded())

    def _count(self, exam: Examination, changed: Meaning, name: str) -> int:
        if not exam.touched(changed, name):
            return exam.base[name].count
        if name not in {p.name for p in changed.populations}:
            return exam.base[name].count
        return exam.own(changed, name).count

    def _of_whole(self) -> Iterator[Cause]:
        pair = whole.Compared(reference=self.reference, candidate=self.candidate, names=self.names)
        for tried, cause in (*whole.of_torch(self.sides, self.found, pair), *whole.of_records(pair)):
            self.tried.append(tried)
            if cause is not None:
                yield cause

    def _left(self, exam: Examination, causes: list[Cause]) -> tuple[Unexplained, ...]:
        explained = {name for cause in causes for name in cause.populations}
        faulty = [name for name, own in exam.base.items() if own.count and name not in explained]
        complete = any(cause.everywhere for cause in causes)
        return () if complete else tuple(unexplained(exam, name) for name in faulty)


def _of_the_candidate_alone(name: str, own: Own) -> Compared:
    """A population that the reference's record lacks, against what its graph says of it."""
    unequal = own.wrong | own.ties
    first = None
    if unequal.any():
        step, sample, *neuron = (int(i) for i in np.argwhere(unequal)[0])
        margin = float(own.margins[(step, sample, *neuron)])
        first = Difference(population=name, sample=sample, step=step, neuron=tuple(neuron), margin=margin)
    return Compared(
        name=name,
        spikes=None,
        compared=unequal.size,
        differing=int(unequal.sum()),
        own=int(own.wrong.sum()),
        ties=int(own.ties.sum()),
        first=first,
    )


def _cause(one: Hypothesis, populations: tuple[str, ...], *, everywhere: bool) -> Cause:
    rule = RULES[one.rule]
    return Cause(
        rule=one.rule,
        name=one.name,
        teaches=one.teaches,
        shows=rule.shows,
        mend=rule.mend,
        populations=populations,
        everywhere=everywhere,
    )


def _ties(exam: Examination, meaning: Meaning, owns: Mapping[str, Own]) -> tuple[int, tuple[str, ...]]:
    """Floats: how many membranes meet the threshold exactly, in populations where not one of them has a spike.

    0 where they are too few, or where others of the population have one: then it is rounding.
    """
    met = {name: own.margins == 0 for name, own in owns.items() if exam.in_floats(meaning, name)}
    strict = tuple(name for name, mask in met.items() if mask.any() and not (mask & ~owns[name].ties).any())
    number = sum(int(met[name].sum()) for name in strict)
    return (number, strict) if number >= MANY_TIES else (0, ())


def _also(exam: Examination, changed: Meaning, names: tuple[str, ...]) -> str | None:
    """The tie rule, where it is seen once another rule is switched."""
    there = {p.name for p in changed.populations}
    number, _ = _ties(exam, changed, {name: exam.own(changed, name) for name in names if name in there})
    return f"{STRICT}: none of {number} membranes that meet the threshold exactly has a spike" if number else None


def _tie_rule(exam: Examination) -> list[Cause]:
    """The rule by which ties are decided, where nothing else differs."""
    number, names = _ties(exam, exam.meaning, exam.base)
    if not number:
        return []
    strict = Hypothesis(
        rule="tie rule",
        name=STRICT,
        teaches=f"all {number} membranes that meet the threshold exactly have no spike, so it is no rounding",
        change=lambda meaning: None,
    )
    others = [n for n, own in exam.base.items() if n not in names and exam.in_floats(exam.meaning, n)]
    everywhere = not any((exam.base[name].margins == 0).any() for name in others)
    return [_cause(strict, names, everywhere=everywhere)]


def _margins(exam: Examination) -> Margins | None:
    found = [np.abs(own.margins[own.wrong | own.ties]) for own in exam.base.values()]
    values = np.concatenate([np.asarray(v, np.float64).ravel() for v in found]) if found else np.zeros(0)
    if not values.size:
        return None
    return Margins(
        spikes=values.size,
        zero=int((values == 0).sum()),
        smallest=float(values.min()),
        median=float(np.median(values)),
        largest=float(values.max()),
    )
