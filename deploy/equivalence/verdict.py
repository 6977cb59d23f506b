"""Do two forms of a network compute the same? Two records of the same input: the verdict, the first divergence, its
cause.

Spikes compare with ==. Float forms may answer a *tie* differently, a membrane within TIE of its threshold, because
they add in another order. A tie is proved to be one: the reference is run again with that one spike decided the other
way, and then everything must be equal: the numbers of a check are those after that. Ties are counted and listed; any
other differing spike is a fail, and so are logits apart by more than rounding. Integer forms have no ties.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..run.record import Difference, Record, differing, first_differences, place_in

TIE = 1e-4  # of |membrane - threshold|, in the membrane's unit
NUDGE = 2e-5  # how far beyond its threshold a tie is pushed: more than float32 rounds off, less than a tie
ROUNDS = 50  # reference runs to settle ties; one round settles the first ties of every sample
LOGITS = 1e-4  # how far logits may lie apart when all spikes are equal, relative to the largest one (at least 1)

Nudges = dict[str, NDArray[np.float32]]
Reference = Callable[[Nudges], Record]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One row of equivalence.json."""

    name: str
    reference: str
    candidate: str
    status: Literal["run", "not run"] = "run"
    reason: str | None = None  # why it was not run
    verdict: Literal["pass", "fail"] | None = None
    samples: int | None = None
    spikes_compared: int | None = None
    spikes_differing: int | None = None
    ties: list[dict[str, Any]] = field(default_factory=list)
    max_abs_logit_difference: float | None = None
    top1_agreement: float | None = None
    accuracy_reference: float | None = None
    accuracy_candidate: float | None = None
    spikes_per_inference_reference: float | None = None
    spikes_per_inference_candidate: float | None = None
    allowed_accuracy_drop: float | None = None
    first_divergence: dict[str, Any] | None = None
    seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(
    reference: Record | Reference,
    candidate: Record,
    *,
    name: str = "forms",
    reference_name: str = "reference",
    candidate_name: str = "candidate",
) -> Check:
    """Do two forms compute the same? Integers with ==; float forms by spikes, classes and logits.

    reference: a record, or a function of nudges that runs the float reference again, by which ties are told from
    differences (`TorchRunner` is one, with its images bound). Raises InputError where the records are of different
    networks or inputs.

    >>> network, images = spikeport.example_network()
    >>> spikes = spikeport.encode(network, images)
    >>> traced = spikeport.trace(network, images[:1], 4)
    >>> spikeport.compare(spikeport.run(network, images), spikeport.run(traced.graph, spikes)).verdict
    'pass'
    """
    names = (name, reference_name, candidate_name)
    if isinstance(reference, Record):
        record = reference
        if record.readout.dtype.kind == candidate.readout.dtype.kind == "i":
            return compare_integers(*names, record, candidate)
        return compare_float(*names, lambda nudges: record, candidate)
    return compare_float(*names, reference, candidate)


def compare_float(
    name: str, reference_name: str, candidate_name: str, reference: Reference, candidate: Record
) -> Check:
    """Equal spikes but for ties, the same class for every sample, and logits equal but for rounding."""
    record, ties = settle(reference, candidate)
    unequal = differing(record, candidate)
    agreement = float((record.predictions == candidate.predictions).mean())
    first = _first(record, candidate, _float_cause)
    apart = _apart(record, candidate)
    if first is None and apart.any():
        first = _logit_divergence(record, candidate, apart)
    return Check(
        name=name,
        reference=reference_name,
        candidate=candidate_name,
        verdict="pass" if unequal == 0 and not apart.any() else "fail",
        samples=len(record.readout),
        spikes_compared=_count(record),
        spikes_differing=unequal,
        ties=[_place(tie) for tie in ties],
        max_abs_logit_difference=_logit_difference(record, candidate),
        top1_agreement=agreement,
        first_divergence=first,
    )


def compare_integers(
    name: str, reference_name: str, candidate_name: str, reference: Record, candidate: Record
) -> Check:
    """Every spike of every population and the readout's membrane after every step, all with ==."""
    unequal = differing(reference, candidate)
    membranes: NDArray[Any] = np.not_equal(_steps(reference), _steps(candidate))
    first = _first(reference, candidate, _integer_cause)
    if first is None and membranes.any():
        first = _membrane_divergence(reference, candidate, membranes)
    return Check(
        name=name,
        reference=reference_name,
        candidate=candidate_name,
        verdict="pass" if unequal == 0 and not membranes.any() else "fail",
        samples=len(reference.readout),
        spikes_compared=_count(reference),
        spikes_differing=unequal,
        max_abs_logit_difference=_logit_difference(reference, candidate),
        top1_agreement=float((reference.predictions == candidate.predictions).mean()),
        first_divergence=first,
    )


def joined(checks: Sequence[Check]) -> Check:
    """One check of several on parts of the samples, one after the other. The first divergence is that of the first part
    that has one."""
    if len(checks) == 1:
        return checks[0]
    starts = np.cumsum([0, *(check.samples or 0 for check in checks)]).tolist()
    samples = starts.pop()
    gaps = [check.max_abs_logit_difference for check in checks]
    shares = [check.top1_agreement for check in checks]
    agreeing = [share * (check.samples or 0) for share, check in zip(shares, checks, strict=True) if share is not None]
    moved = [_moved(check.first_divergence, start) for check, start in zip(checks, starts, strict=True)]
    return replace(
        checks[0],
        verdict="pass" if all(check.verdict == "pass" for check in checks) else "fail",
        samples=samples,
        spikes_compared=sum(check.spikes_compared or 0 for check in checks),
        spikes_differing=sum(check.spikes_differing or 0 for check in checks),
        ties=[_moved(tie, start) for check, start in zip(checks, starts, strict=True) for tie in check.ties],
        max_abs_logit_difference=None if None in gaps else max(gap for gap in gaps if gap is not None),
        top1_agreement=None if None in shares else sum(agreeing) / samples,
        first_divergence=next((found for found in moved if found), None),
    )


def _moved(place: dict[str, Any] | None, start: int) -> Any:
    """A place in a part of the samples, among all of them."""
    return place and place | {"sample": place["sample"] + start}


def settle(reference: Reference, candidate: Record) -> tuple[Record, list[Difference]]:
    """The reference's record with every tie decided as the candidate did, and these ties.

    Each round decides the ties among the first differences of every sample. What remains is no tie, or would not be
    settled by deciding it.
    """
    nudges: Nudges = {}
    ties: list[Difference] = []
    decided: set[tuple[str, int, int, tuple[int, ...]]] = set()
    record = reference(nudges)
    for _ in range(ROUNDS):
        first = first_differences(record, candidate)
        new = [d for d in first if _is_tie(d) and (d.population, d.sample, d.step, d.neuron) not in decided]
        if not new:
            break
        for tie in new:
            assert tie.margin is not None  # or it would be no tie
            spikes = candidate.spikes[tie.population]
            shape = record.spikes[tie.population].shape
            nudge = nudges.setdefault(tie.population, np.zeros(shape, np.float32))
            place = (tie.step, tie.sample, *tie.neuron)
            nudge[place_in(shape, spikes.shape, place)] = (NUDGE if spikes[place] else -NUDGE) - tie.margin
            decided.add((tie.population, tie.sample, tie.step, tie.neuron))
        ties += new
        record = reference(nudges)
    return record, ties


def _is_tie(difference: Difference) -> bool:
    return difference.margin is not None and abs(difference.margin) < TIE


def overall(checks: list[Check]) -> Literal["pass", "fail"]:
    """Pass if some check was run and all that were run passed."""
    run = [check for check in checks if check.status == "run"]
    return "pass" if run and all(check.verdict == "pass" for check in run) else "fail"


def _first(reference: Record, candidate: Record, cause: Callable[[Difference, bool], str]) -> dict[str, Any] | None:
    """The first difference in the order population, step, sample, neuron."""
    order = {name: i for i, name in enumerate(reference.spikes)}
    found = first_differences(reference, candidate)
    if not found:
        return None
    first = min(found, key=lambda d: (order[d.population], d.step, d.sample, d.neuron))
    spiked = not candidate.spikes[first.population][(first.step, first.sample, *first.neuron)]
    return _place(first) | {"cause": cause(first, spiked)}


def _place(difference: Difference) -> dict[str, Any]:
    return asdict(difference) | {"neuron": list(difference.neuron)}


def _float_cause(d: Difference, spiked: bool) -> str:
    if _is_tie(d):
        return f"{_who(spiked)}; a tie, but deciding it does not make the rest equal within {ROUNDS} runs"
    return (
        f"{_who(spiked)}, all spikes before it are equal and it is no tie: weights, bias, threshold or decay of "
        f"'{d.population}' differ"
    )


def _integer_cause(d: Difference, spiked: bool) -> str:
    return (
        f"{_who(spiked)}, all spikes before it are equal: weights, bias, threshold or decay of '{d.population}' differ"
    )


def _who(spiked: bool) -> str:
    return "only the reference spikes" if spiked else "only the candidate spikes"


def _apart(reference: Record, candidate: Record) -> NDArray[np.bool_]:
    """[N] the samples whose class differs, or a logit by more than rounding."""
    near = _gaps(reference, candidate) <= LOGITS * max(1.0, float(np.abs(reference.readout).max()))
    return np.asarray((reference.predictions != candidate.predictions) | ~near.all(1))


def _logit_divergence(reference: Record, candidate: Record, samples: NDArray[np.bool_]) -> dict[str, Any]:
    """The largest difference of the first such sample, after the last step."""
    sample = int(np.flatnonzero(samples)[0])
    neuron = int(np.nan_to_num(_gaps(reference, candidate)[sample], nan=np.inf).argmax())
    a, b = (float(record.readout[sample, neuron]) for record in (reference, candidate))
    steps = len(next(iter(reference.spikes.values())))
    return _readout_place(sample, steps - 1, neuron, a, b)


def _membrane_divergence(reference: Record, candidate: Record, unequal: NDArray[np.bool_]) -> dict[str, Any]:
    """The first step, there the first sample and class."""
    step, sample, neuron = (int(i) for i in np.argwhere(unequal)[0])
    a, b = (float(_steps(record)[step, sample, neuron]) for record in (reference, candidate))
    return _readout_place(sample, step, neuron, a, b)


def _readout_place(sample: int, step: int, neuron: int, reference: float, candidate: float) -> dict[str, Any]:
    return {
        "population": "readout",
        "sample": sample,
        "step": step,
        "neuron": [neuron],
        "margin": None,
        "cause": f"all spikes are equal, but its membrane is {candidate:.9g} instead of {reference:.9g}: weights, bias "
        "or decay of 'readout' differ",
    }


def _steps(record: Record) -> NDArray[Any]:
    return np.asarray(record.readout[None] if record.readout_steps is None else record.readout_steps)


def _count(record: Record) -> int:
    return sum(spikes.size for spikes in record.spikes.values())


def _gaps(a: Record, b: Record) -> NDArray[np.float64]:
    """[N, classes] how far the logits lie apart; nan where one is not finite."""
    with np.errstate(invalid="ignore"):
        return np.abs(np.asarray(a.readout, np.float64) - np.asarray(b.readout, np.float64))


def _logit_difference(a: Record, b: Record) -> float | None:
    """None where a logit is not finite, for JSON has no such number."""
    largest = float(_gaps(a, b).max())
    return largest if np.isfinite(largest) else None


def total_spikes(spikes: Mapping[str, NDArray[np.integer[Any]]]) -> int:
    return sum(int(value.sum()) for value in spikes.values())
