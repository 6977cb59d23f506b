"""A setting that is written once: its range holds, and a wrong value is told with the invariant."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from spikeport.errors import InputError
from spikeport.setting import check_settings, chosen, nearest, require, setting, settings_of


@dataclass(frozen=True, kw_only=True)
class Brew:
    cups: int = setting(2, "How many.", at_least=1)
    heat: float = setting(0.5, "How hot.", above=0, below=1)
    kind: Literal["tea", "coffee"] = setting("tea", "What.")
    milk: bool = setting(False, "With milk.")
    name: str = setting("", "For whom.", spelled="for", common=True)
    stirred: int = 0  # no setting

    def __post_init__(self) -> None:
        check_settings(self)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cups": 0}, r"^`cups >= 1` must hold, but got cups=0\.$"),
        ({"heat": 0}, "`heat > 0` must hold, but got heat=0"),
        ({"heat": 1.0}, "`heat < 1` must hold, but got heat=1.0"),
        ({"heat": float("nan")}, "`heat > 0` must hold"),
        ({"cups": True}, "`cups` must be int, but is True"),
        ({"cups": 1.5}, "`cups` must be int, but is 1.5"),
        ({"milk": 1}, "`milk` must be bool, but is 1"),
        ({"kind": 3}, "`kind` must be str, but is 3"),
        ({"kind": "rum"}, "Unknown kind 'rum'; choose from tea, coffee"),
    ],
)
def test_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Brew(**given)


def test_an_integer_will_do_for_a_float() -> None:
    @dataclass(frozen=True)
    class Open:
        rate: float = setting(1.0, "A rate.")

        def __post_init__(self) -> None:
            check_settings(self)

    assert Open(rate=3).rate == 3
    with pytest.raises(InputError, match="`rate` must be a finite number, but got rate=inf"):
        Open(rate=float("inf"))


def test_what_is_known_of_a_setting() -> None:
    known = settings_of(Brew)
    assert list(known) == ["cups", "heat", "kind", "milk", "name"]
    assert known["kind"].choices == ("tea", "coffee") and known["cups"].choices == ()
    assert (known["name"].setting.spelled, known["name"].setting.common, known["cups"].default) == ("for", True, 2)


def test_words() -> None:
    assert nearest("cup", ["cups", "heat", "kind", "milk"]).startswith("did you mean 'cups', ")
    assert nearest("x", ["only"]) == "did you mean 'only'?"
    assert chosen("kind", "tea", ("tea", "coffee")) == "tea"
    with pytest.raises(InputError, match="`cups > 3 with milk` must hold, but got cups=2"):
        require(Brew(), "cups", False, "cups > 3 with milk")
