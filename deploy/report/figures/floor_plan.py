"""A mapping drawn as a floor plan: chips of tiles of four cores, each core filled as far as its fullest limit.

Core c of a chip lies in tile c // 4; the tile's column is tile // 4 and its row tile % 4, as hops are counted.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup

from ..numbers import amount, exact, percent, plural, quantity
from ..words import LIMITS
from .marks import Figure, element, rect

CORE, GAP, TILE_GAP = 22.0, 2.0, 6.0
CORES_PER_TILE, TILE_ROWS = 4, 4
MOST_CHIPS = 32
MOST_BUSY_CHIPS = 4  # up to so many, a second plan shows how busy the cores are
SHADES = 8


def floor_plan(name: str, mapping: Mapping[str, Any]) -> Figure | None:
    """The chips of one mapping side by side; None where nothing is mapped."""
    cores = cores_of(mapping)
    if not cores:
        return None
    fullest = max(cores.values(), key=lambda core: core["use"])
    busy = _busy(mapping)
    busiest = max(busy, key=busy.__getitem__, default=None)
    chips = max(core["chip"] for core in cores.values()) + 1
    used = f"{exact(len(cores))} of {exact(mapping['cores_per_chip'] * chips)} cores on {plural(chips, 'chip')}"
    title = f"{mapping['title']}: {used}"
    limit = LIMITS.get(fullest["limit"], fullest["limit"])
    full = f"core {fullest['core']} is fullest, {percent(fullest['use'], 0)} of its {limit}"
    label = f"Floor plan. {title}; {full}."
    if busiest is not None:
        label += f" Core {busiest} is busiest, {quantity(busy[busiest], 's')} per step."
    drawn = min(chips, MOST_CHIPS)
    left_out = f" Only the first {MOST_CHIPS} of {chips} chips are drawn." if chips > MOST_CHIPS else ""
    art = [_chip(chip, mapping["cores_per_chip"], cores, busy, busiest) for chip in range(drawn)]
    timed = busiest is not None and chips <= MOST_BUSY_CHIPS
    if timed:
        art += [_busy_chip(chip, mapping["cores_per_chip"], busy, busiest) for chip in range(drawn)]
    found: set[str] = {core["role"] for core in cores.values()}
    roles: list[str] = [role for role in WORDS if role in found] + sorted(found - set(WORDS))
    ring = f" Ringed: the busiest core of a step, {quantity(busy[busiest], 's')}." if busiest is not None else ""
    ring += " The second plan of a chip shades its cores by their busy time, full at the busiest." if timed else ""
    return Figure(
        name="floor-plan-" + re.sub(r"\W+", "-", name),
        title=f"{title}; {full}",
        label=label,
        caption="Each square is a core, four to a tile, tiles as they lie on the mesh. It is filled as far as the "
        "limit that is closest to its end; a core that holds several populations has the colour of the one with most "
        f"neurons.{ring}{left_out} The table below has the same numbers.",
        wide=element("div", art, class_="chips", role="img", aria_label=label),
        legend=tuple((f"c-{role}", WORDS.get(role, role)) for role in roles),
    )


WORDS = {
    "neuron": "neurons",
    "relay": "relays",
    "or": "OR (max-pool)",
    "and": "AND (product)",
    "readout": "readout",
    "input": "inputs",
}


def cores_of(mapping: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Every used core: its pieces' uses of each limit summed, the fullest of them, the role of most of its neurons."""
    cores: dict[int, dict[str, Any]] = {}
    for piece in mapping.get("pieces") or []:
        core = cores.setdefault(piece["core"], _empty(piece))
        core["pieces"].append(piece)
        core["roles"][piece["role"]] = core["roles"].get(piece["role"], 0) + piece["neurons"]
        for limit, fraction in piece["use"].items():
            core["uses"][limit] = core["uses"].get(limit, 0.0) + (fraction or 0.0)
    for core in cores.values():
        core["limit"] = max(core["uses"], key=core["uses"].__getitem__, default="neurons")
        core["use"] = core["uses"].get(core["limit"], 0.0)
        core["role"] = max(core["roles"], key=core["roles"].__getitem__)
    return cores


def mapping_of(profile: Mapping[str, Any], mappings: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The mapping that a price list stands on; where it has none, the one of its chip, which says why."""
    named = mappings.get(profile.get("mapping") or "")
    return named or next((one for one in mappings.values() if one["title"] == profile["chip"]), None)


def mapped_populations(mapping: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per mapped population: its cores, neurons, axons and memory, and the fullest limit among its cores."""
    cores = cores_of(mapping)
    rows: dict[str, dict[str, Any]] = {}
    for piece in mapping.get("pieces") or []:
        row = rows.setdefault(
            piece["population"],
            {"name": piece["population"], "role": piece["role"], "cores": set(), "use": 0.0, "limit": "neurons"}
            | dict.fromkeys(("neurons", "in_axons", "out_axons", "memory_bits"), 0),
        )
        row["cores"].add(piece["core"])
        for key in ("neurons", "in_axons", "out_axons", "memory_bits"):
            row[key] += piece[key]
        core = cores[piece["core"]]
        if core["use"] >= row["use"]:
            row["use"], row["limit"] = core["use"], core["limit"]
    return [row | {"first_core": min(row["cores"]), "cores": len(row["cores"])} for row in rows.values()]


def _empty(piece: Mapping[str, Any]) -> dict[str, Any]:
    place = {key: piece[key] for key in ("core", "chip", "tile", "x", "y")}
    return {**place, "pieces": [], "roles": {}, "uses": {}}


def _chip(
    chip: int, cores_per_chip: int, cores: Mapping[int, dict[str, Any]], busy: Mapping[int, float], busiest: int | None
) -> Markup:
    """A chip whose cores are filled as far as they are used."""

    def draw(number: int, x: float, y: float) -> Markup:
        core = cores.get(number)
        return _empty_core(x, y) if core is None else _core(x, y, core, busy.get(number), number == busiest)

    used = sum(core["chip"] == chip for core in cores.values())
    return _die(chip, cores_per_chip, f"Chip {chip}: {used} of {cores_per_chip} cores", draw)


def _busy_chip(chip: int, cores_per_chip: int, busy: Mapping[int, float], busiest: int | None) -> Markup:
    """A chip whose cores are shaded by how long they are busy in a step."""
    longest = max(busy.values())

    def draw(number: int, x: float, y: float) -> Markup:
        seconds = busy.get(number)
        if seconds is None:
            return _empty_core(x, y)
        shade = max(round(SHADES * seconds / longest), 1) if seconds > 0 else 0
        found = f"Core {number}: busy {quantity(seconds, 's')} per step"
        ring = [rect(x - 1, y - 1, CORE + 2, CORE + 2, "ring")] if number == busiest else []
        return element("g", [rect(x, y, CORE, CORE, f"heat h{shade}", found), *ring])

    return _die(chip, cores_per_chip, f"Chip {chip}: busy time of a step, up to {quantity(longest, 's')}", draw)


def _die(chip: int, cores_per_chip: int, words: str, draw: Callable[[int, float, float], Markup]) -> Markup:
    """A chip under its words; `draw` gives the mark of a core from its number and its left upper corner."""
    tiles = -(-cores_per_chip // CORES_PER_TILE)
    columns, rows = -(-tiles // TILE_ROWS), min(tiles, TILE_ROWS)
    pitch = 2 * CORE + GAP + TILE_GAP
    width, height = columns * pitch - TILE_GAP + 12, rows * pitch - TILE_GAP + 12
    parts = [rect(0, 0, width, height, "die")]
    for place in range(cores_per_chip):
        tile, within = divmod(place, CORES_PER_TILE)
        x = 6 + tile // TILE_ROWS * pitch + within % 2 * (CORE + GAP)
        y = 6 + tile % TILE_ROWS * pitch + within // 2 * (CORE + GAP)
        parts.append(draw(chip * cores_per_chip + place, x, y))
    box = f"0 0 {width:g} {height:g}"
    art = element("svg", parts, viewBox=box, width=round(width), height=round(height), aria_hidden="true")
    return element("div", [element("span", words, class_="soft"), art], class_="chip")


def _empty_core(x: float, y: float) -> Markup:
    return Markup('<rect x="{}" y="{}" width="{}" height="{}" class="free"/>').format(f"{x:g}", f"{y:g}", CORE, CORE)


def _core(x: float, y: float, core: Mapping[str, Any], busy: float | None, busiest: bool) -> Markup:
    full = min(max(core["use"], 0.03), 1.0) * CORE
    most = "core" if core["use"] <= 1 else "core over"
    inside = [
        element("title", _title(core, busy)),
        rect(x, y, CORE, CORE, most),
        rect(x, y + CORE - full, CORE, full, f"c-{core['role']}"),
    ]
    if busiest:
        inside.append(rect(x - 1, y - 1, CORE + 2, CORE + 2, "ring"))
    return element("g", inside)


def _title(core: Mapping[str, Any], busy: float | None) -> str:
    pieces = core["pieces"]
    named = ", ".join(f"{piece['population']} ({amount(piece['neurons'])})" for piece in pieces[:3])
    more = f" and {len(pieces) - 3} more" if len(pieces) > 3 else ""
    uses = ", ".join(f"{LIMITS.get(limit, limit)} {percent(fraction, 0)}" for limit, fraction in core["uses"].items())
    time = "" if busy is None else f"; busy {quantity(busy, 's')} per step"
    return f"Core {core['core']}, tile {core['tile']}: {named}{more}; {uses}{time}"


def _busy(mapping: Mapping[str, Any]) -> dict[int, float]:
    """Mean busy seconds of a step by core; empty where no time is published."""
    busy = {int(core): seconds for core, seconds in (mapping.get("busy_s") or {}).items() if seconds is not None}
    return busy if any(busy.values()) else {}
