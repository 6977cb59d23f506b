"""Which members, and how often each: greedy selection with replacement (Caruana et al., ICML 2004, section 2).

From none on, that member is added whose addition lowers the error of the mean most, on images that none of them learnt
from; one that is in may be added again, which gives it more weight. It ends where nothing gains as much as GAIN, as in
DeepHyper (Egele et al., arXiv 2302.09748).

Members that doubt too much (their accuracy is above their confidence) doubt more as one: a mean of them may be right
more often and yet have the higher negative log-likelihood. So the error that is meant is chosen.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .uncertainty import Labels, Values, accuracy, nll

GAIN = 1e-3  # nats, or share of the images
MOST_PICKS = 50

# by what members are chosen -> the error of probabilities [N, K] for labels [N], the lower the better
ERRORS: Mapping[str, Callable[[Values, Labels], float]] = {"nll": nll, "accuracy": lambda p, y: 1.0 - accuracy(p, y)}
WORDS: Mapping[str, str] = {"nll": "negative log-likelihood (nats)", "accuracy": "share of wrong answers"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """error: of the mean of this one and all before it, on the images that they were chosen by."""

    member: int
    error: float


def greedy(members: Values, labels: Labels, most: int, by: str = "nll") -> tuple[Pick, ...]:
    """Picks among [M, N, K], at most `most` different ones; of equals the first. There is always one.

    by: a key of ERRORS.
    """
    picks: list[Pick] = []
    total = 0.0 * members[0]
    while len(picks) < MOST_PICKS:
        inside = {pick.member for pick in picks}
        allowed = range(len(members)) if len(inside) < most else sorted(inside)
        found = {m: ERRORS[by]((total + members[m]) / (len(picks) + 1), labels) for m in allowed}
        best = min(found, key=found.__getitem__)
        if picks and picks[-1].error - found[best] < GAIN:
            break
        total = total + members[best]
        picks.append(Pick(member=best, error=found[best]))
    return tuple(picks)
