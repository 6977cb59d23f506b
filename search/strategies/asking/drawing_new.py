"""A candidate that was not evaluated yet, where there is one to be had."""

from collections.abc import Callable, Container

from ...spaces.space import G

TRIES = 50  # draws, of which the last is taken as it is: a space may have nothing new


def new_one(draw: Callable[[], G], known: Container[G]) -> G:
    """The first draw that is not known."""
    candidate = draw()
    for _ in range(TRIES):
        if candidate not in known:
            break
        candidate = draw()
    return candidate


class Asked:
    """What a strategy has proposed and was told, by key."""

    def __init__(self, key: Callable[..., str]) -> None:
        self.key = key
        self.keys: set[str] = set()

    def __contains__(self, candidate: object) -> bool:
        return self.key(candidate) in self.keys

    def new(self, draw: Callable[[], G]) -> G:
        """The first draw that is not in it, which then is."""
        candidate = new_one(draw, self)
        self.add(candidate)
        return candidate

    def add(self, candidate: object) -> None:
        self.keys.add(self.key(candidate))
