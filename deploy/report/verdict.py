"""The verdict of a run in words: what the checks say, where two forms part, and what was not measured."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...errors import InputError
from .numbers import MISSING, amount, exact, number, plural

Kind = Literal["pass", "fail", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The first thing on the page. kind: "open" says that nothing failed, but not everything ran."""

    kind: Kind
    mark: str
    word: str
    sentence: str


def verdict(stated: str, checks: list[dict[str, Any]]) -> Verdict:
    """The verdict in words. A check that failed or did not run is never passed over, whatever `stated` says.

    Raises InputError if `stated` is neither "pass" nor "fail".
    """
    if stated not in ("pass", "fail"):
        raise InputError(f"The verdict must be 'pass' or 'fail', but is '{stated}'; run `spikeport deploy` again.")
    run = [check for check in checks if ran(check)]
    skipped = [name_of(check) for check in checks if not ran(check)]
    failed = [name_of(check) for check in run if check.get("verdict") != "pass"]
    compared = sum(check.get("spikes_compared") or 0 for check in run)
    differing = sum(check.get("spikes_differing") or 0 for check in run)
    where = [name_of(check) for check in run if check.get("spikes_differing")]
    spikes = f"{amount(compared)} spikes compared, {exact(differing)} differ{f' ({_list(where)})' if where else ''}."
    not_run = f" Not run: {_list(skipped)}." if skipped else ""
    if stated == "fail" or failed:
        count = f"{len(failed)} of {plural(len(run), 'check')} failed: {_list(failed)}."
        which = count if failed else "No form is proved equal."
        return Verdict(kind="fail", mark="✗", word="Fail", sentence=f"{which} {spikes}{not_run}")
    if not run:
        return Verdict(kind="open", mark="!", word="Not checked", sentence=f"No check ran.{not_run}")
    if skipped:
        word = f"Pass, but {len(skipped)} of {plural(len(checks), 'check')} not run"
        sentence = f"{plural(len(run), 'check').capitalize()} ran and passed: {spikes}{not_run}"
        return Verdict(kind="open", mark="!", word=word, sentence=sentence)
    sentence = f"All {plural(len(run), 'check')} ran and passed: {spikes}"
    return Verdict(kind="pass", mark="✓", word="Pass", sentence=sentence)


def divergence(first: Mapping[str, Any]) -> str:
    """Where two runs part, in one sentence."""
    margin = "" if first.get("margin") is None else f"; the membrane was {number(first['margin'])} from the threshold"
    cause = f". Cause: {first['cause']}" if first.get("cause") else ""
    return f"{spot(first)}{margin}{cause}"


def tie(one: Mapping[str, Any]) -> str:
    """Where a tie is, and how near the membrane came to its threshold."""
    return f"{spot(one)}: {number(one.get('margin'))} from the threshold"


def spot(place: Mapping[str, Any]) -> str:
    known = [word for word in ("sample", "step", "neuron") if place.get(word) is not None]
    where = "".join(f", {word} {_index(place[word])}" for word in known)
    return f"population “{place.get('population', MISSING)}”{where}"


def twin_accuracy(checks: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Accuracy of the chip's integer twin and of its reference on the same samples; None if not measured."""
    for check in checks:
        if ran(check) and "twin" in str(check.get("candidate")) and check.get("accuracy_candidate") is not None:
            return {
                "accuracy": check["accuracy_candidate"],
                "reference": check.get("reference"),
                "reference_accuracy": check.get("accuracy_reference"),
                "samples": check.get("samples"),
            }
    return None


def ran(check: Mapping[str, Any]) -> bool:
    return str(check.get("status", "run")) == "run"


def name_of(check: Mapping[str, Any]) -> str:
    return str(check.get("name") or f"{check.get('reference')} = {check.get('candidate')}")


def failed_at(check: Mapping[str, Any]) -> bool:
    """A check that passed may know a divergence too, where only the answers have to agree: it is no failure."""
    return ran(check) and check.get("verdict") != "pass" and bool(check.get("first_divergence"))


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _index(value: Any) -> str:
    return f"({', '.join(str(n) for n in value)})" if isinstance(value, list | tuple) else str(value)
