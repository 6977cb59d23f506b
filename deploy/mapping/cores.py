"""The cores of one level: each box goes to the first core on which it fits together with what is there."""

from collections.abc import Mapping

import numpy as np

from ..synapses import Box
from .core_demand import QUANTITIES, Allowed, Load, Site, fits
from .memory import Memory
from .wiring import Bools, Integers


class Part:
    """A box of a population, and what it would take of a core for itself."""

    def __init__(self, site: Site, box: Box, out_axons: int) -> None:
        self.site, self.box = site, box
        self.memory: Memory = site.needs(box).memory
        self.load = site.load(box, out_axons)
        self._pixels: dict[str, Bools] | None = None

    @property
    def pixels(self) -> Mapping[str, Bools]:
        """Source -> [H * W] or [N]: the pixels that the box reads."""
        if self._pixels is None:
            self._pixels = {}
            for wiring in self.site.wirings:
                before, read = self._pixels.get(wiring.source), wiring.pixels(self.box)
                self._pixels[wiring.source] = read if before is None else before | read
        return self._pixels


class Core:
    """The parts on one core, all of one level."""

    def __init__(self, part: Part) -> None:
        self.parts, self.load = [part], part.load

    def joined(self, part: Part) -> Load:
        """The load with one more part: pixels that the core reads already take no further axon, but the index of a
        synapse may grow."""
        parts = [*self.parts, part]
        neurons = self.load.neurons + part.load.neurons
        return Load(
            neurons=neurons,
            in_axons=int(sum(np.count_nonzero(pixels) for pixels in _union(parts).values())),
            out_axons=self.load.out_axons + part.load.out_axons,
            memory_bits=sum(each.memory.bits(neurons) for each in parts),
        )

    def add(self, part: Part) -> None:
        self.load = self.joined(part)
        self.parts.append(part)

    def new_axons(self) -> list[int]:
        """For each part the pixels that it reads and no part before it; together the core's in-axons."""
        if len(self.parts) == 1:
            return [self.load.in_axons]
        counted = [
            int(sum(np.count_nonzero(pixels) for pixels in _union(self.parts[:number]).values()))
            for number in range(len(self.parts) + 1)
        ]
        return np.diff(counted).tolist()


class LevelCores:
    """The cores of one level in the order in which they were opened. mixes: may boxes of one population share one?"""

    def __init__(self, allowed: Mapping[str, Allowed], *, mixes: bool) -> None:
        self.cores: list[Core] = []
        self.allowed, self.mixes = allowed, mixes
        self._most = np.array([allowed[quantity].value for quantity in QUANTITIES])
        self._loads: Integers = np.zeros((16, len(QUANTITIES)), np.int64)  # of the cores; grows by doubling

    def place(self, part: Part) -> None:
        """Put the part on the first core that takes it, or on a new one."""
        for number in self._possible(part.load):
            core = self.cores[number]
            if not self.mixes and any(each.site is part.site for each in core.parts):
                continue
            if fits(core.joined(part), self.allowed):
                core.add(part)
                self._note(number)
                return
        self.cores.append(Core(part))
        self._note(len(self.cores) - 1)

    def _possible(self, load: Load) -> list[int]:
        """Cores on which it may fit: neither axons that are shared nor longer indices are counted yet."""
        room = np.arange(len(self.cores))
        for column, quantity in enumerate(QUANTITIES):
            added = 0 if quantity == "in_axons" else getattr(load, quantity)
            room = room[self._loads[room, column] <= self._most[column] - added]
        return room.tolist()

    def _note(self, number: int) -> None:
        if number == len(self._loads):
            self._loads = np.concatenate([self._loads, np.zeros_like(self._loads)])
        self._loads[number] = [getattr(self.cores[number].load, quantity) for quantity in QUANTITIES]


def _union(parts: list[Part]) -> dict[str, Bools]:
    """Source -> the pixels that any of the parts reads."""
    union: dict[str, Bools] = {}
    for part in parts:
        for source, pixels in part.pixels.items():
            union[source] = union[source] | pixels if source in union else pixels
    return union
