"""How long a chip step takes, from the load of its busiest core.

    step = barrier(tiles) + max over cores of max(sender, receiver)
    sender   = sum of price * count over what a core does for its own neurons: updates, spikes, messages out
    receiver = sum of price * count over what arrives: messages in, synaptic operations

the closed form of SANA-FE's simple timing model (Boyle et al., TCAD 2025); the counts are those of `traffic.py`, where
samples stream back to back. A sample takes T + depth chip steps from its first to its last, and one leaves every T.
A chip with a clock of its own takes its fixed step, whatever the load.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .profiles import Bound, Price, Profile
from .traffic import Traffic

Seconds = NDArray[np.float64]
Phase = Literal["sender", "receiver"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Busiest:
    """The core that takes the longest, on average over the steps; seconds: that average."""

    core: int
    phase: Phase
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """steps [chip steps]: seconds. latency [samples]: seconds from a sample's first chip step to the end of its last.
    Both of the samples whose loads are known, the first `timed` of `Traffic`.

    busy [cores]: seconds per step, the longer phase, mean over the steps; empty for a fixed step.
    """

    steps: Seconds
    latency: Seconds
    time_steps: int
    barrier: float
    busy: Seconds
    busiest: Busiest | None

    @property
    def step(self) -> float:
        """Seconds per chip step, the mean."""
        return float(self.steps.mean())

    @property
    def inference(self) -> float:
        """Seconds per sample in the stream: T steps."""
        return self.time_steps * self.step


def step_times(
    profile: Profile, traffic: Traffic | None, *, samples: int, time_steps: int, depth: int, end: Bound = "value"
) -> StepTimes | None:
    """None where the profile has no times, or they need a mapping and there is none.

    depth: levels of the graph. end: the value of each price, or the low or high end of its range.
    """
    if profile.step is not None:
        steps = np.full(samples * time_steps, profile.step.at(end).seconds)
        latency = _latency(steps, time_steps, depth)
        return StepTimes(
            steps=steps, latency=latency, time_steps=time_steps, barrier=0.0, busy=np.zeros(0), busiest=None
        )
    if traffic is None or not (profile.sender or profile.receiver):
        return None
    sender = _load(profile.sender, traffic.sent, end)
    receiver = _load(profile.receiver, traffic.received, end)
    barrier = profile.barrier_seconds(traffic.mapping.tiles)
    steps = barrier + np.maximum(sender, receiver).max(1)
    busy = np.maximum(sender.mean(0), receiver.mean(0))
    core = int(busy.argmax())
    phase: Phase = "sender" if sender[:, core].mean() >= receiver[:, core].mean() else "receiver"
    return StepTimes(
        steps=steps,
        latency=_latency(steps, time_steps, depth),
        time_steps=time_steps,
        barrier=barrier,
        busy=busy,
        busiest=Busiest(core=core, phase=phase, seconds=float(busy[core])),
    )


def _load(prices: Mapping[str, Price], counts: Mapping[str, NDArray[np.int32]], end: Bound) -> Seconds:
    """[chip steps, cores] in seconds."""
    zero = np.zeros(next(iter(counts.values())).shape)
    return np.asarray(sum((price.at(end).seconds * counts[name] for name, price in prices.items()), zero), np.float64)


def _latency(steps: Seconds, time_steps: int, depth: int) -> Seconds:
    """Sample s takes the chip steps s * T ... s * T + T + depth - 1 of a stream without end."""
    starts = np.arange(0, len(steps), time_steps)
    taken = (starts[:, None] + np.arange(time_steps + depth)[None, :]) % len(steps)
    return np.asarray(steps[taken].sum(1), np.float64)
