"""Energy of one inference: counts times published prices, and what no price is known for.

    E = sum over terms of  price * count / samples

A sum over operations is a model, not a measurement: static power, the host and what stands on the `unpriced` list come
on top. Energies of different technologies stand side by side; they are neither added nor divided here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import InputError
from ...export.graph import SpikingGraph, neurons
from .chips import MAC_45NM, MAC_TECHNOLOGY, ChipProfile, Price, check, find
from .counts import Counts, PopulationCounts, Tally, per_sample, synapses

CAUTION = (
    "A chip's energy and the ANN's belong to different technologies and leave different things out: read them side by "
    "side, do not add or divide them."
)
ANN_UNPRICED = (
    "Memory traffic: reading and writing weights and activations, which often costs more than the arithmetic.",
    "Bias, ReLU and the comparisons of max-pooling.",
    "What an ANN saves by skipping activations that are zero.",
    "Static power, control and the host.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Joules of one inference on one profile, by term and by population; both sum to `total`."""

    profile: str
    terms: Mapping[str, float]  # J
    populations: Mapping[str, float]  # J
    unpriced: tuple[str, ...]
    sources: Mapping[str, Price]  # of each term

    @property
    def total(self) -> float:
        return sum(self.terms.values())


def estimate(counts: Counts, profile: ChipProfile) -> Energy:
    """Price the counts; joules per inference, the mean over the samples.

    Davies et al. 2018, table 2: 23.6 S + 81 U_active + 52 U_idle + 1.7 spikes, in pJ. Raises InputError for a profile
    with a negative price or an unknown unit.
    """
    check(profile)
    return Energy(
        profile=profile.name,
        terms=_price(counts.total, counts.samples, profile),
        populations={p.name: sum(_price(p.tally, counts.samples, profile).values()) for p in counts.populations},
        unpriced=profile.unpriced,
        sources={name: term.price for name, term in profile.terms.items()},
    )


def ann_baseline(graph: SpikingGraph, encoder_macs: int) -> dict[str, Any]:
    """The ANN of the same topology: ReLU for spikes, one step; MACs and joules of one inference, JSON-ready.

    Every synapse of non-zero weight is one MAC, and so is every one of the encoder's `encoder_macs` per step. Relays do
    not exist in an ANN; an OR population is a max-pooling, which compares and does not multiply. Raises InputError if
    `encoder_macs` is negative.
    """
    _check_encoder(encoder_macs)
    shapes = graph.shapes()
    roles = {population.name: population.role for population in graph.populations}
    joined = [(roles[p.target], synapses(p, shapes[p.source], shapes[p.target])) for p in graph.projections]
    network_macs = sum(size for role, size in joined if role not in ("relay", "or"))
    macs = network_macs + encoder_macs
    return {
        "technology": MAC_TECHNOLOGY,
        "time_steps": 1,
        "macs": macs,
        "network_macs": network_macs,
        "encoder_macs": encoder_macs,
        "max_pool_inputs": sum(size for role, size in joined if role == "or"),
        "energy_j": {name: macs * price.joules for name, price in MAC_45NM.items()},
        "unpriced": list(ANN_UNPRICED),
        "sources": _sources(MAC_45NM),
        "caution": CAUTION,
    }


def encoder(time_steps: int, encoder_macs: int) -> dict[str, Any]:
    """The real-valued encoder before the spiking network: FP32 MACs of every step, on a host in 45 nm; JSON-ready.

    A real-valued layer multiplies, so it counts as MAC x T and not as accumulations. Raises InputError if
    `encoder_macs` is negative.
    """
    _check_encoder(encoder_macs)
    macs = encoder_macs * time_steps
    return {
        "technology": MAC_TECHNOLOGY,
        "time_steps": time_steps,
        "macs": macs,
        "energy_j": macs * MAC_45NM["fp32"].joules,
        "sources": _sources({"fp32": MAC_45NM["fp32"]}),
        "note": "Memory traffic; on the host, in another technology: not part of any chip's total.",
    }


def energy_json(
    *, graph: SpikingGraph, counts: Counts, encoder_macs: int, profiles: Iterable[str] = ("loihi1-davies2018",)
) -> dict[str, Any]:
    """What `energy.json` holds: counts and joules of one inference (means over the samples), JSON-ready.

    The energy and the share of each population and role are those of the first profile, `per_population_profile`.
    Raises InputError for an unknown profile, or none.
    """
    chips = [find(name) for name in profiles]
    if not chips:
        raise InputError("At least one chip profile must be named; choose 'loihi1-davies2018'.")
    energies = [estimate(counts, chip) for chip in chips]
    return {
        "samples": counts.samples,
        "time_steps": counts.time_steps,
        "spikes_per_synapse_per_inference": counts.spikes_per_synapse,
        "profiles": {
            chip.name: _profile_json(counts, chip, energy) for chip, energy in zip(chips, energies, strict=True)
        },
        "ann_baseline": ann_baseline(graph, encoder_macs),
        "encoder": encoder(counts.time_steps, encoder_macs),
        "per_population_profile": energies[0].profile,
        "per_population": [_population_json(p, counts, energies[0]) for p in counts.populations],
        "by_role": {
            role: _tally_json(tally, counts.samples)
            | _share(sum(energies[0].populations[p.name] for p in counts.populations if p.role == role), energies[0])
            for role, tally in counts.by_role.items()
        },
    }


def _price(tally: Tally, samples: int, profile: ChipProfile) -> dict[str, float]:
    return {name: term.price.joules * getattr(tally, term.quantity) / samples for name, term in profile.terms.items()}


def _profile_json(counts: Counts, chip: ChipProfile, energy: Energy) -> dict[str, Any]:
    return {
        "chip": chip.chip,
        "technology": chip.technology,
        "evidence": chip.evidence,
        # messages, hops and latency follow from a mapping to cores: null until there is one
        "counts": per_sample(counts.total, counts.samples) | {"messages": None, "hops": None},
        "energy_j": dict(energy.terms) | {"total": energy.total},
        "latency_s": None,
        "unpriced": list(energy.unpriced),
        "sources": _sources(energy.sources),
    }


def _population_json(population: PopulationCounts, counts: Counts, energy: Energy) -> dict[str, Any]:
    size = neurons(population.shape)
    return {
        "name": population.name,
        "role": population.role,
        "shape": list(population.shape),
        **_tally_json(population.tally, counts.samples),
        "neurons": size,  # an input's too: its firing rate is spikes per place and step
        "firing_rate": population.tally.spikes / (size * counts.time_steps * counts.samples),
        **_share(energy.populations[population.name], energy),
    }


def _tally_json(tally: Tally, samples: int) -> dict[str, Any]:
    return {"neurons": tally.neurons, "synapses": tally.synapses, **per_sample(tally, samples)}


def _share(energy_j: float, energy: Energy) -> dict[str, float]:
    return {"energy_j": energy_j, "share": energy_j / energy.total if energy.total else 0.0}


def _sources(prices: Mapping[str, Price]) -> list[dict[str, Any]]:
    return [
        {"term": name, "value": price.value, "unit": price.unit, "source": price.source, "grade": price.grade}
        for name, price in prices.items()
    ]


def _check_encoder(encoder_macs: int) -> None:
    if encoder_macs < 0:
        raise InputError(
            f"`encoder_macs >= 0` must hold, but encoder_macs={encoder_macs}; count the encoder's "
            "multiply-accumulates of one step, 0 without an encoder."
        )
