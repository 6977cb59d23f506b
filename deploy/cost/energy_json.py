"""What `energy.json` holds: counts with their spread, mappings, energy and time by profile, the ANN, populations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...export.graph import SpikingGraph, neurons
from ...export.passes.relays import levels
from ..mapping.capacity import CORES_PER_TILE, Chip
from ..mapping.core_mapping import CoreMapping, Piece
from .ann import ann_baseline, encoder
from .counts import Counts, PopulationCounts, Tally, spread
from .energy import Energy, estimate, of_population, over_time
from .latency import StepTimes, step_times
from .profiles import BOUNDS, Bound, Price, Profile, source_row
from .traffic import Traffic

SHOWN = ("spikes", "input_spikes", "synaptic_operations", "neuron_updates", "active_updates", "idle_updates")
UNMAPPED = "Messages and hops, and the time that follows from a mapping to cores"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A network on a chip. mapping and traffic are None where it does not fit, or is not cut into cores: see reason.

    chips: as many as it needs, 1 where that is unknown.
    """

    chip: Chip
    fits: bool
    chips: int
    mapping: CoreMapping | None = None
    traffic: Traffic | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Estimate:
    """One profile's energy and time, at its values and at both ends of its ranges."""

    profile: Profile
    mapped: Mapped | None
    energy: Mapping[Bound, Energy]
    times: Mapping[Bound, StepTimes | None]

    @property
    def traffic(self) -> Traffic | None:
        return self.mapped.traffic if self.mapped else None


def energy_json(
    *,
    graph: SpikingGraph,
    counts: Counts,
    profiles: Sequence[Profile],
    mapped: Mapping[str, Mapped],
    encoder_macs: int,
    accuracy: Sequence[float] | None = None,
    zeros: bool = False,
) -> dict[str, Any]:
    """Counts, joules and seconds of one inference, means over the samples, JSON-ready.

    mapped: name of a chip -> the network on it, for each chip that a profile names. accuracy [T]: of the answer after
    each step. The energy of each population and over time is that of the first profile, `per_population_profile`.
    """
    depth = max(levels(graph).values())
    estimates = [_estimate(profile, counts, mapped, depth) for profile in profiles]
    first = estimates[0]
    return {
        "samples": counts.samples,
        "time_steps": counts.time_steps,
        "depth": depth,
        "spikes_per_synapse_per_inference": counts.spikes_per_synapse,
        "counting": f"Synapses of weight zero are {'counted like all others' if zeros else 'not counted'}.",
        "counts": {
            name: spread(counts.per_sample(name)) | {"total": int(counts.per_sample(name).sum())} for name in SHOWN
        },
        "mappings": {name: _mapping_json(graph, one, estimates) for name, one in mapped.items()},
        "profiles": {one.profile.name: _profile_json(counts, one) for one in estimates},
        "accuracy_over_time": _over_time(counts, first, accuracy),
        "ann_baseline": ann_baseline(
            graph,
            spikes_of={p.name: p.spikes_of for p in counts.populations},
            fired_of={p.name: p.fired_of for p in counts.populations},
            samples=counts.samples,
            encoder_macs=encoder_macs,
        ),
        "encoder": encoder(counts.time_steps, encoder_macs),
        "per_population_profile": first.profile.name,
        "per_population": [_population_json(p, counts, first) for p in counts.populations],
        "by_role": {role: _role_json(role, tally, counts, first) for role, tally in counts.by_role.items()},
    }


def _estimate(profile: Profile, counts: Counts, mapped: Mapping[str, Mapped], depth: int) -> _Estimate:
    on = mapped[profile.chip] if profile.chip else None
    traffic = on.traffic if on else None
    times = {
        bound: step_times(
            profile, traffic, samples=counts.samples, time_steps=counts.time_steps, depth=depth, end=bound
        )
        for bound in BOUNDS
    }
    chips = on.chips if on else 1
    energy = {bound: estimate(profile, counts, traffic, times[bound], chips, bound) for bound in BOUNDS}
    return _Estimate(profile=profile, mapped=on, energy=energy, times=times)


def _profile_json(counts: Counts, one: _Estimate) -> dict[str, Any]:
    profile, traffic, energy, times = one.profile, one.traffic, one.energy["value"], one.times["value"]
    priced = bool(energy.terms) or energy.static is not None
    moved = {name: float(traffic.per_sample(name).mean()) for name in traffic.each} if traffic else {}
    total = energy.total if priced else None
    latency = float(times.latency.mean()) if times else None
    return {
        "chip": profile.title,
        "mapping": profile.chip,
        "technology": profile.technology,
        "evidence": profile.evidence,
        "counts": {name: float(counts.per_sample(name).mean()) for name in SHOWN}
        | {"messages": moved.get("messages"), "hops_x": moved.get("hops_x"), "hops_y": moved.get("hops_y")}
        | {"hops": moved["hops_x"] + moved["hops_y"] if moved else None},
        "energy_j": _terms(energy) | {"total": total} if priced else None,
        "dynamic_j": float(energy.dynamic.mean()) if energy.terms else None,
        "static_j": energy.static,
        "host_j": energy.host,
        "energy_range_j": _range({b: e.total for b, e in one.energy.items()}) if priced else None,
        "energy_spread_j": {k: v for k, v in spread(energy.dynamic).items() if k != "mean"} if energy.terms else None,
        "power_w": {n: p.watts for n, p in (("static", profile.static), ("host", profile.host)) if p},
        "time_per_step_s": {k: v for k, v in spread(times.steps).items() if k != "std"} if times else None,
        "time_per_step_range_s": _range({b: t.step for b, t in one.times.items() if t}) if times else None,
        "busiest": _busiest(times, one.mapped),
        "latency_s": latency,
        "throughput_hz": 1 / times.inference if times else None,
        "energy_delay_product_js": total * latency if total is not None and latency is not None else None,
        "unpriced": [*_unpriced(one), *_untimed(counts, one), *profile.unpriced],
        "sources": _sources(profile),
    }


def _terms(energy: Energy) -> dict[str, float]:
    terms = {name: float(joules.mean()) for name, joules in energy.terms.items()}
    power = {"static": energy.static, "host": energy.host}
    return terms | {name: joules for name, joules in power.items() if joules is not None}


def _range(ends: Mapping[Bound, float]) -> dict[str, float] | None:
    return {"low": ends["low"], "high": ends["high"]} if ends["low"] < ends["high"] else None


def _busiest(times: StepTimes | None, mapped: Mapped | None) -> dict[str, Any] | None:
    if times is None or times.busiest is None or mapped is None or mapped.mapping is None:
        return None
    core = times.busiest.core
    return {
        "core": core,
        "population": next(p.population for p in mapped.mapping.pieces if p.core == core),
        "phase": times.busiest.phase,
        "seconds": times.busiest.seconds,
        "barrier_s": times.barrier,
    }


def _unpriced(one: _Estimate) -> list[str]:
    """What the profile could price if the network were mapped."""
    missing = one.energy["value"].missing
    untimed = one.times["value"] is None and (one.profile.sender or one.profile.receiver)
    if not missing and not untimed:
        return []
    reason = one.mapped.reason if one.mapped and one.mapped.reason else "it is not mapped"
    return [f"{UNMAPPED}: {reason}"]


def _untimed(counts: Counts, one: _Estimate) -> list[str]:
    """Which samples the time does not come from."""
    times, traffic = one.times["value"], one.traffic
    if times is None or times.busiest is None or traffic is None or traffic.timed == counts.samples:
        return []
    return [
        f"The time of the samples after the first {traffic.timed} of {counts.samples}: the loads of "
        f"{traffic.mapping.cores} cores in every step of all of them take too much memory and time"
    ]


def _sources(profile: Profile) -> list[dict[str, Any]]:
    named: list[tuple[str, Price]] = [*profile.energy.items()]
    named += [(f"time of {name}, sender", price) for name, price in profile.sender.items()]
    named += [(f"time of {name}, receiver", price) for name, price in profile.receiver.items()]
    fixed = (("time of a step", profile.step), ("static", profile.static), ("host", profile.host))
    rows = [source_row(name, price) for name, price in [*named, *((n, p) for n, p in fixed if p)]]
    if profile.barrier:
        (_, least), (_, most) = profile.barrier.points[0], profile.barrier.points[-1]
        rows.append(
            {
                "term": "time of the barrier",
                "value": least,
                "unit": profile.barrier.unit,
                "low": least,
                "high": most,
                "source": profile.barrier.source,
                "grade": profile.barrier.grade,
                "note": "by mapped tiles: " + ", ".join(f"{n}: {value:g}" for n, value in profile.barrier.points),
            }
        )
    return rows


def _over_time(counts: Counts, first: _Estimate, accuracy: Sequence[float] | None) -> list[dict[str, Any]]:
    energy = over_time(first.profile, counts, first.traffic)
    spikes = (counts.each["spikes"] + counts.each["input_spikes"]).mean(0).cumsum()
    return [
        {
            "step": step + 1,
            "accuracy": None if accuracy is None else accuracy[step],
            "energy_j": energy[step],
            "spikes": float(spikes[step]),
        }
        for step in range(counts.time_steps)
    ]


def _population_json(population: PopulationCounts, counts: Counts, first: _Estimate) -> dict[str, Any]:
    size = neurons(population.shape)
    traffic = first.traffic
    terms = of_population(first.profile, population, traffic, counts.samples)
    pieces = traffic.mapping.pieces if traffic else ()
    return {
        "name": population.name,
        "role": population.role,
        "shape": list(population.shape),
        **_tally_json(population.tally, counts.samples),
        "neurons": size,  # an input's too: its firing rate is spikes per place and step
        "spikes": population.spikes / counts.samples,
        "messages": traffic.of_population[population.name]["messages"] / counts.samples if traffic else None,
        "firing_rate": population.spikes / (size * counts.time_steps * counts.samples),
        "cores": len({p.core for p in pieces if p.population == population.name}) if traffic else None,
        **_share(sum(terms.values()), first),
        "energy_terms_j": terms,
        "spread": {name: spread(values) for name, values in population.each.items()},
    }


def _role_json(role: str, tally: Tally, counts: Counts, first: _Estimate) -> dict[str, Any]:
    members = [p for p in counts.populations if p.role == role]
    energy = sum(sum(of_population(first.profile, p, first.traffic, counts.samples).values()) for p in members)
    spikes = {"spikes": sum(p.spikes for p in members) / counts.samples}
    return _tally_json(tally, counts.samples) | spikes | _share(energy, first)


def _tally_json(tally: Tally, samples: int) -> dict[str, Any]:
    return {
        "neurons": tally.neurons,
        "synapses": tally.synapses,
        **{name: getattr(tally, name) / samples for name in SHOWN if name != "input_spikes"},
    }


def _share(energy_j: float, first: _Estimate) -> dict[str, float]:
    """Of the dynamic energy: static power belongs to no population."""
    whole = float(first.energy["value"].dynamic.mean())
    return {"energy_j": energy_j, "share": energy_j / whole if whole else 0.0}


def _mapping_json(graph: SpikingGraph, one: Mapped, estimates: Sequence[_Estimate]) -> dict[str, Any]:
    chip, mapping = one.chip, one.mapping
    limits = [
        {"name": name, "value": limit.value, "unit": limit.unit, "source": limit.source, "grade": limit.grade}
        for name, limit in chip.limits.items()
    ]
    head = {"title": chip.title, "fits": one.fits, "reason": one.reason, "chips": one.chips, "limits": limits}
    if mapping is None:
        return head | {"cores": None, "cores_per_chip": None, "tiles": None, "pieces": [], "busy_s": None}
    roles = {node.name: "input" for node in graph.inputs} | {p.name: p.role for p in graph.populations}
    timed = next((e.times["value"] for e in estimates if e.profile.chip == chip.name and e.times["value"]), None)
    return head | {
        "cores": mapping.cores,
        "cores_per_chip": mapping.cores_per_chip,
        "tiles": mapping.tiles,
        "pieces": [_piece_json(piece, mapping, roles) for piece in mapping.pieces],
        "busy_s": {str(core): float(busy) for core, busy in enumerate(timed.busy)} if timed else None,
    }


def _piece_json(piece: Piece, mapping: CoreMapping, roles: Mapping[str, str]) -> dict[str, Any]:
    chip, x, y = mapping.tile_of(piece.core)
    return {
        "core": piece.core,
        "chip": chip,
        "tile": piece.core % mapping.cores_per_chip // CORES_PER_TILE,
        "x": x,
        "y": y,
        "population": piece.population,
        "role": roles[piece.population],
        "box": [list(ends) for ends in piece.box],
        "neurons": piece.neurons,
        "in_axons": piece.in_axons,
        "out_axons": piece.out_axons,
        "memory_bits": piece.memory_bits,
        "use": mapping.use(piece),
    }
